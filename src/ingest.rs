//! The way in: the bytes of content events are checked, stamped and appended to
//! content.events.
//!
//! Invariants:
//! - What is accepted is in the log, durably, before anybody is told so.
//! - The ingest time is stamped here, once: it is the pipeline clock.
//! - A verdict of `duplicate` is what the identity index knows now; the record is
//!   appended all the same, and ENRICH decides in log order.

pub mod api;
pub mod command;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use dataflows::check::{self, Limits};
use dataflows::event::{Change, ContentEvent, Contribution, Version};
use dataflows::faults::{Fault, cloud_event};
use dataflows::identity::{self, Entry, Verdict};
use dataflows::record::{Record, topic};
use dataflows::time::Millis;
use prometheus::IntCounterVec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::log::{Log, LogError};
use crate::ops::metrics;
use crate::worker::index::Index;

/// Table `[ingest]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub clock: Clock,
    pub record_bytes_max: usize,
    pub text_bytes_max: usize,
    pub id_bytes_max: usize,
    pub batch_records_max: usize,
    pub tick_interval_s: u64,
}

impl Settings {
    pub fn limits(&self) -> Limits {
        Limits {
            record_bytes_max: self.record_bytes_max,
            text_bytes_max: self.text_bytes_max,
            id_bytes_max: self.id_bytes_max,
        }
    }
}

/// What the pipeline clock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The time at which an event is taken in.
    Ingest,
    /// The latest time of publication so far: replays an archive whole.
    Event,
}

/// What became of one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// From 1 within the request.
    pub line: usize,
    pub status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why it was rejected: a name for programs, a sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Verdict")]
pub enum Status {
    Accepted,
    /// In the log, and nothing new as far as is known.
    Duplicate,
    /// Not in the log.
    Rejected,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Accepted => "accepted",
            Status::Duplicate => "duplicate",
            Status::Rejected => "rejected",
        }
    }
}

static LINES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "tidings_ingest_lines_total",
        "Lines of POST /v1/events and `tidings ingest`, by outcome, and why one was rejected.",
        &["outcome", "reason"],
    )
});

/// What became of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    pub accepted: usize,
    pub duplicates: usize,
    pub rejected: usize,
    pub lines: Vec<Line>,
}

/// The way in of one process.
pub struct Ingest {
    log: Arc<dyn Log>,
    settings: Settings,
    index: Option<Index>,
    now_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// The latest stamp given.
    stamped: AtomicI64,
}

impl Ingest {
    pub fn new(
        log: Arc<dyn Log>,
        settings: Settings,
        index: Option<Index>,
        now_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
    ) -> Self {
        Self { log, settings, index, now_ms, stamped: AtomicI64::new(i64::MIN) }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The ingest time of an event, never before one given earlier.
    fn stamp(&self, event: &ContentEvent) -> Millis {
        let at = match self.settings.clock {
            Clock::Ingest => (self.now_ms)(),
            Clock::Event => event.published_at.map_or(i64::MIN, |t| t.0),
        };
        Millis(self.stamped.fetch_max(at, Ordering::Relaxed).max(at))
    }

    /// Checks each line and appends the good ones as one batch. Blocks until the
    /// log has them durably; an error means that none of them is acknowledged.
    pub fn accept<'a>(&self, lines: impl Iterator<Item = &'a [u8]>) -> Result<Receipt, LogError> {
        let mut receipt = Receipt::default();
        let mut records = Vec::new();
        let mut known: HashMap<String, Option<Entry>> = HashMap::new();
        for (i, bytes) in lines.enumerate() {
            let line = match self.check(bytes) {
                Ok((event, at)) => {
                    let id = event.content_id();
                    records.push(record(&event, &id, bytes.to_vec(), at));
                    let status = self.foresee(&event, &id, at, &mut known);
                    Line { line: i + 1, status, id: Some(id), reason: None, detail: None }
                }
                Err(fault) => Line {
                    line: i + 1,
                    status: Status::Rejected,
                    id: None,
                    reason: Some(fault.reason.name().to_string()),
                    detail: Some(fault.detail),
                },
            };
            match line.status {
                Status::Accepted => receipt.accepted += 1,
                Status::Duplicate => receipt.duplicates += 1,
                Status::Rejected => receipt.rejected += 1,
            }
            receipt.lines.push(line);
        }
        if !records.is_empty() {
            self.log.append(records)?;
        }
        for line in &receipt.lines {
            let outcome = line.status.name();
            LINES.with_label_values(&[outcome, line.reason.as_deref().unwrap_or_default()]).inc();
        }
        Ok(receipt)
    }

    fn check(&self, bytes: &[u8]) -> Result<(ContentEvent, Millis), Fault> {
        let limits = self.settings.limits();
        // Parsed as of the end of time, since the stamp may depend on the event.
        let event = check::parse(bytes, Millis(i64::MAX), &limits)?;
        let at = self.stamp(&event);
        check::check(&event, at, &limits)?;
        Ok((event, at))
    }

    /// What ENRICH will most likely say.
    fn foresee(
        &self,
        event: &ContentEvent,
        id: &str,
        at: Millis,
        known: &mut HashMap<String, Option<Entry>>,
    ) -> Status {
        let entry = known.entry(id.to_string()).or_insert_with(|| {
            // Only a forecast: an index that cannot be read has no opinion.
            self.index.as_ref().and_then(|index| index.get(id).ok().flatten())
        });
        let hash = identity::content_hash(event);
        let Verdict::Accept { revision } =
            identity::decide(entry.as_ref(), event.change, event.revision, &hash)
        else {
            return Status::Duplicate;
        };
        let live = (event.change != Change::Deleted).then(|| Contribution {
            published_at: at,
            platform: String::new(),
            channel: None,
            author: None,
            topics: Vec::new(),
            terms: Vec::new(),
            compound: None,
            engagement: Default::default(),
        });
        *entry = Some(Entry {
            version: Version { revision, enrichment: 0 },
            content_hash: hash,
            ingested_at: at,
            contribution: live,
        });
        Status::Accepted
    }

    /// Appends a tick of the pipeline clock.
    pub fn tick(&self) -> Result<(), LogError> {
        let at = (self.now_ms)();
        self.log
            .append(vec![Record {
                topic: topic::CLOCK.into(),
                partition: Some(0),
                key: b"tick".to_vec(),
                value: Some(format!("{{\"at\":\"{}\"}}", Millis(at)).into_bytes()),
                timestamp_ms: at,
                headers: cloud_event("control.clock.v1", "clock", at),
            }])
            .map(drop)
    }
}

/// The record of an event, as its producer wrote it.
pub fn record(event: &ContentEvent, id: &str, bytes: Vec<u8>, at: Millis) -> Record {
    let mut headers = cloud_event("content.event.v1", &event.platform, at.0);
    headers.push("ce_id", id.as_bytes());
    Record {
        topic: topic::EVENTS.into(),
        partition: None,
        key: id.as_bytes().to_vec(),
        value: Some(bytes),
        timestamp_ms: at.0,
        headers,
    }
}

/// The lines of an NDJSON text, without empty ones.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}
