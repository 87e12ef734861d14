//! Feeds a stream to the real graph, a minute an epoch, and notes what is published when.

use std::collections::BTreeSet;

use dataflows::time::{MINUTE_MS, Millis};
use dataflows::trends::{self, Settings, Subject, record::parse_record_key};

use super::stream::{BEGIN, Stream};

/// A trend, with the minute after which it was first published.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub subject: Subject,
    pub since: Millis,
    pub minute: usize,
}

/// What a replay saw.
#[derive(Debug, Default)]
pub struct Replayed {
    /// In the order of publication; each trend once.
    pub found: Vec<Found>,
    /// Records of results.trends.
    pub records: usize,
    /// Differential updates that the aggregate cost.
    pub changes: u64,
    /// The most cells held.
    pub cells_max: usize,
    pub refused: [u64; 2],
}

/// Runs the graph on one worker in this thread. `minutes` is the length of the stream.
pub fn replay(stream: &mut Stream, minutes: usize, settings: &Settings) -> Replayed {
    let (mut replayed, mut seen, mut minute, mut published) = (Replayed::default(), BTreeSet::new(), 0, 0);
    let mut batches = || {
        let at = minute;
        minute += 1;
        let end = Millis(BEGIN.0 + minute as i64 * MINUTE_MS - 1);
        (at < minutes).then(|| (end, stream.minute(at)))
    };
    trends::replay::replay(settings, &mut batches, &mut |records, gauges| {
        for record in records {
            replayed.records += 1;
            if seen.insert(record.key.clone()) {
                let (subject, since) = parse_record_key(&record.key).expect("a key of results.trends");
                replayed.found.push(Found { subject, since, minute: published });
            }
        }
        published += 1;
        replayed.cells_max = replayed.cells_max.max(gauges.cells.get() + gauges.singles.get());
        replayed.changes = gauges.changes.get();
        replayed.refused = gauges.refused.get();
    });
    replayed
}
