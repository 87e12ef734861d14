//! What an alert says: one record of the topic alerts, from its opening to its end.
//!
//! A record holds what was found and the numbers it was decided by, so that nothing of
//! it is ever computed again. Its texts are those of others, as they were written: who
//! shows them escapes them ([`crate::discord::message`]).

use std::fmt;

use dataflows::event::Version;
use dataflows::time::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One alert; a later record of its key replaces it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// Rule, subject and opening: `alert~RULE~SUBJECT~SINCE`; also its key in the outbox.
    pub key: String,
    pub rule: String,
    pub kind: Kind,
    pub severity: Severity,
    /// What it is about: the rule itself, a trend, a story, a topic, a source, a trouble.
    pub subject: String,
    /// What readers call the subject.
    pub label: String,
    pub state: State,
    /// When the condition was first seen, by the pipeline clock.
    pub since: Millis,
    /// When this record was decided.
    pub updated: Millis,
    /// When its message was last written to the outbox; none has a message that shows less
    /// than this record for long.
    #[serde(default)]
    pub told: Option<Millis>,
    /// When it ended.
    pub resolved: Option<Millis>,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// One sentence with the numbers.
    pub why: String,
    pub value: f64,
    pub threshold: f64,
    /// A few items it is about, the newest first.
    pub examples: Vec<Example>,
    /// Examples that were deleted since.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub removed: u32,
    pub links: Vec<String>,
    pub content_ids: Vec<String>,
    /// The route by name; never an address.
    pub route: String,
    /// It opened in the route's quiet hours: the next digest of the route shows it.
    pub queued: bool,
    /// Why it is not posted, if it is not.
    pub suppressed: Option<Suppressed>,
    /// How often it was written anew since its opening.
    pub edits: u32,
    /// What the process knew of itself when this was decided, for operational alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fact: Option<Fact>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Alert {
    /// Whether Discord has, or gets, a message of it.
    pub fn is_posted(&self) -> bool {
        self.suppressed.is_none() && !self.queued
    }

    pub fn key_of(rule: &str, subject: &str, since: Millis) -> String {
        format!("alert~{rule}~{}~{since}", subject_key(subject))
    }
}

/// A subject as a part of a key: itself where it is short and plain, else its hash.
fn subject_key(subject: &str) -> String {
    const PLAIN_BYTES_MAX: usize = 60;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    if !subject.is_empty() && subject.len() <= PLAIN_BYTES_MAX && subject.bytes().all(plain) {
        return subject.to_string();
    }
    blake3::hash(subject.as_bytes()).to_hex()[..16].to_string()
}

/// What a rule looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Burst,
    Keyword,
    StorySpread,
    MoodDrop,
    SourceSilent,
    PipelineTrouble,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Burst,
        Self::Keyword,
        Self::StorySpread,
        Self::MoodDrop,
        Self::SourceSilent,
        Self::PipelineTrouble,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Keyword => "keyword",
            Self::StorySpread => "story_spread",
            Self::MoodDrop => "mood_drop",
            Self::SourceSilent => "source_silent",
            Self::PipelineTrouble => "pipeline_trouble",
        }
    }

    /// About Tidings itself rather than about content.
    pub fn is_operational(self) -> bool {
        matches!(self, Self::SourceSilent | Self::PipelineTrouble)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    /// Quiet hours do not hold it back.
    Critical,
}

impl Severity {
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Firing,
    Resolved,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// Why an alert ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Its condition was absent for the hold time.
    Over,
    RuleRemoved,
    RuleOff,
}

/// Why an alert is not posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Suppressed {
    /// One of the same rule and subject ended a short while ago.
    Cooldown,
    /// As many of the rule are live as may be.
    LiveCap,
}

impl Suppressed {
    pub fn name(self) -> &'static str {
        match self {
            Self::Cooldown => "cooldown",
            Self::LiveCap => "live_cap",
        }
    }
}

impl fmt::Display for Suppressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An item that an alert is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Example {
    pub id: String,
    pub platform: String,
    /// The title, or the beginning of the text.
    pub title: String,
    pub url: Option<String>,
    pub published_at: Option<Millis>,
    #[serde(default)]
    pub version: Version,
    /// Edited since the alert first showed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edited: bool,
}

impl Example {
    /// Whether a reader sees no difference.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.platform, &self.url) == (&other.platform, &other.url)
            && is_same_title(&self.title, &other.title)
    }
}

/// Stories show the first line of a title, shortened.
fn is_same_title(a: &str, b: &str) -> bool {
    let begins =
        |long: &str, short: &str| short.strip_suffix('…').is_some_and(|short| long.starts_with(short));
    let [a, b] = [a, b].map(|title| title.trim().lines().next().unwrap_or_default().trim_end());
    a == b || begins(a, b) || begins(b, a)
}

/// What the process knew of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Fact {
    Source {
        name: String,
        condition: String,
        last_success_at: Option<Millis>,
        last_item_at: Option<Millis>,
        usual_gap_s: Option<i64>,
        errors_in_row: u32,
    },
    Storage {
        free_bytes: u64,
        size_bytes: u64,
    },
    Delivery {
        oldest_waiting_s: Option<u64>,
        retired_webhooks: u64,
        uncertain: u64,
        last_error: Option<String>,
    },
    Stage {
        stage: String,
        failed: u64,
        taken: u64,
    },
    Language {
        unknown: u64,
        items: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plain_whatever_the_subject() {
        let key = |subject: &str| Alert::key_of("r", subject, Millis(0));
        assert_eq!(key("rust"), "alert~r~rust~1970-01-01T00:00:00Z");
        for hostile in ["", "a~b", "@everyone", "x y", "é", &"x".repeat(61)] {
            let key = key(hostile);
            assert_eq!(key.split('~').count(), 4, "{key}");
            assert!(key.len() < 60 && key.is_ascii() && !key.contains(' '), "{key}");
        }
        assert_ne!(key("a b"), key("a  b"));
    }

    #[test]
    fn a_shortened_title_is_no_other_title() {
        assert!(is_same_title("  one line\nand more", "one line"));
        assert!(is_same_title("a long title that goes on", "a long title…"));
        assert!(!is_same_title("a long title", "a short title…"));
        assert!(!is_same_title("a long title", "a long"));
    }
}
