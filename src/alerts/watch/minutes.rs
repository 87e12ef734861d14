//! What was understood and what was refused, by the minute of its ingestion:
//! content.enriched and dead.letters → counts of a window.
//!
//! Every stage behind Enrich works on what Enrich made, so its records are what the
//! failures of each stage are set against.

use std::collections::BTreeMap;

use dataflows::event::Enriched;
use dataflows::faults::DeadLetter;
use dataflows::record::Stored;
use dataflows::time::{MINUTE_MS, Millis};

/// Characters of a text from which its language should be found.
const LONG_CHARS_MIN: usize = 120;
/// Messages that Discord refuses have an alert of their own.
const DELIVERY: &str = "deliver";

#[derive(Default)]
pub(super) struct Minutes {
    minutes: BTreeMap<Millis, Minute>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Minute {
    /// Records of content.enriched.
    pub taken: u64,
    /// Items with a long text.
    pub long: u64,
    /// Those of them without a language.
    pub unknown: u64,
    /// Dead letters by stage.
    pub failed: BTreeMap<String, u64>,
}

impl Minutes {
    pub fn len(&self) -> usize {
        self.minutes.len()
    }

    pub fn enriched(&mut self, enriched: &Enriched) {
        let minute = self.minutes.entry(enriched.ingested_at.floor(MINUTE_MS)).or_default();
        minute.taken += 1;
        let Some(content) = &enriched.content else { return };
        if content.analysed_text().chars().nth(LONG_CHARS_MIN).is_some() {
            minute.long += 1;
            minute.unknown += u64::from(content.lang.is_none());
        }
    }

    pub fn dead_letter(&mut self, stored: &Stored) {
        let Some(value) = &stored.value else { return };
        match serde_json::from_slice::<DeadLetter>(value) {
            Ok(letter) if letter.stage == DELIVERY => {}
            Ok(letter) => {
                let minute = self.minutes.entry(letter.ingested_at.floor(MINUTE_MS)).or_default();
                *minute.failed.entry(letter.stage).or_default() += 1;
            }
            Err(error) => tracing::warn!(%error, offset = stored.offset, "a dead letter is unreadable"),
        }
    }

    /// The sums of the window that ends with the minute of `at`.
    pub fn within(&self, at: Millis, window_ms: i64) -> Minute {
        let mut sum = Minute::default();
        let from = Millis((at.0 - window_ms).div_euclid(MINUTE_MS) * MINUTE_MS + MINUTE_MS);
        for (_, minute) in self.minutes.range(from..=at) {
            sum.taken += minute.taken;
            sum.long += minute.long;
            sum.unknown += minute.unknown;
            for (stage, failed) in &minute.failed {
                *sum.failed.entry(stage.clone()).or_default() += failed;
            }
        }
        sum
    }

    pub fn expire(&mut self, oldest: Millis) {
        self.minutes = self.minutes.split_off(&oldest.floor(MINUTE_MS));
    }
}
