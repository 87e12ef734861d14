//! Random histories of items and a keyword rule: what must have fired is computed again
//! from the whole history by other means, and restarts at any moment change nothing.

use std::collections::BTreeSet;

use dataflows::event::Enriched;
use dataflows::time::{MINUTE_MS, Millis};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidings::alerts::record::{Alert, State};

use crate::alert_desk::*;

const INTERVAL: i64 = 15_000;
const WINDOW: i64 = 5 * MINUTE_MS;
const HOLD: i64 = 2 * MINUTE_MS;
const COOLDOWN: i64 = 6 * MINUTE_MS;
const NEEDED: usize = 3;
const RULE: &str = "[[alert]]\nname='r'\nkind='keyword'\nany=['fire']\nitems_min=3\nwindow_min=5\nhold_min=2\ncooldown_min=6";
const STEPS: i64 = 240;

/// One alert, as far as the history decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Expected {
    since: i64,
    resolved: Option<i64>,
    posted: bool,
}

/// A version, when it was written to the log, and since when it counts.
struct Entry {
    step: i64,
    came: i64,
    version: Enriched,
}

/// Every version ever ingested, in the order of its coming.
type History = Vec<Entry>;

/// A random history: bursts of matching items, edits that take the word away or give it,
/// deletions, revivals, items that are read late; sometimes nothing for a while.
fn history(random: &mut StdRng) -> History {
    let mut history: History = Vec::new();
    let mut busy = false;
    for step in 0..STEPS {
        if random.random_bool(0.06) {
            busy = !busy;
        }
        for _ in 0..random.random_range(0..=if busy { 2 } else { 1 }) {
            let at = START + step * INTERVAL + random.random_range(1..=INTERVAL);
            let fits = random.random_bool(if busy { 0.6 } else { 0.1 });
            let text = if fits { "a fire here" } else { "nothing of it" };
            let recent: Vec<&Enriched> = history.iter().rev().take(12).map(|e| &e.version).collect();
            let again = (!recent.is_empty() && random.random_bool(0.35))
                .then(|| recent[random.random_range(0..recent.len())].id.clone());
            let latest = again.and_then(|id| history.iter().rev().find(|e| e.version.id == id));
            let (came, version) = match latest {
                // The clock of an item does not go back.
                Some(latest) if latest.came < at => (at, another(&latest.version, at, random, text)),
                _ => {
                    let id = history.len() as u64 + 1;
                    // Every tenth is read only after later instants were decided.
                    let late = random.random_bool(0.1);
                    let ingested = if late { at - random.random_range(INTERVAL..=3 * MINUTE_MS) } else { at };
                    let came = if late { START + step * INTERVAL + 1 } else { at };
                    (came, item("hn", id, text, ingested))
                }
            };
            history.push(Entry { step, came, version });
        }
        history.sort_by_key(|entry| entry.came);
    }
    history
}

fn another(latest: &Enriched, at: i64, random: &mut StdRng, text: &str) -> Enriched {
    match latest.content {
        Some(_) => next(latest, at, random.random_bool(0.6).then_some(text)),
        None => {
            let mut revived = item("hn", 0, text, at);
            revived.id = latest.id.clone();
            revived.version.revision = latest.version.revision + 1;
            revived
        }
    }
}

/// How many items count at an instant, from the history alone.
fn count(history: &History, at: i64) -> usize {
    let known: Vec<&Entry> = history.iter().filter(|entry| entry.came <= at).collect();
    let mut ids: Vec<&str> = known.iter().map(|entry| entry.version.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let has = |entry: &Entry| {
        let content = entry.version.content.as_ref();
        content.is_some_and(|c| c.title.as_ref().is_some_and(|t| t.contains("fire")))
    };
    let counts = |id: &&str| {
        // The last unbroken run of versions with the word must begin with a new item.
        let versions: Vec<&&Entry> = known.iter().filter(|entry| entry.version.id == **id).collect();
        let run = versions.iter().rev().take_while(|entry| has(entry)).count();
        let Some(first) = versions.get(versions.len() - run).filter(|_| run > 0) else { return false };
        first.version.previous.is_none() && first.came > at - WINDOW
    };
    ids.iter().filter(|id| counts(id)).count()
}

fn expected(history: &History) -> Vec<Expected> {
    let mut all: Vec<Expected> = Vec::new();
    let mut absent: Option<i64> = None;
    let mut ended: Option<i64> = None;
    for step in 1..=STEPS {
        let at = START + step * INTERVAL;
        let met = count(history, at) >= NEEDED;
        let cooling = ended.is_some_and(|ended| at < ended + COOLDOWN);
        let open = all.last_mut().filter(|last| last.resolved.is_none());
        match (open, met) {
            (None, true) => {
                absent = None;
                all.push(Expected { since: at, resolved: None, posted: !cooling });
            }
            (Some(last), true) => {
                absent = None;
                last.posted |= !cooling;
            }
            (Some(last), false) => {
                let since = *absent.get_or_insert(at);
                if at - since >= HOLD {
                    last.resolved = Some(at);
                    if last.posted {
                        ended = Some(at);
                    }
                    absent = None;
                }
            }
            (None, false) => {}
        }
    }
    all
}

/// Plays the history; restarts, and downtime of some instants, with this probability.
fn play(history: &History, random: &mut StdRng, restarts: f64) -> Desk {
    let desk = Desk::new(RULE);
    tick(desk.log.as_ref(), START);
    let mut engine = Some(desk.engine());
    let is_late = |entry: &&Entry| entry.version.ingested_at.0 != entry.came;
    let late: BTreeSet<i64> = history.iter().filter(is_late).map(|entry| entry.step).collect();
    for step in 0..STEPS {
        let at = START + (step + 1) * INTERVAL;
        history.iter().filter(|e| e.step == step).for_each(|e| write(desk.log.as_ref(), &e.version));
        tick(desk.log.as_ref(), at);
        // An item is late only for who has decided its time, and said so with a commit: no
        // downtime right before one is read.
        let reads_late = late.contains(&step) || late.contains(&(step + 1));
        if !reads_late && random.random_bool(restarts) {
            engine = None;
        } else {
            let engine = engine.get_or_insert_with(|| desk.engine());
            settle(engine, at, &desk.settings);
        }
    }
    settle(&mut engine.unwrap_or_else(|| desk.engine()), START + STEPS * INTERVAL, &desk.settings);
    desk
}

fn found(desk: &Desk) -> Vec<Expected> {
    let of = |alert: &Alert| Expected {
        since: alert.since.0,
        resolved: alert.resolved.map(|at: Millis| at.0),
        posted: alert.suppressed.is_none(),
    };
    desk.alerts().iter().map(of).collect()
}

#[test]
fn what_fires_is_what_the_history_says_and_restarts_change_nothing() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut fired = 0;
    for round in 0..2 {
        let history = history(&mut random);
        let expected = expected(&history);
        fired += expected.len();
        for restarts in [0.0, 0.2] {
            let desk = play(&history, &mut random, restarts);
            assert_eq!(found(&desk), expected, "seed {seed}, round {round}, restarts {restarts}");
            // One post for each that is posted: its first message, and then edits.
            let outbox = desk.outbox();
            for alert in desk.alerts() {
                let of: Vec<u64> = outbox.iter().filter(|o| o.key == alert.key).map(|o| o.sequence).collect();
                let distinct = of.windows(2).all(|pair| pair[0] < pair[1]);
                assert!(distinct, "seed {seed}: {} was written twice: {of:?}", alert.key);
                assert_eq!(of.is_empty(), alert.suppressed.is_some(), "seed {seed}: {alert:?}");
                if alert.state == State::Resolved && alert.suppressed.is_none() {
                    assert_eq!(of.last(), Some(&(u64::from(alert.edits) + 1)), "its end is told");
                }
            }
        }
    }
    assert!(fired > 1, "seed {seed}: too little happened");
}
