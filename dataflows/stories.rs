//! Stories: content.enriched and content.vectors become results.stories, incrementally.
//!
//! ```text
//!  changes ── Items ─┬─ Bands ── links ── distinct ─┬─ components ─┐
//!   of the    live,  │  compared in     (propagate) └──── join ────┴─ split ─┐
//!   topics    72 h   │  each band                          by component      ├─ Publish ── records
//!                    └────────────────── items ──────────────────────────────┘
//!                                          published, caught up ─────────────┘
//! ```
//!
//! Items that are near-duplicates by their words, or mean the same by their embeddings, are
//! linked; what hangs together by links is a component, and its parts ([`split`]) that
//! several authors or platforms have a share in are stories.
//!
//! Invariants:
//! - Everything before [`publish`] is a function of the last version and vector of each
//!   content id and of the pipeline clock: an edit or a deletion takes the links of that
//!   item away, and so does its age.
//! - Only items with a link are in the graph; the others wait in their bands.
//! - Epochs are processed in their order on every operator, so that the result does not
//!   depend on the number of workers.
//!
//! Retention: [`items`] for everything that is held of items; [`publish`] for stories.

pub mod bands;
pub mod decode;
pub mod item;
pub mod items;
pub mod name;
pub mod publish;
pub mod record;
pub mod shown;
pub mod signature;
pub mod sketch;
mod slab;
pub mod split;
mod table;
pub mod tell;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::algorithms::graphs::propagate::propagate;
use differential_dataflow::operators::ThresholdTotal;
use differential_dataflow::{AsCollection, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Capability, Concat};

pub use item::Settings;
pub use items::{Change, Counts};
pub use publish::Part;
pub use record::Story;

use crate::Epoch;
use crate::faults::dead_letter;
use crate::record::{Record, Stored};
use crate::time::Millis;
use crate::whole::{self, whole_epochs};
use item::{Edge, Item, Symbol};
use split::Said;

/// What one worker shows of its part of the graph.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Content ids held by this worker.
    pub items: Cell<usize>,
    /// Bands with an item on this worker.
    pub bands: Cell<usize>,
    /// Items with a link, where this worker publishes.
    pub linked: Cell<usize>,
    /// Published stories, where this worker publishes.
    pub stories: Cell<usize>,
    /// Since the start.
    pub counts: Cell<Counts>,
    /// Whether differences to what is published are being withheld until all is read.
    pub behind: Cell<bool>,
}

/// The worker that publishes.
const PUBLISHER: u64 = 0;

/// A change and the worker that it is for.
pub type Routed = (u64, Change);

/// Builds the graph. `parts` brings what is published and, from every worker once, that it
/// has caught up ([`Part::Published`], [`Part::CaughtUp`]).
pub fn stories<'scope>(
    changes: StreamVec<'scope, Epoch, Routed>,
    parts: StreamVec<'scope, Epoch, Part>,
    settings: &Settings,
    gauges: &Rc<Gauges>,
) -> StreamVec<'scope, Epoch, Record> {
    let (items, clock) = live_items(changes, settings.clone(), Rc::clone(gauges));
    let links = links(items.clone(), settings.clone(), Rc::clone(gauges));
    let said = components(links, settings.clone());
    let items = items.map(|(item, diff)| Part::Item(item, diff));
    let said = said.inner.map(|(said, epoch, diff)| (PUBLISHER, epoch, Part::Said(said, diff)));
    let others = items.concat(clock).concat(parts);
    publish(others, said, settings.clone(), Rc::clone(gauges))
}

/// Decodes the topics: changes, those of the clock for every worker, and dead letters but
/// of what is read again.
pub fn decoded<'scope>(
    stored: StreamVec<'scope, Epoch, Stored>,
    is_again: impl Fn(&Stored) -> bool + 'static,
) -> (StreamVec<'scope, Epoch, Routed>, StreamVec<'scope, Epoch, Record>) {
    let scope = stored.scope();
    let peers = scope.peers() as u64;
    let mut builder = OperatorBuilder::new("DecodeForStories".to_string(), scope);
    let mut input = builder.new_input(stored, Pipeline);
    let (changes, changes_stream) = builder.new_output::<Vec<Routed>>();
    let (faults, faults_stream) = builder.new_output::<Vec<Record>>();
    let mut changes = OutputBuilder::<_, CapacityContainerBuilder<Vec<Routed>>>::from(changes);
    let mut faults = OutputBuilder::<_, CapacityContainerBuilder<Vec<Record>>>::from(faults);
    builder.build(move |_capabilities| {
        move |_frontiers| {
            let (mut changes, mut faults) = (changes.activate(), faults.activate());
            input.for_each(|cap, data| {
                let (mut changes, mut faults) = (changes.session(&cap), faults.session(&cap));
                let mut clock = i64::MIN;
                for stored in data.drain(..) {
                    clock = clock.max(stored.timestamp_ms);
                    match decode::decode(&stored) {
                        Ok(Some(change)) => changes.give(routed(change)),
                        Ok(None) => {}
                        Err(_) if is_again(&stored) => {}
                        Err(fault) => faults.give(dead_letter("stories", &stored, &fault)),
                    }
                }
                changes.give_iterator((0..peers).map(|worker| (worker, Change::Clock(Millis(clock)))));
            });
        }
    });
    (changes_stream, faults_stream)
}

/// To the worker that holds the item.
pub fn routed(change: Change) -> Routed {
    (change.id().map_or(0, item::symbol), change)
}

type ItemChange = (Arc<Item>, isize);

/// Changes of live items, and the clock.
fn live_items<'scope>(
    changes: StreamVec<'scope, Epoch, Routed>,
    settings: Settings,
    gauges: Rc<Gauges>,
) -> (StreamVec<'scope, Epoch, ItemChange>, StreamVec<'scope, Epoch, Part>) {
    let scope = changes.scope();
    let mut state = items::State::new(settings, scope.peers());
    let mut builder = OperatorBuilder::new("Items".to_string(), scope);
    let mut input = builder.new_input(changes, Exchange::new(|(route, _): &Routed| *route));
    let (items, items_stream) = builder.new_output::<Vec<ItemChange>>();
    let (clock, clock_stream) = builder.new_output::<Vec<Part>>();
    let mut items = OutputBuilder::<_, CapacityContainerBuilder<Vec<ItemChange>>>::from(items);
    let mut clock = OutputBuilder::<_, CapacityContainerBuilder<Vec<Part>>>::from(clock);
    builder.build(move |_capabilities| {
        let mut waiting: BTreeMap<Epoch, ([Capability<Epoch>; 2], Vec<Change>)> = BTreeMap::new();
        move |frontiers| {
            let (mut items, mut clock) = (items.activate(), clock.activate());
            input.for_each(|cap, data| {
                let Some(&epoch) = cap.least() else { return };
                if let std::collections::btree_map::Entry::Vacant(free) = waiting.entry(epoch) {
                    let (Some(a), Some(b)) = (cap.retain_least(0), cap.retain_least(1)) else { return };
                    free.insert(([a, b], Vec::new()));
                }
                let (_, changes) = waiting.get_mut(&epoch).expect("just there");
                changes.extend(data.drain(..).map(|(_, change)| change));
            });
            while let Some(entry) = waiting.first_entry() {
                if frontiers[0].frontier().less_equal(entry.key()) {
                    break;
                }
                let ([to_items, to_clock], changes) = entry.remove();
                let mut session = items.session(&to_items);
                state.step(changes.into_iter(), |item, diff| session.give((Arc::clone(item), diff)));
                clock.session(&to_clock).give(Part::Clock(state.clock()));
                gauges.items.set(state.len());
                let (new, sum) = (state.take_counts(), gauges.counts.get());
                gauges.counts.set(sum.plus(new));
            }
        }
    });
    (items_stream, clock_stream)
}

/// Every link once, between items that share a band and are similar enough.
fn links<'scope>(
    items: StreamVec<'scope, Epoch, ItemChange>,
    settings: Settings,
    gauges: Rc<Gauges>,
) -> VecCollection<'scope, Epoch, Edge> {
    let (worker, peers) = (items.scope().index(), items.scope().peers());
    let to_all = items.flat_map(move |change| (0..peers as u64).map(move |worker| (worker, change.clone())));
    let mut state = bands::State::new(settings, worker, peers);
    let mut waiting: BTreeMap<Epoch, (Capability<Epoch>, Vec<ItemChange>)> = BTreeMap::new();
    let route = Exchange::new(|(worker, _): &(u64, ItemChange)| *worker);
    let links = to_all.unary_frontier::<CapacityContainerBuilder<Vec<(Edge, Epoch, isize)>>, _, _, _>(
        route,
        "Bands",
        move |_cap, _info| {
            move |(input, frontier), output| {
                input.for_each(|cap, data| {
                    let Some(cap) = cap.retain_least(output.output_index()) else { return };
                    let (_, changes) = waiting.entry(*cap.time()).or_insert_with(|| (cap, Vec::new()));
                    changes.extend(data.drain(..).map(|(_, change)| change));
                });
                while let Some(entry) = waiting.first_entry() {
                    if frontier.less_equal(entry.key()) {
                        break;
                    }
                    let (epoch, (cap, mut changes)) = entry.remove_entry();
                    let mut session = output.session(&cap);
                    state.step(&mut changes, |edge, diff| session.give((edge, epoch, diff)));
                    gauges.bands.set(state.bands());
                }
            }
        },
    );
    links.as_collection().distinct_total()
}

/// What the parts of all components are.
fn components<'scope>(
    links: VecCollection<'scope, Epoch, Edge>,
    settings: Settings,
) -> VecCollection<'scope, Epoch, Said> {
    let ends = links.clone().flat_map(|Edge { a, b, .. }| [(a.symbol, b.symbol), (b.symbol, a.symbol)]);
    let nodes = ends.clone().map(|(symbol, _)| symbol).distinct_total().map(|symbol| (symbol, symbol));
    // Symbols are hashes, so that along a chain of n items a label is replaced about log n
    // times; labels in the order of the chain would be n * n / 2 updates.
    let labels: VecCollection<'scope, Epoch, (Symbol, Symbol)> = propagate(ends, nodes);
    let components =
        links.map(|edge| (edge.a.symbol, edge)).join_map(labels, |_, edge, component| (*component, *edge));
    components
        .reduce_named("Split", move |_component, edges, out| {
            let edges: Vec<Edge> = edges.iter().map(|(edge, _)| **edge).collect();
            split::parts(&edges, &settings, |said| out.push((said, 1)));
            out.sort_unstable();
        })
        .map(|(_, said)| said)
}

/// Everything of one epoch to the one worker that publishes.
fn publish<'scope>(
    others: StreamVec<'scope, Epoch, Part>,
    said: StreamVec<'scope, Epoch, whole::Routed<Part>>,
    settings: Settings,
    gauges: Rc<Gauges>,
) -> StreamVec<'scope, Epoch, Record> {
    let scope = others.scope();
    let mut state = publish::State::new(settings, scope.peers());
    gauges.behind.set(scope.index() == PUBLISHER as usize);
    let parts = others.map(|part| (PUBLISHER, 0, part)).concat(said);
    whole_epochs(parts, "PublishStories", move |_epoch, parts, records| {
        state.step(parts, records);
        gauges.linked.set(state.linked());
        gauges.stories.set(state.stories());
        gauges.behind.set(state.is_behind());
    })
}
