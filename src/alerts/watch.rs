//! Committed records and what the process knows of itself → [`Readings`]: for a rule and
//! an instant of the pipeline clock, what there is and whether it is enough.
//!
//! A reading at an instant counts what was ingested up to it, so that it is the same
//! whenever it is made; what is read later than its instant counts from then on.
//!
//! Retention: the longest window of the rules and their hold times, each part with a cap
//! of its own; what leaves before its time is counted.

use std::collections::BTreeMap;

use dataflows::event::{Enriched, Version};
use dataflows::record::{Stored, topic};
use dataflows::stories::record::Story;
use dataflows::time::Millis;
use dataflows::trends::record::Trend;

use self::keyword::Keywords;
use self::minutes::Minutes;
use self::mood::Moods;
use self::newest::Newest;
use self::results::Results;
use super::Settings;
use super::record::{Example, Fact};
use super::rule::{Condition, Rule};
use super::sample::Sample;

mod keyword;
mod minutes;
mod mood;
mod newest;
mod results;
mod sources;
mod stories;
mod trends;
mod trouble;

/// What a rule finds of one subject.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    pub subject: String,
    pub label: String,
    pub met: bool,
    pub value: f64,
    pub threshold: f64,
    /// Whether it is met cannot be told now: an alert of it stays as it is.
    pub unsure: bool,
    /// One sentence with the numbers, of what is met.
    pub why: String,
    /// What there is of what is needed: `3 of 5 items`; of what is not met, for a trial.
    pub short: String,
    pub examples: Vec<Example>,
    pub links: Vec<String>,
    pub fact: Option<Fact>,
}

/// What is told of readings; texts are written for what is asked only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What is met, and what else is needed to know what is over.
    Met,
    /// Everything, with what is missing where it is not met.
    All,
}

impl Detail {
    /// Whether a reading is told, where one that is left out is known not to be met.
    fn wants(self, met: bool) -> bool {
        met || self == Self::All
    }

    /// The text of what is not met.
    fn short(self, met: bool, text: impl FnOnce() -> String) -> String {
        if self == Self::All && !met { text() } else { String::new() }
    }
}

/// What a rule finds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    pub all: Vec<Reading>,
    /// Whether a subject without a reading is known not to meet the condition; else
    /// nothing is known of it now.
    pub complete: bool,
}

/// A change of an item that an alert may show.
pub struct Changed {
    pub id: String,
    pub version: Version,
    /// `None` is a deletion.
    pub example: Option<Example>,
}

/// Everything the rules look at.
pub struct World {
    keywords: Keywords,
    moods: Moods,
    minutes: Minutes,
    stories: Results<Story>,
    trends: Results<Trend>,
    newest: Newest,
    examples_max: usize,
    /// How long what was read is kept.
    kept_ms: i64,
}

impl World {
    pub fn new(rules: &[Rule], settings: &Settings) -> Self {
        let longest = |of: &dyn Fn(&Rule) -> i64| rules.iter().map(of).max().unwrap_or(0);
        Self {
            keywords: Keywords::new(rules, settings),
            moods: Moods::new(rules, settings.cells_max),
            minutes: Minutes::default(),
            stories: Results::default(),
            trends: Results::default(),
            newest: Newest::default(),
            examples_max: settings.examples_max,
            kept_ms: longest(&Rule::window_ms) + longest(&|rule| rule.hold_ms) + settings.margin_ms(),
        }
    }

    /// How far back the log is read at the start.
    pub fn kept_ms(&self) -> i64 {
        self.kept_ms
    }

    /// Whether records of this topic tell a rule anything.
    pub fn reads(&self, name: &str) -> bool {
        name != topic::VOLUME || self.moods.is_asked()
    }

    /// Takes a record; it counts as having come at `at`. What it changes of an item.
    pub fn apply(&mut self, stored: &Stored, at: Millis) -> Option<Changed> {
        match &*stored.topic {
            topic::VOLUME => self.moods.apply(stored),
            topic::DEAD_LETTERS => self.minutes.dead_letter(stored),
            topic::TRENDS => self.trends.apply(stored, at),
            topic::STORIES => self.stories.apply(stored, at),
            topic::ENRICHED => return self.enriched(stored, at),
            _ => {}
        }
        None
    }

    fn enriched(&mut self, stored: &Stored, at: Millis) -> Option<Changed> {
        let value = stored.value.as_ref()?;
        let enriched: Enriched = match serde_json::from_slice(value) {
            Ok(enriched) => enriched,
            Err(error) => {
                tracing::warn!(%error, offset = stored.offset, "a record of content.enriched is unreadable");
                return None;
            }
        };
        self.minutes.enriched(&enriched);
        let example = example_of(&enriched);
        self.keywords.apply(&enriched, example.as_ref(), at);
        let changed = Changed { id: enriched.id, version: enriched.version, example };
        self.newest.apply(&changed, enriched.previous.is_none());
        Some(changed)
    }

    /// From now on everything up to `at` is known.
    pub fn advance(&mut self, at: Millis) {
        self.keywords.advance(at);
        self.stories.advance(at);
        self.trends.advance(at);
    }

    /// What the rule finds at `at`, to which it was advanced; `sample` is what the process
    /// knew of itself then. Examples are shown as they are known now.
    pub fn readings(&self, rule: &Rule, at: Millis, sample: Option<&Sample>, detail: Detail) -> Readings {
        match &rule.condition {
            Condition::Keyword { .. } => {
                self.keywords.readings(rule, at, detail, &self.newest, self.examples_max)
            }
            Condition::MoodDrop { .. } => self.moods.readings(rule, at, detail),
            Condition::SourceSilent { .. } => sources::readings(rule, at, sample, detail),
            Condition::PipelineTrouble(wanted) => trouble::readings(wanted, at, &self.minutes, sample),
            Condition::StorySpread { .. } => stories::readings(rule, at, &self.stories, detail, &self.newest),
            Condition::Burst { .. } => trends::readings(rule, &self.trends, detail),
        }
    }

    /// New items that count from when they were read, and since when.
    pub fn late(&self) -> BTreeMap<String, Millis> {
        self.keywords.late()
    }

    /// Forgets what no reading after `at` asks for.
    pub fn expire(&mut self, at: Millis) {
        let oldest = Millis(at.0.saturating_sub(self.kept_ms));
        self.keywords.expire(oldest);
        self.moods.expire(oldest);
        self.minutes.expire(oldest);
    }

    /// What is held, by kind.
    pub fn sizes(&self) -> [(&'static str, usize); 6] {
        [
            ("hits", self.keywords.len()),
            ("cells", self.moods.len()),
            ("minutes", self.minutes.len()),
            ("stories", self.stories.len()),
            ("trends", self.trends.len()),
            ("changes", self.newest.len()),
        ]
    }
}

/// Characters of a title; more is never shown.
const TITLE_CHARS_MAX: usize = 200;

/// The item as an alert shows it; `None` for a deletion.
fn example_of(enriched: &Enriched) -> Option<Example> {
    let content = enriched.content.as_ref()?;
    let text = |text: &Option<String>| text.clone().filter(|t| !t.trim().is_empty());
    let title = text(&content.title).or_else(|| text(&content.text)).unwrap_or_else(|| enriched.id.clone());
    Some(Example {
        id: enriched.id.clone(),
        platform: content.platform.clone(),
        title: title.chars().take(TITLE_CHARS_MAX).collect(),
        url: content.url.clone(),
        published_at: Some(content.published_at),
        version: enriched.version,
        edited: false,
    })
}

/// `1 item`, `3 items`.
fn counted(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// `90 minutes`, `2 hours`, `3 days`.
fn duration(ms: i64) -> String {
    let minutes = (ms / 60_000).max(0) as u64;
    match minutes {
        m if m > 0 && m.is_multiple_of(24 * 60) => counted(m / (24 * 60), "day"),
        m if m > 0 && m.is_multiple_of(60) => counted(m / 60, "hour"),
        m if m >= 48 * 60 => counted(m / (24 * 60), "day"),
        m if m >= 3 * 60 => counted(m / 60, "hour"),
        m => counted(m, "minute"),
    }
}

/// `+0.12`, `−0.30`.
fn signed(x: f64) -> String {
    let text = format!("{:.2}", x.abs());
    match text.as_str() {
        "0.00" => text,
        _ if x < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

/// Four decimals, as values are stored.
fn rounded(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}
