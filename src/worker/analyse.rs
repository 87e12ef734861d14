//! ANALYSE on one worker: the graph, its hydration, its driver.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::Epoch;
use dataflows::collect::{self, collect};
use dataflows::record::{Positions, Stored, TopicPartition, topic};
use dataflows::time::Millis;
use dataflows::volume::{self, AuthorSymbol, CellKey, Frozen, Gauges, Published, Update, VolumeCell};
use timely::dataflow::InputHandleVec;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::{Concat, Input};
use timely::worker::Worker;

use super::commit::Commits;
use super::driver::{Driver, Inputs};
use super::enrich::{limits, read_from};
use super::index::{ends, reached};
use super::{ANALYSE, Context, metrics};
use crate::log::{LogError, partition};

/// Contributions fed into one epoch while hydrating, per worker.
const HYDRATE_EPOCH: usize = 20_000;
/// Epochs set aside for hydrating, before the first of live input: enough for
/// 2e10 items.
const HYDRATE_EPOCHS_MAX: u64 = 1 << 20;
/// Records of control.clock that are read for the last tick.
const TICKS_READ: u64 = 64;
const UPKEEP: Duration = Duration::from_millis(500);
const READ_BYTES_MAX: usize = 4 << 20;

pub(super) struct Analyse {
    driver: Driver,
    authors: InputHandleVec<Epoch, ((CellKey, AuthorSymbol), Epoch, isize)>,
    frozen: Frozen,
    gauges: Rc<Gauges>,
    upkeep: Instant,
    closed: bool,
}

impl Analyse {
    /// Builds the dataflow, rebuilds its state, and starts reading after what the
    /// state holds. `None` when that failed, which is reported.
    pub(super) fn build(worker: &mut Worker, context: &Arc<Context>) -> Option<Self> {
        let gauges = Rc::new(Gauges::default());
        let hydrated = context.start;
        let (settings, hash) = (context.pipeline.volume.clone(), context.hash.clone());
        let shown = Rc::clone(&gauges);
        let (mut updates, mut published, mut authors, inputs, mut frozen, collected) =
            worker.dataflow_named("Analyse", |scope| {
                let (stored, stored_stream) = scope.new_input();
                let (bindings, bindings_stream) = scope.new_input();
                let (updates, updates_stream) = scope.new_input();
                let (published, published_stream) = scope.new_input();
                let (authors, authors_stream) = scope.new_input();
                let (decoded, faults) = volume::decode::decoded(stored_stream);
                let (records, frozen) = volume::volume(
                    decoded.concat(updates_stream),
                    published_stream,
                    authors_stream,
                    settings,
                    hash,
                    hydrated,
                    shown,
                );
                let collected = collect(records.concat(faults), bindings_stream, collect::Committer::One);
                (updates, published, authors, Inputs { stored, bindings }, frozen, collected)
            });
        let mut inputs = inputs;
        let mut hydration = Hydration { context, worker, epoch: hydrated.saturating_sub(HYDRATE_EPOCHS_MAX) };
        let advance = |epoch| {
            inputs.stored.advance_to(epoch);
            inputs.bindings.advance_to(epoch);
            authors.advance_to(epoch);
            frozen.compact(epoch);
        };
        if let Err(error) = hydration.run(&mut updates, &mut published, advance, &collected.1, hydrated) {
            context.failures.fail(error);
            return None;
        }
        drop((updates, published));
        let index = worker.index();
        if index == 0 {
            // The differences that hydration found, with the positions it reflects.
            for binding in context.hydrated_from.clone() {
                inputs.bindings.send(binding);
            }
        }
        let driver = start(worker, context, inputs, collected, hydrated);
        Some(Self { driver, authors, frozen, gauges, upkeep: Instant::now(), closed: false })
    }

    pub(super) fn tick(&mut self, now_ms: i64) -> bool {
        let ticked = self.driver.tick(now_ms);
        if self.closed {
            return ticked.busy;
        }
        let current = self.driver.current();
        self.authors.advance_to(current);
        if self.upkeep.elapsed() >= UPKEEP {
            self.upkeep = Instant::now();
            self.keep_up(current, now_ms);
        }
        ticked.busy
    }

    /// Lets state merge, retracts what is frozen, and shows the gauges.
    fn keep_up(&mut self, current: Epoch, now_ms: i64) {
        let done = self.driver.probe.with_frontier(|f| f.first().copied()).unwrap_or(current);
        self.frozen.compact(done.min(current));
        let clock = Millis(self.gauges.clock_ms.get());
        let authors = self.frozen.retractions(clock, current);
        authors.into_iter().for_each(|change| self.authors.send(change));
        metrics::OPERATOR_RECORDS.with_label_values(&["Publish"]).set(self.gauges.live_cells.get() as i64);
        for (window, n) in volume::Window::ALL.iter().zip(self.gauges.late.get()) {
            metrics::LATE.with_label_values(&[window.name()]).set(n as i64);
        }
        if clock.0 > 0 {
            metrics::CLOCK.set(clock.0 / 1000);
            metrics::FRESHNESS.set((now_ms - clock.0).max(0) as f64 / 1e3);
        }
    }

    /// Whether epochs are under way that nothing on this thread announces.
    pub(super) fn is_open(&self) -> bool {
        !self.driver.is_drained()
    }

    pub(super) fn close(&mut self) {
        self.driver.close();
        self.closed = true;
        // Inputs that nothing feeds any more must not hold the frontier back.
        let last = Epoch::MAX;
        self.authors.advance_to(last);
    }

    pub(super) fn is_drained(&self) -> bool {
        self.driver.is_drained()
    }
}

fn start(
    worker: &Worker,
    context: &Arc<Context>,
    inputs: Inputs,
    collected: (collect::Epochs, Handle<Epoch>),
    hydrated: Epoch,
) -> Driver {
    let (index, peers) = (worker.index(), worker.peers());
    let owned = |p: &TopicPartition| p.partition as usize % peers == index;
    let mut from = context.hydrated_from.clone();
    if let Ok(clock) = ends(context.pipeline.log.as_ref(), topic::CLOCK) {
        from.extend(clock);
    }
    from.retain(|p, _| owned(p));
    let thread = std::thread::current();
    context.analyse.join(thread.clone());
    let batches = read_from(&format!("{ANALYSE}-{index}"), &from, context);
    let commits = context
        .committers
        .lock()
        .analyse
        .take_if(|_| index == 0)
        .map(|committer| Commits::start(ANALYSE, committer, thread, Arc::clone(&context.failures)));
    Driver::new(
        ANALYSE,
        ANALYSE.to_string(),
        limits(context),
        inputs,
        batches,
        collected,
        commits,
        Arc::clone(&context.analyse),
        hydrated + 1,
    )
}

/// Rebuilds the state from the identity index and results.volume.
struct Hydration<'a> {
    context: &'a Context,
    worker: &'a mut Worker,
    epoch: Epoch,
}

impl Hydration<'_> {
    /// Feeds what is published and every current contribution that this worker
    /// owns; the last epoch is `hydrated`, which stays open.
    fn run(
        &mut self,
        updates: &mut InputHandleVec<Epoch, Update>,
        published: &mut InputHandleVec<Epoch, Published>,
        mut advance: impl FnMut(Epoch),
        probe: &Handle<Epoch>,
        hydrated: Epoch,
    ) -> Result<(), LogError> {
        let mut step = |worker: &mut Worker,
                        epoch,
                        updates: &mut InputHandleVec<_, _>,
                        published: &mut InputHandleVec<_, _>| {
            updates.advance_to(epoch);
            published.advance_to(epoch);
            advance(epoch);
            while probe.less_than(&epoch) {
                worker.step_or_park(Some(Duration::from_millis(1)));
            }
        };
        step(self.worker, self.epoch, updates, published);
        let mut clock = self.last_tick()?;
        self.published_cells()?.for_each(|cell| published.send(cell));
        let mut chunk = Vec::with_capacity(HYDRATE_EPOCH);
        let index = self.context.pipeline.index.clone();
        let (worker_index, peers) = (self.worker.index(), self.worker.peers());
        let partitions = self.context.partitions;
        let mine = |id: &str| partition::of_key(id.as_bytes(), partitions) as usize % peers == worker_index;
        let (worker, epoch) = (&mut *self.worker, &mut self.epoch);
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
                    updates.send_batch(&mut chunk);
                    *epoch += 1;
                    step(worker, *epoch, updates, published);
                }
            })
            .map_err(|e| LogError::Fatal(e.to_string()))?;
        updates.send_batch(&mut chunk);
        step(worker, hydrated, updates, published);
        updates.send(Update { ingested_at: clock, plus: None, minus: None });
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

    /// The cells of results.volume in the partitions that this worker owns.
    fn published_cells(&self) -> Result<impl Iterator<Item = Published> + use<>, LogError> {
        let (index, peers) = (self.worker.index(), self.worker.peers());
        let mut ends = ends(self.context.pipeline.log.as_ref(), topic::VOLUME)?;
        ends.retain(|p, _| p.partition as usize % peers == index);
        let mut cells: HashMap<Vec<u8>, Published> = HashMap::new();
        let from = ends.keys().map(|p| (p.clone(), 0)).collect();
        let hash = &self.context.hash;
        self.read(&from, &ends, |stored| {
            let Some(value) = stored.value else {
                cells.remove(&stored.key);
                return;
            };
            match serde_json::from_slice::<VolumeCell>(&value) {
                Ok(cell) => {
                    let key = volume::explode::key_of(&cell, hash);
                    let (sums, authors) = (cell.sums(), cell.authors);
                    cells.insert(stored.key.clone(), Published { key, record_key: stored.key, sums, authors });
                }
                Err(e) => tracing::warn!(error = %e, offset = stored.offset, "a cell of results.volume cannot be read"),
            }
        })?;
        Ok(cells.into_values())
    }

    fn read(&self, from: &Positions, ends: &Positions, mut f: impl FnMut(Stored)) -> Result<(), LogError> {
        let mut reader = self.context.pipeline.log.reader(from)?;
        while !reached(&reader.positions(), ends) {
            reader.poll(Duration::from_millis(200), READ_BYTES_MAX)?.into_iter().for_each(&mut f);
        }
        Ok(())
    }
}
