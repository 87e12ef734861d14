//! How the embedded log is laid out in its key-value store.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `meta` | `format` | version of this layout |
//! | `meta` | `topic/` name | [`TopicMeta`], postcard |
//! | `meta` | `epoch/` committer id | the holder's epoch |
//! | `meta` | `bounds/` topic id, partition | [`Bounds`], postcard |
//! | `positions` | group NUL topic NUL partition | offset |
//! | `times` | topic id, partition, time | offset; every record before it is at most this old |
//! | `records.` topic `.` partition | offset | [`encode`] |
//!
//! Numbers in keys are big-endian, so that they sort. A layout newer than
//! [`FORMAT`] is refused; an older one would be converted when it is opened.

use dataflows::record::{Headers, Positions, Record, Stored, TopicPartition};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::log::LogError;

/// The version of the layout above.
pub(super) const FORMAT: u32 = 1;
pub(super) const FORMAT_KEY: &[u8] = b"format";
pub(super) const TOPIC_PREFIX: &[u8] = b"topic/";
pub(super) const EPOCH_PREFIX: &[u8] = b"epoch/";
const BOUNDS_PREFIX: &[u8] = b"bounds/";

/// A topic as it was created.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TopicMeta {
    pub id: u32,
    pub partitions: u32,
    pub compact: bool,
    pub retention_ms: Option<u64>,
}

/// What retention and compaction have done to a partition.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Bounds {
    /// Records before this offset are gone.
    pub first: u64,
    /// The end when records were last removed: offsets before it are never given again.
    pub end_min: u64,
    /// Each key has one record at most before this offset.
    pub cleaned: u64,
    /// When the oldest tombstone before `cleaned` may go.
    pub tombstone_due_ms: Option<i64>,
}

pub(super) fn topic_key(name: &str) -> Vec<u8> {
    [TOPIC_PREFIX, name.as_bytes()].concat()
}

pub(super) fn epoch_key(committer: &str) -> Vec<u8> {
    [EPOCH_PREFIX, committer.as_bytes()].concat()
}

pub(super) fn bounds_key(topic_id: u32, partition: u32) -> Vec<u8> {
    [BOUNDS_PREFIX, &topic_id.to_be_bytes(), &partition.to_be_bytes()].concat()
}

pub(super) fn records_keyspace(topic: &str, partition: u32) -> String {
    format!("records.{topic}.{partition}")
}

pub(super) fn time_prefix(topic_id: u32, partition: u32) -> [u8; 8] {
    let mut prefix = [0; 8];
    prefix[..4].copy_from_slice(&topic_id.to_be_bytes());
    prefix[4..].copy_from_slice(&partition.to_be_bytes());
    prefix
}

/// The sign bit is flipped so that times before 1970 sort first.
pub(super) fn time_key(topic_id: u32, partition: u32, time_ms: i64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&time_prefix(topic_id, partition));
    key[8..].copy_from_slice(&(time_ms as u64 ^ (1 << 63)).to_be_bytes());
    key
}

pub(super) fn time_of_key(key: &[u8]) -> Result<i64, LogError> {
    let bits = number(key.get(8..).unwrap_or_default(), "a time")?;
    Ok((bits ^ (1 << 63)) as i64)
}

pub(super) fn number(bytes: &[u8], what: &str) -> Result<u64, LogError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged(what))
}

pub(super) fn group_prefix(group: &str) -> Vec<u8> {
    [group.as_bytes(), b"\0"].concat()
}

pub(super) fn position_key(group: &str, partition: &TopicPartition) -> Vec<u8> {
    [group.as_bytes(), b"\0", partition.topic.as_bytes(), b"\0", &partition.partition.to_be_bytes()].concat()
}

/// Adds the position stored as `key` (after the group's prefix) and `value`.
pub(super) fn read_position(positions: &mut Positions, key: &[u8], value: &[u8]) -> Result<(), LogError> {
    let nul = key.iter().position(|b| *b == 0).ok_or_else(|| damaged("a position"))?;
    let topic = std::str::from_utf8(&key[..nul]).map_err(|_| damaged("a position's topic"))?;
    let partition = key[nul + 1..].try_into().map(u32::from_be_bytes);
    let partition = partition.map_err(|_| damaged("a position's partition"))?;
    positions.insert(TopicPartition::new(topic, partition), number(value, "a position")?);
    Ok(())
}

const HAS_VALUE: u8 = 1;

/// One flag byte, the time, then key and headers with their lengths, then the
/// value to the end. A flag that this version does not know is damage.
pub(super) fn encode(record: &Record) -> Vec<u8> {
    let headers = record.headers.encoded();
    let value = record.value.as_deref().unwrap_or_default();
    let mut out = Vec::with_capacity(17 + record.key.len() + headers.len() + value.len());
    out.push(if record.value.is_some() { HAS_VALUE } else { 0 });
    out.extend_from_slice(&record.timestamp_ms.to_le_bytes());
    push_bytes(&mut out, &record.key);
    out.extend_from_slice(&(record.headers.len() as u32).to_le_bytes());
    out.extend_from_slice(headers);
    out.extend_from_slice(value);
    out
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// A record's parts without copies: what compaction and time lookup need.
pub(super) struct Parts<'a> {
    pub timestamp_ms: i64,
    pub key: &'a [u8],
    pub tombstone: bool,
    rest: Cursor<'a>,
}

pub(super) fn parts(bytes: &[u8]) -> Result<Parts<'_>, LogError> {
    let mut cursor = Cursor(bytes);
    let flags = cursor.take(1)?[0];
    if flags & !HAS_VALUE != 0 {
        return Err(damaged("a record's flags"));
    }
    let timestamp_ms = i64::from_le_bytes(cursor.take(8)?.try_into().expect("eight bytes"));
    let key = cursor.take_bytes()?;
    Ok(Parts { timestamp_ms, key, tombstone: flags & HAS_VALUE == 0, rest: cursor })
}

pub(super) fn decode(
    topic: &Arc<str>,
    partition: u32,
    offset: u64,
    bytes: &[u8],
) -> Result<Stored, LogError> {
    let Parts { timestamp_ms, key, tombstone, mut rest } = parts(bytes)?;
    let count = rest.take_length()?;
    let headers = Headers::decode(count as u32, &mut rest.0).ok_or_else(|| damaged("a header"))?;
    Ok(Stored {
        topic: topic.clone(),
        partition,
        offset,
        timestamp_ms,
        key: key.to_vec(),
        value: (!tombstone).then(|| rest.0.to_vec()),
        headers,
    })
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], LogError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(|| damaged("a record"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn take_length(&mut self) -> Result<usize, LogError> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")) as usize)
    }

    fn take_bytes(&mut self) -> Result<&'a [u8], LogError> {
        let length = self.take_length()?;
        self.take(length)
    }
}

pub(super) fn damaged(what: &str) -> LogError {
    LogError::Fatal(format!("the stored log is damaged: {what} cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: Option<&[u8]>) -> Record {
        Record {
            topic: "t".into(),
            partition: None,
            key: b"key".to_vec(),
            value: value.map(<[u8]>::to_vec),
            timestamp_ms: -5,
            headers: Headers::from_iter([("a", &[0, 1][..]), ("", &[])]),
        }
    }

    #[test]
    fn a_record_reads_back_as_written() {
        for value in [None, Some(&b""[..]), Some(b"value")] {
            let record = record(value);
            let stored = decode(&record.topic, 3, 9, &encode(&record)).expect("whole");
            assert_eq!(
                (stored.key, stored.value, stored.timestamp_ms, stored.headers),
                (record.key, record.value, record.timestamp_ms, record.headers)
            );
        }
    }

    #[test]
    fn a_truncated_record_is_an_error_at_every_length() {
        let bytes = encode(&record(None));
        for length in 0..bytes.len() {
            assert!(decode(&"t".into(), 0, 0, &bytes[..length]).is_err(), "{length}");
        }
        assert!(decode(&"t".into(), 0, 0, &[0xff; 64]).is_err());
    }

    #[test]
    fn times_sort_as_numbers() {
        let times = [i64::MIN, -1, 0, 1, i64::MAX];
        assert!(times.windows(2).all(|w| time_key(1, 2, w[0]) < time_key(1, 2, w[1])));
        assert!(times.iter().all(|t| time_of_key(&time_key(1, 2, *t)).expect("a time") == *t));
    }
}
