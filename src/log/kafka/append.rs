//! Appends from any thread through one idempotent producer.
//!
//! Consumes batches of records and produces their places once every record is
//! acknowledged by all replicas in sync. Each record carries a ticket of its batch,
//! which the delivery report fills in; a batch waits for its last ticket.

use std::sync::Arc;

use dataflows::record::{Record, TopicPartition};
use parking_lot::{Condvar, Mutex};
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::client::{self, classify};
use super::topics::Topics;
use super::{headers, record_of};
use crate::log::LogError;

pub(super) struct Appender {
    producer: ThreadedProducer<Reports>,
}

struct Reports;

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let outcome = match result {
            Ok(message) => Ok(message.offset().max(0) as u64),
            Err((error, _)) => Err(classify("appending", error)),
        };
        ticket.batch.fill(ticket.index, outcome);
    }
}

struct Ticket {
    batch: Arc<Batch>,
    index: usize,
}

struct Batch {
    state: Mutex<State>,
    done: Condvar,
}

struct State {
    missing: usize,
    offsets: Vec<u64>,
    error: Option<LogError>,
}

impl Batch {
    fn new(records: usize) -> Arc<Self> {
        let state = State { missing: records, offsets: vec![0; records], error: None };
        Arc::new(Self { state: Mutex::new(state), done: Condvar::new() })
    }

    fn fill(&self, index: usize, outcome: Result<u64, LogError>) {
        let mut state = self.state.lock();
        match outcome {
            Ok(offset) => state.offsets[index] = offset,
            // The first says more than those it brought down.
            Err(error) => drop(state.error.get_or_insert(error)),
        }
        state.missing -= 1;
        if state.missing == 0 {
            self.done.notify_all();
        }
    }

    fn wait(&self) -> Result<Vec<u64>, LogError> {
        let mut state = self.state.lock();
        while state.missing > 0 {
            self.done.wait(&mut state);
        }
        match state.error.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut state.offsets)),
        }
    }
}

impl Appender {
    pub fn open(topics: &Topics) -> Result<Self, LogError> {
        let producer = client::producer(&topics.settings)
            .create_with_context(Reports)
            .map_err(|e| classify("opening the producer", &e))?;
        Ok(Self { producer })
    }

    /// Nothing is sent unless every record can be.
    pub fn append(
        &self,
        topics: &Topics,
        records: &[Record],
    ) -> Result<Vec<(TopicPartition, u64)>, LogError> {
        let places = records.iter().map(|record| topics.place(record)).collect::<Result<Vec<_>, _>>()?;
        let batch = Batch::new(records.len());
        for (index, (record, (topic, partition))) in records.iter().zip(&places).enumerate() {
            let ticket = Box::new(Ticket { batch: batch.clone(), index });
            let message = BaseRecord::with_opaque_to(&topic.full_name, ticket).partition(*partition as i32);
            self.send(record_of(message, record).headers(headers(record)));
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let offsets = batch.wait()?;
        let place = |((record, (_, partition)), offset): ((&Record, &(_, u32)), u64)| {
            (TopicPartition::new(record.topic.clone(), *partition), offset)
        };
        Ok(records.iter().zip(&places).zip(offsets).map(place).collect())
    }

    /// Sends, waiting for room while the buffer is full; a record that cannot be
    /// sent fills its ticket with the reason.
    fn send(&self, mut message: BaseRecord<'_, [u8], [u8], Box<Ticket>>) {
        const FULL_STEP: std::time::Duration = std::time::Duration::from_millis(1);
        loop {
            match self.producer.send(message) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    message = back;
                    // The producer's own thread makes room by taking reports.
                    std::thread::sleep(FULL_STEP);
                }
                Err((error, back)) => {
                    let Ticket { batch, index } = *back.delivery_opaque;
                    return batch.fill(index, Err(classify("appending", &error)));
                }
            }
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        // Every append waited for its reports: nothing is in flight.
        debug_assert_eq!(self.producer.in_flight_count(), 0);
    }
}
