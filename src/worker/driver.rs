//! What drives one dataflow on one worker: batches in, epochs open and closed,
//! complete epochs committed.
//!
//! This file has both places that look back: input is admitted by credit, which a
//! commit returns, and positions are committed when the frontier has passed them.
//!
//! Invariants:
//! - An epoch is fed once, with the positions its input reaches; both are data at
//!   the epoch.
//! - What is committed is everything up to an epoch that the frontier has passed.
//! - Bytes that are read but not committed never exceed the credit by more than
//!   one batch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;

use dataflows::Epoch;
use dataflows::collect::{Binding, Collected, Epochs};
use dataflows::record::{Positions, Record, Stored, TopicPartition};
use parking_lot::Mutex;
use timely::dataflow::InputHandleVec;
use timely::dataflow::operators::probe::Handle;

use super::commit::Commits;
use super::metrics;
use super::read::Batches;
use crate::log::Transaction;

/// Epochs that a worker has fed and that are not complete yet: with more, epochs
/// grow instead.
const OPEN_EPOCHS_MAX: usize = 2;

/// Limits of a driver.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that one worker feeds into one epoch.
    pub epoch_bytes_max: usize,
    /// Bytes that one worker has read and not committed.
    pub credit_bytes_max: usize,
    /// Records of one transaction, about.
    pub transaction_records_max: usize,
}

/// What the workers of one dataflow share.
#[derive(Default)]
pub struct Shared {
    /// The latest epoch that any worker opened: the others follow.
    latest: AtomicU64,
    /// Everything up to this epoch is committed (where one worker commits for all).
    committed: AtomicU64,
    workers: Mutex<Vec<Thread>>,
}

impl Shared {
    pub fn join(&self, worker: Thread) {
        self.workers.lock().push(worker);
    }

    fn wake(&self) {
        self.workers.lock().iter().for_each(Thread::unpark);
    }
}

/// The inputs of a dataflow that a driver owns.
pub struct Inputs {
    pub stored: InputHandleVec<Epoch, Stored>,
    pub bindings: InputHandleVec<Epoch, Binding>,
}

/// One worker's part of one dataflow.
pub struct Driver {
    pub name: &'static str,
    group: String,
    limits: Limits,
    inputs: Option<Inputs>,
    batches: Batches,
    pub probe: Handle<Epoch>,
    pub epochs: Epochs,
    /// `None` where another worker commits.
    commits: Option<Commits>,
    shared: Arc<Shared>,
    /// Epochs fed and not committed, with their bytes and when they were fed.
    uncommitted: VecDeque<(Epoch, usize, i64)>,
    credit_used: usize,
    batches_fed: u64,
    current: Epoch,
    committed: Epoch,
    /// Positions that are committed where what is read lies before them.
    floor: Positions,
}

/// What a tick did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ticked {
    /// Something may be left to do at once.
    pub busy: bool,
    /// Everything up to this epoch is newly committed.
    pub committed: Option<Epoch>,
}

impl Driver {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts are made in one place and have no better grouping"
    )]
    pub fn new(
        name: &'static str,
        group: String,
        limits: Limits,
        inputs: Inputs,
        batches: Batches,
        (epochs, probe): (Epochs, Handle<Epoch>),
        commits: Option<Commits>,
        shared: Arc<Shared>,
        start: Epoch,
    ) -> Self {
        shared.latest.fetch_max(start, Ordering::SeqCst);
        shared.committed.fetch_max(start.saturating_sub(1), Ordering::SeqCst);
        let mut driver = Self {
            name,
            group,
            limits,
            inputs: Some(inputs),
            batches,
            probe,
            epochs,
            commits,
            shared,
            uncommitted: VecDeque::new(),
            credit_used: 0,
            batches_fed: 0,
            current: 0,
            committed: start.saturating_sub(1),
            floor: Positions::new(),
        };
        driver.advance(start);
        driver
    }

    /// For a stage that reads again what lies before its position: commits none before these.
    pub fn never_before(&mut self, floor: Positions) {
        self.floor = floor;
    }

    /// Batches that were fed since the start, and those that were read and are not.
    pub fn batches(&self) -> (u64, u64) {
        (self.batches_fed, self.batches.len() as u64)
    }

    /// Closes the current epoch, in which an input of the owner's own has something.
    pub fn open_next(&mut self, now_ms: i64) {
        let next = (now_ms.max(0) as u64).max(self.current + 1);
        self.shared.latest.fetch_max(next, Ordering::SeqCst);
        self.advance(next);
        self.shared.wake();
    }

    /// The epoch that is open.
    pub fn current(&self) -> Epoch {
        self.current
    }

    pub fn commit_under_way(&self) -> bool {
        self.commits.as_ref().is_some_and(Commits::is_under_way)
    }

    /// Moves everything on that can be moved, as of `now_ms`.
    pub fn tick(&mut self, now_ms: i64) -> Ticked {
        self.tick_feeding(now_ms, true)
    }

    /// As [`Self::tick`]; feeds what was read only if `feeds`.
    pub fn tick_feeding(&mut self, now_ms: i64, feeds: bool) -> Ticked {
        let committed = self.take_confirmations(now_ms);
        let latest = self.shared.latest.load(Ordering::SeqCst);
        if latest > self.current {
            self.advance(latest);
        }
        let fed = feeds && self.feed(now_ms);
        self.hand_over();
        metrics::CREDIT_USED.with_label_values(&[self.name]).set(self.credit_used as i64);
        metrics::FRONTIER_AGE.with_label_values(&[self.name]).set(self.frontier_age_s(now_ms));
        Ticked { busy: fed && !self.batches.is_empty(), committed }
    }

    /// Age of the oldest epoch that has data and is not complete, in seconds.
    fn frontier_age_s(&self, now_ms: i64) -> f64 {
        let oldest = self.uncommitted.front().map_or(now_ms, |(_, _, fed_ms)| *fed_ms);
        (now_ms - oldest).max(0) as f64 / 1e3
    }

    /// Feeds what was read into the current epoch and opens the next one.
    fn feed(&mut self, now_ms: i64) -> bool {
        let open = self.uncommitted.iter().filter(|(epoch, _, _)| self.probe.less_equal(epoch)).count();
        if open >= OPEN_EPOCHS_MAX || self.inputs.is_none() {
            return false;
        }
        let (mut bytes, mut positions) = (0, Positions::new());
        while bytes < self.limits.epoch_bytes_max && self.credit_used + bytes < self.limits.credit_bytes_max {
            let Some(batch) = self.batches.next() else { break };
            self.batches_fed += 1;
            bytes += self.send(batch, &mut positions);
        }
        if bytes == 0 {
            return false;
        }
        let inputs = self.inputs.as_mut().expect("just seen");
        for binding in positions {
            inputs.bindings.send(binding);
        }
        self.uncommitted.push_back((self.current, bytes, now_ms));
        self.credit_used += bytes;
        self.open_next(now_ms);
        true
    }

    fn send(&mut self, mut batch: Vec<Stored>, positions: &mut Positions) -> usize {
        let bytes = batch.iter().map(Stored::bytes).sum();
        // Offsets increase within a partition, so the last one stands.
        for run in batch.chunk_by(|a, b| a.partition == b.partition && a.topic == b.topic) {
            let last = &run[run.len() - 1];
            let partition = TopicPartition { topic: Arc::clone(&last.topic), partition: last.partition };
            let floor = self.floor.get(&partition).copied().unwrap_or(0);
            positions.insert(partition, floor.max(last.offset + 1));
        }
        metrics::INPUT_RECORDS.with_label_values(&[self.name]).inc_by(batch.len() as u64);
        let inputs = self.inputs.as_mut().expect("feeding has inputs");
        inputs.stored.send_batch(&mut batch);
        bytes
    }

    fn advance(&mut self, epoch: Epoch) {
        self.current = epoch;
        if let Some(inputs) = &mut self.inputs {
            inputs.stored.advance_to(epoch);
            inputs.bindings.advance_to(epoch);
        }
    }

    /// Adds records of the runtime's own to the current epoch, for its commit.
    pub fn inject(&mut self, records: Vec<Record>, now_ms: i64) {
        if records.is_empty() {
            return;
        }
        self.epochs.borrow_mut().entry(self.current).or_default().records.extend(records);
        self.uncommitted.push_back((self.current, 0, now_ms));
        self.open_next(now_ms);
    }

    /// Takes no further input; what was fed is still completed and committed.
    pub fn close(&mut self) {
        self.batches.stop();
        self.inputs = None;
    }

    /// Whether everything that was fed is committed.
    pub fn is_drained(&self) -> bool {
        self.uncommitted.is_empty() && !self.commit_under_way() && self.epochs.borrow().is_empty()
    }

    fn take_confirmations(&mut self, now_ms: i64) -> Option<Epoch> {
        let through = match &mut self.commits {
            Some(commits) => {
                let through = commits.confirmed();
                if let Some(through) = through {
                    self.shared.committed.fetch_max(through, Ordering::SeqCst);
                    self.shared.wake();
                }
                through
            }
            None => Some(self.shared.committed.load(Ordering::SeqCst)),
        }?;
        self.retire(through, now_ms)
    }

    /// Returns the credit of epochs up to `through`.
    fn retire(&mut self, through: Epoch, now_ms: i64) -> Option<Epoch> {
        while self.uncommitted.front().is_some_and(|(epoch, _, _)| *epoch <= through) {
            let (_, bytes, fed_ms) = self.uncommitted.pop_front().expect("just seen");
            let took_s = (now_ms - fed_ms).max(0) as f64 / 1e3;
            metrics::STAGE_DURATION.with_label_values(&[self.name]).observe(took_s);
            self.credit_used -= bytes;
        }
        if through <= self.committed {
            return None;
        }
        self.committed = through;
        Some(through)
    }

    /// Hands complete epochs to the committer, if it is idle.
    fn hand_over(&mut self) {
        let Some(commits) = self.commits.as_mut().filter(|c| !c.is_under_way()) else { return };
        let mut transaction = Transaction { group: self.group.clone(), ..Transaction::default() };
        let mut through = None;
        let mut epochs = self.epochs.borrow_mut();
        while let Some(entry) = epochs.first_entry() {
            if self.probe.less_equal(entry.key())
                || transaction.records.len() >= self.limits.transaction_records_max
            {
                break;
            }
            let (epoch, Collected { records, positions }) = entry.remove_entry();
            transaction.records.extend(records);
            transaction.positions.extend(positions);
            through = Some(epoch);
        }
        if let Some(through) = through {
            metrics::OUTPUT_RECORDS.with_label_values(&[self.name]).inc_by(transaction.records.len() as u64);
            commits.commit(through, transaction);
        }
    }
}
