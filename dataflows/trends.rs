//! Trends: content.enriched becomes results.trends, incrementally: bursts of watched topics
//! and of emergent terms.
//!
//! ```text
//!  updates ── Touch ─┬─ touches ── Gate ─┬─ changes ── arrange, count ──┐
//!                    │                   └─ names ──────────────────────┼── PublishTrends ── records
//!                    ├─ totals, clock ──────────────────────────────────┘
//!                    └─ updates (as they came) ──> volume
//!  retractions of windows that left ──^                       published ┘ (while hydrating)
//! ```
//!
//! Counts are functions of the set of current versions: the arrangement holds each author of
//! each subject in each window with a number of items, so that items and distinct authors are
//! exact whatever is edited or deleted. Whether they are a burst is a pure function of them
//! and of the pipeline clock ([`burst`]).
//!
//! Retention: windows of [`burst::Settings::retention_buckets`]; a window leaves as a whole.
//! Cells are capped by worker ([`gate`]), and what is refused is counted.

pub mod burst;
pub mod gate;
pub mod publish;
pub mod record;
pub mod replay;
mod tell;
pub mod touch;

use std::cell::Cell;
use std::hash::RandomState;
use std::rc::Rc;

use differential_dataflow::AsCollection;
use differential_dataflow::operators::CountTotal;
use differential_dataflow::operators::arrange::TraceAgent;
use differential_dataflow::trace::cursor::cursor_list;
use differential_dataflow::trace::implementations::KeySpine;
use differential_dataflow::trace::{Cursor, TraceReader};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::Map;
use timely::progress::Antichain;

use burst::AUTHOR_ITEMS_MAX;
pub use burst::{Knobs, Settings};
pub use publish::{Part, Published};
pub use record::{Subject, SubjectKind, Trend, TrendBucket, TrendState};
pub use touch::symbol;

use crate::Epoch;
use crate::record::Record;
use crate::time::Millis;
use crate::volume::Update;
use crate::volume::cell::DISORDER_MS_MAX;
use crate::whole::{Routed, whole_epochs};
use gate::{Gate, Key, Passed};
use touch::{NOBODY, Symbol, Touch, Touched};

/// What one worker shows of its part of the graph.
#[derive(Debug, Default)]
pub struct Gauges {
    /// The pipeline clock of the last complete epoch.
    pub clock_ms: Cell<i64>,
    /// Windows of subjects that were let through, and that wait with a single item.
    pub cells: Cell<usize>,
    pub singles: Cell<usize>,
    /// Subjects that may have a burst, and trends that are published.
    pub candidates: Cell<usize>,
    pub published: Cell<usize>,
    /// Since the start: items that came too late, and mentions refused for want of room for
    /// cells and for single items.
    pub late: Cell<u64>,
    pub refused: Cell<[u64; 2]>,
    /// Since the start: differential updates, before they are consolidated.
    pub changes: Cell<u64>,
}

/// A change of what the arrangement holds.
pub type Change = (Key, Epoch, isize);
type Trace = TraceAgent<KeySpine<Key, Epoch, isize>>;
type Signals<'scope> = StreamVec<'scope, Epoch, Signal>;
/// Each goes to the worker that its first number names.
type Parts<'scope> = StreamVec<'scope, Epoch, Routed<Part>>;

/// What travels to the gates.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
enum Signal {
    Touch(Touch),
    /// The pipeline clock, for the gate of this worker.
    Clock(u64, Millis),
}

/// What [`trends`] gives.
pub struct Trends<'scope> {
    /// The updates as they came: those who count something else need no copy.
    pub updates: StreamVec<'scope, Epoch, Update>,
    pub records: StreamVec<'scope, Epoch, Record>,
    pub frozen: Frozen,
}

/// Builds the graph. `hash` must be the same on every worker; epochs up to `hydrated` rebuild
/// the state. `retractions` come from [`Frozen::retractions`].
pub fn trends<'scope>(
    updates: StreamVec<'scope, Epoch, Update>,
    published: StreamVec<'scope, Epoch, Published>,
    retractions: StreamVec<'scope, Epoch, Change>,
    settings: Settings,
    hash: RandomState,
    hydrated: Epoch,
    gauges: Rc<Gauges>,
) -> Trends<'scope> {
    let (updates, signals, totals) = touch(updates, settings.clone(), hash, Rc::clone(&gauges));
    let (changes, names) = gate(signals, settings.clone(), Rc::clone(&gauges));
    let authors = changes.concat(retractions).as_collection().arrange_by_self_named("TrendAuthors");
    let frozen = Frozen { authors: authors.trace.clone(), settings: settings.clone(), edge: i64::MIN };
    let counts = count_parts(authors.count_total().inner);
    let published = published.map(|p| (route(p.subject), 0, Part::Published(p)));
    let records = publish(totals.concat(names).concat(counts).concat(published), settings, hydrated, gauges);
    Trends { updates, records, frozen }
}

/// The lowest bit is the kind.
fn route(subject: Symbol) -> u64 {
    subject >> 1
}

fn touch<'scope>(
    updates: StreamVec<'scope, Epoch, Update>,
    settings: Settings,
    hash: RandomState,
    gauges: Rc<Gauges>,
) -> (StreamVec<'scope, Epoch, Update>, Signals<'scope>, Parts<'scope>) {
    let scope = updates.scope();
    let peers = scope.peers() as u64;
    let mut builder = OperatorBuilder::new("Touch".to_string(), scope);
    let mut input = builder.new_input(updates, Pipeline);
    let (passed, passed_stream) = builder.new_output::<Vec<Update>>();
    let (signals, signals_stream) = builder.new_output::<Vec<Signal>>();
    let (parts, parts_stream) = builder.new_output::<Vec<Routed<Part>>>();
    let mut passed = OutputBuilder::<_, CapacityContainerBuilder<Vec<Update>>>::from(passed);
    let mut signals = OutputBuilder::<_, CapacityContainerBuilder<Vec<Signal>>>::from(signals);
    let mut parts = OutputBuilder::<_, CapacityContainerBuilder<Vec<Routed<Part>>>>::from(parts);
    builder.build(move |_capabilities| {
        let mut touched = Touched::default();
        move |_frontiers| {
            let (mut passed, mut signals, mut parts) =
                (passed.activate(), signals.activate(), parts.activate());
            input.for_each_stamp(|cap, batches| {
                let Some(epoch) = cap.least().copied() else { return };
                let mut clock = Millis(i64::MIN);
                let mut session = passed.session(&cap);
                for update in batches.flat_map(|batch| batch.drain(..)) {
                    clock = clock.max(update.ingested_at);
                    touch::step(&settings, &hash, &update, &mut touched);
                    session.give(update);
                }
                let clocks = (0..peers).map(|worker| Signal::Clock(worker, clock));
                signals
                    .session(&cap)
                    .give_iterator(touched.touches.drain(..).map(Signal::Touch).chain(clocks));
                let mut session = parts.session(&cap);
                let totals = std::mem::take(&mut touched.totals).into_iter().filter(|(_, items)| *items != 0);
                let totals = totals.map(|(bucket, items)| Part::Total { bucket, items });
                for part in totals.chain([Part::Clock(clock)]) {
                    for worker in 0..peers {
                        session.give((worker, epoch, part.clone()));
                    }
                }
                gauges.late.set(gauges.late.get() + std::mem::take(&mut touched.late));
            });
        }
    });
    (passed_stream, signals_stream, parts_stream)
}

fn gate<'scope>(
    signals: Signals<'scope>,
    settings: Settings,
    gauges: Rc<Gauges>,
) -> (StreamVec<'scope, Epoch, Change>, Parts<'scope>) {
    let to = Exchange::new(|signal: &Signal| match signal {
        Signal::Touch(touch) => route(touch.subject),
        Signal::Clock(worker, _) => *worker,
    });
    let mut builder = OperatorBuilder::new("Gate".to_string(), signals.scope());
    let mut input = builder.new_input(signals, to);
    let (changes, changes_stream) = builder.new_output::<Vec<Change>>();
    let (names, names_stream) = builder.new_output::<Vec<Routed<Part>>>();
    let mut changes = OutputBuilder::<_, CapacityContainerBuilder<Vec<Change>>>::from(changes);
    let mut names = OutputBuilder::<_, CapacityContainerBuilder<Vec<Routed<Part>>>>::from(names);
    builder.build(move |_capabilities| {
        let (mut state, mut out) = (Gate::new(settings), Passed::default());
        move |_frontiers| {
            let (mut changes, mut names) = (changes.activate(), names.activate());
            input.for_each_stamp(|cap, batches| {
                let Some(epoch) = cap.least().copied() else { return };
                for signal in batches.flat_map(|batch| batch.drain(..)) {
                    match signal {
                        Signal::Touch(touch) => state.step(touch, &mut out),
                        Signal::Clock(_, clock) => state.advance(clock),
                    }
                }
                gauges.changes.set(gauges.changes.get() + out.changes.len() as u64);
                let passed = out.changes.drain(..).map(|(key, change)| (key, epoch, change));
                changes.session(&cap).give_iterator(passed);
                let named = out.names.drain(..);
                let named =
                    named.map(|(bucket, s, subject)| (route(s), epoch, Part::Name(bucket, s, subject)));
                names.session(&cap).give_iterator(named);
            });
            gauges.cells.set(state.open());
            gauges.singles.set(state.singles());
            gauges.refused.set(state.refused());
        }
    });
    (changes_stream, names_stream)
}

/// Changes of items by author, a window of a subject at a time.
fn count_parts<'scope>(counts: StreamVec<'scope, Epoch, ((Key, isize), Epoch, isize)>) -> Parts<'scope> {
    counts.unary::<CapacityContainerBuilder<Vec<Routed<Part>>>, _, _, _>(
        Pipeline,
        "TrendCounts",
        move |_cap, _info| {
            move |input, output| {
                input.for_each(|cap, data| {
                    let mut session = output.session(&cap);
                    let cell = |change: &((Key, isize), Epoch, isize)| (change.0.0.0, change.0.0.1, change.1);
                    // They come sorted, since that is how the arrangement is.
                    for run in data.chunk_by(|a, b| cell(a) == cell(b)) {
                        let (bucket, subject, epoch) = cell(&run[0]);
                        let (mut items, mut authors) = (0, 0);
                        for (((_, _, author), count), _, diff) in run {
                            if *author == NOBODY {
                                items += (count * diff) as i64;
                            } else {
                                items += ((*count).min(AUTHOR_ITEMS_MAX) * diff) as i64;
                                authors += *diff as i64;
                            }
                        }
                        let part = Part::Count { bucket, subject, items, authors };
                        session.give((route(subject), epoch, part));
                    }
                });
            }
        },
    )
}

fn publish<'scope>(
    parts: Parts<'scope>,
    settings: Settings,
    hydrated: Epoch,
    gauges: Rc<Gauges>,
) -> StreamVec<'scope, Epoch, Record> {
    let mut state = publish::State::new(settings, hydrated);
    whole_epochs(parts, "PublishTrends", move |epoch, parts, records| {
        state.step(epoch, parts, records);
        gauges.clock_ms.set(state.clock().0);
        gauges.candidates.set(state.candidates());
        gauges.published.set(state.published());
    })
}

/// The arrangement of one worker, from which windows that left are retracted.
pub struct Frozen {
    authors: Trace,
    settings: Settings,
    edge: i64,
}

impl Frozen {
    /// Lets the arrangement merge up to `epoch`; to be called every tick.
    pub fn compact(&mut self, epoch: Epoch) {
        let frontier = Antichain::from_elem(epoch);
        self.authors.set_logical_compaction(frontier.borrow());
        self.authors.set_physical_compaction(frontier.borrow());
    }

    /// What takes the windows that left at `clock` out of the arrangement, to be fed at
    /// `epoch` or later. `clock` is the publishers' clock ([`Gauges::clock_ms`]): they ignore
    /// these windows already, and the gates do after the largest disorder.
    pub fn retractions(&mut self, clock: Millis, epoch: Epoch) -> Vec<Change> {
        let edge = self.settings.edge(Millis(clock.0.saturating_sub(DISORDER_MS_MAX)));
        if edge <= self.edge {
            return Vec::new();
        }
        // What is before the last edge was retracted then.
        let low = i32::try_from(self.edge).unwrap_or(i32::MIN);
        self.edge = edge;
        let left = accumulated(&mut self.authors, &(low, 0, 0), |(bucket, _, _)| i64::from(*bucket) < edge);
        left.into_iter().map(|(key, n)| (key, epoch, -n)).collect()
    }
}

/// The accumulation of each key from `low` on while `wanted`.
fn accumulated(trace: &mut Trace, low: &Key, wanted: impl Fn(&Key) -> bool) -> Vec<(Key, isize)> {
    let batches = trace.batches_through(Antichain::new().borrow()).expect("all batches can be read");
    let (mut cursor, storage) = cursor_list(batches);
    let mut found = Vec::new();
    cursor.seek_key(&storage, low);
    while let Some(key) = cursor.get_key(&storage).filter(|key| wanted(key)) {
        let mut sum = 0;
        cursor.map_times(&storage, |_, diff| sum += diff);
        if sum != 0 {
            found.push((*key, sum));
        }
        cursor.step_key(&storage);
    }
    found
}
