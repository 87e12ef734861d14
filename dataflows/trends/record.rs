//! What results.trends holds: one record for each burst of each subject.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// What can burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SubjectKind {
    /// A watched topic of topics.toml.
    Topic,
    /// A hashtag, with its #, or a keyphrase: lower-cased.
    Term,
}

impl SubjectKind {
    pub fn name(self) -> &'static str {
        match self {
            SubjectKind::Topic => "topic",
            SubjectKind::Term => "term",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [SubjectKind::Topic, SubjectKind::Term].into_iter().find(|kind| kind.name() == name)
    }
}

/// What bursts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Subject {
    pub kind: SubjectKind,
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrendState {
    Rising,
    Ended,
}

impl TrendState {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "rising" => Some(TrendState::Rising),
            "ended" => Some(TrendState::Ended),
            _ => None,
        }
    }
}

/// One record of results.trends: a burst of a subject, against what was usual for it when the
/// burst began. Windows are of ten minutes, by time of publication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trend {
    pub subject: Subject,
    pub state: TrendState,
    /// Start of the first window of the burst.
    pub since: Millis,
    /// End of its last one; null while it rises.
    pub until: Option<Millis>,
    /// Start of its window with the most items, the first of them.
    pub peak_start: Millis,
    /// Items of all its windows.
    pub items: i64,
    /// Items of the peak.
    pub peak_items: i64,
    /// The most distinct authors that one of its windows has.
    pub authors: i64,
    /// Items that were to be expected in the peak.
    pub expected: f64,
    /// Items of the peak for each expected one (at least one is taken to be expected).
    pub ratio: f64,
    /// How surprising the peak is: (items - expected) / sqrt(expected + 1).
    pub score: f64,
    /// Its last windows, twelve at most, oldest first; those before `since` show how it began.
    pub buckets: Vec<TrendBucket>,
    /// The peak in words.
    pub why: String,
}

/// One window of a trend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrendBucket {
    pub start: Millis,
    pub items: i64,
    pub authors: i64,
    pub expected: f64,
}

impl Trend {
    /// The key in results.trends: a JSON array of kind, name and start.
    pub fn record_key(&self) -> Vec<u8> {
        serde_json::to_vec(&(self.subject.kind, &self.subject.name, self.since)).expect("plain data")
    }
}

/// Reads a key of results.trends.
pub fn parse_record_key(key: &[u8]) -> Option<(Subject, Millis)> {
    let (kind, name, since) = serde_json::from_slice(key).ok()?;
    Some((Subject { kind, name }, since))
}
