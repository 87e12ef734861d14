use super::*;
use crate::alerts::default_settings;

fn routes() -> Vec<Route> {
    let text =
        "[[route]]\nname='team'\nto='webhook'\nat='08:00'\n[[route]]\nname='ops'\nto='private'\nat='08:00'";
    crate::discord::routes::parse(text, &crate::discord::default_settings().route).expect("valid")
}

fn read_rules(text: &str) -> Result<Vec<Rule>, RulesError> {
    parse(text, &default_settings().rule, &routes())
}

#[test]
fn the_shipped_rules_are_valid_whatever_the_routes() {
    for routes in [routes(), Vec::new()] {
        let rules = parse(DEFAULT_RULES, &default_settings().rule, &routes).expect("valid");
        let kinds: BTreeSet<Kind> = rules.iter().map(Rule::kind).collect();
        assert_eq!(kinds.len(), Kind::ALL.len(), "one of each kind");
        for rule in &rules {
            let expected = match (rule.kind().is_operational(), routes.is_empty()) {
                (true, _) => "private",
                (false, false) => "team",
                (false, true) => "webhook",
            };
            assert_eq!(rule.route, expected, "{}", rule.name);
        }
    }
}

#[test]
fn every_mistake_is_reported_at_once_with_the_nearest_name() {
    let text = r#"
        [[alert]]
        name = "A b"
        kind = "keywords"
        [[alert]]
        name = "words"
        kind = "keyword"
        severity = "warn"
        route = "taem"
        item_min = 3
        window_min = 0
        score_min = 2.0
        any = ["a", "A"]
        cooldown_min = -1
        [[alert]]
        name = "empty"
        kind = "keyword"
        by = "author"
        [[alert]]
        name = "spread"
        kind = "story_spread"
        [[alert]]
        name = "trouble"
        kind = "pipeline_trouble"
        watch = ["storge"]
        storage_percent = 101
        platforms = ["hn"]
        enabled = "yes"
        [[alert]]
        kind = "burst"
        subjects = []
        topics = [1]
        platforms = ["hn"]
        [[alert]]
        name = "mood"
    "#;
    let RulesError(errors) = read_rules(text).expect_err("all of it is wrong");
    let expected = [
        "alert \"A b\": name must be 1 to 40 of a-z",
        "alert \"A b\": kind = \"keywords\" must be one of burst, keyword, story_spread, mood_drop, source_silent, \
         pipeline_trouble; did you mean \"keyword\"?",
        "severity = \"warn\" must be one of info, warning, critical; did you mean \"warning\"?",
        "route = \"taem\" must be one of team, ops, webhook, private; did you mean \"team\"?",
        "unknown key \"item_min\"; did you mean \"items_min\"?",
        "window_min must be a whole number of 1 to 1440",
        "score_min is of kind \"burst\", not \"keyword\", which has any, items_min, window_min, by",
        "cooldown_min must be a whole number of 0",
        "alert \"empty\": any is missing",
        "by = \"author\" must be one of rule, platform",
        "alert \"spread\": says none of platforms_min, authors_min, items_per_hour_min",
        "watch: \"storge\" is none of stage_failures, storage, delivery, language; did you mean \"storage\"?",
        "storage_percent must be a number of 1 to 100",
        "alert \"trouble\": platforms is of alerts about content",
        "enabled must be true or false",
        "alert 6: name is missing",
        "alert 6: subjects is empty: leave it out for all",
        "alert 6: topics must be a list of texts",
        "alert 6: platforms is not of kind \"burst\": trends have none",
        "alert \"mood\": kind is missing",
    ];
    for part in expected {
        assert!(errors.iter().any(|e| e.contains(part)), "{part} is missing in {errors:#?}");
    }
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    let twice = "[[alert]]\nname='x'\nkind='source_silent'\n[[alert]]\nname='x'\nkind='source_silent'";
    assert!(read_rules(twice).expect_err("twice").0[0].contains("used twice"));
    let words = "[[alert]]\nname='x'\nkind='keyword'\nany=['a','A']";
    let RulesError(errors) = read_rules(words).expect_err("twice");
    assert!(errors[0].starts_with("alert \"x\" has the term \"A\" twice"), "{errors:?}");
    assert!(read_rules("[[alarm]]\nname='x'").expect_err("another table").0[0].contains("[[alert]]"));
}

#[test]
fn what_is_not_said_has_its_default() {
    let rules = read_rules("[[alert]]\nname='x'\nkind='keyword'\nany=['a']\nroute='ops'").expect("valid");
    let rule = &rules[0];
    assert_eq!((rule.severity, rule.enabled), (Severity::Warning, true));
    assert_eq!((rule.cooldown_ms, rule.hold_ms), (60 * MINUTE_MS, 10 * MINUTE_MS));
    assert_eq!(rule.route, "ops");
    assert_eq!(rule.window_ms(), 60 * MINUTE_MS);
    assert!(find(&rules, "y").expect_err("no such rule").contains("there are: x"));
}

#[test]
fn topics_and_sources_that_are_not_there_are_named_with_the_nearest() {
    let text = "[[alert]]\nname='a'\nkind='keyword'\nany=['x']\ntopics=['climat','ai']\n\
                [[alert]]\nname='b'\nkind='source_silent'\nsources=['Exmaple','Example']\n\
                [[alert]]\nname='c'\nkind='source_silent'";
    let rules = read_rules(text).expect("valid by itself");
    let errors = unknown_names(&rules, &["ai", "climate"], &["Example", "Other"]);
    let expected = [
        "alert \"a\": topics: topics.toml has no \"climat\"; did you mean \"climate\"?",
        "alert \"b\": sources: sources.toml has no \"Exmaple\"; did you mean \"Example\"?",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn how_long_a_story_may_be_quiet_is_no_condition_by_itself() {
    let RulesError(errors) =
        read_rules("[[alert]]\nname='x'\nkind='story_spread'\nquiet_h=2").expect_err("says nothing");
    assert_eq!(errors, ["alert \"x\": says none of platforms_min, authors_min, items_per_hour_min"]);
    let rules = read_rules("[[alert]]\nname='x'\nkind='story_spread'\nauthors_min=2").expect("valid");
    assert!(
        matches!(rules[0].condition, Condition::StorySpread { quiet_ms, .. } if quiet_ms == 24 * HOUR_MS)
    );
}
