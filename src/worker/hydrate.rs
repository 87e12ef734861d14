//! Rebuilds ANALYSE's state from the identity index, results.volume and results.trends.

use std::collections::HashMap;
use std::time::Duration;

use dataflows::Epoch;
use dataflows::record::{Positions, Stored, topic};
use dataflows::time::Millis;
use dataflows::trends::{self, Trend};
use dataflows::volume::{self, Published, Update, VolumeCell};
use serde::de::DeserializeOwned;
use timely::dataflow::InputHandleVec;
use timely::dataflow::operators::probe::Handle;
use timely::worker::Worker;

use super::Context;
use super::index::{ends, reached};
use crate::log::{LogError, partition};
use crate::ops::failpoint;

/// Contributions fed into one epoch while hydrating, per worker.
const HYDRATE_EPOCH: usize = 20_000;
/// Epochs set aside for hydrating, before the first of live input: enough for
/// 2e10 items.
const HYDRATE_EPOCHS_MAX: u64 = 1 << 20;
/// Records of control.clock that are read for the last tick.
const TICKS_READ: u64 = 64;
const READ_BYTES_MAX: usize = 4 << 20;

/// The inputs that rebuild the state.
pub(super) struct Feed {
    pub(super) updates: InputHandleVec<Epoch, Update>,
    pub(super) cells: InputHandleVec<Epoch, Published>,
    pub(super) trends: InputHandleVec<Epoch, trends::Published>,
}

impl Feed {
    fn advance_to(&mut self, epoch: Epoch) {
        self.updates.advance_to(epoch);
        self.cells.advance_to(epoch);
        self.trends.advance_to(epoch);
    }
}

/// One worker's part of it.
pub(super) struct Hydration<'a> {
    pub(super) context: &'a Context,
    pub(super) worker: &'a mut Worker,
}

impl Hydration<'_> {
    /// Feeds what is published and every current contribution that this worker
    /// owns; the last epoch is that of the start, which stays open. `advance` moves the
    /// other inputs on.
    pub(super) fn run(
        &mut self,
        feed: &mut Feed,
        mut advance: impl FnMut(Epoch),
        probe: &Handle<Epoch>,
    ) -> Result<(), LogError> {
        let mut step = |worker: &mut Worker, epoch, feed: &mut Feed| {
            feed.advance_to(epoch);
            advance(epoch);
            while probe.less_than(&epoch) {
                worker.step_or_park(Some(Duration::from_millis(1)));
            }
        };
        let hydrated = self.context.start;
        let mut epoch = hydrated.saturating_sub(HYDRATE_EPOCHS_MAX);
        step(self.worker, epoch, feed);
        let mut clock = self.last_tick()?;
        let hash = &self.context.hash;
        for (record_key, cell) in self.published::<VolumeCell>(topic::VOLUME)? {
            let key = volume::explode::key_of(&cell, hash);
            feed.cells.send(Published { key, record_key, sums: cell.sums(), authors: cell.authors });
        }
        for (_, trend) in self.published::<Trend>(topic::TRENDS)? {
            let subject = trends::symbol(hash, trend.subject.kind, &trend.subject.name);
            feed.trends.send(trends::Published { subject, trend });
        }
        failpoint::pass("hydrate.fed", "published");
        let mut chunk = Vec::with_capacity(HYDRATE_EPOCH);
        let index = self.context.pipeline.index.clone();
        let (worker_index, peers) = (self.worker.index(), self.worker.peers());
        let partitions = self.context.partitions;
        let mine = |id: &str| partition::of_key(id.as_bytes(), partitions) as usize % peers == worker_index;
        index
            .for_each_entry(|id, entry| {
                clock = clock.max(entry.ingested_at);
                if entry.contribution.is_some() && mine(id) {
                    chunk.push(Update {
                        ingested_at: entry.ingested_at,
                        plus: entry.contribution,
                        minus: None,
                    });
                }
                if chunk.len() == HYDRATE_EPOCH {
                    feed.updates.send_batch(&mut chunk);
                    epoch += 1;
                    step(self.worker, epoch, feed);
                }
            })
            .map_err(|e| LogError::Fatal(e.to_string()))?;
        feed.updates.send_batch(&mut chunk);
        failpoint::pass("hydrate.fed", "contributions");
        step(self.worker, hydrated, feed);
        feed.updates.send(Update { ingested_at: clock, plus: None, minus: None });
        Ok(())
    }

    /// The time of the last tick of the pipeline clock.
    fn last_tick(&self) -> Result<Millis, LogError> {
        let ends = ends(self.context.pipeline.log.as_ref(), topic::CLOCK)?;
        let from = ends.iter().map(|(p, end)| (p.clone(), end.saturating_sub(TICKS_READ))).collect();
        let mut last = Millis(0);
        self.read(&from, &ends, |stored| last = last.max(Millis(stored.timestamp_ms)))?;
        Ok(last)
    }

    /// The current records of a topic in the partitions that this worker owns.
    fn published<V: DeserializeOwned>(&self, topic: &str) -> Result<HashMap<Vec<u8>, V>, LogError> {
        let (index, peers) = (self.worker.index(), self.worker.peers());
        let mut ends = ends(self.context.pipeline.log.as_ref(), topic)?;
        ends.retain(|p, _| p.partition as usize % peers == index);
        let mut values: HashMap<Vec<u8>, V> = HashMap::new();
        let from = ends.keys().map(|p| (p.clone(), 0)).collect();
        self.read(&from, &ends, |stored| {
            let Some(value) = stored.value else {
                values.remove(&stored.key);
                return;
            };
            match serde_json::from_slice(&value) {
                Ok(value) => _ = values.insert(stored.key, value),
                Err(e) => tracing::warn!(error = %e, offset = stored.offset, topic, "a published result cannot be read"),
            }
        })?;
        Ok(values)
    }

    fn read(&self, from: &Positions, ends: &Positions, mut f: impl FnMut(Stored)) -> Result<(), LogError> {
        let mut reader = self.context.pipeline.log.reader(from)?;
        while !reached(&reader.positions(), ends) {
            reader.poll(Duration::from_millis(200), READ_BYTES_MAX)?.into_iter().for_each(&mut f);
        }
        Ok(())
    }
}
