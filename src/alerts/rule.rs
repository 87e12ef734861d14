//! `config/alerts.toml` → [`Rule`]s: what is worth an alert, and where it goes.
//!
//! Every error of a file is reported at once, with the nearest known name.

use std::collections::BTreeSet;

use dataflows::text::topics::{Topic, Topics};
use dataflows::time::{HOUR_MS, MINUTE_MS};

use self::fields::{Fields, suggestion};
use super::record::{Kind, Severity};
use crate::discord::routes::{self, Destination, Route};

mod fields;

/// Used where there is no alerts.toml.
pub const DEFAULT_RULES: &str = include_str!("../../config/alerts.toml");
/// More rules than this is a mistake of a generator.
const RULES_MAX: usize = 200;
const NAME_LENGTH_MAX: usize = 40;
const DAY_MIN: u64 = 24 * 60;
/// A story without anything new for as long as this is over: a third of the time that
/// stories are remembered.
const QUIET_H: u64 = 24;
/// Kinds of subjects that trends have.
pub const TREND_KINDS: [&str; 2] = ["topic", "term"];
/// What `pipeline_trouble` may watch.
pub const TROUBLES: [&str; 4] = ["stage_failures", "storage", "delivery", "language"];

/// One `[[alert]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub name: String,
    pub enabled: bool,
    pub severity: Severity,
    /// How long after its end an alert of the same subject is not posted again.
    pub cooldown_ms: i64,
    /// How long the condition must be absent until an alert ends.
    pub hold_ms: i64,
    /// The route by name.
    pub route: String,
    /// Only these platforms; empty is all.
    pub platforms: BTreeSet<String>,
    /// Only these watched topics; empty is all, and what is in none.
    pub topics: BTreeSet<String>,
    pub condition: Condition,
}

/// What must hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// A trend is rising.
    Burst { score_min: f64, items_min: u64, subjects: Vec<String> },
    /// New items have one of these words.
    Keyword { any: Vec<String>, items_min: u64, window_ms: i64, by_platform: bool },
    /// A story reached all of these, and something new came to it of late.
    StorySpread { platforms_min: u64, authors_min: u64, items_per_hour_min: f64, quiet_ms: i64 },
    /// The mood of the last hours is below that of the hours before.
    MoodDrop { window_h: u64, before_h: u64, drop_e4: i64, scored_min: u64, each_topic: bool },
    /// A source fails, or brings nothing against its rhythm.
    SourceSilent { failing_ms: i64, sources: BTreeSet<String> },
    /// Tidings itself is in trouble.
    PipelineTrouble(Trouble),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// Some of [`TROUBLES`].
    pub watch: BTreeSet<String>,
    pub window_ms: i64,
    pub records_min: u64,
    pub failures_percent: f64,
    pub storage_percent: f64,
    pub waiting_ms: i64,
    pub unknown_percent: f64,
}

impl Rule {
    pub fn kind(&self) -> Kind {
        match self.condition {
            Condition::Burst { .. } => Kind::Burst,
            Condition::Keyword { .. } => Kind::Keyword,
            Condition::StorySpread { .. } => Kind::StorySpread,
            Condition::MoodDrop { .. } => Kind::MoodDrop,
            Condition::SourceSilent { .. } => Kind::SourceSilent,
            Condition::PipelineTrouble(_) => Kind::PipelineTrouble,
        }
    }

    /// Whether content of this platform and these topics is the rule's concern.
    pub fn takes(&self, platform: &str, topics: &[String]) -> bool {
        (self.platforms.is_empty() || self.platforms.contains(platform))
            && (self.topics.is_empty() || topics.iter().any(|t| self.topics.contains(t)))
    }

    /// How far back the condition looks.
    pub fn window_ms(&self) -> i64 {
        match &self.condition {
            Condition::Keyword { window_ms, .. } => *window_ms,
            Condition::PipelineTrouble(trouble) => trouble.window_ms,
            Condition::MoodDrop { window_h, before_h, .. } => (window_h + before_h) as i64 * HOUR_MS,
            Condition::Burst { .. } | Condition::StorySpread { .. } | Condition::SourceSilent { .. } => 0,
        }
    }
}

/// What a rule gets that does not say otherwise.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    pub cooldown_min: u64,
    pub hold_min: u64,
}

/// What is wrong with a file of rules; one line per error.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", .0.join("\n"))]
pub struct RulesError(pub Vec<String>);

/// Parses a file of rules.
pub fn parse(text: &str, defaults: &Defaults, routes: &[Route]) -> Result<Vec<Rule>, RulesError> {
    let table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| RulesError(vec![e.message().to_string()]))?;
    let entries: Option<Vec<toml::Table>> = match table.get("alert") {
        None => Some(Vec::new()),
        Some(value) => {
            value.as_array().and_then(|entries| entries.iter().map(|e| e.as_table().cloned()).collect())
        }
    };
    match entries {
        Some(entries) if table.keys().all(|key| key == "alert") => of_tables(&entries, defaults, routes),
        _ => Err(RulesError(vec!["alerts.toml holds [[alert]] tables only".to_string()])),
    }
}

/// The rules of `[[alert]]` tables, given the routes of routes.toml.
pub fn of_tables(
    entries: &[toml::Table],
    defaults: &Defaults,
    routes: &[Route],
) -> Result<Vec<Rule>, RulesError> {
    let mut errors = Vec::new();
    if entries.len() > RULES_MAX {
        errors.push(format!("{} alerts are more than {RULES_MAX}", entries.len()));
    }
    let mut names = BTreeSet::new();
    let mut rules = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let mut fields = Fields::new(entry, index);
        let rule = read(&mut fields, defaults, routes);
        errors.append(&mut fields.errors);
        let Some(rule) = rule else { continue };
        if !names.insert(rule.name.clone()) {
            errors.push(format!("alert {:?}: the name is used twice", rule.name));
        }
        rules.push(rule);
    }
    if let Err(faults) = matcher(&rules) {
        errors.extend(faults);
    }
    if errors.is_empty() { Ok(rules) } else { Err(RulesError(errors)) }
}

/// The rule of this name; an error says which there are.
pub fn find<'a>(rules: &'a [Rule], name: &str) -> Result<&'a Rule, String> {
    let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    rules.iter().find(|rule| rule.name == name).ok_or_else(|| {
        let hint = suggestion(name, names.iter().copied());
        format!("there is no alert {name:?}{hint}; there are: {}", names.join(", "))
    })
}

/// What rules name that is not there: watched topics, and sources.
pub fn unknown_names(rules: &[Rule], topics: &[&str], sources: &[&str]) -> Vec<String> {
    let mut errors = Vec::new();
    let mut check = |rule: &Rule, key: &str, names: &BTreeSet<String>, file: &str, known: &[&str]| {
        for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
            let hint = suggestion(name, known.iter().copied());
            errors.push(format!("alert {:?}: {key}: {file} has no {name:?}{hint}", rule.name));
        }
    };
    for rule in rules {
        check(rule, "topics", &rule.topics, "topics.toml", topics);
        if let Condition::SourceSilent { sources: named, .. } = &rule.condition {
            check(rule, "sources", named, "sources.toml", sources);
        }
    }
    errors
}

/// Finds the words of every keyword rule at once; its names are those of the rules.
pub fn matcher(rules: &[Rule]) -> Result<Topics, Vec<String>> {
    let words = rules.iter().filter_map(|rule| match &rule.condition {
        Condition::Keyword { any, .. } => Some(Topic { name: rule.name.clone(), any: any.clone() }),
        _ => None,
    });
    Topics::new(words.collect()).map_err(|errors| {
        // They speak of topics; here each is a rule.
        errors.iter().map(|e| e.to_string().replacen("topic", "alert", 1)).collect()
    })
}

const COMMON: &[&str] =
    &["name", "kind", "enabled", "severity", "cooldown_min", "hold_min", "route", "platforms", "topics"];

fn keys_of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Burst => &["score_min", "items_min", "subjects"],
        Kind::Keyword => &["any", "items_min", "window_min", "by"],
        Kind::StorySpread => &["platforms_min", "authors_min", "items_per_hour_min", "quiet_h"],
        Kind::MoodDrop => &["window_h", "before_h", "drop", "scored_min", "each_topic"],
        Kind::SourceSilent => &["failing_h", "sources"],
        Kind::PipelineTrouble => &[
            "watch",
            "window_min",
            "records_min",
            "failures_percent",
            "storage_percent",
            "waiting_min",
            "unknown_percent",
        ],
    }
}

fn read(fields: &mut Fields<'_>, defaults: &Defaults, routes: &[Route]) -> Option<Rule> {
    let name = name(fields);
    let kinds = Kind::ALL.map(Kind::name);
    if !fields.has("kind") {
        fields.error(format!("kind is missing: one of {}", kinds.join(", ")));
    }
    let kind = fields.choice("kind", &kinds);
    let kind = kind.and_then(|text| Kind::ALL.into_iter().find(|kind| kind.name() == text));
    unknown_keys(fields, kind);
    let severities = Severity::ALL.map(Severity::name);
    let severity = match fields.has("severity") {
        true => fields.choice("severity", &severities),
        false => Some(Severity::Warning.name().to_string()),
    };
    let severity = severity.and_then(|text| Severity::ALL.into_iter().find(|s| s.name() == text));
    let cooldown_min = fields.number("cooldown_min", defaults.cooldown_min, 0, 30 * DAY_MIN);
    let hold_min = fields.number("hold_min", defaults.hold_min, 0, DAY_MIN);
    let enabled = fields.flag("enabled", true);
    let platforms = fields.texts("platforms").into_iter().collect();
    let topics = fields.texts("topics").into_iter().collect();
    let kind = kind?;
    let route = route(fields, kind, routes);
    let condition = condition(fields, kind);
    if !fields.errors.is_empty() {
        return None;
    }
    Some(Rule {
        name: name?,
        enabled,
        severity: severity?,
        cooldown_ms: cooldown_min as i64 * MINUTE_MS,
        hold_ms: hold_min as i64 * MINUTE_MS,
        route: route?,
        platforms,
        topics,
        condition: condition?,
    })
}

fn name(fields: &mut Fields<'_>) -> Option<String> {
    if !fields.has("name") {
        fields.error("name is missing");
        return None;
    }
    let name = fields.text("name")?;
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.chars().all(good) {
        fields.error(format!("name must be 1 to {NAME_LENGTH_MAX} of a-z, 0-9, - and _"));
        return None;
    }
    Some(name)
}

fn unknown_keys(fields: &mut Fields<'_>, kind: Option<Kind>) {
    let own = kind.map_or(&[] as &[&str], keys_of);
    for key in fields.keys() {
        let key = key.as_str();
        let is_filter = key == "platforms" || key == "topics";
        if kind.is_some_and(Kind::is_operational) && is_filter {
            fields.error(format!("{key} is of alerts about content"));
            continue;
        }
        if kind == Some(Kind::Burst) && key == "platforms" {
            fields.error("platforms is not of kind \"burst\": trends have none");
            continue;
        }
        if COMMON.contains(&key) || own.contains(&key) {
            continue;
        }
        let other = Kind::ALL.into_iter().find(|other| keys_of(*other).contains(&key));
        match (kind, other) {
            // What its kind would allow is not known.
            (None, Some(_)) => {}
            (Some(kind), Some(other)) => {
                let allowed = own.join(", ");
                fields.error(format!(
                    "{key} is of kind {:?}, not {:?}, which has {allowed}",
                    other.name(),
                    kind.name()
                ));
            }
            (_, None) => {
                let hint = suggestion(key, COMMON.iter().chain(own).copied());
                fields.error(format!("unknown key {key:?}{hint}"));
            }
        }
    }
}

/// The route that is named; else, for content, the first of routes.toml that is not
/// for operators, so that its quiet hours hold.
fn route(fields: &mut Fields<'_>, kind: Kind, routes: &[Route]) -> Option<String> {
    let known: Vec<&str> = routes.iter().map(|r| r.name.as_str()).chain(routes::BUILT_IN).collect();
    if fields.has("route") {
        return fields.choice("route", &known);
    }
    let first = routes.iter().find(|route| route.to != Destination::Private);
    Some(match (kind.is_operational(), first) {
        (true, _) => routes::PRIVATE.to_string(),
        (false, Some(route)) => route.name.clone(),
        (false, None) => routes::WEBHOOK.to_string(),
    })
}

fn condition(fields: &mut Fields<'_>, kind: Kind) -> Option<Condition> {
    let minutes = |n: u64| n as i64 * MINUTE_MS;
    Some(match kind {
        Kind::Burst => Condition::Burst {
            score_min: fields.decimal("score_min", 5.0, 0.1, 1e6),
            items_min: fields.number("items_min", 10, 1, 1_000_000),
            subjects: fields.choices("subjects", &TREND_KINDS),
        },
        Kind::Keyword => {
            if !fields.has("any") {
                fields.error("any is missing: the words and phrases to look for");
            }
            let by = if fields.has("by") { fields.choice("by", &["rule", "platform"]) } else { None };
            Condition::Keyword {
                any: fields.texts("any"),
                items_min: fields.number("items_min", 1, 1, 1_000),
                window_ms: minutes(fields.number("window_min", 60, 1, DAY_MIN)),
                by_platform: by.as_deref() == Some("platform"),
            }
        }
        Kind::StorySpread => story_spread(fields)?,
        Kind::MoodDrop => Condition::MoodDrop {
            window_h: fields.number("window_h", 2, 1, 48),
            before_h: fields.number("before_h", 24, 1, 240),
            drop_e4: (fields.decimal("drop", 0.3, 0.01, 2.0) * 1e4).round() as i64,
            scored_min: fields.number("scored_min", 20, 1, 1_000_000),
            each_topic: fields.flag("each_topic", false),
        },
        Kind::SourceSilent => Condition::SourceSilent {
            failing_ms: fields.number("failing_h", 6, 1, 30 * 24) as i64 * HOUR_MS,
            sources: fields.texts("sources").into_iter().collect(),
        },
        Kind::PipelineTrouble => Condition::PipelineTrouble(Trouble {
            watch: fields.choices("watch", &TROUBLES).into_iter().collect(),
            window_ms: minutes(fields.number("window_min", 15, 1, DAY_MIN)),
            records_min: fields.number("records_min", 20, 1, 1_000_000),
            failures_percent: fields.decimal("failures_percent", 5.0, 0.1, 100.0),
            storage_percent: fields.decimal("storage_percent", 80.0, 1.0, 100.0),
            waiting_ms: minutes(fields.number("waiting_min", 5, 1, DAY_MIN)),
            unknown_percent: fields.decimal("unknown_percent", 30.0, 1.0, 100.0),
        }),
    })
}

fn story_spread(fields: &mut Fields<'_>) -> Option<Condition> {
    let keys = ["platforms_min", "authors_min", "items_per_hour_min"];
    if !keys.iter().any(|key| fields.has(key)) {
        fields.error(format!("says none of {}", keys.join(", ")));
        return None;
    }
    Some(Condition::StorySpread {
        platforms_min: fields.number("platforms_min", 1, 1, 100),
        authors_min: fields.number("authors_min", 1, 1, 1_000_000),
        items_per_hour_min: fields.decimal("items_per_hour_min", 0.0, 0.1, 1e6),
        quiet_ms: fields.number("quiet_h", QUIET_H, 1, 30 * 24) as i64 * HOUR_MS,
    })
}

#[cfg(test)]
mod tests;
