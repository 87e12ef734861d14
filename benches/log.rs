//! The embedded log: writing in batches with positions, synced and not, and reading.
//!
//!     cargo bench --profile dev --bench log [-- RECORDS]
//!
//! Closed loop, one committer: what the disk and the store allow. Values have 577
//! bytes of JSON-like text, spread over four partitions; every batch commits a
//! position with it. Reading takes all of it from the beginning, 1 MiB a poll.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dataflows::record::{Headers, Positions, Record, TopicPartition};
use hdrhistogram::Histogram;
use serde::Deserialize;
use tidings::log::{self, Log, Settings, TopicSpec, Transaction};

const VALUE_BYTES: usize = 577;
const PARTITIONS: u32 = 4;
/// Made beforehand, so that the log is measured and not the making.
const DIFFERENT_VALUES: usize = 4096;
const READ_BYTES: usize = 1 << 20;

fn main() {
    let records = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    println!(
        "{:<28} {:>10} {:>8} {:>8} {:>8} {:>14}",
        "", "records/s", "p50 ms", "p99 ms", "max ms", "CPU us/record"
    );
    for synced in [true, false] {
        let name = if synced { "synced" } else { "unsynced" };
        for batch in [1_000, 100] {
            // Small batches cost a sync each: fewer of them say the same.
            let count = if batch < 1000 { records / 10 } else { records };
            write(&format!("write, {name}, batches of {batch}"), synced, count, batch);
        }
    }
    read(records);
    println!("peak memory of the process: {} MB", peak_memory_mb());
}

fn write(name: &str, synced: bool, records: usize, batch: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path(), synced);
    fill(name, &*log, records, batch);
}

fn fill(name: &str, log: &dyn Log, records: usize, batch: usize) {
    let mut committer = log.committer("bench").expect("opened");
    let values: Vec<_> = (0..DIFFERENT_VALUES).map(value).collect();
    let mut latency = Histogram::<u64>::new(3).expect("three digits");
    let (started, cpu) = (Instant::now(), cpu_seconds());
    for first in (0..records).step_by(batch) {
        let transaction = transaction(first, batch, &values);
        let began = Instant::now();
        committer.commit(&transaction).expect("committed");
        latency.record(began.elapsed().as_micros() as u64).expect("in range");
    }
    report(name, records, started.elapsed(), cpu_seconds() - cpu, &latency);
}

fn read(records: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = open(folder.path(), false);
    fill("  (filling for the read)", &*log, records, 1000);
    drop(log);
    let began = Instant::now();
    let log = open(folder.path(), false);
    println!("reopened in {} ms", began.elapsed().as_millis());
    for name in ["read, first time", "read, again"] {
        let from: Positions = (0..PARTITIONS).map(|p| (TopicPartition::new("bench", p), 0)).collect();
        let mut reader = log.reader(&from).expect("opened");
        let mut latency = Histogram::<u64>::new(3).expect("three digits");
        let (started, cpu, mut count) = (Instant::now(), cpu_seconds(), 0);
        while count < records {
            let began = Instant::now();
            count += reader.poll(Duration::from_secs(10), READ_BYTES).expect("read").len();
            latency.record(began.elapsed().as_micros() as u64).expect("in range");
        }
        report(name, count, started.elapsed(), cpu_seconds() - cpu, &latency);
    }
}

fn report(name: &str, records: usize, took: Duration, cpu_s: f64, latency: &Histogram<u64>) {
    let ms = |quantile: f64| latency.value_at_quantile(quantile) as f64 / 1000.0;
    let rate = records as f64 / took.as_secs_f64();
    let cpu_us = cpu_s * 1e6 / records as f64;
    println!("{name:<28} {rate:>10.0} {:>8.2} {:>8.2} {:>8.2} {cpu_us:>14.2}", ms(0.5), ms(0.99), ms(1.0));
}

/// Of all threads of this process: what a busy machine does not distort much.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, counted after the name in parentheses.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

fn open(folder: &std::path::Path, synced: bool) -> std::sync::Arc<dyn Log> {
    let mut settings = shipped();
    settings.embedded.synced = synced;
    let log = log::open(&settings, folder).expect("the log opens");
    let spec = |name, partitions| TopicSpec { name, partitions, compact: false, retention_ms: None };
    log.create(&[spec("bench", PARTITIONS), spec("in", 1)]).expect("created");
    log
}

fn transaction(first: usize, batch: usize, values: &[Vec<u8>]) -> Transaction {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let record = |n: usize| Record {
        topic: "bench".into(),
        partition: None,
        key: format!("bench:{n}").into_bytes(),
        value: Some(values[n % values.len()].clone()),
        timestamp_ms: now_ms,
        headers: Headers::new(),
    };
    Transaction {
        group: "bench".into(),
        records: (first..first + batch).map(record).collect(),
        positions: [(TopicPartition::new("in", 0), (first + batch) as u64)].into(),
    }
}

/// Text that compresses about as real events do: half of it repeats.
fn value(n: usize) -> Vec<u8> {
    let mut state = n as u64 + 1;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'a' + (state >> 59) as u8 % 26
    };
    let mut text = br#"{"platform":"bench","kind":"post","change":"created","text":""#.to_vec();
    while text.len() < VALUE_BYTES - 2 {
        text.push(noise());
        text.extend_from_slice(&b" and so on"[..(VALUE_BYTES - 2 - text.len()).min(2)]);
    }
    text.extend_from_slice(b"\"}");
    text
}

fn peak_memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn shipped() -> Settings {
    #[derive(Deserialize)]
    struct File {
        log: Settings,
    }
    let file: File = toml::from_str(include_str!("../config/default.toml")).expect("the shipped settings");
    file.log
}
