//! The incremental result equals recomputation over random histories (creations, edits,
//! deletions, vectors that come and go, late arrivals, hours that pass), with 1 and 2
//! workers, at every epoch, and over a restart.

use std::collections::BTreeMap;

use dataflows::event::Version;
use dataflows::stories::item::Settings;
use dataflows::stories::items::Change;
use dataflows::stories::shown::Shown;
use dataflows::time::{HOUR_MS, Millis};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::harness::{NOW, Ran, Stories, apply, live, run, settings, vector, version};
use super::oracle::Oracle;

const FAMILIES: usize = 12;

struct Script {
    epochs: Vec<Vec<Change>>,
    /// Changes that give the state after each epoch, each id once.
    current: Vec<Vec<Change>>,
}

struct Writer {
    rng: StdRng,
    bases: Vec<Vec<u32>>,
    directions: Vec<Vec<f32>>,
    clock: i64,
    /// Id -> revision, time, text, family.
    known: BTreeMap<String, (u64, i64, String, usize)>,
    next: usize,
}

impl Writer {
    fn text(&mut self, family: usize) -> String {
        let mut words = self.bases[family].clone();
        for _ in 0..[0, 0, 1, 2, 4, 8][self.rng.random_range(0..6)] {
            let at = self.rng.random_range(0..words.len());
            words[at] = self.rng.random_range(0..3000);
        }
        words.iter().map(|w| format!("w{w} ")).collect()
    }

    fn vector(&mut self, id: &str, revision: u64, at: i64, family: usize) -> Change {
        let noise = [0.1, 0.4, 0.8, 1.5][self.rng.random_range(0..4)];
        let base = self.directions[family].clone();
        let values: Vec<f32> = base.iter().map(|v| v + noise * (self.rng.random::<f32>() - 0.5)).collect();
        vector(id, revision, at, &values)
    }

    fn version(&mut self, id: &str, revision: u64, at: i64, text: &str) -> Change {
        let platform = ["rss", "x", "youtube"][self.rng.random_range(0..3)];
        let author = ["", "a", "b", "c"][self.rng.random_range(0..4)];
        let mut version = version(id, revision, at, platform, author, text);
        let shown = Shown {
            has_title: self.rng.random_range(0..3) == 0,
            topics: ["t0"].into_iter().take(self.rng.random_range(0..2)).collect(),
            compound: (self.rng.random_range(0..3) > 0).then(|| self.rng.random_range(-10_000..=10_000)),
            ..version.shown.shown()
        };
        version.shown = shown.packed();
        Change::Version(Box::new(version))
    }

    fn change(&mut self) -> Vec<Change> {
        let old = (!self.known.is_empty() && self.rng.random_range(0..3) == 0).then(|| {
            let n = self.rng.random_range(0..self.known.len());
            self.known.keys().nth(n).expect("known").clone()
        });
        let kind = self.rng.random_range(0..10);
        let Some(id) = old else {
            self.next += 1;
            let id = format!("x:{}", self.next);
            let family = self.rng.random_range(0..FAMILIES);
            // Mostly fresh, some late, some too late.
            let age = match self.rng.random_range(0..12) {
                0 => self.rng.random_range(0..100 * HOUR_MS),
                1 | 2 => self.rng.random_range(0..40 * HOUR_MS),
                _ => self.rng.random_range(0..HOUR_MS),
            };
            let (at, text) = (self.clock - age, self.text(family));
            self.known.insert(id.clone(), (1, at, text.clone(), family));
            let mut changes = vec![self.version(&id, 1, at, &text)];
            if kind < 5 {
                changes.push(self.vector(&id, 1, at, family));
            }
            return changes;
        };
        let (revision, at, text, family) = self.known[&id].clone();
        let next = revision + 1;
        match kind {
            0..=2 => {
                self.known.remove(&id);
                vec![Change::Gone(id.into())]
            }
            3 | 4 => {
                // What does not change the text is embedded again, from the cache.
                self.known.insert(id.clone(), (next, at, text.clone(), family));
                vec![self.version(&id, next, at, &text), self.vector(&id, next, at, family)]
            }
            5..=7 => {
                let family = self.rng.random_range(0..FAMILIES);
                let at = if kind == 5 { self.clock } else { at };
                let text = if kind == 6 { "too short".into() } else { self.text(family) };
                self.known.insert(id.clone(), (next, at, text.clone(), family));
                vec![self.version(&id, next, at, &text)]
            }
            8 => vec![self.vector(&id, revision, at, family)],
            _ => vec![Change::VectorGone(id.into(), Version { revision, enrichment: 0 })],
        }
    }
}

fn script(seed: u64, epochs: usize) -> Script {
    let mut rng = StdRng::seed_from_u64(seed);
    let bases = (0..FAMILIES)
        .map(|_| (0..rng.random_range(8..24)).map(|_| rng.random_range(0..3000)).collect())
        .collect();
    let directions = (0..FAMILIES).map(|_| (0..32).map(|_| rng.random::<f32>() - 0.5).collect()).collect();
    let mut writer = Writer { rng, bases, directions, clock: NOW, known: BTreeMap::new(), next: 0 };
    let mut script = Script { epochs: vec![], current: vec![] };
    let (mut versions, mut vectors) = (BTreeMap::new(), BTreeMap::new());
    for _ in 0..epochs {
        writer.clock += if writer.rng.random_range(0..6) == 0 {
            writer.rng.random_range(0..12 * HOUR_MS)
        } else {
            writer.rng.random_range(0..600_000)
        };
        let mut epoch = vec![Change::Clock(Millis(writer.clock))];
        for _ in 0..writer.rng.random_range(0..12) {
            epoch.extend(writer.change());
        }
        for change in &epoch {
            let Some(id) = change.id().map(str::to_string) else { continue };
            match change {
                Change::Version(_) => _ = versions.insert(id, change.clone()),
                Change::Vector(_) => _ = vectors.insert(id, change.clone()),
                Change::VectorGone(..) => _ = vectors.remove(&id),
                Change::Gone(_) => {
                    versions.remove(&id);
                    vectors.remove(&id);
                }
                Change::Clock(_) => {}
            }
        }
        let clock = Change::Clock(Millis(writer.clock));
        script.current.push(versions.values().chain(vectors.values()).cloned().chain([clock]).collect());
        script.epochs.push(epoch);
    }
    script
}

/// Of each seed other limits: with few neighbours and small components what bounds the
/// graph is at work all the time.
fn limits(seed: u64) -> Settings {
    let tight = seed % 2 == 1;
    Settings {
        component_items_max: if tight { 5 } else { 500 },
        words_neighbours_max: if tight { 1 } else { 8 },
        meaning_neighbours_max: if tight { 2 } else { 64 },
        words_close_min: if tight { 0.7 } else { 0.8 },
        ..settings()
    }
}

/// The ids that are new are the graph's to choose: takes them over from it.
fn adopt(expected: Stories, actual: &Stories, before: &Stories) -> Stories {
    let mut named = Stories::new();
    let mut ids = BTreeMap::new();
    for (id, mut story) in expected {
        if id.starts_with("new-") {
            let same =
                |s: &&dataflows::stories::Story| s.first_seen == story.first_seen && s.merged_into.is_none();
            let given = actual.values().find(same).unwrap_or_else(|| panic!("no story {story:?}"));
            assert!(!before.contains_key(&given.id), "a new story has a new id");
            ids.insert(id, given.id.clone());
            story.id = given.id.clone();
        }
        named.insert(story.id.clone(), story);
    }
    for story in named.values_mut() {
        if let Some(into) = &mut story.merged_into
            && let Some(given) = ids.get(into)
        {
            *into = given.clone();
        }
    }
    named
}

fn check(seed: u64, workers: usize) -> (usize, usize, usize) {
    let settings = limits(seed);
    let script = script(seed, 100);
    let Ran { epochs, .. } = run(&settings, &[], &script.epochs, 0, workers);
    let (mut oracle, mut stories) = (Oracle::new(&settings), Stories::new());
    let (mut most, mut merged, mut split) = (0, 0, 0);
    for (i, epoch) in script.epochs.iter().enumerate() {
        epoch.iter().for_each(|change| oracle.apply(change));
        let before = stories.clone();
        apply(&mut stories, &epochs[i]);
        let expected = adopt(oracle.stories(&before, &settings), &stories, &before);
        for id in stories.keys().chain(expected.keys()) {
            let (is, should) = (stories.get(id), expected.get(id));
            assert_eq!(is, should, "seed {seed}, {workers} workers, epoch {i}, story {id}");
        }
        most = most.max(live(&stories).len());
        merged += stories.values().filter(|s| s.merged_into.is_some()).count();
        split += stories.values().filter(|s| s.split).count();
    }
    (most, merged, split)
}

#[test]
fn every_epoch_equals_recomputation() {
    let (mut stories, mut merged, mut split) = (0, 0, 0);
    for seed in 0..8 {
        for workers in [1, 2] {
            println!("seed {seed}, {workers} workers");
            let found = check(seed, workers);
            stories += found.0;
            merged += found.1;
            split += found.2;
        }
    }
    println!("{stories} stories at most, {merged} merged, {split} split");
    assert!(stories > 60 && merged > 20 && split > 50, "the scripts have all of it");
}

/// A restart knows what is published and the current versions: it publishes nothing that is
/// right already, and everything after it is as if there had been none, ids included.
#[test]
fn a_restart_changes_nothing() {
    for seed in 20..28 {
        println!("seed {seed}");
        let settings = limits(seed);
        let script = script(seed, 80);
        let whole = run(&settings, &[], &script.epochs, 0, 1).epochs;
        let at = StdRng::seed_from_u64(seed).random_range(20..60);
        let mut stories = Stories::new();
        whole[..at].iter().for_each(|records| apply(&mut stories, records));
        let published: Vec<_> = stories.values().cloned().collect();
        assert!(!published.is_empty(), "seed {seed}: the script has stories by then");
        // The current versions arrive in several epochs, before anything is published.
        let current = &script.current[at - 1];
        let mut epochs: Vec<Vec<Change>> = current.chunks(7).map(<[_]>::to_vec).collect();
        let caught_up = epochs.len() - 1;
        epochs.extend_from_slice(&script.epochs[at..]);
        let restarted = run(&settings, &published, &epochs, caught_up, 2).epochs;
        for (i, records) in restarted[..=caught_up].iter().enumerate() {
            assert_eq!(records.len(), 0, "seed {seed}: nothing is published in epoch {i}: {records:?}");
        }
        let mut again = stories.clone();
        for (i, records) in whole[at..].iter().enumerate() {
            apply(&mut stories, records);
            apply(&mut again, &restarted[caught_up + 1 + i]);
            assert_eq!(again, stories, "seed {seed}, epoch {}", at + i);
        }
    }
}
