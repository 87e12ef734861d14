//! The graph over a stream that is at hand, on one worker in this thread: for evaluations.
//! Compiled here, so that it is as fast as in the program.

use std::hash::RandomState;
use std::rc::Rc;

use timely::dataflow::operators::Input;

use super::{Gauges, Settings, trends};
use crate::collect::{Committer, collect};
use crate::record::Record;
use crate::time::Millis;
use crate::volume::Update;

/// Gives every batch of updates to the graph as an epoch, with the pipeline clock at its end;
/// `published` takes what each epoch published.
pub fn replay(
    settings: &Settings,
    batches: &mut dyn FnMut() -> Option<(Millis, Vec<Update>)>,
    published: &mut dyn FnMut(Vec<Record>, &Gauges),
) {
    let allocator =
        timely::communication::Allocator::Thread(timely::communication::allocator::Thread::default());
    let mut worker = timely::worker::Worker::new(timely::WorkerConfig::default(), allocator, None);
    let gauges = Rc::new(Gauges::default());
    let shown = Rc::clone(&gauges);
    let (mut updates, mut retracted, mut frozen, epochs, probe) = worker.dataflow(|scope| {
        let (updates, updates_stream) = scope.new_input();
        let (_, published) = scope.new_input();
        let (retracted, retracted_stream) = scope.new_input();
        let (_, bindings) = scope.new_input();
        let settings = settings.clone();
        let trends =
            trends(updates_stream, published, retracted_stream, settings, RandomState::new(), 0, shown);
        let (epochs, probe) = collect(trends.records, bindings, Committer::One);
        (updates, retracted, trends.frozen, epochs, probe)
    });
    let mut epoch = 0;
    while let Some((clock, mut batch)) = batches() {
        batch.push(Update { ingested_at: clock, plus: None, minus: None });
        updates.send_batch(&mut batch);
        epoch += 1;
        updates.advance_to(epoch);
        retracted.advance_to(epoch);
        while probe.less_than(&epoch) {
            worker.step();
        }
        frozen.compact(epoch);
        let old = frozen.retractions(Millis(gauges.clock_ms.get()), epoch);
        old.into_iter().for_each(|change| retracted.send(change));
        let collected = std::mem::take(&mut *epochs.borrow_mut());
        published(collected.into_values().flat_map(|e| e.records).collect(), &gauges);
    }
}
