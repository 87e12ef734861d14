//! A burst becomes the record that tells of it: here integers become the numbers people read.

use super::burst::{BUCKET_MS, Burst, Counts, Stream};
use super::record::{Subject, Trend, TrendBucket, TrendState};
use crate::time::{MINUTE_MS, Millis};

/// Windows shown.
const BUCKETS_SHOWN: usize = 12;

pub fn trend(subject: Subject, burst: &Burst, stream: &Stream, counts: &[Counts]) -> Trend {
    let start = |at: usize| Millis((stream.first + at as i64) * BUCKET_MS);
    let end = burst.until.unwrap_or(counts.len());
    let windows = burst.since..end;
    // The first of those with the most items.
    let peak = windows.clone().rev().max_by_key(|&at| counts[at].items).unwrap_or(burst.since);
    let expected_milli = burst.expected(stream, peak);
    let Counts { items: peak_items, authors: peak_authors } = counts[peak];
    let expected = tenths(expected_milli as f64 / 1e3);
    let exact = expected_milli as f64 / 1e3;
    let shown = end.saturating_sub(BUCKETS_SHOWN)..end;
    let bucket = |at: usize| TrendBucket {
        start: start(at),
        items: counts[at].items,
        authors: counts[at].authors,
        expected: tenths(burst.expected(stream, at) as f64 / 1e3),
    };
    Trend {
        subject,
        state: if burst.until.is_some() { TrendState::Ended } else { TrendState::Rising },
        since: start(burst.since),
        until: burst.until.map(start),
        peak_start: start(peak),
        items: counts[windows.clone()].iter().map(|c| c.items).sum(),
        peak_items,
        authors: counts[windows].iter().map(|c| c.authors).max().unwrap_or(0),
        expected,
        ratio: tenths(peak_items as f64 / exact.max(1.0)),
        score: tenths((peak_items as f64 - exact) / (exact + 1.0).sqrt()),
        buckets: shown.map(bucket).collect(),
        why: format!(
            "{peak_items} items by {peak_authors} authors in {} minutes where {expected:.1} were expected",
            BUCKET_MS / MINUTE_MS
        ),
    }
}

/// One decimal: more would be precision that is not there, and a record for every change of it.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
