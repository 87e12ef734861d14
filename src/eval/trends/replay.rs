//! Feeds a stream to the real graph, a minute an epoch, and notes what is published when.

use std::collections::BTreeMap;
use std::hash::RandomState;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use dataflows::collect::{Committer, collect};
use dataflows::time::{MINUTE_MS, Millis};
use dataflows::trends::{Gauges, Settings, Subject, record::parse_record_key, trends};
use dataflows::volume::Update;
use timely::dataflow::operators::Input;

use super::stream::{BEGIN, Stream};

/// A trend, with the minute after which it was first published.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub subject: Subject,
    pub since: Millis,
    pub minute: usize,
}

/// What a replay saw.
#[derive(Debug, Default)]
pub struct Replayed {
    /// In the order of publication; each trend once.
    pub found: Vec<Found>,
    pub items: usize,
    /// Records of results.trends.
    pub records: usize,
    /// Differential updates that the aggregate cost.
    pub changes: u64,
    /// The most cells held.
    pub cells_max: usize,
    pub refused: [u64; 2],
}

/// Runs the graph on one worker of its own. `minutes` is the length of the stream.
pub fn replay(stream: Stream, minutes: usize, settings: &Settings) -> anyhow::Result<(Stream, Replayed)> {
    let (settings, input) = (settings.clone(), Arc::new(Mutex::new(Some(stream))));
    let guards = timely::execute(timely::Config::thread(), move |worker| {
        let stream = input.lock().expect("only this thread takes it").take().expect("one worker");
        run(worker, stream, minutes, settings.clone())
    });
    let guards = guards.map_err(anyhow::Error::msg)?;
    let mut results = guards.join().into_iter();
    let result = results.next().context("one worker")?;
    result.map_err(|panic| anyhow::Error::msg(format!("the graph panicked: {panic}")))
}

fn run(
    worker: &mut timely::worker::Worker,
    mut stream: Stream,
    minutes: usize,
    settings: Settings,
) -> (Stream, Replayed) {
    let gauges = Rc::new(Gauges::default());
    let shown = Rc::clone(&gauges);
    let (mut updates, mut retracted, mut frozen, epochs, probe) = worker.dataflow(|scope| {
        let (updates, updates_stream) = scope.new_input();
        let (_, published) = scope.new_input();
        let (retracted, retracted_stream) = scope.new_input();
        let (_, bindings) = scope.new_input();
        let trends =
            trends(updates_stream, published, retracted_stream, settings, RandomState::new(), 0, shown);
        let (epochs, probe) = collect(trends.records, bindings, Committer::One);
        (updates, retracted, trends.frozen, epochs, probe)
    });
    let mut replayed = Replayed::default();
    let mut seen: BTreeMap<Vec<u8>, ()> = BTreeMap::new();
    for minute in 0..minutes {
        let end = Millis(BEGIN.0 + (minute as i64 + 1) * MINUTE_MS - 1);
        stream.minute(minute).into_iter().for_each(|update| updates.send(update));
        updates.send(Update { ingested_at: end, plus: None, minus: None });
        let next = minute as u64 + 1;
        updates.advance_to(next);
        retracted.advance_to(next);
        while probe.less_than(&next) {
            worker.step_or_park(Some(Duration::from_millis(1)));
        }
        frozen.compact(next);
        let old = frozen.retractions(Millis(gauges.clock_ms.get()), next);
        old.into_iter().for_each(|change| retracted.send(change));
        for record in std::mem::take(&mut *epochs.borrow_mut()).into_values().flat_map(|e| e.records) {
            replayed.records += 1;
            if seen.insert(record.key.clone(), ()).is_none() {
                let (subject, since) = parse_record_key(&record.key).expect("a key of results.trends");
                replayed.found.push(Found { subject, since, minute });
            }
        }
        replayed.cells_max = replayed.cells_max.max(gauges.cells.get() + gauges.singles.get());
    }
    replayed.items = stream.items;
    replayed.changes = gauges.changes.get();
    replayed.refused = gauges.refused.get();
    (stream, replayed)
}
