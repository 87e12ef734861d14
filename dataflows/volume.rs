//! Volume and mood: content.enriched becomes results.volume, incrementally.
//!
//! ```text
//!  updates ── Explode ─┬─ changes of sums ────────────────┐
//!                      ├─ authors ── arrange, distinct ───┼── Publish ── records
//!                      └─ names, clock ───────────────────┘
//!  retractions of frozen authors ──^            published ┘ (while hydrating)
//! ```
//!
//! Cells are functions of the set of current versions: a new version comes with
//! what the one before contributed, so counts need no state per item. Sums are
//! integers that retract to zero: the publisher, which must know a cell's value
//! anyway, adds them up. Distinct authors need to know who is there already: they
//! are arranged.
//!
//! Retention: a cell's state leaves when it freezes ([`Frozen`]), its published
//! value when its window's horizon passes.

pub mod cell;
pub mod decode;
mod encode;
pub mod explode;
pub mod publish;

use std::cell::Cell;
use std::hash::RandomState;
use std::rc::Rc;

use differential_dataflow::AsCollection;
use differential_dataflow::Hashable;
use differential_dataflow::operators::ThresholdTotal;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::cursor::cursor_list;
use differential_dataflow::trace::implementations::KeySpine;
use differential_dataflow::trace::{Cursor, TraceReader};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::Map;
use timely::progress::Antichain;

pub use cell::{By, CellKey, Dimension, Place, Settings, Sums, VolumeCell, Window};
pub use explode::{AuthorSymbol, Update};
pub use publish::{Part, Published};

use crate::Epoch;
use crate::record::Record;
use crate::time::Millis;
use crate::whole::{Routed, whole_epochs};
use explode::{Explode, Exploded};

/// What one worker shows of its part of the graph.
#[derive(Debug, Default)]
pub struct Gauges {
    /// The pipeline clock of the last complete epoch.
    pub clock_ms: Cell<i64>,
    pub live_cells: Cell<usize>,
    /// Items that came too late for a window since the start: minute, hour, day.
    pub late: Cell<[u64; 3]>,
}

/// Each goes to the worker that its first number names.
type Parts<'scope> = StreamVec<'scope, Epoch, Routed<Part>>;
type CellChange = (CellKey, Epoch, Sums);
type AuthorTrace = TraceAgent<KeySpine<(CellKey, AuthorSymbol), Epoch, isize>>;
type AuthorChange = ((CellKey, AuthorSymbol), Epoch, isize);

/// Builds the graph. `retractions` are those of [`Frozen::retractions`]; `hash` must be
/// the same on every worker; epochs up to `hydrated` rebuild the state.
pub fn volume<'scope>(
    updates: StreamVec<'scope, Epoch, Update>,
    published: StreamVec<'scope, Epoch, Published>,
    retractions: StreamVec<'scope, Epoch, AuthorChange>,
    settings: Settings,
    hash: RandomState,
    hydrated: Epoch,
    gauges: Rc<Gauges>,
) -> (StreamVec<'scope, Epoch, Record>, Frozen) {
    let (cells, authors, parts) = explode(updates, settings.clone(), hash, Rc::clone(&gauges));
    let authors = authors.concat(retractions).as_collection().arrange_by_self_named("CellAuthors");
    let frozen = Frozen::new(&authors, settings.clone());

    let sums = cells.map(|(key, epoch, sums)| (key.hashed(), epoch, Part::Sums { key, sums }));
    let distinct = author_parts(authors.distinct_total().inner, settings.clone());
    let published = published.map(|cell| (cell.key.hashed(), 0, Part::Published(cell)));
    let records = publish(parts.concat(sums).concat(distinct).concat(published), settings, hydrated, gauges);
    (records, frozen)
}

/// Changes of distinct authors, a cell at a time, for their cell and for the cell that sums it.
fn author_parts<'scope>(
    distinct: StreamVec<'scope, Epoch, AuthorChange>,
    settings: Settings,
) -> Parts<'scope> {
    distinct.unary::<CapacityContainerBuilder<Vec<Routed<Part>>>, _, _, _>(
        Pipeline,
        "AuthorParts",
        move |_cap, _info| {
            move |input, output| {
                input.for_each(|cap, data| {
                    let mut session = output.session(&cap);
                    // They come sorted by cell, since that is how the arrangement is.
                    for run in data.chunk_by(|((a, _), at, _), ((b, _), bt, _)| (a, at) == (b, bt)) {
                        let ((key, _), epoch, _) = run[0];
                        let change: i64 = run.iter().map(|(_, _, change)| *change as i64).sum();
                        for key in [Some(key), sum_of(key, &settings)].into_iter().flatten() {
                            session.give((key.hashed(), epoch, Part::Authors { key, change }));
                        }
                    }
                });
            }
        },
    )
}

/// The cell whose authors are the sum of this one's and its neighbours'.
fn sum_of(key: CellKey, settings: &Settings) -> Option<CellKey> {
    let by = key.by().without_platform().filter(|by| settings.groupings.contains(by))?;
    Some(CellKey { place: Place::new(key.window(), key.start(), by), platform: 0, ..key })
}

/// Three outputs: changes of cells, changes of their authors, and what every
/// publisher needs to know (names and the clock, once for each worker).
fn explode<'scope>(
    updates: StreamVec<'scope, Epoch, Update>,
    settings: Settings,
    hash: RandomState,
    gauges: Rc<Gauges>,
) -> (StreamVec<'scope, Epoch, CellChange>, StreamVec<'scope, Epoch, AuthorChange>, Parts<'scope>) {
    let scope = updates.scope();
    let peers = scope.peers() as u64;
    let mut builder = OperatorBuilder::new("Explode".to_string(), scope);
    let mut input = builder.new_input(updates, Pipeline);
    let (cells, cells_stream) = builder.new_output::<Vec<CellChange>>();
    let (authors, authors_stream) = builder.new_output::<Vec<AuthorChange>>();
    let (parts, parts_stream) = builder.new_output::<Vec<Routed<Part>>>();
    let mut cells = OutputBuilder::<_, CapacityContainerBuilder<Vec<CellChange>>>::from(cells);
    let mut authors = OutputBuilder::<_, CapacityContainerBuilder<Vec<AuthorChange>>>::from(authors);
    let mut parts = OutputBuilder::<_, CapacityContainerBuilder<Vec<Routed<Part>>>>::from(parts);
    let mut state = Explode::new(settings, hash);
    let mut exploded = Exploded::default();
    builder.build(move |_capabilities| {
        move |_frontiers| {
            let (mut cells, mut authors, mut parts) =
                (cells.activate(), authors.activate(), parts.activate());
            input.for_each_stamp(|cap, batches| {
                let Some(epoch) = cap.least().copied() else { return };
                let mut clock = Millis(i64::MIN);
                state.begin(epoch);
                for update in batches.flat_map(|batch| batch.drain(..)) {
                    clock = clock.max(update.ingested_at);
                    state.step(&update, &mut exploded);
                }
                cells
                    .session(&cap)
                    .give_iterator(exploded.drain_cells().map(|(key, sums)| (key, epoch, sums)));
                authors.session(&cap).give_iterator(exploded.drain_authors().map(|(key, n)| (key, epoch, n)));
                let mut session = parts.session(&cap);
                let names = exploded.names.drain(..).map(|(symbol, name)| Part::Name(symbol, name));
                for part in names.chain([Part::Clock(clock)]) {
                    for worker in 0..peers {
                        session.give((worker, epoch, part.clone()));
                    }
                }
                let late = std::mem::take(&mut exploded.late);
                let total = gauges.late.get();
                gauges.late.set([total[0] + late[0], total[1] + late[1], total[2] + late[2]]);
            });
        }
    });
    (cells_stream, authors_stream, parts_stream)
}

fn publish<'scope>(
    parts: Parts<'scope>,
    settings: Settings,
    hydrated: Epoch,
    gauges: Rc<Gauges>,
) -> StreamVec<'scope, Epoch, Record> {
    let mut state = publish::State::new(settings, hydrated);
    whole_epochs(parts, "Publish", move |epoch, parts, records| {
        state.step(epoch, parts, records);
        gauges.clock_ms.set(state.clock().0);
        gauges.live_cells.set(state.live_cells());
    })
}

/// The arrangement of one worker, from which the authors of frozen cells are
/// retracted: expiry is a retraction of buckets, not of events.
pub struct Frozen {
    authors: AuthorTrace,
    settings: Settings,
    retracted: [i64; 3],
}

impl Frozen {
    fn new(authors: &Arranged<'_, AuthorTrace>, settings: Settings) -> Self {
        Self { authors: authors.trace.clone(), settings, retracted: [i64::MIN; 3] }
    }

    /// Lets the arrangement merge up to `epoch`; to be called every tick.
    pub fn compact(&mut self, epoch: Epoch) {
        let frontier = Antichain::from_elem(epoch);
        self.authors.set_logical_compaction(frontier.borrow());
        self.authors.set_physical_compaction(frontier.borrow());
    }

    /// What takes the authors of cells that are frozen at `clock` out of the arrangement,
    /// to be fed at `epoch` or later. `clock` is the publishers' clock
    /// ([`Gauges::clock_ms`]), so that they already ignore these cells.
    pub fn retractions(&mut self, clock: Millis, epoch: Epoch) -> Vec<AuthorChange> {
        let mut authors = Vec::new();
        for window in Window::ALL {
            let edge = self.settings.frozen_before(window, clock);
            if edge.div_euclid(window.length_ms())
                <= self.retracted[window as usize].div_euclid(window.length_ms())
            {
                continue;
            }
            self.retracted[window as usize] = edge;
            let low = CellKey {
                place: Place::new(window, i64::MIN, By::default()),
                platform: 0,
                topic: 0,
                channel: 0,
            };
            let high = |key: &CellKey| key.window() == window && key.start() < edge;
            for (key, n) in accumulated(&mut self.authors, &(low, 0), |(key, _)| high(key)) {
                authors.push((key, epoch, -n));
            }
        }
        authors
    }
}

/// The accumulation of each key from `low` on while `wanted`.
pub(crate) fn accumulated<K>(
    trace: &mut TraceAgent<KeySpine<K, Epoch, isize>>,
    low: &K,
    wanted: impl Fn(&K) -> bool,
) -> Vec<(K, isize)>
where
    K: differential_dataflow::ExchangeData + differential_dataflow::Hashable,
{
    let batches = trace.batches_through(Antichain::new().borrow()).expect("all batches can be read");
    let (mut cursor, storage) = cursor_list(batches);
    let mut found = Vec::new();
    cursor.seek_key(&storage, low);
    while let Some(key) = cursor.get_key(&storage).filter(|key| wanted(key)) {
        let mut sum = 0;
        cursor.map_times(&storage, |_, diff| sum += diff);
        if sum != 0 {
            found.push((key.clone(), sum));
        }
        cursor.step_key(&storage);
    }
    found
}
