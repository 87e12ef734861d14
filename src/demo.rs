//! The demonstration: real texts and a written scenario, played through the running
//! program, and what it made of them beside what it should have made of them.
//!
//! [`content`] reads the real texts, [`archive`] assigns them platforms, authors and
//! times, [`scenario`] adds a written few hundred deliveries with edits, deletions and
//! trouble, [`expectation`] works out independently of the pipeline what must come of it
//! all. [`program`] is the running program, [`play`] sends everything to it and asks what
//! came of it, [`findings`], [`happening`] and [`report`] write that down for people, and [`show`] is the
//! order of it all.

pub mod content;
pub mod archive;
pub mod scenario;
pub mod expectation;
pub mod program;
pub mod measure;
pub mod play;
pub mod findings;
pub mod happening;
pub mod report;
pub mod show;

use dataflows::event::ContentEvent;

/// One line as a producer would send it, and what must become of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub line: Vec<u8>,
    /// What the line says; `None` where it does not hold an event.
    pub event: Option<ContentEvent>,
    pub outcome: Outcome,
}

/// What must become of a delivery, by the rules of identity that producers are promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// An item not known before, or one that comes back after its deletion.
    Created,
    /// Another version of a known item.
    Updated,
    /// A deletion, also of an item not seen yet.
    Deleted,
    /// What the log holds already.
    Duplicate,
    /// Older than what the log holds.
    Stale,
    /// Refused at the door or set aside as a dead letter, with a reason.
    Refused,
}

impl Outcome {
    pub const ALL: [Self; 6] =
        [Self::Created, Self::Updated, Self::Deleted, Self::Duplicate, Self::Stale, Self::Refused];

    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::Refused => "refused",
        }
    }
}

impl Delivery {
    fn of(event: ContentEvent, outcome: Outcome) -> Self {
        let line = serde_json::to_vec(&event).expect("an event is plain data");
        Self { line, event: Some(event), outcome }
    }

    fn broken(line: impl Into<Vec<u8>>) -> Self {
        Self { line: line.into(), event: None, outcome: Outcome::Refused }
    }
}

/// A number below `below` that depends on the label alone, so that every run plays the
/// same demonstration.
fn draw(label: &str, below: u64) -> u64 {
    let hash = blake3::hash(label.as_bytes());
    let bytes = hash.as_bytes().first_chunk::<8>().expect("a hash has 32 bytes");
    u64::from_le_bytes(*bytes) % below.max(1)
}
