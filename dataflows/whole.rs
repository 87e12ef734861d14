//! Whole epochs: parts of an epoch are held until all of them are there, and make what
//! comes of them together.
//!
//! What publishes a value at most once an epoch needs this: the parts come from several
//! operators, in any order. State: the parts of epochs that are not complete; who feeds
//! the graph bounds them, by the epochs it keeps open.

use std::collections::BTreeMap;

use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::operator::Operator;

use crate::Epoch;

/// A part with where it goes and when it is of, at the earliest: updates of differential may
/// be ahead of the message that carries them.
pub type Routed<P> = (u64, Epoch, P);

/// Calls `step` once for each complete epoch that has parts, in their order, on the worker
/// that the parts are routed to.
pub fn whole_epochs<'scope, P, O>(
    parts: StreamVec<'scope, Epoch, Routed<P>>,
    name: &str,
    mut step: impl FnMut(Epoch, Vec<P>, &mut Vec<O>) + 'static,
) -> StreamVec<'scope, Epoch, O>
where
    P: ExchangeData,
    O: Clone + 'static,
{
    let route = Exchange::new(|(route, _, _): &Routed<P>| *route);
    parts.unary_frontier::<CapacityContainerBuilder<Vec<O>>, _, _, _>(route, name, move |_cap, _info| {
        let mut waiting: BTreeMap<Epoch, (Capability<Epoch>, Vec<P>)> = BTreeMap::new();
        let mut made = Vec::new();
        move |(input, frontier), output| {
            input.for_each(|cap, data| {
                let Some(cap) = cap.retain_least(output.output_index()) else { return };
                for (_, epoch, part) in data.drain(..) {
                    let epoch = epoch.max(*cap.time());
                    let entry = waiting.entry(epoch);
                    entry.or_insert_with(|| (cap.delayed(&epoch), Vec::new())).1.push(part);
                }
            });
            while let Some(entry) = waiting.first_entry() {
                if frontier.less_equal(entry.key()) {
                    break;
                }
                let (epoch, (cap, parts)) = entry.remove_entry();
                step(epoch, parts, &mut made);
                output.session(&cap).give_iterator(made.drain(..));
            }
        }
    })
}
