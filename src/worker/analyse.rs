//! ANALYSE on one worker: the graph and its driver.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::Epoch;
use dataflows::collect::{self, collect};
use dataflows::record::{TopicPartition, topic};
use dataflows::time::Millis;
use dataflows::trends;
use dataflows::volume::{self, Gauges};
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::{Concat, Input};
use timely::dataflow::{InputHandleVec, Scope};
use timely::worker::Worker;

use super::commit::Commits;
use super::driver::{Driver, Inputs};
use super::enrich::{limits, read_from};
use super::hydrate::{Feed, Hydration};
use super::index::ends;
use super::{ANALYSE, Context, metrics};

const UPKEEP: Duration = Duration::from_millis(500);

pub(super) struct Analyse {
    driver: Driver,
    mentions: Mentions,
    frozen: trends::Frozen,
    gauges: Rc<Gauges>,
    trend_gauges: Rc<trends::Gauges>,
    upkeep: Instant,
    closed: bool,
}

impl Analyse {
    /// Builds the dataflow, rebuilds its state, and starts reading after what the
    /// state holds. `None` when that failed, which is reported.
    pub(super) fn build(worker: &mut Worker, context: &Arc<Context>) -> Option<Self> {
        let hydrated = context.start;
        let (gauges, trend_gauges) = (Rc::new(Gauges::default()), Rc::new(trends::Gauges::default()));
        let shown = (Rc::clone(&gauges), Rc::clone(&trend_gauges));
        let Built { mut feed, mut inputs, mut mentions, mut frozen, collected } =
            worker.dataflow_named("Analyse", |scope| graph(scope, context, shown));
        let mut hydration = Hydration { context, worker };
        let advance = |epoch| {
            inputs.stored.advance_to(epoch);
            inputs.bindings.advance_to(epoch);
            mentions.advance_to(epoch);
            frozen.compact(epoch);
        };
        if let Err(error) = hydration.run(&mut feed, advance, &collected.1) {
            context.failures.fail(error);
            return None;
        }
        drop(feed);
        let index = worker.index();
        if index == 0 {
            // The differences that hydration found, with the positions it reflects.
            for binding in context.hydrated_from.clone() {
                inputs.bindings.send(binding);
            }
        }
        let driver = start(worker, context, inputs, collected, hydrated);
        Some(Self { driver, mentions, frozen, gauges, trend_gauges, upkeep: Instant::now(), closed: false })
    }

    pub(super) fn tick(&mut self, now_ms: i64) -> bool {
        let ticked = self.driver.tick(now_ms);
        if self.closed {
            return ticked.busy;
        }
        let current = self.driver.current();
        self.mentions.advance_to(current);
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
        let old = self.frozen.retractions(Millis(self.trend_gauges.clock_ms.get()), current);
        old.into_iter().for_each(|change| self.mentions.send(change));
        metrics::show_trends(&self.trend_gauges);
        let held =
            |operator: &str, n: usize| metrics::OPERATOR_RECORDS.with_label_values(&[operator]).set(n as i64);
        held("Publish", self.gauges.live_cells.get());
        held("Authors", self.gauges.authors.get());
        for (window, n) in volume::Window::ALL.iter().zip(self.gauges.late.get()) {
            metrics::LATE.with_label_values(&[window.name()]).set(n as i64);
        }
        let clock = Millis(self.gauges.clock_ms.get());
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
        self.mentions.advance_to(Epoch::MAX);
    }

    pub(super) fn is_drained(&self) -> bool {
        self.driver.is_drained()
    }
}

/// The input of what takes old mentions away.
type Mentions = InputHandleVec<Epoch, trends::Change>;

struct Built {
    feed: Feed,
    inputs: Inputs,
    mentions: Mentions,
    frozen: trends::Frozen,
    collected: (collect::Epochs, Handle<Epoch>),
}

/// The graph: what is read becomes updates, which trends and volume count.
fn graph(scope: Scope<'_, Epoch>, context: &Context, shown: (Rc<Gauges>, Rc<trends::Gauges>)) -> Built {
    let (stored, stored_stream) = scope.new_input();
    let (bindings, bindings_stream) = scope.new_input();
    let (updates, updates_stream) = scope.new_input();
    let (published_cells, published_cells_stream) = scope.new_input();
    let (published_trends, published_trends_stream) = scope.new_input();
    let (mentions, mentions_stream) = scope.new_input();
    let (decoded, faults) = volume::decode::decoded(stored_stream);
    let trended = trends::trends(
        decoded.concat(updates_stream),
        published_trends_stream,
        mentions_stream,
        context.pipeline.trends.clone(),
        context.hash.clone(),
        context.start,
        shown.1,
    );
    let records = volume::volume(
        trended.updates,
        published_cells_stream,
        context.pipeline.volume.clone(),
        context.hash.clone(),
        context.start,
        shown.0,
    );
    let records = records.concat(trended.records).concat(faults);
    Built {
        feed: Feed { updates, cells: published_cells, trends: published_trends },
        inputs: Inputs { stored, bindings },
        mentions,
        frozen: trended.frozen,
        collected: collect(records, bindings_stream, collect::Committer::One),
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
