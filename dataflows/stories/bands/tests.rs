//! The tables against the set of items that is in them.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::stories::item::{Key, symbol};
use crate::stories::shown::Shown;
use crate::stories::signature::Signature;
use crate::stories::sketch::Sketch;
use crate::time::Millis;

fn settings() -> Settings {
    Settings { words_neighbours_max: 3, meaning_neighbours_max: 3, ..Settings::of_tests() }
}

/// One of a few texts with a word changed, so that many share bands; some have an embedding.
fn item(random: &mut StdRng, n: usize) -> Arc<Item> {
    let family = random.random_range(0..5);
    let mut words: Vec<usize> = (0..20).map(|i| family * 100 + i).collect();
    words[random.random_range(0..20)] = random.random_range(1000..2000);
    let text: String = words.iter().map(|w| format!("w{w} ")).collect();
    let values: Vec<f32> =
        (0..16).map(|i| ((family * 7 + i) as f32).sin() + random.random::<f32>()).collect();
    let id = format!("x:{n}");
    Arc::new(Item {
        key: Key { at: Millis(random.random_range(0..50)), symbol: symbol(&id) },
        signature: Signature::of(&text).expect("long enough"),
        sketch: (!n.is_multiple_of(3)).then(|| Sketch::of("m", &values)).flatten(),
        shown: Shown { id: &id, platform: "x", ..Shown::default() }.packed(),
    })
}

#[test]
fn the_bands_are_those_of_the_items_and_nothing_is_left_of_them() {
    for seed in 0..5 {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut workers: Vec<State> = (0..2).map(|worker| State::new(settings(), worker, 2)).collect();
        let mut live: Vec<Arc<Item>> = Vec::new();
        let mut links: BTreeMap<Edge, isize> = BTreeMap::new();
        for n in 0..200 {
            let mut changes: Vec<Change> = Vec::new();
            let last = n == 199;
            for _ in 0..if last { live.len() } else { random.random_range(0..5.min(live.len() + 1)) } {
                changes.push((live.swap_remove(random.random_range(0..live.len())), -1));
            }
            // An edit: another item with the same symbol.
            if let Some(old) = live.pop() {
                let new = Item { signature: item(&mut random, 0).signature, ..Item::clone(&old) };
                changes.extend([(Arc::new(new), 1), (old, -1)]);
                live.push(Arc::clone(&changes[changes.len() - 2].0));
            }
            for i in 0..if last { 0 } else { random.random_range(0..8) } {
                live.push(item(&mut random, n * 10 + i));
                changes.push((Arc::clone(&live[live.len() - 1]), 1));
            }
            for worker in &mut workers {
                worker.step(&mut changes.clone(), |edge, diff| *links.entry(edge).or_default() += diff);
            }
            links.retain(|_, times| *times != 0);
            let held: BTreeSet<u64> =
                live.iter().flat_map(|item| bands(item)).map(|(band, _)| band).collect();
            assert_eq!(workers.iter().map(State::bands).sum::<usize>(), held.len(), "seed {seed}, epoch {n}");
            assert!(links.values().all(|times| *times > 0));
            assert!(n < 50 || last || !links.is_empty(), "items are alike");
        }
        assert!(live.is_empty() && links.is_empty());
        for worker in &workers {
            assert_eq!((worker.bands(), worker.words.lists(), worker.items.len()), (0, 0, 0));
        }
    }
}
