//! Which partition a record goes to: the one it names, or the one of its key.
//!
//! The key's partition is murmur2 exactly as Kafka's Java client computes it
//! (librdkafka's `murmur2_random`), so that records of outside producers with the
//! same key land beside ours. An empty key is no key: such records go to the
//! partitions in turn, and a compacted topic refuses them.

use std::sync::atomic::{AtomicU32, Ordering};

use dataflows::record::Record;

use super::LogError;

/// Kafka's murmur2 with its seed: a signed 32-bit hash kept as its bits.
pub fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    let mut hash = SEED ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes(word.try_into().expect("a chunk of four bytes"));
        k = k.wrapping_mul(M);
        k ^= k >> R;
        k = k.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of a key among `partitions`.
pub fn of_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// Where `record` goes. `turn` spreads the records without a key.
pub(super) fn of_record(
    record: &Record,
    partitions: u32,
    compact: bool,
    turn: &AtomicU32,
) -> Result<u32, LogError> {
    if compact && record.key.is_empty() {
        return Err(LogError::Rejected(format!(
            "topic {} is compacted by key and the record has none",
            record.topic
        )));
    }
    match record.partition {
        Some(partition) if partition < partitions => Ok(partition),
        Some(partition) => Err(LogError::Rejected(format!(
            "topic {} has {partitions} partitions, there is no partition {partition}",
            record.topic
        ))),
        None if record.key.is_empty() => Ok(turn.fetch_add(1, Ordering::Relaxed) % partitions),
        None => Ok(of_key(&record.key, partitions)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Apache Kafka, clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java.
    #[test]
    fn murmur2_equals_the_java_client() {
        let cases: [(&str, i32); 7] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
            ("", 275_646_681),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key.as_bytes()) as i32, expected, "{key:?}");
        }
    }

    #[test]
    fn every_length_of_tail_is_hashed() {
        let hashes: std::collections::BTreeSet<u32> =
            (0..16).map(|length| murmur2(&b"0123456789abcdef"[..length])).collect();
        assert_eq!(hashes.len(), 16);
    }

    #[test]
    fn the_partition_is_never_negative() {
        assert!((0..10_000u32).all(|n| of_key(&n.to_be_bytes(), 7) < 7));
        assert_eq!(of_key(b"foobar", 4), ((-790_332_482i32 as u32) & 0x7fff_ffff) % 4);
    }
}
