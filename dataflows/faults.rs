//! Faults as data: what could not be processed, why, and where it came from.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pii::{Counts, Redactor};
use crate::record::{Headers, Record, Stored, topic};
use crate::time::Millis;

/// Why a record was refused. The names are the `reason` label of
/// `tidings_dead_letters_total` and of the verdicts of `POST /v1/events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Not JSON, or JSON of another shape.
    Malformed,
    /// A required field is absent.
    Missing,
    /// A field's value is not allowed.
    Invalid,
    /// A record, text or id is larger than its limit.
    TooLarge,
    /// Published more than an hour ahead of its ingestion.
    Future,
    /// The record's key is not its content id.
    WrongKey,
    /// The record lies on a partition that its key does not hash to.
    WrongPartition,
    /// The step panicked on it.
    Panicked,
    /// Processing it ended the process, twice.
    Poison,
    /// A slow step tried and could not.
    Failed,
    /// A slow step did not finish in its time.
    TimedOut,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::Missing => "missing",
            Reason::Invalid => "invalid",
            Reason::TooLarge => "too_large",
            Reason::Future => "future",
            Reason::WrongKey => "wrong_key",
            Reason::WrongPartition => "wrong_partition",
            Reason::Panicked => "panicked",
            Reason::Poison => "poison",
            Reason::Failed => "failed",
            Reason::TimedOut => "timed_out",
        }
    }
}

/// A record that a stage refuses, with a sentence a person understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub reason: Reason,
    pub detail: String,
}

impl Fault {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// One record of dead.letters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    pub stage: String,
    pub reason: Reason,
    pub detail: String,
    pub topic: String,
    pub partition: u32,
    pub offset: u64,
    pub ingested_at: Millis,
    /// The key's bytes as text; what is not UTF-8 is replaced, personal values are masked.
    pub key: String,
    /// The value's bytes as text, or the first of them where `truncated`; personal values
    /// are masked.
    pub value: Option<String>,
    pub truncated: bool,
}

/// Bytes of a refused value that its dead letter keeps.
pub const DEAD_LETTER_VALUE_BYTES_MAX: usize = 64 * 1024;

/// The dead letter for `stored`, keyed by where it came from. For stages that read what
/// ENRICH has made: it holds no personal value that is not masked.
pub fn dead_letter(stage: &str, stored: &Stored, fault: &Fault) -> Record {
    dead_letter_redacted(stage, stored, fault, &Redactor::off(), &mut Counts::default())
}

/// As [`dead_letter`], for a stage that reads what producers wrote: personal values are
/// masked in the value, the detail and the key.
pub fn dead_letter_redacted(
    stage: &str,
    stored: &Stored,
    fault: &Fault,
    redactor: &Redactor,
    counts: &mut Counts,
) -> Record {
    // Masked whole and cut then: a cut value is no value that is recognised.
    let value = stored.value.as_ref().map(|value| redactor.mask_record(value, counts));
    let cut = value.as_deref().map(|value| &value[..value.floor_char_boundary(DEAD_LETTER_VALUE_BYTES_MAX)]);
    let key = redactor.mask(&String::from_utf8_lossy(&stored.key), counts).into_owned();
    let letter = DeadLetter {
        stage: stage.to_string(),
        reason: fault.reason,
        detail: redactor.mask(&fault.detail, counts).into_owned(),
        topic: stored.topic.to_string(),
        partition: stored.partition,
        offset: stored.offset,
        ingested_at: Millis(stored.timestamp_ms),
        key,
        value: cut.map(str::to_string),
        truncated: cut.map(str::len) < value.as_ref().map(String::len),
    };
    Record {
        topic: topic::DEAD_LETTERS.into(),
        partition: None,
        key: format!("{}+{}+{}", stored.topic, stored.partition, stored.offset).into_bytes(),
        value: Some(serde_json::to_vec(&letter).expect("a dead letter is plain data")),
        timestamp_ms: stored.timestamp_ms,
        headers: cloud_event("dead-letter.v1", &letter.topic, stored.timestamp_ms),
    }
}

/// Headers of the CloudEvents binding for Kafka.
pub fn cloud_event(kind: &str, source: &str, at_ms: i64) -> Headers {
    let mut headers = Headers::new();
    headers.push("ce_type", format!("tidings.{kind}").as_bytes());
    headers.push("ce_source", source.as_bytes());
    headers.push("ce_time", Millis(at_ms).to_string().as_bytes());
    headers
}
