//! What only the embedded log does: it owns its folder, its disk and its clockwork.

use dataflows::record::{Positions, Record};
use tidings::log::{self, LogError, TopicSpec};

use crate::harness::*;

const DAY_MS: i64 = 24 * 3_600_000;

#[test]
fn a_folder_is_opened_by_one_at_a_time() {
    let deployment = Deployment::embedded();
    let log = deployment.start();
    let Err(error) = log::open(&deployment.settings, &deployment.folder()) else { panic!("opened twice") };
    assert!(matches!(&error, LogError::Misconfigured(text) if text.contains("another process")), "{error}");
    // A reader keeps the folder; when all are gone it is free at once.
    let reader = log.reader(&beginning(PLAIN)).expect("opened");
    let committer = log.committer("c-0").expect("opened");
    drop((log, reader, committer));
    deployment.open();
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let deployment = Deployment::embedded();
    drop(deployment.start());
    let store = deployment.folder().join("log");
    let write = |version: u32| {
        let db = fjall::Database::builder(&store).open().expect("the store opens");
        let meta = db.keyspace("meta", fjall::KeyspaceCreateOptions::default).expect("meta");
        meta.insert("format", version.to_be_bytes()).expect("written");
    };
    write(2);
    let Err(error) = log::open(&deployment.settings, &deployment.folder()) else { panic!("opened") };
    assert!(matches!(&error, LogError::Misconfigured(text) if text.contains("newer version")), "{error}");
    write(1);
    deployment.start();
}

#[test]
fn a_nearly_full_disk_refuses_records_and_changes_nothing() {
    let deployment = Deployment::embedded();
    let log = deployment.start();
    log.append(vec![record(PLAIN, "a", "1")]).expect("appended");
    drop(log);
    // More than any disk has free.
    let log = deployment.with(|s| s.embedded.disk_free_min_percent = 101.0).open();
    let mut committer = log.committer("c-0").expect("opened");
    let error = log.append(vec![record(PLAIN, "a", "2")]).expect_err("refused");
    assert!(matches!(&error, LogError::Full(text) if text.contains("disk_free_min_percent")), "{error}");
    let commit = committer.commit(&transaction("g", vec![record(PLAIN, "a", "3")], &[(at(PLAIN, 0), 1)]));
    assert!(matches!(commit, Err(LogError::Full(_))), "{commit:?}");
    assert_eq!(sorted_values(&read_all(&*log, PLAIN)), ["1"]);
    assert_eq!(log.committed("g").expect("positions"), Positions::new());
}

#[test]
fn a_log_as_large_as_it_may_be_refuses_records_until_it_may_be_larger() {
    let deployment = Deployment::embedded();
    let log = deployment.start();
    log.append(vec![record(PLAIN, "a", "1")]).expect("appended");
    drop(log);
    let log = deployment.with(|s| s.embedded.bytes_max = 1).open();
    let error = log.append(vec![record(PLAIN, "a", "2")]).expect_err("refused");
    assert!(matches!(&error, LogError::Full(text) if text.contains("log.embedded.bytes_max")), "{error}");
    assert_eq!(sorted_values(&read_all(&*log, PLAIN)), ["1"]);
    drop(log);
    for (bytes_max, value) in [(u64::MAX, "3"), (0, "4")] {
        let log = deployment.with(|s| s.embedded.bytes_max = bytes_max).open();
        log.append(vec![record(PLAIN, "a", value)]).expect("there is room, or no limit");
    }
    assert_eq!(sorted_values(&read_all(&*deployment.open(), PLAIN)), ["1", "3", "4"]);
}

#[test]
fn offsets_are_not_given_twice_after_everything_was_removed() {
    let deployment = Deployment::embedded().with(|s| {
        s.compaction_lag_min_s = 0;
        s.tombstone_grace_s = 0;
    });
    let log = deployment.open();
    let spec =
        |name, compact| TopicSpec { name, partitions: 1, compact, retention_ms: (!compact).then_some(1000) };
    let specs = [spec(PLAIN, false), spec(COMPACT, true)];
    log.create(&specs).expect("created");
    for topic in [PLAIN, COMPACT] {
        log.append(vec![record(topic, "a", "1"), tombstone(topic, "a")]).expect("appended");
    }
    log.maintain(now_ms() + DAY_MS).expect("maintained");
    let check = |log: &dyn log::Log| {
        for info in log.topics().expect("listed") {
            assert_eq!(info.ranges, [(2, 2)], "{}", info.name);
        }
    };
    check(&*log);
    drop(log);
    let log = deployment.open();
    check(&*log);
    for topic in [PLAIN, COMPACT] {
        let places = log.append(vec![record(topic, "a", "3")]).expect("appended");
        assert_eq!(places[0].1, 2);
    }
    // A reader from the beginning finds what is left and the end.
    let mut reader = log.reader(&[(at(COMPACT, 0), 0)].into()).expect("opened");
    let read = read_until(&mut *reader, &[(at(COMPACT, 0), 3)].into());
    assert_eq!(sorted_values(&read), ["3"]);
}

#[test]
fn compaction_waits_for_its_lag_and_keeps_tombstones_for_their_grace() {
    let deployment = Deployment::embedded().with(|s| s.segment_s = 0);
    let (lag_ms, grace_ms) = (
        deployment.settings.compaction_lag_min_s as i64 * 1000,
        deployment.settings.tombstone_grace_s as i64 * 1000,
    );
    let log = deployment.start();
    let start = now_ms();
    let stamped = |time, value: Option<&str>| Record {
        timestamp_ms: time,
        value: value.map(Into::into),
        ..on(0, record(COMPACT, "a", ""))
    };
    log.append(vec![stamped(start, Some("1")), stamped(start + 1, Some("2")), stamped(start + 2, None)])
        .expect("appended");
    let count = || read_all(&*log, COMPACT).len();
    log.maintain(start + lag_ms - 1).expect("maintained");
    assert_eq!(count(), 3, "all younger than the lag");
    log.maintain(start + lag_ms + 1).expect("maintained");
    assert_eq!(count(), 2, "the first is old enough to be superseded");
    log.maintain(start + lag_ms.max(grace_ms) + 3).expect("maintained");
    assert_eq!(count(), 0, "a tombstone past its grace goes too");
    assert_eq!(ends(&*log, COMPACT)[&at(COMPACT, 0)], 3);
}

#[test]
fn a_partition_with_more_keys_than_a_pass_holds_is_compacted_in_several() {
    let deployment = Deployment::embedded().with(|s| {
        s.embedded.compaction_keys_max = 7;
        s.compaction_lag_min_s = 0;
    });
    let log = deployment.start();
    for round in 0..5 {
        let records = (0..100).map(|key| on(0, record(COMPACT, &format!("key-{key}"), &round.to_string())));
        log.append(records.collect()).expect("appended");
    }
    log.maintain(now_ms() + DAY_MS / 4).expect("maintained");
    let read = read_all(&*log, COMPACT);
    assert_eq!(read.len(), 100);
    assert!(read.iter().all(|r| r.value.as_deref() == Some(b"4")));
}

#[test]
fn times_are_found_across_the_index_and_a_restart() {
    const RECORDS: i64 = 10_000;
    let deployment = Deployment::embedded();
    let mut log = deployment.start();
    let stamped = |n: i64| Record { timestamp_ms: n * 10, ..on(0, record(PLAIN, "a", "x")) };
    for batch in 0..10 {
        let numbers = batch * RECORDS / 10..(batch + 1) * RECORDS / 10;
        log.append(numbers.map(stamped).collect()).expect("appended");
        drop(log);
        log = deployment.open();
    }
    for probe in (-5..RECORDS * 10 + 5).step_by(997) {
        let expected = (probe.max(0) as u64).div_ceil(10).min(RECORDS as u64);
        assert_eq!(log.position_at(&at(PLAIN, 0), probe).expect("found"), expected, "at {probe}");
    }
    // Retention forgets the index with the records.
    let spec = TopicSpec { retention_ms: Some(1000), ..specs()[0].clone() };
    log.create(&[spec]).expect("adjusted");
    log.maintain(50_000 + 1000).expect("maintained");
    assert_eq!(log.topics().expect("listed")[2].ranges[0], (5000, RECORDS as u64));
    assert_eq!(log.position_at(&at(PLAIN, 0), 0).expect("found"), 5000);
    assert_eq!(log.position_at(&at(PLAIN, 0), 77_770).expect("found"), 7777);
}

#[test]
fn files_are_worked_on_once_a_segment() {
    let deployment = Deployment::embedded();
    let log = deployment.open();
    log.create(&[TopicSpec { retention_ms: Some(1000), ..specs()[0].clone() }]).expect("created");
    let stamped = |time| Record { timestamp_ms: time, ..on(0, record(PLAIN, "a", "x")) };
    log.append((0..10).map(|n| stamped(n * 1000)).collect()).expect("appended");
    let first = |now_ms| {
        log.maintain(now_ms).expect("maintained");
        log.topics().expect("listed")[0].ranges[0].0
    };
    let segment_ms = deployment.settings.segment_s as i64 * 1000;
    assert_eq!(first(4_000), 3);
    assert_eq!(first(4_000 + segment_ms - 1), 3, "not yet");
    assert_eq!(first(4_000 + segment_ms), 10);
}
