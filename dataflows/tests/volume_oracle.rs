//! The incremental result equals recomputation: random creates, edits, deletions
//! and late arrivals, with 1 and 2 workers, at every epoch, over freezing and
//! expiry, and across a restart that hydrates from the current versions.
//!
//! The oracle keeps whole contributions per cell and recounts them each time; it
//! shares with the graph only the definition of a cell's place and horizon. This file is
//! long because the script, the oracle and the harness make one test.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::RandomState;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dataflows::Epoch;
use dataflows::collect::{Committer, collect};
use dataflows::event::{Contribution, Engagement};
use dataflows::record::Record;
use dataflows::time::{DAY_MS, HOUR_MS, MINUTE_MS, Millis};
use dataflows::volume::cell::DISORDER_MS_MAX;
use dataflows::volume::{self, By, Dimension, Gauges, Published, Settings, Update, VolumeCell, Window};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use timely::dataflow::operators::Input;

type Cells = BTreeMap<Vec<u8>, VolumeCell>;

fn settings() -> Settings {
    use Dimension::{Channel, Platform, Topic};
    Settings {
        groupings: vec![
            By::new([]),
            By::new([Platform]),
            By::new([Topic]),
            By::new([Platform, Topic]),
            By::new([Channel]),
            By::new([Channel, Topic]),
        ],
        horizon_ms: [20 * MINUTE_MS, 6 * HOUR_MS, 3 * DAY_MS],
        identity_horizon_ms: 8 * HOUR_MS,
    }
}

/// Epochs of updates, with the items that are current after each.
struct Script {
    epochs: Vec<Vec<(u64, Update)>>,
    current: Vec<HashMap<u64, (Contribution, Millis)>>,
}

fn contribution(rng: &mut StdRng, clock: i64) -> Contribution {
    let platform = ["rss", "x", "youtube"][rng.random_range(0..3)].to_string();
    // Mostly fresh, some late, some beyond every horizon.
    let age = match rng.random_range(0..20) {
        0 => rng.random_range(0..5 * DAY_MS),
        1..=3 => rng.random_range(0..12 * HOUR_MS),
        _ => rng.random_range(0..10 * MINUTE_MS),
    };
    let mut topics: Vec<String> =
        (0..rng.random_range(0..3)).map(|_| format!("t{}", rng.random_range(0..4))).collect();
    topics.sort();
    topics.dedup();
    Contribution {
        published_at: Millis(clock - age),
        channel: (rng.random_range(0..4) > 0).then(|| format!("c{}", rng.random_range(0..5))),
        author: (rng.random_range(0..5) > 0).then(|| format!("a{}", rng.random_range(0..6))),
        platform,
        topics,
        terms: Vec::new(),
        compound: (rng.random_range(0..6) > 0).then(|| rng.random_range(-10_000..=10_000)),
        engagement: Engagement { likes: Some(rng.random_range(0..50)), ..Engagement::default() },
    }
}

fn script(seed: u64, epochs: usize) -> Script {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut clock = 1_790_000_000_000;
    let mut items: HashMap<u64, (Contribution, Millis)> = HashMap::new();
    let mut next = 0;
    let mut script = Script { epochs: vec![], current: vec![] };
    for _ in 0..epochs {
        let mut updates = Vec::new();
        for _ in 0..rng.random_range(0..30) {
            clock += if rng.random_range(0..200) == 0 {
                rng.random_range(0..5 * HOUR_MS)
            } else {
                rng.random_range(0..5000)
            };
            let at = Millis(clock);
            let known: Vec<u64> = items.keys().copied().collect();
            let old = (!known.is_empty() && rng.random_range(0..3) == 0)
                .then(|| known[rng.random_range(0..known.len())]);
            let id = old.unwrap_or_else(|| {
                next += 1;
                next
            });
            let minus = items.remove(&id).map(|(c, _)| c);
            let plus = (old.is_none() || rng.random_range(0..2) == 0).then(|| contribution(&mut rng, clock));
            if let Some(plus) = &plus {
                items.insert(id, (plus.clone(), at));
            }
            updates.push((id, Update { ingested_at: at, plus, minus }));
        }
        script.epochs.push(updates);
        script.current.push(items.clone());
    }
    script
}

/// Recounts every cell from whole contributions.
#[derive(Default)]
struct Oracle {
    cells: BTreeMap<(Window, i64, By), Vec<Contribution>>,
    clock: i64,
    late: [u64; 3],
}

impl Oracle {
    fn apply(&mut self, update: &Update, settings: &Settings) {
        self.clock = self.clock.max(update.ingested_at.0);
        for window in Window::ALL {
            for (c, plus) in [(&update.minus, false), (&update.plus, true)] {
                let Some(c) = c else { continue };
                let start = c.published_at.0.div_euclid(window.length_ms()) * window.length_ms();
                let kept = settings.horizon_ms[window as usize].min(settings.identity_horizon_ms);
                if update.ingested_at.0 >= start + window.length_ms() + kept {
                    self.late[window as usize] += u64::from(plus);
                    continue;
                }
                for &by in &settings.groupings {
                    let items = self.cells.entry((window, start, by)).or_default();
                    if plus {
                        items.push(c.clone());
                    } else {
                        let place = items.iter().position(|i| i == c).expect("what is retracted was added");
                        items.swap_remove(place);
                    }
                }
            }
        }
    }

    fn cells(&self, settings: &Settings) -> Cells {
        let mut cells = Cells::new();
        for (&(window, start, by), items) in &self.cells {
            if start + window.length_ms() + settings.horizon_ms[window as usize] + DISORDER_MS_MAX
                <= self.clock
            {
                continue;
            }
            let mut groups: BTreeMap<[Option<Option<String>>; 3], Vec<&Contribution>> = BTreeMap::new();
            for item in items {
                let topics: Vec<Option<String>> = match (by.has(Dimension::Topic), item.topics.is_empty()) {
                    (true, false) => item.topics.iter().cloned().map(Some).collect(),
                    _ => vec![None],
                };
                for topic in topics {
                    let place = [
                        by.has(Dimension::Platform).then(|| Some(item.platform.clone())),
                        by.has(Dimension::Topic).then_some(topic),
                        by.has(Dimension::Channel).then(|| item.channel.clone()),
                    ];
                    groups.entry(place).or_default().push(item);
                }
            }
            for ([platform, topic, channel], items) in groups {
                let compounds: Vec<i32> = items.iter().filter_map(|i| i.compound).collect();
                let sum: i64 = compounds.iter().map(|&c| i64::from(c)).sum();
                let authors: HashSet<_> =
                    items.iter().filter_map(|i| i.author.clone().map(|a| (&i.platform, a))).collect();
                let cell = VolumeCell {
                    window,
                    start: Millis(start),
                    by: by.dimensions().collect(),
                    platform,
                    topic,
                    channel,
                    count: items.len() as i64,
                    scored: compounds.len() as i64,
                    compound_sum: sum,
                    compound_mean: (!compounds.is_empty())
                        .then(|| (sum as f64 / compounds.len() as f64 * 1e4).round() / 1e8),
                    authors: authors.len() as i64,
                    views: 0,
                    likes: items.iter().map(|i| i64::from(i.engagement.likes.unwrap_or(0))).sum(),
                    comments: 0,
                    shares: 0,
                };
                cells.insert(cell.record_key(), cell);
            }
        }
        cells
    }
}

/// What a restart begins with.
#[derive(Clone, Default)]
struct Start {
    current: Vec<(Contribution, Millis)>,
    published: Cells,
    clock: i64,
}

/// Runs the graph over the epochs; the records of each, in order, and the late counts.
fn run(start: &Start, epochs: &[Vec<(u64, Update)>], workers: usize) -> (Vec<Vec<Record>>, [u64; 3]) {
    /// The inputs start at epoch 0 and hydrate there.
    const HYDRATED: Epoch = 0;
    let (start, epochs, hash) = (Arc::new(start.clone()), Arc::new(epochs.to_vec()), RandomState::new());
    let captured: Arc<Mutex<Vec<(Epoch, Record)>>> = Arc::default();
    let late: Arc<Mutex<[u64; 3]>> = Arc::default();
    let (records, counts, n) = (Arc::clone(&captured), Arc::clone(&late), epochs.len());
    let config = if workers == 1 { timely::Config::thread() } else { timely::Config::process(workers) };
    timely::execute(config, move |worker| {
        let gauges = Rc::new(Gauges::default());
        let (mut updates, mut published, collected, probe) = worker.dataflow(|scope| {
            let (updates, updates_stream) = scope.new_input();
            let (published, published_stream) = scope.new_input();
            let records = volume::volume(
                updates_stream,
                published_stream,
                settings(),
                hash.clone(),
                HYDRATED,
                Rc::clone(&gauges),
            );
            let (bindings, bindings_stream) = scope.new_input();
            let (epochs, probe) = collect(records, bindings_stream, Committer::One);
            drop(bindings);
            (updates, published, epochs, probe)
        });
        let (peers, index) = (worker.peers(), worker.index());
        let mine = move |id: u64| id as usize % peers == index;
        if worker.index() == 0 {
            for cell in start.published.values() {
                published.send(published_cell(cell, &hash));
            }
        }
        for (i, (plus, at)) in start.current.iter().enumerate() {
            if mine(i as u64) {
                updates.send(Update { ingested_at: *at, plus: Some(plus.clone()), minus: None });
            }
        }
        updates.send(Update { ingested_at: Millis(start.clock), plus: None, minus: None });
        drop(published);
        for (i, epoch) in epochs.iter().enumerate() {
            let now = HYDRATED + 1 + i as u64;
            updates.advance_to(now);
            while probe.less_than(&now) {
                worker.step_or_park(Some(Duration::from_millis(1)));
            }
            for (_, update) in epoch.iter().filter(|(id, _)| mine(*id)) {
                updates.send(update.clone());
            }
        }
        drop(updates);
        while !probe.done() {
            worker.step_or_park(Some(Duration::from_millis(1)));
        }
        let epochs = std::mem::take(&mut *collected.borrow_mut());
        let records =
            epochs.into_iter().flat_map(|(epoch, c)| c.records.into_iter().map(move |r| (epoch, r)));
        captured.lock().expect("no worker panicked").extend(records);
        let mut total = late.lock().expect("no worker panicked");
        for (sum, n) in total.iter_mut().zip(gauges.late.get()) {
            *sum += n;
        }
    })
    .expect("timely starts")
    .join()
    .into_iter()
    .for_each(|worker| worker.expect("no worker panics"));
    let mut by_epoch = vec![Vec::new(); n + 1];
    for (epoch, record) in records.lock().expect("no worker panicked").drain(..) {
        by_epoch[(epoch - HYDRATED) as usize].push(record);
    }
    let late = *counts.lock().expect("no worker panicked");
    (by_epoch, late)
}

fn published_cell(cell: &VolumeCell, hash: &RandomState) -> Published {
    Published {
        key: volume::explode::key_of(cell, hash),
        record_key: cell.record_key(),
        sums: cell.sums(),
        authors: cell.authors,
    }
}

fn apply(cells: &mut Cells, records: &[Record]) {
    let mut seen = HashSet::new();
    for record in records {
        assert!(seen.insert(&record.key), "a cell is published at most once an epoch");
        match &record.value {
            Some(value) => {
                let cell: VolumeCell = serde_json::from_slice(value).expect("a cell");
                assert_ne!(
                    cells.insert(record.key.clone(), cell.clone()),
                    Some(cell),
                    "only changes are published"
                );
            }
            None => assert!(cells.remove(&record.key).is_some(), "a tombstone removes something"),
        }
    }
}

fn check(seed: u64, workers: usize) {
    println!("seed {seed}, {workers} workers");
    let settings = settings();
    let script = script(seed, 120);
    let (records, late) = run(&Start::default(), &script.epochs, workers);
    let (mut oracle, mut cells) = (Oracle::default(), Cells::new());
    apply(&mut cells, &records[0]);
    for (i, epoch) in script.epochs.iter().enumerate() {
        epoch.iter().for_each(|(_, update)| oracle.apply(update, &settings));
        apply(&mut cells, &records[i + 1]);
        assert_eq!(cells, oracle.cells(&settings), "seed {seed}, {workers} workers, epoch {i}");
    }
    assert!(cells.len() > 100, "the script leaves cells to compare");
    assert!(late.iter().all(|&n| n > 0), "the script has late arrivals for every window");
    assert_eq!(late, oracle.late, "late arrivals are counted by window");
}

#[test]
fn every_epoch_equals_recomputation() {
    for seed in 0..8 {
        check(seed, 1);
        check(seed, 2);
    }
}

/// A crash loses the graph; what was published may be behind the current
/// versions. After hydrating, results equal recomputation again, and a cell that
/// was right is not published again.
#[test]
fn hydration_publishes_only_differences() {
    for seed in 100..108 {
        println!("seed {seed}");
        let settings = settings();
        let script = script(seed, 80);
        let mut rng = StdRng::seed_from_u64(seed);
        let committed = rng.random_range(20..60);
        let end = committed + rng.random_range(0..5);
        let (records, _) = run(&Start::default(), &script.epochs[..committed], 1);
        let mut cells = Cells::new();
        records.iter().for_each(|r| apply(&mut cells, r));
        let mut oracle = Oracle::default();
        for epoch in &script.epochs[..end] {
            epoch.iter().for_each(|(_, update)| oracle.apply(update, &settings));
        }
        let start = Start {
            current: script.current[end - 1].values().cloned().collect(),
            published: cells.clone(),
            clock: oracle.clock,
        };
        for workers in [1, 2] {
            let (records, _) = run(&start, &script.epochs[end..], workers);
            let (mut cells, mut oracle_cells) = (cells.clone(), oracle.cells(&settings));
            apply(&mut cells, &records[0]);
            let live = |cells: &Cells| without_closed(cells, &settings, oracle.clock);
            assert_eq!(live(&cells), live(&oracle_cells), "seed {seed}, {workers} workers, after hydrating");
            if end == committed {
                assert!(records[0].is_empty(), "nothing was behind, so nothing is published");
            }
            let mut oracle =
                Oracle { cells: oracle.cells.clone(), ..Oracle { clock: oracle.clock, ..Oracle::default() } };
            for (i, epoch) in script.epochs[end..].iter().enumerate() {
                epoch.iter().for_each(|(_, update)| oracle.apply(update, &settings));
                apply(&mut cells, &records[i + 1]);
                oracle_cells = oracle.cells(&settings);
                let live = |cells: &Cells| without_closed(cells, &settings, oracle.clock);
                assert_eq!(
                    live(&cells),
                    live(&oracle_cells),
                    "seed {seed}, {workers} workers, epoch {i} after restart"
                );
            }
        }
    }
}

/// A cell that closed between the commit and the restart keeps its last published
/// value; only what could still change is compared there.
fn without_closed(cells: &Cells, settings: &Settings, clock: i64) -> Cells {
    let live = |c: &VolumeCell| c.start.0 >= settings.closed_before(c.window, Millis(clock));
    cells.iter().filter(|(_, c)| live(c)).map(|(k, c)| (k.clone(), c.clone())).collect()
}

#[test]
fn state_leaves_with_its_bucket() {
    let settings = settings();
    let mut rng = StdRng::seed_from_u64(1);
    let clock = 1_790_000_000_000;
    let mut epochs: Vec<Vec<(u64, Update)>> = (0..50)
        .map(|i| {
            let plus = Some(contribution(&mut rng, clock + i * 1000));
            vec![(i as u64, Update { ingested_at: Millis(clock + i * 1000), plus, minus: None })]
        })
        .collect();
    // Ten days of nothing but the clock: everything freezes, then expires.
    for hour in 0..240 {
        epochs
            .push(vec![(0, Update { ingested_at: Millis(clock + hour * HOUR_MS), plus: None, minus: None })]);
    }
    for workers in [1, 2] {
        let (records, _) = run(&Start::default(), &epochs, workers);
        let mut cells = Cells::new();
        records.iter().for_each(|r| apply(&mut cells, r));
        assert_eq!(cells, Cells::new(), "every cell got its tombstone: {settings:?}");
    }
}
