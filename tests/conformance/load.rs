//! Large records, many records, many writers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidings::log::LogError;

use crate::harness::*;

pub fn records_of_a_megabyte_pass_and_larger_ones_are_refused(deployment: &Deployment) {
    let log = deployment.start();
    // Not compressible, so that no limit is met by compression.
    let noise = noise(1 << 20);
    let large = || on(0, record(PLAIN, "large", &noise));
    log.append(vec![large(), large()]).expect("appended");
    let mut committer = log.committer("c-0").expect("opened");
    committer
        .commit(&transaction("g", vec![large(), large(), large()], &[(at(PLAIN, 0), 1)]))
        .expect("committed");
    let read = read_settled(&*log, PLAIN, 5);
    assert_eq!(read.len(), 5);
    assert!(read.iter().all(|r| r.value.as_deref() == Some(noise.as_bytes())));

    let larger = || on(0, record(PLAIN, "larger", &noise.repeat(2)));
    let error = log.append(vec![record(PLAIN, "a", "beside"), larger()]);
    assert!(matches!(error, Err(LogError::Rejected(_))), "{error:?}");
    let error = committer.commit(&transaction("g", vec![larger()], &[(at(PLAIN, 0), 2)]));
    assert!(matches!(error, Err(LogError::Rejected(_))), "{error:?}");
    assert_eq!(read_all(&*log, PLAIN).len(), 5);
    assert_eq!(log.committed("g").expect("positions")[&at(PLAIN, 0)], 1);
}

pub fn a_hundred_thousand_records_arrive_once_and_in_order(deployment: &Deployment) {
    const RECORDS: u32 = 100_000;
    const BATCH: u32 = 1000;
    let log = deployment.start();
    let filler = "x".repeat(500);
    let mut committer = log.committer("c-0").expect("opened");
    for batch in 0..RECORDS / BATCH {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let records: Vec<_> =
            numbers.map(|n| record(PLAIN, &format!("key-{}", n % 997), &format!("{n} {filler}"))).collect();
        if batch % 2 == 0 {
            log.append(records).expect("appended");
        } else {
            let position = [(at(OTHER, 0), u64::from(batch))];
            committer.commit(&transaction("g", records, &position)).expect("committed");
        }
    }
    let read = read_settled(&*log, PLAIN, RECORDS as usize);
    assert_eq!(read.len(), RECORDS as usize);
    let mut last: BTreeMap<&[u8], u32> = BTreeMap::new();
    for record in &read {
        let text = std::str::from_utf8(record.value.as_deref().expect("a value")).expect("text");
        let number: u32 = text.split(' ').next().expect("a number").parse().expect("a number");
        let before = last.insert(&record.key, number);
        assert!(before.is_none_or(|before| before < number), "{number} after {before:?}");
    }
    assert_eq!(last.len(), 997);
}

pub fn concurrent_appenders_keep_the_order_of_each_key(deployment: &Deployment) {
    const APPENDERS: u32 = 8;
    const EACH: u32 = 200;
    let log = deployment.start();
    let threads: Vec<_> = (0..APPENDERS)
        .map(|appender| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for n in 0..EACH {
                    let key = format!("key-{appender}");
                    log.append(vec![record(PLAIN, &key, &n.to_string())]).expect("appended");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("appended all"));
    let read = read_all(&*log, PLAIN);
    assert_eq!(read.len(), (APPENDERS * EACH) as usize);
    for appender in 0..APPENDERS {
        let key = format!("key-{appender}");
        let of_key: Vec<_> = read.iter().filter(|r| r.key == key.as_bytes()).cloned().collect();
        let numbers: Vec<String> = values(&of_key).into_values().flatten().collect();
        assert_eq!(numbers, (0..EACH).map(|n| n.to_string()).collect::<Vec<_>>(), "{key}");
    }
    // Offsets increase strictly in every partition.
    for partition in 0..PARTITIONS {
        let offsets: Vec<u64> = read.iter().filter(|r| r.partition == partition).map(|r| r.offset).collect();
        assert!(offsets.windows(2).all(|w| w[0] < w[1]));
    }
}

pub fn a_reader_takes_about_as_much_as_it_asks_for(deployment: &Deployment) {
    let log = deployment.start();
    let value = "x".repeat(10_000);
    let batch = (0..300).map(|n| on(n % PARTITIONS, record(PLAIN, "a", &value))).collect();
    log.append(batch).expect("appended");
    let mut reader = log.reader(&beginning(PLAIN)).expect("opened");
    let (mut read, mut partitions) = (0, BTreeMap::new());
    while read < 300 {
        let records = reader.poll(Duration::from_secs(10), 100_000).expect("read");
        assert!(!records.is_empty(), "stuck after {read}");
        // The last record of each partition may go past the limit.
        let bytes: usize = records.iter().map(|r| r.bytes()).sum();
        assert!(bytes <= 100_000 + PARTITIONS as usize * 10_200, "{bytes}");
        read += records.len();
        records.iter().for_each(|r| *partitions.entry(r.partition).or_insert(0) += 1);
    }
    assert_eq!(partitions.into_values().collect::<Vec<i32>>(), [100, 100, 100]);
    // A limit below one record still moves.
    let mut reader = log.reader(&beginning(PLAIN)).expect("opened");
    assert_eq!(reader.poll(Duration::from_secs(10), 1).expect("read").len(), 1);
}
