//! Transactions: records and the positions that produced them, in one commit.
//!
//! The producer is polled on the committer's own thread, in steps of a millisecond,
//! until every record is acknowledged; then the positions and the commit follow. A
//! producer with a polling thread of its own would make every transaction wait for
//! that thread's 100 ms.
//!
//! Fencing is by `transactional.id`: opening a committer ends every earlier one with
//! this id and whatever transaction it left open.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::client::{self, classify};
use super::topics::Topics;
use super::{count_written, headers, record_of};
use crate::log::{Committer, LogError, Transaction, metrics};
use crate::ops::failpoint;

/// How often reports are taken while records are on their way.
const POLL_STEP: Duration = Duration::from_millis(1);

pub(super) struct KafkaCommitter {
    id: String,
    topics: Arc<Topics>,
    producer: BaseProducer<Reports>,
    groups: HashMap<String, ConsumerGroupMetadata>,
}

/// Keeps the first error that a delivery report brought.
struct Reports {
    failed: Mutex<Option<KafkaError>>,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.failed.lock().get_or_insert_with(|| error.clone());
        }
    }
}

impl KafkaCommitter {
    pub fn open(topics: Arc<Topics>, id: &str) -> Result<Self, LogError> {
        let attempt = format!("opening committer {id}");
        let reports = Reports { failed: Mutex::new(None) };
        let producer: BaseProducer<Reports> = client::transactional(&topics.settings, id)
            .create_with_context(reports)
            .map_err(|e| classify(&attempt, &e))?;
        producer.init_transactions(topics.timeout()).map_err(|e| classify(&attempt, &e))?;
        Ok(Self { id: id.to_string(), topics, producer, groups: HashMap::new() })
    }

    fn send_records(&self, transaction: &Transaction) -> Result<(), LogError> {
        // Checked before anything is sent: a refused record changes nothing.
        let records = &transaction.records;
        let places = records.iter().map(|record| self.topics.place(record)).collect::<Result<Vec<_>, _>>()?;
        let offsets = self.offsets(transaction)?;
        self.producer.begin_transaction().map_err(|e| self.error("beginning a transaction", &e))?;
        match self.fill(transaction, &places).and_then(|()| self.finish(transaction, &offsets)) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.give_up(error)),
        }
    }

    /// Ends the transaction that failed, so that it holds back no reader. What cannot
    /// be aborted now is by the next committer of this id; nothing may be retried then.
    fn give_up(&self, error: LogError) -> LogError {
        if matches!(error, LogError::Fenced(_) | LogError::Fatal(_)) {
            return error;
        }
        // An abort waits for reports that nobody would take: they are taken first.
        self.producer.purge(PurgeConfig::default().queue().inflight());
        let deadline = Instant::now() + self.topics.timeout();
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            self.producer.poll(POLL_STEP);
        }
        self.producer.context().failed.lock().take();
        match self.producer.abort_transaction(self.topics.timeout()) {
            Ok(()) => error,
            Err(abort) => {
                LogError::Fatal(format!("{error}; and the transaction could not be aborted: {abort}"))
            }
        }
    }

    fn fill(
        &self,
        transaction: &Transaction,
        places: &[(Arc<super::topics::Topic>, u32)],
    ) -> Result<(), LogError> {
        let deadline =
            Instant::now() + Duration::from_millis(self.topics.settings.kafka.transaction_timeout_ms);
        for (record, (topic, partition)) in transaction.records.iter().zip(places) {
            let message = BaseRecord::to(&topic.full_name).partition(*partition as i32);
            let mut message = record_of(message, record).headers(headers(record));
            while let Err((error, back)) = self.producer.send(message) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull)
                    || Instant::now() > deadline
                {
                    return Err(self.error("sending a record", &error));
                }
                message = back;
                self.producer.poll(POLL_STEP);
            }
        }
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(POLL_STEP);
            if Instant::now() > deadline {
                return Err(LogError::Fatal(format!(
                    "records of committer {} were not acknowledged in time",
                    self.id
                )));
            }
        }
        match self.producer.context().failed.lock().take() {
            Some(error) => Err(self.error("sending records", &error)),
            None => Ok(()),
        }
    }

    fn finish(&self, transaction: &Transaction, offsets: &TopicPartitionList) -> Result<(), LogError> {
        failpoint::pass("commit.produced", &self.id);
        if let Some(metadata) = self.groups.get(&transaction.group)
            && offsets.count() > 0
        {
            self.retrying("committing positions", || {
                self.producer.send_offsets_to_transaction(offsets, metadata, self.topics.timeout())
            })?;
        }
        failpoint::pass("commit.positioned", &self.id);
        match self.retrying("committing", || self.producer.commit_transaction(self.topics.timeout())) {
            // It may be decided or not: only a new committer can tell.
            Err(LogError::Retry(why)) => Err(LogError::Fatal(why)),
            outcome => outcome,
        }
    }

    /// librdkafka keeps what it was doing: a retriable call is made again as it is.
    fn retrying(&self, attempt: &str, call: impl Fn() -> Result<(), KafkaError>) -> Result<(), LogError> {
        let deadline = Instant::now() + self.topics.timeout();
        loop {
            match call() {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(e)) if e.is_retriable() && Instant::now() < deadline => {
                    self.producer.poll(POLL_STEP);
                }
                Err(error) => return Err(self.error(attempt, &error)),
            }
        }
    }

    fn offsets(&self, transaction: &Transaction) -> Result<TopicPartitionList, LogError> {
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in &transaction.positions {
            let topic = self.topics.topic(&partition.topic)?;
            if partition.partition >= topic.partitions {
                return Err(LogError::Rejected(format!("there is no partition {partition}")));
            }
            let offset = Offset::Offset(*offset as i64);
            offsets
                .add_partition_offset(&topic.full_name, partition.partition as i32, offset)
                .map_err(|e| self.error("preparing positions", &e))?;
        }
        Ok(offsets)
    }

    /// The name under which positions are stored; fencing needs no generation of it.
    fn know_group(&mut self, transaction: &Transaction) -> Result<(), LogError> {
        let group = &transaction.group;
        if transaction.positions.is_empty() || self.groups.contains_key(group) {
            return Ok(());
        }
        if group.is_empty() {
            return Err(LogError::Rejected("positions need the name of a group".into()));
        }
        let consumer: BaseConsumer = client::consumer(&self.topics.settings, group)
            .create()
            .map_err(|e| self.error("naming a group", &e))?;
        let metadata = consumer
            .group_metadata()
            .ok_or_else(|| LogError::Fatal(format!("group {group} has no metadata")))?;
        self.groups.insert(group.clone(), metadata);
        Ok(())
    }

    fn error(&self, attempt: &str, error: &KafkaError) -> LogError {
        // The reason of a fatal state is kept by the client, not by each error.
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        let code = fatal.or(error.rdkafka_error_code());
        if code.is_some_and(client::is_fenced) {
            return LogError::Fenced(self.id.clone());
        }
        match classify(&format!("committer {}, {attempt}", self.id), error) {
            LogError::Retry(text) if fatal.is_some() => LogError::Fatal(text),
            other => other,
        }
    }
}

impl Committer for KafkaCommitter {
    fn commit(&mut self, transaction: &Transaction) -> Result<(), LogError> {
        let _timer = metrics::COMMIT_SECONDS.start_timer();
        if transaction.records.is_empty() && transaction.positions.is_empty() {
            return Ok(());
        }
        self.know_group(transaction)?;
        self.send_records(transaction)?;
        failpoint::pass("commit.done", &self.id);
        count_written(&transaction.records);
        Ok(())
    }
}
