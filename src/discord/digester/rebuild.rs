//! From where the digester reads the log again at its start.

use dataflows::record::{Positions, TopicPartition, topic};

use super::GROUP;
use crate::discord::deliver::ranges;
use crate::log::{Log, LogError};

/// Where to start reading so that the lookback is in memory, and the ends as of now.
pub(super) fn start_positions(log: &dyn Log, lookback_ms: i64) -> Result<(Positions, Positions), LogError> {
    let committed = log.committed(GROUP)?;
    let mut starts = Positions::new();
    let mut ends = Positions::new();
    let mut latest = i64::MIN;
    for name in [topic::CLOCK, topic::ENRICHED, topic::VOLUME, topic::STORIES, topic::ALERTS] {
        let (first, end) = ranges(log, name)?;
        for (place, end) in &end {
            if first.get(place) != Some(end) {
                latest = latest.max(last_timestamp(log, place, *end)?);
            }
        }
        starts.extend(first);
        ends.extend(end);
    }
    for (place, start) in &mut starts {
        if &*place.topic == topic::STORIES {
            // One that has not changed for long is still one; the topic holds days of them.
            continue;
        }
        let recent = log.position_at(place, latest.saturating_sub(lookback_ms))?;
        // Not after the committed position: a change that waited is read again.
        let committed = committed.get(place).copied().unwrap_or(recent);
        *start = (*start).max(recent.min(committed));
    }
    Ok((starts, ends))
}

/// The timestamp of the last record before `end` of a partition that is not empty, by
/// bisection.
pub(crate) fn last_timestamp(log: &dyn Log, place: &TopicPartition, end: u64) -> Result<i64, LogError> {
    // The year 2262: far beyond any timestamp, and no sum of two overflows.
    const LATEST_MS: i64 = 9_214_646_400_000;
    let (mut at, mut after) = (0, LATEST_MS);
    while at + 1 < after {
        let middle = at + (after - at) / 2;
        if log.position_at(place, middle)? < end {
            at = middle;
        } else {
            after = middle;
        }
    }
    Ok(at)
}
