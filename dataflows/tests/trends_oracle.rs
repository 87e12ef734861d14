//! Trends equal recomputation: random creates, edits, deletions and late arrivals with bursts
//! among them, with 1 and 2 workers, at every epoch, over expiry, and across a restart that
//! hydrates from the current versions.
//!
//! The oracle knows only the current items and the pipeline clock. It counts them anew each
//! time and walks each subject's windows with rules of its own; it shares with the graph the
//! knobs and the form of the record. This file is long because the script, the oracle and the
//! harness make one test.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::RandomState;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dataflows::Epoch;
use dataflows::collect::{Committer, collect};
use dataflows::event::{Contribution, Engagement};
use dataflows::record::Record;
use dataflows::time::{HOUR_MS, MINUTE_MS, Millis};
use dataflows::trends::{
    self, Gauges, Knobs, Published, Settings, Subject, SubjectKind, Trend, TrendBucket, TrendState,
};
use dataflows::volume::Update;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use timely::dataflow::operators::Input;

const WINDOW_MS: i64 = 10 * MINUTE_MS;
const BEGIN: i64 = 1_790_000_000_000;

type Trends = BTreeMap<Vec<u8>, Trend>;
type Items = HashMap<u64, (Contribution, Millis)>;

fn knobs() -> Knobs {
    Knobs {
        retention_h: 8,
        history_windows: 6,
        alpha: 0.2,
        items_min: 4,
        authors_min: 3,
        ratio_min: 2.0,
        score_min: 2.5,
        continue_ratio_min: 1.4,
        burst_max_h: 2,
        prior_items: 0.1,
        cells_max: 100_000,
        singles_max: 100_000,
    }
}

fn settings() -> Settings {
    Settings::new(&knobs()).expect("valid")
}

/// Epochs of updates, with the items that are current after each.
#[derive(Default)]
struct Script {
    epochs: Vec<Vec<(u64, Update)>>,
    current: Vec<Items>,
    clocks: Vec<i64>,
}

fn contribution(rng: &mut StdRng, clock: i64, bursting: Option<usize>) -> Contribution {
    // Mostly fresh, some late, some beyond the range, some a little ahead.
    let age = match rng.random_range(0..30) {
        0 => rng.random_range(0..10 * HOUR_MS),
        1..=4 => rng.random_range(0..3 * HOUR_MS),
        5 => -rng.random_range(0..HOUR_MS),
        _ => rng.random_range(0..4 * MINUTE_MS),
    };
    let mut terms: BTreeSet<String> =
        (0..rng.random_range(0..3)).map(|_| format!("t{}", rng.random_range(0..30))).collect();
    let mut topics = BTreeSet::new();
    if rng.random_range(0..3) == 0 {
        topics.insert(format!("t{}", rng.random_range(0..2)));
    }
    if let Some(subject) = bursting.filter(|_| rng.random_range(0..4) > 0) {
        if subject < 2 {
            topics.insert(format!("t{subject}"));
        } else {
            terms.insert(format!("t{subject}"));
        }
    }
    Contribution {
        published_at: Millis(clock - age),
        platform: ["rss", "x"][rng.random_range(0..2)].to_string(),
        channel: None,
        author: (rng.random_range(0..6) > 0).then(|| format!("a{}", rng.random_range(0..9))),
        topics: topics.into_iter().collect(),
        terms: terms.into_iter().collect(),
        compound: None,
        engagement: Engagement { likes: Some(rng.random_range(0..5)), ..Engagement::default() },
    }
}

fn script(seed: u64, epochs: usize) -> Script {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut clock, mut next) = (BEGIN, 0);
    let mut items = Items::new();
    let mut script = Script::default();
    let mut bursting = None;
    for _ in 0..epochs {
        let mut updates = Vec::new();
        if rng.random_range(0..12) == 0 {
            bursting = (rng.random_range(0..2) == 0).then(|| rng.random_range(0..12));
        }
        for _ in 0..rng.random_range(0..25) {
            clock += match rng.random_range(0..400) {
                0 => rng.random_range(0..2 * HOUR_MS),
                _ if bursting.is_some() => rng.random_range(0..40_000),
                _ => rng.random_range(0..90_000),
            };
            let at = Millis(clock);
            let known: Vec<u64> = items.keys().copied().collect();
            let old = (!known.is_empty() && rng.random_range(0..4) == 0)
                .then(|| known[rng.random_range(0..known.len())]);
            let id = old.unwrap_or_else(|| {
                next += 1;
                next
            });
            let minus = items.remove(&id).map(|(c, _)| c);
            let plus = match &minus {
                Some(_) if rng.random_range(0..2) == 0 => None,
                // Only the engagement changed.
                Some(c) if rng.random_range(0..2) == 0 => {
                    Some(Contribution { engagement: Engagement::default(), ..c.clone() })
                }
                _ => Some(contribution(&mut rng, clock, bursting)),
            };
            if let Some(plus) = &plus {
                items.insert(id, (plus.clone(), at));
            }
            updates.push((id, Update { ingested_at: at, plus, minus }));
        }
        script.epochs.push(updates);
        script.current.push(items.clone());
        script.clocks.push(clock);
    }
    script
}

/// A subject's windows: items that count, and authors.
type Counted = BTreeMap<i64, (i64, HashSet<(String, String)>)>;

struct Oracle {
    counted: BTreeMap<Subject, Counted>,
    totals: BTreeMap<i64, i64>,
    first: i64,
    open: i64,
}

/// What was usual before a window: of the subject and of everything, as the record of a burst
/// is measured against. In thousandths.
#[derive(Clone, Copy)]
struct Usual {
    subject: i64,
    everything: i64,
}

impl Oracle {
    fn of(items: &Items, clock: i64) -> Self {
        let window = |at: i64| at.div_euclid(WINDOW_MS);
        let open = window(clock);
        let first = open + 1 - knobs().retention_h * 6;
        let mut oracle = Oracle { counted: BTreeMap::new(), totals: BTreeMap::new(), first, open };
        let mut told: HashMap<_, i32> = HashMap::new();
        for (item, _) in items.values().filter(|(c, _)| window(c.published_at.0) >= first) {
            let at = window(item.published_at.0);
            *oracle.totals.entry(at).or_default() += 1;
            let topics = item.topics.iter().map(|name| (SubjectKind::Topic, name));
            for (kind, name) in topics.chain(item.terms.iter().map(|name| (SubjectKind::Term, name))) {
                let windows = oracle.counted.entry(Subject { kind, name: name.clone() }).or_default();
                let (n, authors) = windows.entry(at).or_default();
                let Some(author) = item.author.clone().map(|author| (item.platform.clone(), author)) else {
                    *n += 1;
                    continue;
                };
                // Of an author, two count.
                let told = told.entry((kind, name, at, author.clone())).or_insert(0);
                *told += 1;
                *n += i64::from(*told <= 2);
                authors.insert(author);
            }
        }
        for windows in oracle.counted.values_mut() {
            windows.retain(|_, (n, _)| *n > 1);
        }
        oracle
    }

    /// Six significant binary digits.
    fn total(&self, at: i64) -> i64 {
        let exact = self.totals.get(&at).copied().unwrap_or(0);
        let mut unit = 1;
        while exact / unit >= 64 {
            unit *= 2;
        }
        exact / unit * unit
    }

    fn mean(&self, at: i64, count: impl Fn(i64) -> i64) -> i64 {
        let (mut weight, mut weights, mut sum) = (1i64 << 20, 0, 0);
        for back in 1..=knobs().history_windows as i64 {
            sum += weight * count(at - back);
            weights += weight;
            weight = weight * (1000 - (knobs().alpha * 1000.0) as i64) / 1000;
        }
        sum * 1000 / weights
    }

    fn usual(&self, windows: &Counted, at: i64) -> Usual {
        let prior = (knobs().prior_items * 1000.0) as i64;
        Usual {
            subject: prior + self.mean(at, |b| windows.get(&b).map_or(0, |(n, _)| *n)),
            everything: self.mean(at, |b| self.total(b)),
        }
    }

    fn expected(&self, usual: Usual, at: i64) -> i64 {
        let scaled = usual.subject * 1000 * self.total(at) / usual.everything.max(1);
        scaled.max(if at == self.open { usual.subject } else { usual.subject / 2 })
    }

    fn is_loud(&self, windows: &Counted, usual: Usual, at: i64) -> bool {
        let Some((n, authors)) = windows.get(&at) else { return false };
        let knobs = knobs();
        2 * n >= knobs.items_min
            && 2 * authors.len() as i64 >= knobs.authors_min
            && *n as f64 * 1e3 >= knobs.continue_ratio_min * self.expected(usual, at) as f64
    }

    fn begins(&self, windows: &Counted, usual: Usual, at: i64) -> bool {
        let Some((n, authors)) = windows.get(&at) else { return false };
        let knobs = knobs();
        let (n, expected) = (*n as f64, self.expected(usual, at) as f64 / 1e3);
        n >= knobs.items_min as f64
            && authors.len() as i64 >= knobs.authors_min
            && n >= knobs.ratio_min * expected
            && (n - expected) / (expected + 1.0).sqrt() >= knobs.score_min
    }

    fn trends(&self) -> Trends {
        let mut found = Trends::new();
        let Some(began) = (self.first..=self.open).find(|b| self.total(*b) > 0) else { return found };
        for (subject, windows) in &self.counted {
            let mut at = began + knobs().history_windows as i64;
            'subject: loop {
                // Two quiet windows before anything can begin, unless a burst ended quietly.
                let mut quiet = 0;
                while quiet < 2 {
                    if at > self.open {
                        break 'subject;
                    }
                    quiet = if self.is_loud(windows, self.usual(windows, at), at) { 0 } else { quiet + 1 };
                    at += 1;
                }
                loop {
                    let Some(since) =
                        (at..=self.open).find(|b| self.begins(windows, self.usual(windows, *b), *b))
                    else {
                        break 'subject;
                    };
                    let usual = self.usual(windows, since);
                    let most = since + knobs().burst_max_h * 6;
                    let loud = |b: i64| self.is_loud(windows, usual, b);
                    // The first pair of quiet windows that are over, after the start.
                    let pair = (since + 1..self.open - 1).find(|b| !loud(*b) && !loud(b + 1));
                    let (until, next) = match pair {
                        Some(pair) if pair + 1 < most => (Some(pair), Some(pair + 2)),
                        _ if most <= self.open => (Some(most), None),
                        _ => (None, None),
                    };
                    let trend = self.trend(subject, windows, usual, since, until);
                    found.insert(trend.record_key(), trend);
                    match (until, next) {
                        (None, _) => break 'subject,
                        (Some(_), Some(next)) => at = next,
                        (Some(until), None) => {
                            at = until;
                            continue 'subject;
                        }
                    }
                }
            }
        }
        found
    }

    fn trend(
        &self,
        subject: &Subject,
        windows: &Counted,
        usual: Usual,
        since: i64,
        until: Option<i64>,
    ) -> Trend {
        let counts = |b: i64| windows.get(&b).map_or((0, 0), |(n, authors)| (*n, authors.len() as i64));
        let end = until.unwrap_or(self.open + 1);
        let (mut peak, mut items, mut most) = (since, 0, 0);
        for b in since..end {
            items += counts(b).0;
            most = most.max(counts(b).1);
            if counts(b).0 > counts(peak).0 {
                peak = b;
            }
        }
        let exact = self.expected(usual, peak) as f64 / 1e3;
        let tenth = |x: f64| (x * 10.0).round() / 10.0;
        let (n, authors) = counts(peak);
        Trend {
            subject: subject.clone(),
            state: if until.is_none() { TrendState::Rising } else { TrendState::Ended },
            since: Millis(since * WINDOW_MS),
            until: until.map(|b| Millis(b * WINDOW_MS)),
            peak_start: Millis(peak * WINDOW_MS),
            items,
            peak_items: n,
            authors: most,
            expected: tenth(exact),
            ratio: tenth(n as f64 / if exact < 1.0 { 1.0 } else { exact }),
            score: tenth((n as f64 - exact) / (exact + 1.0).sqrt()),
            buckets: ((end - 12).max(self.first)..end)
                .map(|b| TrendBucket {
                    start: Millis(b * WINDOW_MS),
                    items: counts(b).0,
                    authors: counts(b).1,
                    expected: tenth(self.expected(usual, b) as f64 / 1e3),
                })
                .collect(),
            why: format!(
                "{n} items by {authors} authors in 10 minutes where {:.1} were expected",
                tenth(exact)
            ),
        }
    }
}

/// What a restart begins with.
#[derive(Clone, Default)]
struct Start {
    current: Vec<(Contribution, Millis)>,
    published: Trends,
    clock: i64,
}

/// What a run says of itself at its end, over all workers.
#[derive(Default, Debug, Clone, Copy)]
struct Seen {
    late: u64,
    refused: [u64; 2],
    cells: usize,
}

/// Runs the graph over the epochs; the records of each, in order.
fn run(
    start: &Start,
    epochs: &[Vec<(u64, Update)>],
    workers: usize,
    settings: &Settings,
) -> (Vec<Vec<Record>>, Seen) {
    /// The inputs start at epoch 0 and hydrate there.
    const HYDRATED: Epoch = 0;
    let (start, epochs, hash) = (Arc::new(start.clone()), Arc::new(epochs.to_vec()), RandomState::new());
    let captured: Arc<Mutex<Vec<(Epoch, Record)>>> = Arc::default();
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let (records, settings, n, total) =
        (Arc::clone(&captured), settings.clone(), epochs.len(), Arc::clone(&seen));
    let config = if workers == 1 { timely::Config::thread() } else { timely::Config::process(workers) };
    timely::execute(config, move |worker| {
        let gauges = Rc::new(Gauges::default());
        let (mut updates, mut published, mut retracted, mut frozen, collected, probe) =
            worker.dataflow(|scope| {
                let (updates, updates_stream) = scope.new_input();
                let (published, published_stream) = scope.new_input();
                let (retracted, retracted_stream) = scope.new_input();
                let trends = trends::trends(
                    updates_stream,
                    published_stream,
                    retracted_stream,
                    settings.clone(),
                    hash.clone(),
                    HYDRATED,
                    Rc::clone(&gauges),
                );
                let (bindings, bindings_stream) = scope.new_input();
                let (epochs, probe) = collect(trends.records, bindings_stream, Committer::One);
                drop(bindings);
                (updates, published, retracted, trends.frozen, epochs, probe)
            });
        let (peers, index) = (worker.peers(), worker.index());
        let mine = move |id: u64| id as usize % peers == index;
        if worker.index() == 0 {
            for trend in start.published.values() {
                let subject = trends::symbol(&hash, trend.subject.kind, &trend.subject.name);
                published.send(Published { subject, trend: trend.clone() });
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
            retracted.advance_to(now);
            while probe.less_than(&now) {
                worker.step_or_park(Some(Duration::from_millis(1)));
            }
            frozen.compact(now);
            frozen
                .retractions(Millis(gauges.clock_ms.get()), now)
                .into_iter()
                .for_each(|change| retracted.send(change));
            for (_, update) in epoch.iter().filter(|(id, _)| mine(*id)) {
                updates.send(update.clone());
            }
        }
        drop((updates, retracted));
        while !probe.done() {
            worker.step_or_park(Some(Duration::from_millis(1)));
        }
        let epochs = std::mem::take(&mut *collected.borrow_mut());
        let records =
            epochs.into_iter().flat_map(|(epoch, c)| c.records.into_iter().map(move |r| (epoch, r)));
        captured.lock().expect("no worker panicked").extend(records);
        let mut seen = seen.lock().expect("no worker panicked");
        seen.late += gauges.late.get();
        seen.cells += gauges.cells.get() + gauges.singles.get();
        for (sum, n) in seen.refused.iter_mut().zip(gauges.refused.get()) {
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
    let seen = *total.lock().expect("no worker panicked");
    (by_epoch, seen)
}

fn apply(trends: &mut Trends, records: &[Record]) {
    let mut seen = HashSet::new();
    for record in records {
        assert!(seen.insert(&record.key), "a trend is published at most once an epoch");
        match &record.value {
            Some(value) => {
                let trend: Trend = serde_json::from_slice(value).expect("a trend");
                assert_eq!(trend.record_key(), record.key);
                let old = trends.insert(record.key.clone(), trend.clone());
                assert_ne!(old, Some(trend), "only changes are published");
            }
            None => assert!(trends.remove(&record.key).is_some(), "a tombstone removes something"),
        }
    }
}

fn check(seed: u64, workers: usize) -> usize {
    println!("seed {seed}, {workers} workers");
    let script = script(seed, 250);
    let (records, seen) = run(&Start::default(), &script.epochs, workers, &settings());
    let (mut trends, mut all) = (Trends::new(), BTreeSet::new());
    apply(&mut trends, &records[0]);
    for i in 0..script.epochs.len() {
        apply(&mut trends, &records[i + 1]);
        let expected = Oracle::of(&script.current[i], script.clocks[i].max(BEGIN)).trends();
        assert_eq!(trends, expected, "seed {seed}, {workers} workers, epoch {i}");
        all.extend(trends.keys().cloned());
    }
    assert!(seen.late > 0, "the script has late arrivals");
    all.len()
}

#[test]
fn every_epoch_equals_recomputation() {
    let trends: usize = (0..10).map(|seed| check(seed, 1) + check(seed, 2)).sum();
    assert!(trends > 100, "the scripts have {trends} trends");
}

/// A crash loses the graph; what was published may be behind the current versions. After
/// hydrating, trends equal recomputation again, and one that was right is not published again.
#[test]
fn hydration_publishes_only_differences() {
    for seed in 100..108 {
        println!("seed {seed}");
        let script = script(seed, 200);
        let mut rng = StdRng::seed_from_u64(seed);
        let committed = rng.random_range(60..150);
        let end = committed + rng.random_range(0..5);
        let (records, _) = run(&Start::default(), &script.epochs[..committed], 1, &settings());
        let mut before = Trends::new();
        records.iter().for_each(|r| apply(&mut before, r));
        let start = Start {
            current: script.current[end - 1].values().cloned().collect(),
            published: before.clone(),
            clock: script.clocks[end - 1],
        };
        for workers in [1, 2] {
            let (records, _) = run(&start, &script.epochs[end..], workers, &settings());
            let mut trends = before.clone();
            apply(&mut trends, &records[0]);
            let expected = |i: usize| Oracle::of(&script.current[i], script.clocks[i]).trends();
            assert_eq!(trends, expected(end - 1), "seed {seed}, {workers} workers, after hydrating");
            if end == committed {
                assert!(records[0].is_empty(), "nothing was behind, so nothing is published");
            }
            for i in end..script.epochs.len() {
                apply(&mut trends, &records[i - end + 1]);
                assert_eq!(trends, expected(i), "seed {seed}, {workers} workers, epoch {i} after restart");
            }
        }
    }
}

fn item(at: i64, term: &str, author: &str) -> Contribution {
    Contribution {
        published_at: Millis(at),
        platform: "x".into(),
        channel: None,
        author: Some(author.into()),
        topics: Vec::new(),
        terms: vec![term.into()],
        compound: None,
        engagement: Engagement::default(),
    }
}

/// A stream in which every minute is an epoch: `items` gives what is published in it.
fn minutes(from: i64, to: i64, mut items: impl FnMut(i64) -> Vec<Contribution>) -> Vec<Vec<(u64, Update)>> {
    let mut id = 0;
    let mut next = || {
        id += 1;
        id
    };
    (from..to)
        .map(|minute| {
            let at = Millis(BEGIN + minute * MINUTE_MS);
            let update = |plus| Update { ingested_at: at, plus, minus: None };
            let items = items(minute).into_iter().map(|c| (next(), update(Some(c))));
            items.chain([(0, update(None))]).collect()
        })
        .collect()
}

fn published(epochs: &[Vec<(u64, Update)>]) -> (Trends, Vec<Record>) {
    let (records, _) = run(&Start::default(), epochs, 1, &settings());
    let mut trends = Trends::new();
    records.iter().for_each(|r| apply(&mut trends, r));
    (trends, records.into_iter().flatten().collect())
}

#[test]
fn a_stream_that_begins_is_no_burst() {
    // Ten terms at once at full rate by twenty authors, for as long as the history is.
    let epochs = minutes(0, 100, |minute| {
        (0..20)
            .map(|i| item(BEGIN + minute * MINUTE_MS, &format!("t{}", (minute + i) % 10), &format!("a{i}")))
            .collect()
    });
    assert_eq!(published(&epochs).1, vec![]);
    // After a lonely item long before, too: what was usual then was next to nothing.
    let mut late = epochs;
    late[0].push((
        1_000_000,
        Update { ingested_at: Millis(BEGIN), plus: Some(item(BEGIN - 5 * HOUR_MS, "old", "a")), minus: None },
    ));
    assert_eq!(published(&late).1, vec![]);
}

#[test]
fn one_author_is_no_burst_and_three_are() {
    let stream = |authors: i64| {
        minutes(0, 180, move |minute| {
            let at = BEGIN + minute * MINUTE_MS;
            let mut items: Vec<_> = (0..5).map(|i| item(at, "usual", &format!("a{i}"))).collect();
            if (120..140).contains(&minute) {
                items.extend((0..3).map(|i| item(at, "new", &format!("b{}", i % authors))));
            }
            items
        })
    };
    assert_eq!(published(&stream(1)).1, vec![]);
    assert_eq!(published(&stream(2)).1, vec![]);
    let (trends, _) = published(&stream(3));
    let trends: Vec<&Trend> = trends.values().collect();
    assert_eq!(trends.len(), 1);
    assert_eq!((trends[0].subject.name.as_str(), trends[0].authors, trends[0].items), ("new", 3, 3 * 6));
    assert_eq!(trends[0].state, TrendState::Ended);
}

#[test]
fn the_rhythm_of_the_day_is_no_burst() {
    // Everything grows tenfold within an hour, and shrinks again.
    let epochs = minutes(0, 600, |minute| {
        let at = BEGIN + minute * MINUTE_MS;
        let rate = match minute {
            120..180 => 4 + (minute - 120) / 2,
            180..300 => 34,
            300..360 => 34 - (minute - 300) / 2,
            _ => 4,
        };
        (0..rate).map(|i| item(at, &format!("t{}", i % 4), &format!("a{i}"))).collect()
    });
    assert_eq!(published(&epochs).1, vec![]);
}

#[test]
fn a_late_item_changes_what_was_published_and_expiry_leaves_only_tombstones() {
    let burst = |minute: i64| (120..140).contains(&minute);
    let mut epochs = minutes(0, 200, |minute| {
        let at = BEGIN + minute * MINUTE_MS;
        let mut items: Vec<_> = (0..5).map(|i| item(at, "usual", &format!("a{i}"))).collect();
        items.extend((0..6).filter(|_| burst(minute)).map(|i| item(at, "new", &format!("b{i}-{minute}"))));
        items
    });
    let (before, _) = published(&epochs);
    let trend = before.values().next().expect("a trend").clone();
    assert_eq!((trend.items, trend.state), (120, TrendState::Ended));
    let late = item(trend.peak_start.0 + 1, "new", "late");
    epochs.push(vec![(
        9_000_000,
        Update { ingested_at: Millis(BEGIN + 200 * MINUTE_MS), plus: Some(late.clone()), minus: None },
    )]);
    let (after, _) = published(&epochs);
    let changed = after.values().next().expect("a trend");
    assert_eq!((changed.since, changed.items, changed.authors), (trend.since, 121, trend.authors + 1));
    // Its deletion changes it back.
    epochs.push(vec![(
        9_000_000,
        Update { ingested_at: Millis(BEGIN + 200 * MINUTE_MS), plus: None, minus: Some(late) },
    )]);
    assert_eq!(published(&epochs).0, before);
    // Two days of nothing but the clock: tombstones, and no state is left.
    for hour in 4..48 {
        epochs
            .push(vec![(0, Update { ingested_at: Millis(BEGIN + hour * HOUR_MS), plus: None, minus: None })]);
    }
    let (records, seen) = run(&Start::default(), &epochs, 2, &settings());
    let mut trends = Trends::new();
    records.iter().for_each(|r| apply(&mut trends, r));
    assert_eq!(trends, Trends::new(), "every trend got its tombstone");
    assert_eq!(seen.cells, 0);
    let last: Vec<_> = records[203..].iter().flatten().map(|r| r.value.is_none()).collect();
    assert_eq!(last, [true], "expiry publishes nothing else");
}

#[test]
fn a_full_worker_counts_what_it_refuses_and_stays_right_about_the_rest() {
    let few = Settings::new(&Knobs { cells_max: 3, singles_max: 40, ..knobs() }).expect("valid");
    let script = script(7, 120);
    let (records, seen) = run(&Start::default(), &script.epochs, 1, &few);
    assert!(seen.refused[0] > 0, "{seen:?}");
    let mut trends = Trends::new();
    for (i, epoch) in records.iter().enumerate().skip(1) {
        apply(&mut trends, epoch);
        // Topics are never refused, and every trend of them is as if nothing had been.
        let topics = |trends: &Trends| {
            trends.values().filter(|t| t.subject.kind == SubjectKind::Topic).cloned().collect::<Vec<_>>()
        };
        let expected = Oracle::of(&script.current[i - 1], script.clocks[i - 1].max(BEGIN)).trends();
        assert_eq!(topics(&trends), topics(&expected), "epoch {i}");
    }
}
