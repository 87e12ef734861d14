//! How many items a second go through the graph of stories on one thread: some of ten are
//! near-duplicates of one of the last thousand, the others of none; with as many items held
//! as the defaults allow. And how much memory an item costs.
//!
//! `cargo bench --profile dev --bench stories -- [items] [items of an epoch] [of ten]`
//! (default 100 000, 300, 4; half of the items also with embeddings of 384 values).
//!
//! `cargo bench --profile dev --bench stories -- memory [items]` (default 50 000): by how much
//! the resident memory of a process of its own grows for each item held, from a quarter of
//! them on; when they are first there, and after as many more have pushed them all out. Texts
//! have 140 characters, ids 40, addresses 60.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use dataflows::Epoch;
use dataflows::event::Version;
use dataflows::stories::item::{Settings, symbol};
use dataflows::stories::items::{Change, Vectored, Versioned};
use dataflows::stories::shown::Shown;
use dataflows::stories::signature::Signature;
use dataflows::stories::sketch::Sketch;
use dataflows::stories::{self, Gauges, Part};
use dataflows::time::Millis;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidings::config::{Environment, Overrides, load};
use timely::dataflow::operators::{Input, Probe};

/// That of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WORDS: usize = 20;
const RECENT: usize = 1_000;
const START: i64 = 1_790_000_000_000;
/// Between two items: a hundred thousand are three hours.
const APART_MS: i64 = 100;

fn main() {
    // Cargo adds --bench.
    let words: Vec<String> = std::env::args().filter(|a| a != "--bench").collect();
    let numbers: Vec<usize> = words.iter().filter_map(|a| a.parse().ok()).collect();
    let config = load(&Environment::of([]), &Overrides::default()).expect("the defaults").config;
    let settings = config.stories.graph;
    let has = |word: &str| words.iter().any(|w| w == word);
    if has("held") {
        return held(&settings, numbers[0], numbers[1], has("embedded"));
    }
    if has("memory") {
        return memory(numbers.first().copied().unwrap_or(50_000));
    }
    let items = numbers.first().copied().unwrap_or(100_000);
    let offered = Load {
        epoch_items: numbers.get(1).copied().unwrap_or(300),
        linked_of_ten: numbers.get(2).copied().unwrap_or(4),
    };
    run("by words", &settings, &offered, items, false);
    run("with embeddings", &settings, &offered, items / 2, true);
}

/// Each figure in a process of its own.
fn memory(n: usize) {
    let program = std::env::current_exe().expect("Linux");
    for (linked_of_ten, embedded) in [(0, false), (0, true), (4, true)] {
        let mut command = std::process::Command::new(&program);
        command.args(["held".to_string(), n.to_string(), linked_of_ten.to_string()]);
        command.args(embedded.then_some("embedded"));
        assert!(command.status().expect("started").success());
    }
}

/// What `n` items cost that are held, by the resident memory before and after.
fn held(settings: &Settings, n: usize, linked_of_ten: usize, embedded: bool) {
    let settings = Settings { items_max: n, ..settings.clone() };
    timely::execute_directly(move |worker| {
        let gauges = Rc::new(Gauges::default());
        let (mut input, mut parts, probe) = worker.dataflow(|scope| {
            let (input, changes) = scope.new_input();
            let (parts, parts_stream) = scope.new_input();
            let (probe, _) = stories::stories(changes, parts_stream, &settings, &gauges).probe();
            (input, parts, probe)
        });
        parts.send(Part::CaughtUp);
        let mut posts = Posts::new(linked_of_ten, embedded);
        let mut epoch = 0;
        let mut feed = |n: usize| {
            for i in 0..n {
                posts
                    .next()
                    .expect("no end")
                    .into_iter()
                    .for_each(|change| input.send(stories::routed(change)));
                if i % 300 == 299 || i + 1 == n {
                    epoch += 1;
                    input.advance_to(epoch);
                    parts.advance_to(epoch);
                    worker.step_while(|| probe.less_than(&epoch));
                }
            }
            resident_bytes()
        };
        // What does not grow with the items is there by then.
        let first = n / 4;
        let before = feed(first);
        let full = feed(n - first);
        let linked = gauges.linked.get();
        let later = feed(n);
        let each = |bytes: f64| (bytes - before) / (n - first) as f64;
        println!(
            "{n} items {}, {linked} of them linked: {:.0} bytes each; {:.0} when all were replaced; peak {:.0} MB",
            if embedded { "with embeddings" } else { "by words" },
            each(full),
            each(later),
            peak_mb(),
        );
    });
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
    Posts::new(linked_of_ten, embedded).take(n).collect()
}

/// Items without end, each with what is new of it.
struct Posts {
    random: StdRng,
    linked_of_ten: usize,
    embedded: bool,
    /// Of the last ones, the latest at the end.
    recent: VecDeque<(Vec<u32>, Vec<f32>)>,
    n: usize,
}

impl Posts {
    fn new(linked_of_ten: usize, embedded: bool) -> Self {
        Self { random: StdRng::seed_from_u64(1), linked_of_ten, embedded, recent: VecDeque::new(), n: 0 }
    }

    fn words(&mut self, source: Option<usize>) -> Vec<u32> {
        let mut words = match source {
            Some(source) => self.recent[source].0.clone(),
            None => (0..WORDS).map(|_| self.random.random_range(10_000..60_000)).collect(),
        };
        words[self.random.random_range(0..WORDS)] = self.random.random_range(10_000..60_000);
        words
    }

    fn vector(&mut self, source: Option<usize>) -> Vec<f32> {
        match source {
            Some(source) => {
                let near = |v: &f32| v + 0.3 * (self.random.random::<f32>() - 0.5);
                self.recent[source].1.iter().map(near).collect()
            }
            None => (0..384).map(|_| self.random.random::<f32>() - 0.5).collect(),
        }
    }
}

impl Iterator for Posts {
    type Item = Vec<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        let i = self.n;
        let linked = i > 10 && self.random.random_range(0..10) < self.linked_of_ten;
        let source = linked.then(|| self.random.random_range(0..self.recent.len()));
        let words = self.words(source);
        let text: String = words.iter().map(|w| format!("w{w} ")).collect();
        let mut changes = vec![version(i, &text), Change::Clock(at(i))];
        let vector = if self.embedded { self.vector(source) } else { Vec::new() };
        if self.embedded {
            changes.push(Change::Vector(Box::new(Vectored {
                id: id(i).into(),
                version: Version { revision: 1, enrichment: 0 },
                published_at: at(i),
                sketch: Sketch::of("m", &vector),
            })));
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((words, vector));
        self.n += 1;
        Some(changes)
    }
}

fn id(i: usize) -> String {
    format!("mastodon:example.social/1157{i:012}")
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
        shown: Shown {
            id: &id(i),
            platform: ["rss", "x", "mastodon"][i % 3],
            author: Some(&format!("author {}", i % 5000)),
            title: text.trim_end(),
            url: Some(&format!("https://example.social/@someone.in.particular/1157{i:010}")),
            compound: Some(1234),
            ..Shown::default()
        }
        .packed(),
    }))
}

/// User and system time of this process.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime");
    ticks / 100.0
}

fn resident_bytes() -> f64 {
    status_kb("VmRSS:") * 1024.0
}

fn peak_mb() -> f64 {
    status_kb("VmHWM:") / 1024.0
}

fn status_kb(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with(field)).expect("a field of memory");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("kilobytes")
}
