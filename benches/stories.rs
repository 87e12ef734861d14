//! How many items a second go through the graph of stories on one thread: some of ten are
//! near-duplicates of one of the last thousand, the others of none; with as many items held
//! as the defaults allow.
//!
//! `cargo bench --profile dev --bench stories -- [items] [items of an epoch] [of ten]`
//! (default 100 000, 300, 4; half of the items also with embeddings of 384 values).

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::Epoch;
use dataflows::event::Version;
use dataflows::stories::item::{Settings, Shown, symbol};
use dataflows::stories::items::{Change, Vectored, Versioned};
use dataflows::stories::signature::Signature;
use dataflows::stories::sketch::Sketch;
use dataflows::stories::{self, Gauges, Part};
use dataflows::time::Millis;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidings::config::{Environment, Overrides, load};
use timely::dataflow::operators::{Input, Probe};

const WORDS: usize = 20;
const RECENT: usize = 1_000;
const START: i64 = 1_790_000_000_000;
/// Between two items: a hundred thousand are three hours.
const APART_MS: i64 = 100;

fn main() {
    // Cargo adds --bench.
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let items = numbers.first().copied().unwrap_or(100_000);
    let offered = Load {
        epoch_items: numbers.get(1).copied().unwrap_or(300),
        linked_of_ten: numbers.get(2).copied().unwrap_or(4),
    };
    let config = load(&Environment::of([]), &Overrides::default()).expect("the defaults").config;
    let settings = config.stories.graph;
    run("by words", &settings, &offered, items, false);
    run("with embeddings", &settings, &offered, items / 2, true);
}

/// What is offered.
struct Load {
    epoch_items: usize,
    linked_of_ten: usize,
}

fn run(what: &str, settings: &Settings, load: &Load, n: usize, embedded: bool) {
    let (changes, epoch_items) = (changes(n, load.linked_of_ten, embedded), load.epoch_items);
    let settings = settings.clone();
    let cpu = cpu_s();
    let (took, mut epochs, linked, stories) = timely::execute_directly(move |worker| {
        let gauges = Rc::new(Gauges::default());
        let (mut input, mut parts, probe) = worker.dataflow(|scope| {
            let (input, changes) = scope.new_input();
            let (parts, parts_stream) = scope.new_input();
            let (probe, _) = stories::stories(changes, parts_stream, &settings, &gauges).probe();
            (input, parts, probe)
        });
        parts.send(Part::CaughtUp);
        let (start, mut epochs) = (Instant::now(), Vec::new());
        for (epoch, batch) in changes.chunks(epoch_items).enumerate() {
            let began = Instant::now();
            batch.iter().flatten().for_each(|change| input.send(stories::routed(change.clone())));
            input.advance_to(epoch as Epoch + 1);
            parts.advance_to(epoch as Epoch + 1);
            worker.step_while(|| probe.less_than(&(epoch as Epoch + 1)));
            epochs.push(began.elapsed());
        }
        (start.elapsed(), epochs, gauges.linked.get(), gauges.stories.get())
    });
    epochs.sort_unstable();
    let at = |share: usize| epochs.get(epochs.len() * share / 100).copied().unwrap_or(Duration::ZERO);
    println!(
        "{what}: {n} items in epochs of {epoch_items}: {:.0} items/s, {:.0} per CPU second; epochs p50 {:.1?}, p99 {:.1?}; {linked} items linked \
         in {stories} stories at the end; peak memory of the process {:.0} MB",
        n as f64 / took.as_secs_f64(),
        n as f64 / (cpu_s() - cpu),
        at(50),
        at(99),
        peak_mb(),
    );
}

fn changes(n: usize, linked_of_ten: usize, embedded: bool) -> Vec<Vec<Change>> {
    let mut random = StdRng::seed_from_u64(1);
    let (mut texts, mut vectors): (Vec<Vec<u32>>, Vec<Vec<f32>>) = (Vec::new(), Vec::new());
    (0..n)
        .map(|i| {
            let source = (i > 10 && random.random_range(0..10) < linked_of_ten)
                .then(|| i - 1 - random.random_range(0..i.min(RECENT)));
            let mut words = match source {
                Some(source) => texts[source].clone(),
                None => (0..WORDS).map(|_| random.random_range(0..50_000)).collect(),
            };
            words[random.random_range(0..WORDS)] = random.random_range(0..50_000);
            let text: String = words.iter().map(|w| format!("w{w} ")).collect();
            texts.push(words);
            let mut changes = vec![version(i, &text), Change::Clock(at(i))];
            if embedded {
                let vector: Vec<f32> = match source {
                    Some(source) => {
                        vectors[source].iter().map(|v| v + 0.3 * (random.random::<f32>() - 0.5)).collect()
                    }
                    None => (0..384).map(|_| random.random::<f32>() - 0.5).collect(),
                };
                changes.push(Change::Vector(Box::new(Vectored {
                    id: id(i).into(),
                    version: Version { revision: 1, enrichment: 0 },
                    published_at: at(i),
                    sketch: Sketch::of("m", &vector).map(Arc::new),
                })));
                vectors.push(vector);
            }
            changes
        })
        .collect()
}

fn id(i: usize) -> String {
    format!("x:{i}")
}

fn at(i: usize) -> Millis {
    Millis(START + i as i64 * APART_MS)
}

fn version(i: usize, text: &str) -> Change {
    Change::Version(Box::new(Versioned {
        version: Version { revision: 1, enrichment: 0 },
        published_at: at(i),
        text: symbol(text),
        signature: Signature::of(text),
        shown: Arc::new(Shown {
            id: id(i).into(),
            platform: ["rss", "x", "mastodon"][i % 3].into(),
            author: Some(format!("author {}", i % 5000).into()),
            title: text.into(),
            has_title: false,
            url: None,
            topics: Box::new([]),
            compound: None,
        }),
    }))
}

/// User and system time of this process.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime");
    ticks / 100.0
}

fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).expect("peak memory");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("kilobytes") / 1024.0
}
