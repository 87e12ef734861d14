use super::*;
use crate::alerts::default_settings;
use crate::alerts::record::Kind;
use crate::alerts::rule::parse;

const MINUTE: i64 = MINUTE_MS;

fn rule(text: &str) -> Rule {
    let text = format!("[[alert]]\nname='r'\nkind='keyword'\nany=['x']\n{text}");
    parse(&text, &default_settings().rule, &[]).expect("valid").remove(0)
}

fn met(subject: &str, value: f64) -> Reading {
    Reading { subject: subject.into(), label: subject.into(), met: true, value, ..Reading::default() }
}

fn all(readings: Vec<Reading>) -> Readings {
    Readings { all: readings, complete: true }
}

fn outcomes(changes: &[Change]) -> Vec<(&str, &str)> {
    changes.iter().map(|c| (c.alert.subject.as_str(), c.outcome)).collect()
}

#[test]
fn edits_are_a_minute_apart_and_only_for_news() {
    let mut board = Board::new(&default_settings());
    let rule = rule("");
    let mut step = |at: i64, value: f64| {
        let changes = board.step(Millis(at), &rule, false, &all(vec![met("a", value)]));
        changes.first().map(|change| (change.outcome, change.alert.value, change.alert.edits))
    };
    assert_eq!(step(0, 100.0), Some(("opened", 100.0, 0)));
    assert_eq!(step(30_000, 200.0), None, "within the minute");
    assert_eq!(step(MINUTE, 105.0), None, "no news");
    assert_eq!(step(MINUTE + 15_000, 106.0), Some(("developed", 106.0, 1)));
    assert_eq!(step(2 * MINUTE, 300.0), None, "a minute after the last edit");
    assert_eq!(step(2 * MINUTE + 15_000, 300.0), Some(("developed", 300.0, 2)));
}

#[test]
fn absence_is_only_what_is_known() {
    let mut board = Board::new(&default_settings());
    let rule = rule("hold_min=1");
    board.step(Millis(0), &rule, false, &all(vec![met("a", 1.0)]));
    let unknown = Readings::default();
    assert_eq!(board.step(Millis(5 * MINUTE), &rule, false, &unknown), []);
    let absent = Readings { all: vec![Reading { met: false, ..met("a", 0.0) }], complete: false };
    assert_eq!(board.step(Millis(6 * MINUTE), &rule, false, &absent), []);
    let changes = board.step(Millis(7 * MINUTE), &rule, false, &absent);
    assert_eq!(outcomes(&changes), [("a", "resolved")]);
    // What is looked at and cannot be told keeps it too.
    board.step(Millis(20 * MINUTE), &rule, false, &all(vec![met("c", 1.0)]));
    let unsure = all(vec![Reading { met: false, unsure: true, ..met("c", 0.0) }]);
    assert_eq!(board.step(Millis(30 * MINUTE), &rule, false, &unsure), []);
    assert_eq!(board.step(Millis(40 * MINUTE), &rule, false, &unsure), []);
    board.step(Millis(41 * MINUTE), &rule, false, &all(Vec::new()));
    assert_eq!(
        outcomes(&board.step(Millis(42 * MINUTE), &rule, false, &all(Vec::new()))),
        [("c", "resolved")]
    );
    // It flickered: the hold begins anew.
    board.step(Millis(100 * MINUTE), &rule, false, &all(vec![met("b", 1.0)]));
    for minute in 0..10 {
        let readings = if minute % 2 == 0 { all(Vec::new()) } else { all(vec![met("b", 1.0)]) };
        let at = Millis((101 + minute) * MINUTE - (minute % 2) * 1_000);
        assert_eq!(board.step(at, &rule, false, &readings), [], "{minute}");
    }
}

#[test]
fn a_cooldown_suppresses_until_it_is_over() {
    let mut board = Board::new(&default_settings());
    let rule = rule("hold_min=0\ncooldown_min=10");
    let mut step = |minute: i64, readings: Vec<Reading>| {
        let changes = board.step(Millis(minute * MINUTE), &rule, false, &all(readings));
        let change = changes.into_iter().next();
        change.map(|c| (c.outcome, c.alert.suppressed, c.alert.since.0 / MINUTE))
    };
    assert_eq!(step(0, vec![met("a", 1.0)]), Some(("opened", None, 0)));
    assert_eq!(step(1, vec![]), Some(("resolved", None, 0)));
    assert_eq!(step(2, vec![met("a", 1.0)]), Some(("suppressed", Some(Suppressed::Cooldown), 2)));
    assert_eq!(step(5, vec![met("a", 9.0)]), None, "what is suppressed is not written anew");
    assert_eq!(step(6, vec![]), Some(("resolved", Some(Suppressed::Cooldown), 2)));
    assert_eq!(step(7, vec![met("a", 1.0)]), Some(("suppressed", Some(Suppressed::Cooldown), 7)));
    assert_eq!(step(11, vec![met("a", 1.0)]), Some(("opened", None, 7)), "ten minutes after the end");
    // The end of one that was never posted begins no cooldown; of this one it does.
    assert_eq!(step(12, vec![]), Some(("resolved", None, 7)));
    assert_eq!(step(13, vec![met("a", 1.0)]), Some(("suppressed", Some(Suppressed::Cooldown), 13)));
}

#[test]
fn what_becomes_free_goes_where_its_rule_leads_now() {
    let mut board = Board::new(&default_settings());
    let before = rule("hold_min=0\ncooldown_min=10");
    board.step(Millis(0), &before, false, &all(vec![met("a", 1.0)]));
    board.step(Millis(MINUTE), &before, false, &all(Vec::new()));
    let changes = board.step(Millis(2 * MINUTE), &before, false, &all(vec![met("a", 1.0)]));
    assert_eq!(outcomes(&changes), [("a", "suppressed")]);
    // In quiet hours a critical one does not wait.
    let now = rule("hold_min=0\ncooldown_min=10\nroute='private'\nseverity='critical'");
    let changes = board.step(Millis(11 * MINUTE), &now, true, &all(vec![met("a", 1.0)]));
    assert_eq!(outcomes(&changes), [("a", "opened")]);
    let alert = &changes[0].alert;
    assert_eq!((alert.route.as_str(), alert.severity), ("private", Severity::Critical));
}

#[test]
fn a_flood_stays_within_every_cap_and_what_has_room_later_comes_later() {
    let mut settings = default_settings();
    settings.live_per_rule_max = 3;
    settings.subjects_per_rule_max = 6;
    settings.records_per_minute_max = 4;
    let mut board = Board::new(&settings);
    let rule = rule("hold_min=0\ncooldown_min=0");
    let flood = all((0..50).map(|n| met(&format!("s{n:02}"), f64::from(n))).collect());
    let first = board.step(Millis(0), &rule, false, &flood);
    assert_eq!(
        outcomes(&first),
        [("s49", "opened"), ("s48", "opened"), ("s47", "opened"), ("s46", "suppressed")],
        "the strongest first, four records a minute"
    );
    assert_eq!(first[3].alert.suppressed, Some(Suppressed::LiveCap));
    assert_eq!(board.step(Millis(15_000), &rule, false, &flood), []);
    let second = board.step(Millis(MINUTE), &rule, false, &flood);
    assert_eq!(outcomes(&second), [("s45", "suppressed"), ("s44", "suppressed")]);
    assert_eq!(board.step(Millis(2 * MINUTE), &rule, false, &flood), []);
    assert_eq!(board.live().count(), 6);
    // One of the three ends: another takes its place.
    let rest: Vec<Reading> = flood.all.iter().filter(|r| r.subject != "s48").cloned().collect();
    let changes = board.step(Millis(3 * MINUTE), &rule, false, &all(rest));
    assert_eq!(outcomes(&changes)[..2], [("s48", "resolved"), ("s46", "opened")]);
    assert!(metrics::SUPPRESSED.with_label_values(&["r", "subjects_cap"]).get() > 0);
    assert!(metrics::SUPPRESSED.with_label_values(&["r", "rate"]).get() > 0);
}

#[test]
fn rules_that_are_gone_or_off_end_their_alerts() {
    let mut board = Board::new(&default_settings());
    let rule = rule("");
    board.step(Millis(0), &rule, false, &all(vec![met("a", 1.0)]));
    assert_eq!(board.retire(Millis(1), std::slice::from_ref(&rule)), []);
    let off = Rule { enabled: false, ..rule.clone() };
    let changes = board.retire(Millis(2), &[off]);
    assert_eq!(changes[0].alert.ended, Some(Ended::RuleOff));
    board.step(Millis(3), &rule, false, &all(vec![met("a", 1.0)]));
    assert_eq!(board.live().next().expect("no cooldown after a rule was off").suppressed, None);
    let changes = board.retire(Millis(4), &[]);
    assert_eq!((changes[0].alert.ended, changes[0].alert.kind), (Some(Ended::RuleRemoved), Kind::Keyword));
}
