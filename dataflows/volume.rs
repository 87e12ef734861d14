//! Volume and mood: content.enriched becomes results.volume, incrementally.
//!
//! ```text
//!  updates ── Explode ─┬─ changes of sums ────────────────┐
//!                      ├─ items by author ── Authors ─────┼── Publish ── records
//!                      └─ names, clock ───────────────────┤
//!                                               published ┘ (while hydrating)
//! ```
//!
//! Cells are functions of the set of current versions: a new version comes with
//! what the one before contributed, so counts need no state per item. Sums are
//! integers that retract to zero: the publisher, which must know a cell's value
//! anyway, adds them up. Distinct authors need to know who is there already, which is
//! most of the state: [`authors`] holds them at a fifth of what an arrangement takes.
//!
//! Retention: a cell's state leaves when it freezes ([`Settings::frozen_before`]), its
//! published value when its window's horizon passes.

pub mod authors;
pub mod cell;
pub mod decode;
mod encode;
pub mod explode;
pub mod publish;

use std::cell::Cell;
use std::hash::RandomState;
use std::rc::Rc;

use differential_dataflow::Hashable;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Map;

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
    /// Authors of live cells, once for each cell.
    pub authors: Cell<usize>,
    /// Items that came too late for a window since the start: minute, hour, day.
    pub late: Cell<[u64; 3]>,
}

/// Each goes to the worker that its first number names.
type Parts<'scope> = StreamVec<'scope, Epoch, Routed<Part>>;
type CellChange = (CellKey, Epoch, Sums);
/// By the worker that holds the cell.
type AuthorChanges<'scope> = StreamVec<'scope, Epoch, Routed<authors::Change>>;

/// Builds the graph. `hash` must be the same on every worker; epochs up to `hydrated`
/// rebuild the state.
pub fn volume<'scope>(
    updates: StreamVec<'scope, Epoch, Update>,
    published: StreamVec<'scope, Epoch, Published>,
    settings: Settings,
    hash: RandomState,
    hydrated: Epoch,
    gauges: Rc<Gauges>,
) -> StreamVec<'scope, Epoch, Record> {
    let (cells, authors, parts) = explode(updates, settings.clone(), hash, Rc::clone(&gauges));
    let sums = cells.map(|(key, epoch, sums)| (key.hashed(), epoch, Part::Sums { key, sums }));
    let distinct = distinct_authors(authors, settings.clone(), Rc::clone(&gauges));
    let published = published.map(|cell| (cell.key.hashed(), 0, Part::Published(cell)));
    publish(parts.concat(sums).concat(distinct).concat(published), settings, hydrated, gauges)
}

/// Changes of distinct authors, for their cell and for the cell that sums it.
fn distinct_authors<'scope>(
    changes: AuthorChanges<'scope>,
    settings: Settings,
    gauges: Rc<Gauges>,
) -> Parts<'scope> {
    let mut state = authors::State::new(settings.clone());
    whole_epochs(changes, "Authors", move |epoch, changes, parts| {
        // The publisher of this worker has complete epochs behind it only, and its clock is
        // that of all publishers then: what comes here from now on they ignore.
        state.freeze(Millis(gauges.clock_ms.get()));
        state.step(changes, |key, change| {
            for key in [Some(key), sum_of(key, &settings)].into_iter().flatten() {
                parts.push((key.hashed(), epoch, Part::Authors { key, change }));
            }
        });
        gauges.authors.set(state.len());
    })
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
) -> (StreamVec<'scope, Epoch, CellChange>, AuthorChanges<'scope>, Parts<'scope>) {
    let scope = updates.scope();
    let peers = scope.peers() as u64;
    let mut builder = OperatorBuilder::new("Explode".to_string(), scope);
    let mut input = builder.new_input(updates, Pipeline);
    let (cells, cells_stream) = builder.new_output::<Vec<CellChange>>();
    let (authors, authors_stream) = builder.new_output::<Vec<Routed<authors::Change>>>();
    let (parts, parts_stream) = builder.new_output::<Vec<Routed<Part>>>();
    let mut cells = OutputBuilder::<_, CapacityContainerBuilder<Vec<CellChange>>>::from(cells);
    let mut authors =
        OutputBuilder::<_, CapacityContainerBuilder<Vec<Routed<authors::Change>>>>::from(authors);
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
                let by_author = exploded.drain_authors();
                authors.session(&cap).give_iterator(
                    by_author.map(|((key, author), n)| (key.hashed(), epoch, (key, author, n))),
                );
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
