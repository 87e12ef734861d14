//! What an epoch produced, gathered on the worker that commits it.
//!
//! Records and bindings (how far the inputs of the epoch reach) travel as data at
//! the epoch, so once the probe has passed it both are complete.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, Probe};

use crate::Epoch;
use crate::record::{Positions, Record, TopicPartition};

/// The next offset to read of a partition, once the epoch it travels at is committed.
pub type Binding = (TopicPartition, u64);

/// One epoch's outputs and positions.
#[derive(Debug, Default)]
pub struct Collected {
    pub records: Vec<Record>,
    pub positions: Positions,
}

/// Epochs that wait for their commit.
pub type Epochs = Rc<RefCell<BTreeMap<Epoch, Collected>>>;

/// Who commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committer {
    /// Every worker what it produced.
    Each,
    /// One worker for all of them.
    One,
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
enum Item {
    Record(Record),
    Binding(Binding),
}

/// Gathers into the returned map; epochs that the probe has passed are complete.
pub fn collect<'scope>(
    records: StreamVec<'scope, Epoch, Record>,
    bindings: StreamVec<'scope, Epoch, Binding>,
    committer: Committer,
) -> (Epochs, Handle<Epoch>) {
    let route = match committer {
        Committer::Each => records.scope().index() as u64,
        Committer::One => 0,
    };
    let epochs = Epochs::default();
    let gathered = Rc::clone(&epochs);
    let items = records.map(Item::Record).concat(bindings.map(Item::Binding));
    let (probe, _) = items
        .unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(
            Exchange::new(move |_: &Item| route),
            "Collect",
            move |_cap, _info| {
                move |input, _output| {
                    input.for_each(|cap, data| {
                        let Some(epoch) = cap.least().copied() else { return };
                        let mut epochs = gathered.borrow_mut();
                        let collected = epochs.entry(epoch).or_default();
                        for item in data.drain(..) {
                            match item {
                                Item::Record(record) => collected.records.push(record),
                                Item::Binding((partition, next)) => {
                                    let position = collected.positions.entry(partition).or_default();
                                    *position = next.max(*position);
                                }
                            }
                        }
                    });
                }
            },
        )
        .probe();
    (epochs, probe)
}
