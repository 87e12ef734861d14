//! The live items, change by change.

use super::*;
use crate::stories::shown::Shown;
use crate::time::HOUR_MS;

const NOW: i64 = 1_790_000_000_000;

fn settings() -> Settings {
    Settings { items_max: 3, ..Settings::of_tests() }
}

fn version(id: &str, revision: u64, at: i64, text: &str) -> Change {
    let shown = Shown { id, platform: "x", title: text, ..Shown::default() };
    Change::Version(Box::new(Versioned {
        version: Version { revision, enrichment: 0 },
        published_at: Millis(at),
        text: symbol(text),
        signature: Signature::of(text),
        shown: shown.packed(),
    }))
}

fn vector(id: &str, revision: u64, values: &[f32]) -> Change {
    Change::Vector(Box::new(Vectored {
        id: id.into(),
        version: Version { revision, enrichment: 0 },
        published_at: Millis(NOW),
        sketch: Sketch::of("m", values),
    }))
}

/// What comes and goes, as id, whether it has a sketch, and the difference.
fn step(state: &mut State, changes: Vec<Change>) -> Vec<(String, bool, isize)> {
    let mut given = Vec::new();
    state.step(changes.into_iter(), |item, diff| {
        given.push((item.shown.id().to_string(), item.sketch.is_some(), diff));
    });
    given
}

const A: &str = "one two three four five six seven";
const B: &str = "eight nine ten eleven twelve thirteen fourteen";

fn given(id: &str, sketch: bool, diff: isize) -> (String, bool, isize) {
    (id.to_string(), sketch, diff)
}

#[test]
fn the_last_version_counts_and_an_unchanged_one_says_nothing() {
    let mut state = State::new(settings(), 1);
    let clock = Change::Clock(Millis(NOW));
    assert_eq!(step(&mut state, vec![clock, version("x:1", 1, NOW, A)]), [given("x:1", false, 1)]);
    assert_eq!(step(&mut state, vec![version("x:1", 2, NOW, A)]), [], "nothing that is seen changed");
    let twice = vec![version("x:1", 3, NOW, B), version("x:1", 4, NOW, A)];
    assert_eq!(step(&mut state, twice), [], "there and back within an epoch");
    let other = step(&mut state, vec![version("x:1", 5, NOW, B)]);
    assert_eq!(other, [given("x:1", false, -1), given("x:1", false, 1)]);
    assert_eq!(step(&mut state, vec![version("x:1", 6, NOW, "too short")]), [given("x:1", false, -1)]);
    assert_eq!(state.take_counts().too_short, 1);
    assert_eq!(step(&mut state, vec![Change::Gone("x:1".into())]), []);
    assert!(state.is_empty());
}

#[test]
fn a_vector_belongs_to_a_version_or_to_its_text() {
    let mut state = State::new(settings(), 1);
    // Before its version, as it may come when reading from the past.
    assert_eq!(step(&mut state, vec![vector("x:1", 1, &[1.0, 0.5])]), []);
    assert_eq!(step(&mut state, vec![version("x:1", 1, NOW, A)]), [given("x:1", true, 1)]);
    assert_eq!(step(&mut state, vec![version("x:1", 2, NOW, A)]), [], "the same text");
    let edited = step(&mut state, vec![version("x:1", 3, NOW, B)]);
    assert_eq!(edited, [given("x:1", true, -1), given("x:1", false, 1)], "another text");
    assert_eq!(step(&mut state, vec![vector("x:1", 3, &[0.5, 1.0])]).len(), 2);
    let old = Change::VectorGone("x:1".into(), Version { revision: 2, enrichment: 0 });
    assert_eq!(step(&mut state, vec![old]), [], "a later one stays");
    let gone = Change::VectorGone("x:1".into(), Version { revision: 3, enrichment: 0 });
    assert_eq!(step(&mut state, vec![gone]), [given("x:1", true, -1), given("x:1", false, 1)]);
}

#[test]
fn a_vector_that_went_before_its_version_came_leaves_nothing() {
    let mut state = State::new(settings(), 1);
    let gone = |revision| Change::VectorGone("x:1".into(), Version { revision, enrichment: 0 });
    assert_eq!(step(&mut state, vec![vector("x:1", 2, &[1.0, 0.5]), gone(1)]), []);
    assert_eq!(state.len(), 1, "a later one stays");
    assert_eq!(step(&mut state, vec![version("x:1", 1, NOW, A)]), [given("x:1", false, 1)]);
    assert_eq!(step(&mut state, vec![gone(2), version("x:1", 2, NOW, A)]), [], "nor is it found later");
    assert_eq!(step(&mut state, vec![Change::Gone("x:1".into())]), [given("x:1", false, -1)]);
    step(&mut state, vec![vector("x:1", 3, &[1.0, 0.5])]);
    step(&mut state, vec![gone(3)]);
    assert!(state.is_empty() && state.waiting.is_empty());
}

#[test]
fn items_leave_by_the_hour_and_late_ones_do_not_enter() {
    let mut state = State::new(settings(), 1);
    let (hour, expiry) = (Millis(NOW).floor(HOUR_MS).0, settings().expires_at(Millis(NOW)).0);
    assert_eq!(expiry, hour + 73 * HOUR_MS);
    step(&mut state, vec![version("x:1", 1, hour, A), version("x:2", 1, hour + HOUR_MS, A)]);
    assert_eq!(step(&mut state, vec![Change::Clock(Millis(expiry - 1))]), []);
    assert_eq!(step(&mut state, vec![Change::Clock(Millis(expiry))]), [given("x:1", false, -1)]);
    assert_eq!(step(&mut state, vec![version("x:3", 1, hour + HOUR_MS - 1, A)]), []);
    assert_eq!(state.take_counts().late, 1);
    // An edit that moves the time of publication moves the end.
    let moved = step(&mut state, vec![version("x:2", 2, hour + 5 * HOUR_MS, A)]);
    assert_eq!(moved, [given("x:2", false, -1), given("x:2", false, 1)]);
    assert_eq!(step(&mut state, vec![Change::Clock(Millis(expiry + HOUR_MS))]), []);
    assert_eq!(state.len(), 1);
}

#[test]
fn of_too_many_the_oldest_leave() {
    let mut state = State::new(settings(), 1);
    let many = (0..3).map(|i| version(&format!("x:{i}"), 1, NOW + i, A)).collect();
    assert_eq!(step(&mut state, many).len(), 3);
    assert_eq!(step(&mut state, vec![version("x:9", 1, NOW + 9, A)]).len(), 2);
    assert_eq!(step(&mut state, vec![version("x:8", 1, NOW - 9, A)]), [], "older than all that are held");
    assert_eq!((state.len(), state.take_counts().over_items_max), (3, 2));
}
