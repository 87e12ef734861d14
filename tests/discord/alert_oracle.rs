//! Random histories of items and a keyword rule: what must have fired, and what may have
//! been shown, is computed again from the whole history by other means; restarts at any
//! moment change nothing. With a settle time what is read is ahead of what is decided.

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
/// As shipped: an instant is decided when the next is read.
const SETTLE_S: u64 = 10;

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
/// deletions, revivals, items that are read late; sometimes nothing for a while. What is
/// decided is `behind` instants behind what is read.
fn history(random: &mut StdRng, behind: i64) -> History {
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
                    let came = ingested.max(START + (step - behind) * INTERVAL + 1);
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

/// What an alert that opens at an instant shows, when everything up to a step is read:
/// ids and titles.
fn shown(history: &History, at: i64, step: i64, examples_max: usize) -> Vec<(String, String)> {
    let mut counting: Vec<(i64, &str)> = Vec::new();
    let mut ids: Vec<&str> = history.iter().map(|entry| entry.version.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let of: Vec<&Entry> = history.iter().filter(|e| e.version.id == id && e.came <= at).collect();
        let run =
            of.iter().rev().take_while(|entry| title(entry).is_some_and(|t| t.contains("fire"))).count();
        let first = of.get(of.len() - run).filter(|_| run > 0);
        if let Some(first) = first.filter(|e| e.version.previous.is_none() && e.came > at - WINDOW) {
            counting.push((first.came, id));
        }
    }
    counting.sort_unstable_by(|a, b| b.cmp(a));
    let now = |(_, id): (i64, &str)| Some((id.to_string(), newest(history, id, step)?.to_string()));
    counting.into_iter().filter_map(now).take(examples_max).collect()
}

fn title(entry: &Entry) -> Option<&str> {
    entry.version.content.as_ref().and_then(|content| content.title.as_deref())
}

/// The title of an item as it is known when everything up to a step is read; `None` is gone.
fn newest<'a>(history: &'a History, id: &str, step: i64) -> Option<&'a str> {
    let of = history.iter().filter(|entry| entry.version.id == id && entry.step <= step);
    of.max_by_key(|entry| entry.version.version).and_then(title)
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
/// Beside the desk: every record of an alert, and the step up to which all was read then.
fn play(history: &History, random: &mut StdRng, settle_s: u64, restarts: f64) -> (Desk, Vec<(i64, Alert)>) {
    let mut desk = Desk::new(RULE);
    desk.settings.settle_s = settle_s;
    tick(desk.log.as_ref(), START);
    let mut engine = Some(desk.engine());
    let mut records: Vec<(i64, Alert)> = Vec::new();
    let mut note = |desk: &Desk, step: i64| {
        let known: BTreeSet<(String, u32)> =
            records.iter().map(|(_, alert)| (alert.key.clone(), alert.edits)).collect();
        let new =
            desk.records().into_iter().filter(|alert| !known.contains(&(alert.key.clone(), alert.edits)));
        records.extend(new.map(|alert| (step, alert)));
    };
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
            note(&desk, step);
        }
    }
    let end = START + STEPS * INTERVAL + desk.settings.settle_ms();
    tick(desk.log.as_ref(), end);
    settle(&mut engine.unwrap_or_else(|| desk.engine()), end, &desk.settings);
    note(&desk, STEPS);
    (desk, records)
}

/// What is known to be gone is in no record, what is known to be edited is shown as it is,
/// and what an alert shows at its opening is all that there is to show.
fn check_shown(history: &History, records: &[(i64, Alert)], examples_max: usize, context: &str) {
    for (step, alert) in records {
        let of: Vec<(String, String)> =
            alert.examples.iter().map(|e| (e.id.clone(), e.title.clone())).collect();
        let ids: Vec<&String> = of.iter().map(|(id, _)| id).collect();
        assert_eq!(alert.content_ids.iter().collect::<Vec<_>>(), ids, "{context}: {alert:?}");
        for (id, title) in &of {
            let known = newest(history, id, *step);
            assert_eq!(known, Some(title.as_str()), "{context}: {id} at step {step} in {alert:?}");
        }
        if alert.edits == 0 {
            let expected = shown(history, alert.updated.0, *step, examples_max);
            assert_eq!(of, expected, "{context}: {alert:?}");
        }
    }
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
    for (round, settle_s) in [0, SETTLE_S].into_iter().enumerate() {
        let history = history(&mut random, i64::from(settle_s > 0));
        let expected = expected(&history);
        fired += expected.len();
        for restarts in [0.0, 0.2] {
            let context = format!("seed {seed}, round {round}, restarts {restarts}");
            let (desk, records) = play(&history, &mut random, settle_s, restarts);
            assert_eq!(found(&desk), expected, "{context}");
            check_shown(&history, &records, desk.settings.examples_max, &context);
            // One post for each that is posted: its first message, and then edits.
            let outbox = desk.outbox();
            for alert in desk.alerts() {
                let of: Vec<u64> = outbox.iter().filter(|o| o.key == alert.key).map(|o| o.sequence).collect();
                let distinct = of.windows(2).all(|pair| pair[0] < pair[1]);
                assert!(distinct, "{context}: {} was written twice: {of:?}", alert.key);
                assert_eq!(of.is_empty(), alert.suppressed.is_some(), "{context}: {alert:?}");
                if alert.state == State::Resolved && alert.suppressed.is_none() {
                    assert_eq!(of.last(), Some(&(u64::from(alert.edits) + 1)), "its end is told");
                }
            }
        }
    }
    assert!(fired > 1, "seed {seed}: too little happened");
}
