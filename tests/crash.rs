//! `kill -9` at random under load, on both logs: every cell equals an independent
//! recomputation, and content.enriched holds every version exactly once.
//!
//! The short form takes about half a minute for each log; `TIDINGS_TEST_LONG=1`
//! makes it the soak of five minutes and 100 000 events.

#[path = "support/broker.rs"]
mod broker;
#[path = "support/generate.rs"]
mod generate;
#[path = "crash/matrix.rs"]
mod matrix;
#[path = "crash/tidings.rs"]
mod tidings_process;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dataflows::text::topics::{Topics, TopicsFile};
use generate::{Stream, shown};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tidings_process::{Backend, Tidings};

/// The groupings that are counted by default, as `by` asks for them.
const GROUPINGS: [&str; 6] =
    ["none", "platform", "topic", "platform,topic", "platform,channel", "platform,topic,channel"];

const BATCH: usize = 500;
/// How long the aggregates may take to be complete after the last event.
const SETTLE: Duration = Duration::from_secs(120);

fn topics() -> Topics {
    let file: TopicsFile = toml::from_str(include_str!("../config/topics.toml")).expect("config/topics.toml");
    Topics::new(file.topics).expect("valid topics")
}

#[expect(clippy::disallowed_methods, reason = "the form of the tests is chosen by the environment")]
fn is_long() -> bool {
    std::env::var_os("TIDINGS_TEST_LONG").is_some()
}

/// Feeds the stream in order, killing the process now and then; a batch whose
/// outcome is unknown is sent again.
fn play(
    tidings: &Arc<Tidings>,
    stream: &Stream,
    seed: u64,
    kill_every: Option<Duration>,
    last_for: Duration,
) -> usize {
    let (done, kills) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let killer = kill_every.map(|mean| {
        let (tidings, done, kills) = (Arc::clone(tidings), Arc::clone(&done), Arc::clone(&kills));
        std::thread::spawn(move || {
            let mut rng = StdRng::seed_from_u64(seed);
            while !done.load(Ordering::SeqCst) {
                std::thread::sleep(mean.mul_f64(rng.random_range(0.2..1.8)));
                if !done.load(Ordering::SeqCst) {
                    tidings.kill_and_restart();
                    kills.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
    });
    let started = Instant::now();
    let batches: Vec<_> = stream.lines.chunks(BATCH).collect();
    for (i, batch) in batches.iter().enumerate() {
        tidings.post_until_accepted(&batch.join("\n"));
        // Spread over the time, so that the kills find it working.
        let due = last_for.mul_f64((i + 1) as f64 / batches.len() as f64);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
    }
    done.store(true, Ordering::SeqCst);
    if let Some(killer) = killer {
        killer.join().expect("the killer does not panic");
    }
    kills.load(Ordering::SeqCst)
}

fn cells(tidings: &Tidings) -> Result<BTreeMap<String, Value>, String> {
    let mut cells = BTreeMap::new();
    for window in ["1m", "1h", "1d"] {
        for by in GROUPINGS {
            let mut cursor = Some(String::new());
            while let Some(at) = cursor {
                let asked = format!("/v1/volume?window={window}&by={by}&cursor={at}");
                let answer = tidings.get(&asked)?;
                for cell in answer["cells"].as_array().ok_or("no cells")? {
                    let (key, value) = shown(by, cell);
                    if cells.insert(key.clone(), value).is_some() {
                        return Err(format!("two cells for {key}"));
                    }
                }
                cursor = answer["cursor"].as_str().map(str::to_string);
            }
        }
    }
    Ok(cells)
}

/// Waits until the cells are the expected ones; says how they differ when they stay different.
fn settle(tidings: &Tidings, expected: &BTreeMap<String, Value>) {
    let until = Instant::now() + SETTLE;
    loop {
        let found = cells(tidings);
        if found.as_ref() == Ok(expected) {
            return;
        }
        if Instant::now() > until {
            let found = found.expect("the cells can be read");
            let differ: Vec<_> = expected
                .iter()
                .filter(|(key, value)| found.get(*key) != Some(value))
                .map(|(key, value)| format!("{key}: expected {value}, found {:?}", found.get(key)))
                .chain(
                    found
                        .iter()
                        .filter(|(key, _)| !expected.contains_key(*key))
                        .map(|(k, v)| format!("{k}: unexpected {v}")),
                )
                .collect();
            panic!(
                "{} of {} cells differ, such as:\n{}",
                differ.len(),
                expected.len(),
                differ.iter().take(8).cloned().collect::<Vec<_>>().join("\n")
            );
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn check(backend: Backend, seed: u64, events: usize, kill_every: Option<Duration>, last_for: Duration) {
    println!("seed {seed}, {events} events, {backend:?}, kill every {kill_every:?} over {last_for:?}");
    let stream = Stream::new(seed, events, dataflows_now());
    let expected = stream.expected(&topics());
    let tidings = Arc::new(Tidings::start(backend));
    let kills = play(&tidings, &stream, seed, kill_every, last_for);
    println!("{kills} kills");
    assert!(kill_every.is_none() || kills >= 3, "the process was killed while it worked");
    settle(&tidings, &expected);
    let tidings = Arc::into_inner(tidings).expect("the killer is done");
    tidings.stop();
    once_each(&stream, tidings.versions());
}

/// Every version that was sent, and each once.
fn once_each(stream: &Stream, versions: Vec<(String, u64)>) {
    let mut counts: BTreeMap<(String, u64), usize> = BTreeMap::new();
    versions.into_iter().for_each(|version| *counts.entry(version).or_default() += 1);
    let twice: Vec<_> = counts.iter().filter(|(_, n)| **n > 1).take(5).collect();
    assert!(twice.is_empty(), "versions that were published twice: {twice:?}");
    let lost: Vec<_> = stream.versions.iter().filter(|v| !counts.contains_key(*v)).take(5).collect();
    assert!(lost.is_empty(), "versions that were lost: {lost:?}");
    let unknown: Vec<_> = counts.keys().filter(|v| !stream.versions.contains(*v)).take(5).collect();
    assert!(unknown.is_empty(), "versions nobody sent: {unknown:?}");
}

fn dataflows_now() -> i64 {
    tidings::run::now_ms()
}

fn crash(backend: Backend, seed: u64) {
    match is_long() {
        false => check(backend, seed, 12_000, Some(Duration::from_millis(1_500)), Duration::from_secs(18)),
        true => check(backend, seed, 100_000, Some(Duration::from_secs(5)), Duration::from_secs(300)),
    }
}

#[test]
fn embedded_survives_kill_9_at_random() {
    crash(Backend::Embedded { workers: 2 }, 1);
}

#[test]
fn kafka_survives_kill_9_at_random() {
    crash(Backend::Kafka { workers: 1 }, 2);
}

/// 100 000 events on each log, undisturbed.
#[test]
fn embedded_counts_a_hundred_thousand() {
    check(Backend::Embedded { workers: 1 }, 3, 100_000, None, Duration::ZERO);
}

#[test]
fn kafka_counts_a_hundred_thousand() {
    check(Backend::Kafka { workers: 2 }, 4, 100_000, None, Duration::ZERO);
}
