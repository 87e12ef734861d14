//! The topics of this deployment on the brokers: creating, listing, positions in them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use dataflows::record::{Positions, Record, TopicPartition};
use parking_lot::RwLock;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{self, classify};
use crate::log::{LogError, Settings, TopicInfo, TopicSpec, partition, record_bytes};

/// Between two looks whether a partition has its leader.
const ELECTION_STEP: Duration = Duration::from_millis(20);

/// The group of the consumer that only asks; it never commits.
const ASKING_GROUP: &str = "inspect";

pub(super) struct Topics {
    pub settings: Settings,
    /// Asks for metadata and offsets, as a `read_committed` reader sees them.
    asking: BaseConsumer,
    admin: AdminClient<DefaultClientContext>,
    known: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
}

/// What a writer needs to know of a topic.
pub(super) struct Topic {
    pub full_name: String,
    pub partitions: u32,
    compact: bool,
    turn: AtomicU32,
}

impl Topics {
    pub fn open(settings: &Settings) -> Result<Self, LogError> {
        let asking =
            client::consumer(settings, ASKING_GROUP).create().map_err(|e| classify("connecting", &e))?;
        let admin = client::base(settings).create().map_err(|e| classify("connecting", &e))?;
        Ok(Self { settings: settings.clone(), asking, admin, known: RwLock::default() })
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.settings.kafka.request_timeout_ms)
    }

    pub fn full_name(&self, topic: &str) -> String {
        format!("{}{topic}", self.settings.topic_prefix)
    }

    pub fn create(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        let existing = self.partition_counts()?;
        let mut missing = Vec::new();
        for spec in specs {
            match existing.get(spec.name) {
                Some(count) if *count == spec.partitions => {}
                Some(count) => return Err(LogError::other_partition_count(spec, *count)),
                None => missing.push(spec),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.create_missing(&missing)?;
        self.wait_for(&missing)
    }

    fn create_missing(&self, missing: &[&TopicSpec]) -> Result<(), LogError> {
        let names: Vec<String> = missing.iter().map(|spec| self.full_name(spec.name)).collect();
        let configs: Vec<_> = missing.iter().map(|spec| config(spec, &self.settings)).collect();
        let new: Vec<NewTopic<'_>> = missing
            .iter()
            .zip(names.iter().zip(&configs))
            .map(|(spec, (name, config))| {
                let replication = TopicReplication::Fixed(self.settings.kafka.replication_factor);
                let topic = NewTopic::new(name, spec.partitions as i32, replication);
                config.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
            })
            .collect();
        let options = AdminOptions::new().request_timeout(Some(self.timeout()));
        let created =
            wait(self.admin.create_topics(&new, &options)).map_err(|e| classify("creating topics", &e))?;
        for result in created {
            match result {
                // Another process may have been quicker; its counts are checked next time.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    let error = rdkafka::error::KafkaError::AdminOp(code);
                    return Err(classify(&format!("creating topic {name}"), &error));
                }
            }
        }
        Ok(())
    }

    /// A created topic is known to every broker a little later.
    fn wait_for(&self, created: &[&TopicSpec]) -> Result<(), LogError> {
        let deadline = Instant::now() + self.timeout();
        loop {
            let counts = self.partition_counts()?;
            if created.iter().all(|spec| counts.get(spec.name) == Some(&spec.partitions)) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(LogError::Retry(
                    "the topics just created are not known to the broker yet".into(),
                ));
            }
            std::thread::sleep(ELECTION_STEP);
        }
    }

    /// Our topics and how many partitions each has.
    fn partition_counts(&self) -> Result<BTreeMap<String, u32>, LogError> {
        let metadata =
            self.asking.fetch_metadata(None, self.timeout()).map_err(|e| classify("listing topics", &e))?;
        let ours = metadata.topics().iter().filter(|topic| topic.error().is_none()).filter_map(|topic| {
            let name = topic.name().strip_prefix(&self.settings.topic_prefix)?;
            Some((name.to_string(), topic.partitions().len() as u32))
        });
        Ok(ours.collect())
    }

    pub fn list(&self) -> Result<Vec<TopicInfo>, LogError> {
        let counts = self.partition_counts()?;
        let all: Vec<TopicPartition> = counts
            .iter()
            .flat_map(|(name, count)| (0..*count).map(|p| TopicPartition::new(name.as_str(), p)))
            .collect();
        let ends = self.offsets(&all, Offset::End)?;
        let firsts = self.offsets(&all, Offset::Beginning)?;
        let info = |(name, count): (String, u32)| {
            let range = |p| {
                let at = TopicPartition::new(name.as_str(), p);
                let end = ends.get(&at).copied().unwrap_or(0);
                (firsts.get(&at).copied().unwrap_or(0).min(end), end)
            };
            TopicInfo { ranges: (0..count).map(range).collect(), name }
        };
        Ok(counts.into_iter().map(info).collect())
    }

    /// The offset of each partition by time, or at its beginning or committed end.
    /// A time after the last record gives the end.
    pub fn offsets(&self, of: &[TopicPartition], at: Offset) -> Result<Positions, LogError> {
        // A partition that has just been created or lost its broker gets a leader soon.
        let deadline = Instant::now() + self.timeout();
        loop {
            match self.offsets_now(of, at) {
                Err(LogError::Retry(_)) if Instant::now() < deadline => std::thread::sleep(ELECTION_STEP),
                outcome => return outcome,
            }
        }
    }

    fn offsets_now(&self, of: &[TopicPartition], at: Offset) -> Result<Positions, LogError> {
        if of.is_empty() {
            return Ok(Positions::new());
        }
        let attempt = "looking up offsets";
        let mut query = TopicPartitionList::with_capacity(of.len());
        for partition in of {
            query
                .add_partition_offset(&self.full_name(&partition.topic), partition.partition as i32, at)
                .map_err(|e| classify(attempt, &e))?;
        }
        let found =
            self.asking.offsets_for_times(query, self.timeout()).map_err(|e| classify(attempt, &e))?;
        let mut positions = Positions::new();
        let mut after_last = Vec::new();
        for element in found.elements() {
            element.error().map_err(|e| classify(attempt, &e))?;
            let partition = self.of_ours(element.topic(), element.partition());
            match element.offset() {
                Offset::Offset(offset) => drop(positions.insert(partition, offset.max(0) as u64)),
                _ => after_last.push(partition),
            }
        }
        if !after_last.is_empty() && at != Offset::End {
            positions.extend(self.offsets_now(&after_last, Offset::End)?);
        }
        Ok(positions)
    }

    /// The positions stored under a group, waiting for transactions that are about
    /// to change them.
    pub fn committed(&self, group: &str) -> Result<Positions, LogError> {
        let attempt = format!("reading the positions of {group}");
        let mut query = TopicPartitionList::new();
        for (name, count) in self.partition_counts()? {
            for partition in 0..count {
                query.add_partition(&self.full_name(&name), partition as i32);
            }
        }
        if query.count() == 0 {
            return Ok(Positions::new());
        }
        let consumer: BaseConsumer =
            client::consumer(&self.settings, group).create().map_err(|e| classify(&attempt, &e))?;
        let stored = consumer.committed_offsets(query, self.timeout()).map_err(|e| classify(&attempt, &e))?;
        let mut positions = Positions::new();
        for element in stored.elements() {
            element.error().map_err(|e| classify(&attempt, &e))?;
            if let Offset::Offset(offset) = element.offset() {
                positions.insert(self.of_ours(element.topic(), element.partition()), offset.max(0) as u64);
            }
        }
        Ok(positions)
    }

    fn of_ours(&self, full_name: &str, partition: i32) -> TopicPartition {
        let name = full_name.strip_prefix(&self.settings.topic_prefix).unwrap_or(full_name);
        TopicPartition::new(name, partition.max(0) as u32)
    }

    /// Where a record goes, or why it cannot.
    pub fn place(&self, record: &Record) -> Result<(Arc<Topic>, u32), LogError> {
        let topic = self.topic(&record.topic)?;
        let partition = partition::of_record(record, topic.partitions, topic.compact, &topic.turn)?;
        let (bytes, bytes_max) = (record_bytes(record), self.settings.record_bytes_max);
        if bytes > bytes_max {
            return Err(LogError::too_large(&record.topic, bytes, bytes_max));
        }
        Ok((topic, partition))
    }

    /// A topic that must exist; what is known of it is kept, as it does not change.
    pub fn topic(&self, name: &Arc<str>) -> Result<Arc<Topic>, LogError> {
        if let Some(topic) = self.known.read().get(name) {
            return Ok(topic.clone());
        }
        let partitions = *self
            .partition_counts()?
            .get(&**name)
            .ok_or_else(|| LogError::Rejected(format!("there is no topic {name}")))?;
        let full_name = self.full_name(name);
        let compact = self.is_compacted(&full_name)?;
        let topic = Arc::new(Topic { full_name, partitions, compact, turn: AtomicU32::new(0) });
        self.known.write().insert(name.clone(), topic.clone());
        Ok(topic)
    }

    fn is_compacted(&self, full_name: &str) -> Result<bool, LogError> {
        let attempt = format!("describing topic {full_name}");
        let options = AdminOptions::new().request_timeout(Some(self.timeout()));
        let described = wait(self.admin.describe_configs(&[ResourceSpecifier::Topic(full_name)], &options))
            .map_err(|e| classify(&attempt, &e))?;
        let mut policies = Vec::new();
        for resource in described {
            let resource =
                resource.map_err(|code| classify(&attempt, &rdkafka::error::KafkaError::AdminOp(code)))?;
            policies.extend(resource.get("cleanup.policy").and_then(|entry| entry.value.clone()));
        }
        Ok(policies.iter().any(|policy| policy.split(',').any(|p| p.trim() == "compact")))
    }
}

/// A topic's settings: how it forgets, and how large its records may be.
fn config(spec: &TopicSpec, settings: &Settings) -> Vec<(&'static str, String)> {
    let ms = |seconds: u64| seconds.saturating_mul(1000).to_string();
    let policy = match (spec.compact, spec.retention_ms) {
        (true, Some(_)) => "compact,delete",
        (true, None) => "compact",
        (false, _) => "delete",
    };
    let mut config = vec![
        ("cleanup.policy", policy.to_string()),
        ("retention.ms", spec.retention_ms.map_or("-1".into(), |ms| ms.to_string())),
        ("segment.ms", ms(settings.segment_s)),
        ("max.message.bytes", client::message_bytes_max(settings).to_string()),
        ("message.timestamp.type", "CreateTime".to_string()),
    ];
    if spec.compact {
        config.extend([
            ("min.compaction.lag.ms", ms(settings.compaction_lag_min_s)),
            ("max.compaction.lag.ms", ms(settings.compaction_lag_max_s)),
            ("delete.retention.ms", ms(settings.tombstone_grace_s)),
            ("min.cleanable.dirty.ratio", settings.compaction_dirty_ratio.to_string()),
        ]);
    }
    config
}

/// Waits for an answer of the administration, which the client's own thread brings.
fn wait<F: Future>(future: F) -> F::Output {
    use std::pin::pin;
    use std::task::{Context, Poll, Wake, Waker};

    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}
