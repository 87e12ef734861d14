//! The floor under every commit on Kafka: one transaction with positions, by size.
//!
//!     KAFKA_BOOTSTRAP_SERVERS=$(scripts/kafka.sh up) cargo bench --profile dev --bench transactions
//!
//! Back to back: the next transaction begins when the last is committed, so the
//! spacing of begins is what a committer that is always ready sees. Spaced: begins
//! are scheduled 100 ms apart, and the time is from the scheduled begin to the end of
//! the commit. Records have 577 bytes of value, spread over two partitions; every
//! transaction also commits the positions of two partitions.

#[path = "../tests/support/broker.rs"]
mod broker;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dataflows::record::{Headers, Record, TopicPartition};
use hdrhistogram::Histogram;
use serde::Deserialize;
use tidings::log::{self, Settings, TopicSpec, Transaction};

const VALUE_BYTES: usize = 577;
const WARM_UP: usize = 20;
const MEASURED: usize = 200;
const SPACING: Duration = Duration::from_millis(100);

fn main() {
    let mut settings = shipped();
    settings.kafka.bootstrap_servers = broker::bootstrap_servers();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    settings.topic_prefix = format!("bench-{now_ms}.");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = log::open(&settings, folder.path()).expect("the log opens");
    let spec = |name| TopicSpec { name, partitions: 2, compact: false, retention_ms: None };
    log.create(&[spec("in"), spec("out")]).expect("created");
    let mut committer = log.committer("bench").expect("opened");

    println!("            records  p50 ms  p90 ms  p99 ms  max ms  records/s");
    let mut position = 0;
    for (name, spacing) in [("back to back", Duration::ZERO), ("spaced", SPACING)] {
        for records in [1, 100, 1_000, 10_000] {
            let mut latency = Histogram::<u64>::new(3).expect("three digits");
            let started = Instant::now();
            let mut began = started;
            for round in 0..WARM_UP + MEASURED {
                position += 1;
                let scheduled = started + spacing * round as u32;
                std::thread::sleep(scheduled.saturating_duration_since(Instant::now()));
                if !spacing.is_zero() {
                    began = scheduled;
                }
                committer.commit(&transaction(records, position, now_ms)).expect("committed");
                let ended = Instant::now();
                if round >= WARM_UP {
                    latency.record((ended - began).as_micros() as u64).expect("in range");
                }
                began = ended;
            }
            let rate = (records * (WARM_UP + MEASURED)) as f64 / started.elapsed().as_secs_f64();
            let ms = |quantile: f64| latency.value_at_quantile(quantile) as f64 / 1000.0;
            let quantiles = [0.5, 0.9, 0.99, 1.0].map(|q| format!("{:>6.1}", ms(q))).join("  ");
            println!("{name:<12} {records:>6}  {quantiles} {rate:>10.0}");
        }
    }
}

fn transaction(records: usize, position: u64, now_ms: i64) -> Transaction {
    let record = |n: usize| Record {
        topic: "out".into(),
        partition: Some((n % 2) as u32),
        key: n.to_be_bytes().to_vec(),
        value: Some(vec![b'x'; VALUE_BYTES]),
        timestamp_ms: now_ms,
        headers: Headers::new(),
    };
    Transaction {
        group: "bench".into(),
        records: (0..records).map(record).collect(),
        positions: (0..2).map(|p| (TopicPartition::new("in", p), position)).collect(),
    }
}

fn shipped() -> Settings {
    #[derive(Deserialize)]
    struct File {
        log: Settings,
    }
    let file: File = toml::from_str(include_str!("../config/default.toml")).expect("the shipped settings");
    file.log
}
