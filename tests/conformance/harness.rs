//! A deployment of its own for each test, and short ways to say what a test means.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dataflows::record::{Headers, Positions, Record, Stored, TopicPartition};
use serde::Deserialize;
use tidings::log::{self, Log, Reader, Settings, TopicSpec, Transaction};

/// How long anything may take before the test says that it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const PARTITIONS: u32 = 3;

/// A topic that forgets nothing, and one that compacts.
pub const PLAIN: &str = "test.plain";
pub const OTHER: &str = "test.other";
pub const COMPACT: &str = "test.compact";

#[derive(Clone)]
pub struct Deployment {
    pub settings: Settings,
    folder: Arc<tempfile::TempDir>,
}

impl Deployment {
    pub fn embedded() -> Self {
        Self { settings: shipped(), folder: Arc::new(tempfile::tempdir().expect("a temporary folder")) }
    }

    pub fn kafka() -> Self {
        let mut deployment = Self::embedded();
        deployment.settings.kafka.bootstrap_servers = crate::broker::bootstrap_servers();
        deployment.settings.topic_prefix = unique_prefix();
        deployment
    }

    pub fn is_kafka(&self) -> bool {
        !self.settings.kafka.bootstrap_servers.is_empty()
    }

    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    pub fn with(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut changed = self.clone();
        change(&mut changed.settings);
        changed
    }

    pub fn open(&self) -> Arc<dyn Log> {
        log::open(&self.settings, self.folder.path()).expect("the log opens")
    }

    /// Opens the log and creates the topics above.
    pub fn start(&self) -> Arc<dyn Log> {
        let log = self.open();
        log.create(&specs()).expect("topics are created");
        log
    }
}

pub fn specs() -> [TopicSpec; 3] {
    let spec = |name, compact| TopicSpec { name, partitions: PARTITIONS, compact, retention_ms: None };
    [spec(PLAIN, false), spec(OTHER, false), spec(COMPACT, true)]
}

pub fn shipped() -> Settings {
    #[derive(Deserialize)]
    struct File {
        log: Settings,
    }
    let file: File = toml::from_str(include_str!("../../config/default.toml")).expect("the shipped settings");
    file.log
}

fn unique_prefix() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("t{}-{}-{count}.", now_ms(), std::process::id())
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

pub fn record(topic: &str, key: &str, value: &str) -> Record {
    Record {
        topic: topic.into(),
        partition: None,
        key: key.into(),
        value: Some(value.into()),
        timestamp_ms: now_ms(),
        headers: Headers::new(),
    }
}

pub fn tombstone(topic: &str, key: &str) -> Record {
    Record { value: None, ..record(topic, key, "") }
}

pub fn on(partition: u32, record: Record) -> Record {
    Record { partition: Some(partition), ..record }
}

pub fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

pub fn transaction(group: &str, records: Vec<Record>, positions: &[(TopicPartition, u64)]) -> Transaction {
    Transaction { group: group.into(), records, positions: positions.iter().cloned().collect() }
}

/// Every partition of the topic from its beginning.
pub fn beginning(topic: &str) -> Positions {
    (0..PARTITIONS).map(|p| (at(topic, p), 0)).collect()
}

/// The committed end of each partition of the topic.
pub fn ends(log: &dyn Log, topic: &str) -> Positions {
    let topics = log.topics().expect("topics are listed");
    let info = topics.iter().find(|t| t.name == topic).expect("the topic exists");
    info.ranges.iter().enumerate().map(|(p, (_, end))| (at(topic, p as u32), *end)).collect()
}

/// Everything committed on the topic, read up to the end there is now.
pub fn read_all(log: &dyn Log, topic: &str) -> Vec<Stored> {
    read_from(log, &beginning(topic), &ends(log, topic))
}

/// The same once it holds this many records: a commit on Kafka is acknowledged when
/// it is decided, and seen by readers a moment later.
pub fn read_settled(log: &dyn Log, topic: &str, records: usize) -> Vec<Stored> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let read = read_all(log, topic);
        if read.len() >= records || Instant::now() >= deadline {
            return read;
        }
        std::thread::yield_now();
    }
}

pub fn read_from(log: &dyn Log, from: &Positions, to: &Positions) -> Vec<Stored> {
    let mut reader = log.reader(from).expect("the positions can be read");
    read_until(&mut *reader, to)
}

pub fn read_until(reader: &mut dyn Reader, to: &Positions) -> Vec<Stored> {
    let deadline = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    while reader.positions().iter().any(|(partition, next)| *next < to[partition]) {
        assert!(Instant::now() < deadline, "stuck at {:?} before {to:?}", reader.positions());
        all.extend(reader.poll(Duration::from_millis(200), 1 << 20).expect("records are read"));
    }
    all
}

/// The values of each partition, in order.
pub fn values(records: &[Stored]) -> BTreeMap<u32, Vec<String>> {
    let mut values: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for record in records {
        let value = record.value.as_deref().map_or("tombstone".into(), String::from_utf8_lossy);
        values.entry(record.partition).or_default().push(value.into_owned());
    }
    values
}

/// Every value, sorted.
pub fn sorted_values(records: &[Stored]) -> Vec<String> {
    let mut all: Vec<String> = values(records).into_values().flatten().collect();
    all.sort();
    all
}

/// Text that hardly compresses, the same each time.
pub fn noise(length: usize) -> String {
    let mut state = 1u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + (state >> 57) as u8 % 94)
    };
    std::iter::repeat_with(next).take(length).collect()
}
