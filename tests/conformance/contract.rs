//! What a caller of the log may rely on, call by call.

use std::time::{Duration, Instant};

use dataflows::record::{Headers, Positions, Record};
use tidings::log::{LogError, TopicSpec, partition};

use crate::harness::*;

pub fn records_read_back_as_they_were_appended(deployment: &Deployment) {
    let log = deployment.start();
    let sent = vec![
        Record {
            headers: Headers::from_iter([("ce_id", &b"1"[..]), ("empty", &[])]),
            ..on(1, record(PLAIN, "key", "value"))
        },
        on(1, record(PLAIN, "key", "")),
        on(1, tombstone(PLAIN, "key")),
        on(2, record(PLAIN, "", "no key")),
    ];
    let places = log.append(sent.clone()).expect("appended");
    let read = read_all(&*log, PLAIN);
    assert_eq!(read.len(), sent.len());
    for (sent, (partition, offset)) in sent.iter().zip(&places) {
        let read = read
            .iter()
            .find(|r| r.partition == partition.partition && r.offset == *offset)
            .expect("at the place that append returned");
        assert_eq!((&read.key, &read.value, &read.headers), (&sent.key, &sent.value, &sent.headers));
        assert_eq!(read.timestamp_ms, sent.timestamp_ms);
        assert_eq!(&*read.topic, PLAIN);
    }
    assert_eq!(log.append(Vec::new()).expect("an empty batch"), Vec::new());
}

pub fn records_and_positions_are_committed_together(deployment: &Deployment) {
    let log = deployment.start();
    let mut committer = log.committer("c-0").expect("opened");
    let records = vec![on(0, record(PLAIN, "a", "1")), on(2, record(OTHER, "b", "2"))];
    committer.commit(&transaction("g", records, &[(at(PLAIN, 0), 7), (at(OTHER, 1), 3)])).expect("committed");
    assert_eq!(sorted_values(&read_settled(&*log, PLAIN, 1)), ["1"]);
    assert_eq!(sorted_values(&read_settled(&*log, OTHER, 1)), ["2"]);
    let expected: Positions = [(at(PLAIN, 0), 7), (at(OTHER, 1), 3)].into();
    assert_eq!(log.committed("g").expect("positions"), expected);

    // Positions alone, and records alone; a second group is apart from the first.
    committer.commit(&transaction("g", vec![], &[(at(PLAIN, 0), 8)])).expect("positions alone");
    committer.commit(&transaction("h", vec![record(PLAIN, "c", "3")], &[])).expect("records alone");
    committer.commit(&transaction("h", vec![], &[])).expect("nothing");
    assert_eq!(log.committed("g").expect("positions")[&at(PLAIN, 0)], 8);
    assert_eq!(log.committed("g").expect("positions")[&at(OTHER, 1)], 3);
    assert_eq!(sorted_values(&read_settled(&*log, PLAIN, 2)), ["1", "3"]);
}

pub fn a_refused_transaction_changes_nothing(deployment: &Deployment) {
    let log = deployment.start();
    let refused = [
        on(PARTITIONS, record(PLAIN, "a", "no such partition")),
        record("test.absent", "a", "no such topic"),
        record(COMPACT, "", "a compacted topic needs a key"),
    ];
    for bad in refused {
        let mut committer = log.committer("c-0").expect("opened");
        let records = vec![record(PLAIN, "a", "good"), bad.clone()];
        let error = committer.commit(&transaction("g", records.clone(), &[(at(PLAIN, 0), 1)]));
        assert!(matches!(error, Err(LogError::Rejected(_))), "{error:?}");
        assert!(matches!(log.append(records), Err(LogError::Rejected(_))));
    }
    assert_eq!(read_all(&*log, PLAIN), []);
    assert_eq!(log.committed("g").expect("positions"), Positions::new());
}

pub fn a_new_committer_fences_the_old_one(deployment: &Deployment) {
    let log = deployment.start();
    let mut old = log.committer("c-0").expect("opened");
    let mut other = log.committer("c-1").expect("opened");
    old.commit(&transaction("g", vec![record(PLAIN, "a", "old")], &[(at(PLAIN, 0), 1)])).expect("committed");
    // Another handle of the same log, as another process would have.
    let second = if deployment.is_kafka() { deployment.open() } else { log.clone() };
    let mut new = second.committer("c-0").expect("taken over");
    let late = transaction("g", vec![record(PLAIN, "a", "late")], &[(at(PLAIN, 0), 2)]);
    let error = old.commit(&late);
    assert!(matches!(error, Err(LogError::Fenced(ref id)) if id.ends_with("c-0")), "{error:?}");
    assert_eq!(log.committed("g").expect("positions")[&at(PLAIN, 0)], 1);
    assert_eq!(sorted_values(&read_settled(&*log, PLAIN, 1)), ["old"]);

    new.commit(&transaction("g", vec![record(PLAIN, "a", "new")], &[(at(PLAIN, 0), 3)])).expect("committed");
    other.commit(&transaction("g", vec![record(PLAIN, "a", "other")], &[])).expect("not concerned");
    assert_eq!(sorted_values(&read_settled(&*log, PLAIN, 3)), ["new", "old", "other"]);
    assert_eq!(log.committed("g").expect("positions")[&at(PLAIN, 0)], 3);
}

pub fn a_group_that_never_committed_has_no_positions(deployment: &Deployment) {
    let log = deployment.start();
    assert_eq!(log.committed("nobody").expect("known to be empty"), Positions::new());
}

pub fn a_reader_waits_for_records_and_reaches_the_end(deployment: &Deployment) {
    let log = deployment.start();
    let mut reader = log.reader(&beginning(PLAIN)).expect("opened");
    let started = Instant::now();
    assert_eq!(reader.poll(Duration::from_millis(50), 1 << 20).expect("nothing yet"), []);
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert_eq!(reader.positions(), beginning(PLAIN));

    let writer = std::thread::spawn({
        let log = log.clone();
        move || {
            let mut committer = log.committer("c-0").expect("opened");
            committer
                .commit(&transaction("g", vec![on(1, record(PLAIN, "a", "1"))], &[]))
                .expect("committed");
        }
    });
    let deadline = Instant::now() + PATIENCE;
    let mut read = Vec::new();
    while read.is_empty() && Instant::now() < deadline {
        read = reader.poll(PATIENCE, 1 << 20).expect("read");
    }
    assert_eq!(sorted_values(&read), ["1"]);
    writer.join().expect("committed");
    // Past the control records of the transaction too.
    read_until(&mut *reader, &ends(&*log, PLAIN));
    assert_eq!(reader.positions(), ends(&*log, PLAIN));
}

pub fn reading_resumes_at_any_position(deployment: &Deployment) {
    let log = deployment.start();
    let numbers =
        |range: std::ops::Range<u32>| range.map(|n| on(0, record(PLAIN, "a", &n.to_string()))).collect();
    let places = log.append(numbers(0..20)).expect("appended");
    for (index, (partition, offset)) in places.iter().enumerate() {
        let read = read_from(&*log, &[(partition.clone(), *offset)].into(), &ends(&*log, PLAIN));
        assert_eq!(read.len(), 20 - index);
        assert_eq!(read[0].offset, *offset);
    }
}

pub fn a_position_beyond_the_end_is_refused(deployment: &Deployment) {
    let log = deployment.start();
    log.append(vec![on(0, record(PLAIN, "a", "1"))]).expect("appended");
    assert!(log.reader(&[(at(PLAIN, 0), 1)].into()).is_ok());
    let error = log.reader(&[(at(PLAIN, 0), 1000)].into()).map(drop);
    assert!(matches!(error, Err(LogError::Misconfigured(_))), "{error:?}");
    assert!(log.reader(&[(at(PLAIN, PARTITIONS), 0)].into()).is_err());
}

pub fn a_key_goes_to_the_partition_that_java_gives_it(deployment: &Deployment) {
    let log = deployment.start();
    let keys = ["21", "foobar", "a-little-bit-long-string", "abc", "mastodon:1", "ключ"];
    let places = log.append(keys.map(|key| record(PLAIN, key, key)).into()).expect("appended");
    for (key, (partition, _)) in keys.iter().zip(places) {
        assert_eq!(partition.partition, partition::of_key(key.as_bytes(), PARTITIONS), "{key}");
    }
}

pub fn a_named_partition_wins_over_the_key(deployment: &Deployment) {
    let log = deployment.start();
    let right = partition::of_key(b"foobar", PARTITIONS);
    let wrong = (right + 1) % PARTITIONS;
    let places = log.append(vec![on(wrong, record(PLAIN, "foobar", "1"))]).expect("appended");
    assert_eq!(places[0].0.partition, wrong);
    // The reader sees it where it is, so that a stage can tell that it is wrong.
    let read = read_all(&*log, PLAIN);
    assert_ne!(partition::of_key(&read[0].key, PARTITIONS), read[0].partition);
}

pub fn another_partition_count_is_refused(deployment: &Deployment) {
    let log = deployment.start();
    let more = TopicSpec { partitions: PARTITIONS + 1, ..specs()[0].clone() };
    let error = log.create(std::slice::from_ref(&more)).expect_err("refused");
    let LogError::Misconfigured(text) = &error else { panic!("{error:?}") };
    assert!(text.contains("log.partitions") && text.contains(PLAIN), "{text}");
    drop(log);
    assert!(matches!(deployment.open().create(&[more]), Err(LogError::Misconfigured(_))));
}

pub fn creating_twice_changes_nothing(deployment: &Deployment) {
    let log = deployment.start();
    log.append(vec![record(PLAIN, "a", "1")]).expect("appended");
    log.create(&specs()).expect("they exist");
    assert_eq!(sorted_values(&read_all(&*log, PLAIN)), ["1"]);
}

pub fn a_time_finds_the_first_record_not_older(deployment: &Deployment) {
    let log = deployment.start();
    let start = now_ms() - 100_000;
    // Roughly in order, as several writers make it.
    let times = [0, 10, 30, 20, 25, 60, 60, 40, 90];
    let stamped = |offset_ms: i64| Record {
        timestamp_ms: start + offset_ms,
        ..on(0, record(PLAIN, "a", &offset_ms.to_string()))
    };
    for time in times {
        log.append(vec![stamped(time)]).expect("appended");
    }
    let read = read_from(&*log, &[(at(PLAIN, 0), 0)].into(), &ends(&*log, PLAIN));
    let end = ends(&*log, PLAIN)[&at(PLAIN, 0)];
    for probe in -1..=91 {
        let expected = read.iter().find(|r| r.timestamp_ms >= start + probe).map_or(end, |r| r.offset);
        assert_eq!(log.position_at(&at(PLAIN, 0), start + probe).expect("found"), expected, "at {probe}");
    }
    assert_eq!(log.position_at(&at(PLAIN, 1), start).expect("empty"), 0);
}

pub fn topics_are_listed_with_their_ranges(deployment: &Deployment) {
    let log = deployment.start();
    log.append((0..5).map(|n| on(1, record(OTHER, "a", &n.to_string()))).collect()).expect("appended");
    let topics = log.topics().expect("listed");
    let names: Vec<_> = topics.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, [COMPACT, OTHER, PLAIN]);
    assert_eq!(topics[1].ranges, [(0, 0), (0, 5), (0, 0)]);
}
