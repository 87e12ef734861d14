//! What leaves the log, and what must not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dataflows::record::{Record, Stored};
use tidings::log::{Log, TopicSpec};

use crate::harness::*;

const DAY_MS: i64 = 24 * 3_600_000;

/// The last value of every key; a tombstone is `None`.
fn latest(records: &[Stored]) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    records.iter().map(|r| (r.key.clone(), r.value.clone())).collect()
}

pub fn compaction_keeps_the_last_record_of_each_key(deployment: &Deployment) {
    let deployment = deployment.with(|settings| {
        settings.segment_s = 1;
        settings.compaction_lag_min_s = 0;
        settings.compaction_lag_max_s = 1;
        settings.compaction_dirty_ratio = 0.01;
        settings.tombstone_grace_s = 1;
    });
    let log = deployment.start();
    for round in 0..10 {
        let mut records: Vec<_> =
            (0..50).map(|key| record(COMPACT, &format!("key-{key}"), &format!("{round}"))).collect();
        records.extend((0..10).map(|key| tombstone(COMPACT, &format!("gone-{key}"))));
        log.append(records).expect("appended");
    }
    let before = read_all(&*log, COMPACT);
    assert_eq!(before.len(), 600);

    // Kafka compacts closed segments only, and closes them when something is
    // appended: keep a key of its own moving until the rest is compacted.
    let deadline = Instant::now() + 2 * PATIENCE;
    let after = loop {
        log.append((0..PARTITIONS).map(|p| on(p, record(COMPACT, "moving", "x"))).collect())
            .expect("appended");
        log.maintain(now_ms() + if deployment.is_kafka() { 0 } else { DAY_MS }).expect("maintained");
        let read: Vec<Stored> = read_all(&*log, COMPACT).into_iter().filter(|r| r.key != b"moving").collect();
        let tombstones = read.iter().filter(|r| r.value.is_none()).count();
        // Ten tombstones are left until their grace is over, then none.
        if read.len() == 50 || (deployment.is_kafka() && read.len() - tombstones == 50 && tombstones <= 10) {
            break read;
        }
        assert!(
            Instant::now() < deadline,
            "{} records are left, {tombstones} of them tombstones",
            read.len()
        );
        std::thread::park_timeout(Duration::from_millis(500));
    };
    let values: Vec<_> = after.iter().filter(|r| r.value.is_some()).collect();
    assert!(values.iter().all(|r| r.value.as_deref() == Some(b"9")));
    let kept = latest(&after).into_iter().filter(|(_, value)| value.is_some()).collect::<BTreeMap<_, _>>();
    let expected = latest(&before).into_iter().filter(|(_, value)| value.is_some()).collect();
    assert_eq!(kept, expected);
    // The places of what is kept did not change.
    let place = |r: &Stored| (r.partition, r.offset);
    let places: Vec<_> = before.iter().map(place).collect();
    assert!(after.iter().all(|r| places.contains(&place(r))));
}

pub fn a_reader_behind_retention_starts_at_the_first_record_kept(deployment: &Deployment) {
    let log = deployment.open();
    let spec =
        TopicSpec { name: PLAIN, partitions: PARTITIONS, compact: false, retention_ms: Some(DAY_MS as u64) };
    log.create(&[spec]).expect("created");
    let aged = |n: i64| Record {
        timestamp_ms: now_ms() - if n < 60 { 2 * DAY_MS } else { 0 },
        ..on(0, record(PLAIN, "a", &n.to_string()))
    };
    log.append((0..100).map(aged).collect()).expect("appended");
    let mut slow = log.reader(&[(at(PLAIN, 0), 10)].into()).expect("opened");
    remove_before(deployment, &*log, 60);
    assert_eq!(ends(&*log, PLAIN)[&at(PLAIN, 0)], 100);

    let end = [(at(PLAIN, 0), 100)].into();
    let read = read_from(&*log, &[(at(PLAIN, 0), 3)].into(), &end);
    assert_eq!(read.len(), 40);
    assert_eq!(read[0].offset, 60);
    // One that was open already may hold what it had fetched; it misses nothing kept.
    let read = read_until(&mut *slow, &end);
    assert!(read.len() >= 40 && read.last().map(|r| r.offset) == Some(99));
    let topics = log.topics().expect("listed");
    assert_eq!(topics[0].ranges[0], (60, 100));
}

/// Has the old records removed. Kafka's own retention takes whole segments at a time
/// of its choosing; its administration removes the same ones at once.
fn remove_before(deployment: &Deployment, log: &dyn Log, offset: i64) {
    if deployment.is_kafka() {
        let topic = format!("{}{PLAIN}", deployment.settings.topic_prefix);
        delete_records(&deployment.settings.kafka.bootstrap_servers, &topic, 0, offset);
    } else {
        log.maintain(now_ms()).expect("maintained");
    }
}

/// Removes the records of a partition before the offset, as an administrator would.
fn delete_records(servers: &str, topic: &str, partition: i32, before: i64) {
    use rdkafka::admin::{AdminClient, AdminOptions};
    use rdkafka::client::DefaultClientContext;
    use rdkafka::{ClientConfig, Offset, TopicPartitionList};

    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", servers).create().expect("a client");
    let mut until = TopicPartitionList::new();
    until.add_partition_offset(topic, partition, Offset::Offset(before)).expect("an offset");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let deleted = runtime.block_on(admin.delete_records(&until, &AdminOptions::new())).expect("an answer");
    for element in deleted.elements() {
        element.error().expect("deleted");
    }
}
