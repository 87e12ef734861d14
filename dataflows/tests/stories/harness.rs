//! Runs the graph of stories over epochs of changes.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dataflows::Epoch;
use dataflows::collect::{Committer, collect};
use dataflows::event::Version;
use dataflows::record::Record;
use dataflows::stories::item::{Settings, symbol};
use dataflows::stories::items::{Change, Vectored, Versioned};
use dataflows::stories::shown::Shown;
use dataflows::stories::signature::Signature;
use dataflows::stories::sketch::Sketch;
use dataflows::stories::{self, Counts, Gauges, Part, Story};
use dataflows::time::Millis;
use timely::dataflow::operators::Input;

pub const NOW: i64 = 1_790_000_000_000;

pub fn settings() -> Settings {
    Settings {
        horizon_h: 72,
        items_max: 100_000,
        words_alone_min: 0.6,
        meaning_alone_min: 0.85,
        meaning_within_h: 24,
        words_min: 0.2,
        meaning_min: 0.6,
        component_items_max: 500,
        words_close_min: 0.8,
        meaning_close_min: 0.95,
        words_neighbours_max: 8,
        meaning_neighbours_max: 64,
    }
}

pub fn version(id: &str, revision: u64, at: i64, platform: &str, author: &str, text: &str) -> Versioned {
    Versioned {
        version: Version { revision, enrichment: 0 },
        published_at: Millis(at),
        text: symbol(text),
        signature: Signature::of(text),
        shown: Shown {
            id,
            platform,
            author: (!author.is_empty()).then_some(author),
            title: text,
            url: Some(&format!("https://example.org/{id}")),
            ..Shown::default()
        }
        .packed(),
    }
}

pub fn vector(id: &str, revision: u64, at: i64, values: &[f32]) -> Change {
    Change::Vector(Box::new(Vectored {
        id: id.into(),
        version: Version { revision, enrichment: 0 },
        published_at: Millis(at),
        sketch: Sketch::of("m", values),
    }))
}

/// What the graph gave: the records of each epoch, and what it counted.
pub struct Ran {
    pub epochs: Vec<Vec<Record>>,
    pub counts: Counts,
}

/// Feeds `published`, then each epoch's changes; the workers say in epoch `caught_up` that
/// they have read what was there.
pub fn run(
    settings: &Settings,
    published: &[Story],
    epochs: &[Vec<Change>],
    caught_up: usize,
    workers: usize,
) -> Ran {
    let (settings, published, epochs) =
        (settings.clone(), Arc::new(published.to_vec()), Arc::new(epochs.to_vec()));
    let captured: Arc<Mutex<Vec<(Epoch, Record)>>> = Arc::default();
    let counted: Arc<Mutex<Counts>> = Arc::default();
    let (records, counts, n) = (Arc::clone(&captured), Arc::clone(&counted), epochs.len());
    let config = if workers == 1 { timely::Config::thread() } else { timely::Config::process(workers) };
    timely::execute(config, move |worker| {
        let gauges = Rc::new(Gauges::default());
        let (mut changes, mut parts, collected, probe) = worker.dataflow(|scope| {
            let (changes, changes_stream) = scope.new_input();
            let (parts, parts_stream) = scope.new_input();
            let records = stories::stories(changes_stream, parts_stream, &settings, &gauges);
            let (bindings, bindings_stream) = scope.new_input();
            let (epochs, probe) = collect(records, bindings_stream, Committer::One);
            drop(bindings);
            (changes, parts, epochs, probe)
        });
        let (peers, index) = (worker.peers() as u64, worker.index() as u64);
        if index == 0 {
            published.iter().for_each(|story| parts.send(Part::Published(Box::new(story.clone()))));
        }
        for (i, epoch) in epochs.iter().enumerate() {
            for change in epoch {
                match change {
                    Change::Clock(_) if index == 0 => {
                        (0..peers).for_each(|worker| changes.send((worker, change.clone())));
                    }
                    Change::Clock(_) => {}
                    // Every id is read by one worker; that is not the one that holds it.
                    _ if (symbol(change.id().expect("an id")) / 7) % peers == index => {
                        changes.send(stories::routed(change.clone()));
                    }
                    _ => {}
                }
            }
            if i == caught_up {
                parts.send(Part::CaughtUp);
            }
            let next = i as Epoch + 1;
            changes.advance_to(next);
            parts.advance_to(next);
            // Two epochs may be open at once, as when the pipeline runs.
            while probe.less_than(&(next - 1)) {
                worker.step_or_park(Some(Duration::from_millis(1)));
            }
        }
        drop((changes, parts));
        while !probe.done() {
            worker.step_or_park(Some(Duration::from_millis(1)));
        }
        let epochs = std::mem::take(&mut *collected.borrow_mut());
        let records =
            epochs.into_iter().flat_map(|(epoch, c)| c.records.into_iter().map(move |r| (epoch, r)));
        captured.lock().expect("no worker panicked").extend(records);
        let mut total = counted.lock().expect("no worker panicked");
        *total = total.plus(gauges.counts.get());
    })
    .expect("timely starts")
    .join()
    .into_iter()
    .for_each(|worker| worker.expect("no worker panics"));
    let mut by_epoch = vec![Vec::new(); n];
    for (epoch, record) in records.lock().expect("no worker panicked").drain(..) {
        by_epoch[epoch as usize].push(record);
    }
    let counts = *counts.lock().expect("no worker panicked");
    Ran { epochs: by_epoch, counts }
}

pub type Stories = BTreeMap<String, Story>;

/// Applies an epoch's records; those not merged into another are what there is.
pub fn apply(stories: &mut Stories, records: &[Record]) {
    let mut seen = std::collections::HashSet::new();
    for record in records {
        let id = String::from_utf8(record.key.clone()).expect("an id");
        assert!(seen.insert(id.clone()), "a story is published at most once an epoch");
        match &record.value {
            Some(value) => {
                let story: Story = serde_json::from_slice(value).expect("a story");
                assert_eq!(story.id, id);
                assert_ne!(stories.insert(id, story.clone()), Some(story), "only changes are published");
            }
            None => assert!(stories.remove(&id).is_some(), "a tombstone removes something"),
        }
    }
}

pub fn live(stories: &Stories) -> Vec<&Story> {
    stories.values().filter(|story| story.merged_into.is_none()).collect()
}
