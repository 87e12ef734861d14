//! `config/routes.toml` → [`Route`]s: what goes where, and when.
//!
//! Every error of a file is reported at once. A route names where it goes; the
//! address behind it is a secret of the environment and never part of a route.

use std::collections::BTreeSet;

use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::schedule::{Quiet, Schedule};

mod built_in;

pub use built_in::{BUILT_IN, PRIVATE, WEBHOOK, with_built_in};

/// Used where there is no routes.toml.
pub const DEFAULT_ROUTES: &str = include_str!("../../config/routes.toml");
/// More routes than this is a mistake of a generator.
const ROUTES_MAX: usize = 200;
const NAME_LENGTH_MAX: usize = 40;
/// An overview, the items and a closing line share the ten embeds of a message.
pub const ITEMS_MAX: u64 = 8;
pub const TOPICS_MAX: u64 = 20;

/// Where a route's messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// The webhook for content (`DISCORD_WEBHOOK_URL`).
    Webhook,
    /// The webhook for operators (`DISCORD_PRIVATE_WEBHOOK`).
    Private,
    /// A channel that the bot posts to.
    Channel(u64),
}

/// One digest, its schedule and what it is about.
#[derive(Clone, Debug)]
pub struct Route {
    pub name: String,
    pub to: Destination,
    /// The IANA name, as configured.
    pub timezone: String,
    pub zone: TimeZone,
    pub schedule: Schedule,
    pub quiet: Option<Quiet>,
    /// Only these platforms; empty is all.
    pub platforms: BTreeSet<String>,
    /// Only these watched topics; empty is all, and what is in none.
    pub topics: BTreeSet<String>,
    pub items_max: usize,
    pub topics_max: usize,
}

impl Route {
    /// Whether content of this platform and these topics belongs to the route.
    pub fn takes<'a>(&self, platform: &str, mut topics: impl Iterator<Item = &'a str>) -> bool {
        (self.platforms.is_empty() || self.platforms.contains(platform))
            && (self.topics.is_empty() || topics.any(|t| self.topics.contains(t)))
    }
}

/// What is wrong with a file of routes; one line per error.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", .0.join("\n"))]
pub struct RoutesError(pub Vec<String>);

/// Parses a file of routes. Knobs a route does not set come from `defaults`.
pub fn parse(text: &str, defaults: &Defaults) -> Result<Vec<Route>, RoutesError> {
    let table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| RoutesError(vec![e.message().to_string()]))?;
    let mut errors = Vec::new();
    for key in table.keys().filter(|k| *k != "route") {
        errors.push(format!("unknown key {key:?}: routes.toml holds [[route]] tables only"));
    }
    let entries: Option<Vec<toml::Table>> = match table.get("route") {
        None => Some(Vec::new()),
        Some(toml::Value::Array(entries)) => entries.iter().map(|e| e.as_table().cloned()).collect(),
        Some(_) => None,
    };
    if entries.is_none() {
        errors.push("\"route\" must be written as [[route]]".to_string());
    }
    match of_tables(&entries.unwrap_or_default(), defaults) {
        Ok(routes) if errors.is_empty() => Ok(routes),
        Ok(_) => Err(RoutesError(errors)),
        Err(RoutesError(more)) => Err(RoutesError([errors, more].concat())),
    }
}

/// The routes of `[[route]]` tables.
pub fn of_tables(entries: &[toml::Table], defaults: &Defaults) -> Result<Vec<Route>, RoutesError> {
    let mut errors = Vec::new();
    if entries.len() > ROUTES_MAX {
        errors.push(format!("{} routes are more than {ROUTES_MAX}", entries.len()));
    }
    let mut names = BTreeSet::new();
    let mut routes = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let mut fields = Fields::new(entry, index);
        let route = fields.route(defaults);
        errors.append(&mut fields.errors);
        let Some(route) = route else { continue };
        if !names.insert(route.name.clone()) {
            errors.push(format!("route {:?}: the name is used twice", route.name));
        }
        routes.push(route);
    }
    if errors.is_empty() { Ok(routes) } else { Err(RoutesError(errors)) }
}

/// What a route gets that does not say otherwise.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    pub items_max: u64,
    pub topics_max: u64,
}

const KEYS: &[&str] = &[
    "name",
    "to",
    "channel_id",
    "timezone",
    "at",
    "every",
    "quiet_hours",
    "platforms",
    "topics",
    "items_max",
    "topics_max",
];

/// One table being read; collects what is wrong with it.
struct Fields<'a> {
    table: &'a toml::Table,
    label: String,
    errors: Vec<String>,
}

impl<'a> Fields<'a> {
    fn new(table: &'a toml::Table, index: usize) -> Self {
        let label = match table.get("name").and_then(toml::Value::as_str) {
            Some(name) => format!("route {name:?}"),
            None => format!("route {}", index + 1),
        };
        Self { table, label, errors: Vec::new() }
    }

    fn route(&mut self, defaults: &Defaults) -> Option<Route> {
        self.unknown_keys();
        let name = self.name();
        let to = self.destination();
        let timezone = self.text("timezone").unwrap_or_else(|| "UTC".to_string());
        let zone = TimeZone::get(&timezone)
            .map_err(|_| {
                self.error(format!("timezone {timezone:?} is no IANA time zone, such as \"Europe/Berlin\""));
            })
            .ok();
        let quiet = self.quiet();
        let schedule = self.schedule(quiet);
        let platforms = self.texts("platforms").into_iter().collect();
        let topics = self.texts("topics").into_iter().collect();
        let items_max = self.number("items_max", defaults.items_max, 1, ITEMS_MAX);
        let topics_max = self.number("topics_max", defaults.topics_max, 0, TOPICS_MAX);
        if !self.errors.is_empty() {
            return None;
        }
        Some(Route {
            name: name?,
            to: to?,
            timezone,
            zone: zone?,
            schedule: schedule?,
            quiet,
            platforms,
            topics,
            items_max: items_max as usize,
            topics_max: topics_max as usize,
        })
    }

    fn error(&mut self, message: impl std::fmt::Display) {
        self.errors.push(format!("{}: {message}", self.label));
    }

    fn unknown_keys(&mut self) {
        for key in self.table.keys().filter(|k| !KEYS.contains(&k.as_str())) {
            let nearest = KEYS.iter().max_by(|a, b| strsim::jaro(a, key).total_cmp(&strsim::jaro(b, key)));
            self.error(format!(
                "unknown key {key:?}; the nearest known one is {:?}",
                nearest.unwrap_or(&"name")
            ));
        }
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.table.get(key)? {
            toml::Value::String(text) => Some(text.clone()),
            _ => {
                self.error(format!("{key} must be text"));
                None
            }
        }
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let texts =
            value.as_array().and_then(|all| all.iter().map(|v| v.as_str().map(str::to_string)).collect());
        texts.unwrap_or_else(|| {
            self.error(format!("{key} must be a list of texts"));
            Vec::new()
        })
    }

    fn number(&mut self, key: &str, default: u64, min: u64, max: u64) -> u64 {
        let Some(value) = self.table.get(key) else { return default };
        match value.as_integer().and_then(|n| u64::try_from(n).ok()).filter(|n| (min..=max).contains(n)) {
            Some(n) => n,
            None => {
                self.error(format!("{key} must be a whole number of {min} to {max}"));
                default
            }
        }
    }

    fn name(&mut self) -> Option<String> {
        let Some(name) = self.text("name") else {
            self.error("name is missing");
            return None;
        };
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.chars().all(good) {
            self.error(format!("name must be 1 to {NAME_LENGTH_MAX} of a-z, 0-9, - and _"));
            return None;
        }
        Some(name)
    }

    fn destination(&mut self) -> Option<Destination> {
        let to = self.text("to");
        let channel = self.text("channel_id");
        match (to.as_deref(), channel) {
            (Some("webhook"), None) => Some(Destination::Webhook),
            (Some("private"), None) => Some(Destination::Private),
            (None, Some(id)) => match id.parse::<u64>().ok().filter(|id| *id > 0) {
                Some(id) => Some(Destination::Channel(id)),
                None => {
                    self.error(format!("channel_id {id:?} is not a Discord id (a number, in quotes)"));
                    None
                }
            },
            (Some(_), Some(_)) => {
                self.error("either to or channel_id, not both");
                None
            }
            (Some(other), None) => {
                self.error(format!(
                    "to = {other:?} must be \"webhook\" or \"private\"; or give a channel_id"
                ));
                None
            }
            (None, None) => {
                self.error("says neither to = \"webhook\" nor a channel_id");
                None
            }
        }
    }

    fn quiet(&mut self) -> Option<Quiet> {
        let text = self.text("quiet_hours")?;
        let span =
            text.split_once('-').and_then(|(from, to)| Some(Quiet { from: clock(from)?, to: clock(to)? }));
        match span.filter(|q| q.from != q.to) {
            Some(quiet) => Some(quiet),
            None => {
                self.error(format!("quiet_hours {text:?} must be a span such as \"22:00-07:00\""));
                None
            }
        }
    }

    fn schedule(&mut self, quiet: Option<Quiet>) -> Option<Schedule> {
        let every = self.text("every");
        let times = match self.table.get("at") {
            Some(toml::Value::String(one)) => vec![one.clone()],
            _ => self.texts("at"),
        };
        let schedule = match (every.as_deref(), times.is_empty()) {
            (None, true) => Err("says neither at = [\"08:00\"] nor every = \"24h\"".to_string()),
            (Some(_), false) => Err("either at or every, not both".to_string()),
            (Some(every), true) => Schedule::every(every)
                .ok_or_else(|| format!("every = {every:?} must be \"1h\", \"6h\" or \"24h\"")),
            (None, false) => at(&times),
        };
        let checked = schedule.and_then(|s| match quiet {
            Some(quiet) if s.always_quiet(quiet) => {
                Err("every scheduled time lies in quiet_hours".to_string())
            }
            _ => Ok(s),
        });
        checked.map_err(|e| self.error(e)).ok()
    }
}

fn at(texts: &[String]) -> Result<Schedule, String> {
    let mut times = BTreeSet::new();
    for text in texts {
        let time =
            clock(text).ok_or_else(|| format!("at {text:?} must be a time of day such as \"08:00\""))?;
        times.insert(time);
    }
    Ok(Schedule::At(times.into_iter().collect()))
}

/// `HH:MM`.
fn clock(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    if hour.len() != 2 || minute.len() != 2 {
        return None;
    }
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults = Defaults { items_max: 6, topics_max: 8 };

    #[test]
    fn the_default_is_one_daily_digest() {
        let routes = parse(DEFAULT_ROUTES, &DEFAULTS).expect("the default parses");
        assert_eq!(routes.len(), 1);
        assert_eq!((routes[0].name.as_str(), routes[0].to), ("daily", Destination::Webhook));
    }

    #[test]
    fn reports_everything_at_once() {
        let text = r#"
            extra = 1
            [[route]]
            name = "A b"
            to = "chanel"
            timezone = "Europe/Nowhere"
            at = ["8:00"]
            [[route]]
            name = "x"
            channel_id = "12a"
            every = "2h"
            quiet_hours = "22-7"
            item_max = 3
            topics = [1]
            [[route]]
            name = "y"
            to = "webhook"
            channel_id = "1"
            at = ["23:00"]
            quiet_hours = "22:00-07:00"
            items_max = 0
        "#;
        let RoutesError(errors) = parse(text, &DEFAULTS).expect_err("all of it is wrong");
        let expected = [
            "unknown key \"extra\"",
            "name must be",
            "to = \"chanel\"",
            "Europe/Nowhere",
            "at \"8:00\"",
            "channel_id \"12a\"",
            "every = \"2h\"",
            "quiet_hours \"22-7\"",
            "\"items_max\"",
            "topics must be",
            "not both",
            "lies in quiet_hours",
            "items_max must be",
        ];
        for part in expected {
            assert!(errors.iter().any(|e| e.contains(part)), "{part} is missing in {errors:#?}");
        }
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    }

    #[test]
    fn filters_by_platform_and_topic() {
        let text = "[[route]]\nname='x'\nto='webhook'\nevery='1h'\nplatforms=['hn']\ntopics=['ai']";
        let routes = parse(text, &DEFAULTS).expect("valid");
        let topics = || ["ai"].into_iter();
        assert!(routes[0].takes("hn", topics()));
        assert!(!routes[0].takes("rss", topics()));
        assert!(!routes[0].takes("hn", [].into_iter()));
    }
}
