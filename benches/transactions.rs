//! The floor under every commit on Kafka: one transaction with positions, by size.
//!
//!     KAFKA_BOOTSTRAP_SERVERS=$(scripts/kafka.sh up) cargo bench --profile dev --bench transactions
//!
//! Closed loop: the next transaction begins when the last is committed, so the
//! spacing of begins is what a committer that is always ready sees. Records have
//! 577 bytes of value, spread over two partitions; every transaction also commits
//! the positions of two partitions.

#[path = "../tests/support/broker.rs"]
mod broker;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dataflows::record::{Record, TopicPartition};
use hdrhistogram::Histogram;
use serde::Deserialize;
use tidings::log::{self, Settings, TopicSpec, Transaction};

const VALUE_BYTES: usize = 577;
const WARM_UP: usize = 20;
const MEASURED: usize = 200;

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

    println!("records  begin-to-begin ms: p50    p90    p99    max   records/s");
    for records in [1, 100, 1_000, 10_000] {
        let mut spacing = Histogram::<u64>::new(3).expect("three digits");
        let mut position = 0;
        let mut began = Instant::now();
        let mut total = Duration::ZERO;
        for round in 0..WARM_UP + MEASURED {
            position += 1;
            let transaction = transaction(records, position, now_ms);
            committer.commit(transaction).expect("committed");
            let ended = Instant::now();
            if round >= WARM_UP {
                spacing.record((ended - began).as_micros() as u64).expect("in range");
                total += ended - began;
            }
            began = ended;
        }
        let ms = |quantile: f64| spacing.value_at_quantile(quantile) as f64 / 1000.0;
        println!(
            "{records:>7}  {:>23.1} {:>6.1} {:>6.1} {:>6.1} {:>11.0}",
            ms(0.5),
            ms(0.9),
            ms(0.99),
            ms(1.0),
            (records * MEASURED) as f64 / total.as_secs_f64()
        );
    }
}

fn transaction(records: usize, position: u64, now_ms: i64) -> Transaction {
    let record = |n: usize| Record {
        topic: "out".into(),
        partition: Some((n % 2) as u32),
        key: n.to_be_bytes().to_vec(),
        value: Some(vec![b'x'; VALUE_BYTES]),
        timestamp_ms: now_ms,
        headers: Vec::new(),
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
