//! "but": what comes before weighs half, what comes after half as much again.
//!
//! The reference walks over the list of valences while changing it, and finds each by its
//! value: of equal valences the first one is changed, once for each, and a changed value
//! can meet another. The figures depend on it, so it is kept, in time that grows with
//! n log n instead of n².

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Up to this many valences the first equal one is searched from the start; a text has a dozen.
const SEARCHED_MAX: usize = 256;

/// Shifts the valences (with the positions of their words; none is 0) around the word at
/// position `but`. A neutral word has no part in this: half of nothing is nothing.
pub(super) fn shift(valences: &mut [(usize, f64)], but: usize) {
    if valences.len() <= SEARCHED_MAX {
        shift_by_search(valences, but);
    } else {
        shift_by_index(valences, but);
    }
}

fn shifted(position: usize, valence: f64, but: usize) -> f64 {
    match position.cmp(&but) {
        std::cmp::Ordering::Less => valence * 0.5,
        std::cmp::Ordering::Equal => valence,
        std::cmp::Ordering::Greater => valence * 1.5,
    }
}

fn shift_by_search(valences: &mut [(usize, f64)], but: usize) {
    for i in 0..valences.len() {
        let sought = valences[i].1;
        let first = valences.iter().position(|(_, v)| *v == sought).unwrap_or(i);
        valences[first].1 = shifted(valences[first].0, sought, but);
    }
}

/// The same with, for each value, a heap of the places that have or had it.
fn shift_by_index(valences: &mut [(usize, f64)], but: usize) {
    let mut places: HashMap<u64, BinaryHeap<Reverse<usize>>> = HashMap::new();
    for (place, (_, valence)) in valences.iter().enumerate() {
        places.entry(valence.to_bits()).or_default().push(Reverse(place));
    }
    for i in 0..valences.len() {
        let sought = valences[i].1;
        let heap = places.get_mut(&sought.to_bits()).expect("every value that stands has its heap");
        while let Some(Reverse(place)) = heap.peek()
            && valences[*place].1 != sought
        {
            heap.pop();
        }
        let first = heap.peek().map_or(i, |Reverse(place)| *place);
        let changed = shifted(valences[first].0, sought, but);
        if changed != sought {
            valences[first].1 = changed;
            places.entry(changed.to_bits()).or_default().push(Reverse(first));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn both_ways_agree() {
        let seed = rand::rng().random();
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..2_000 {
            let n = rng.random_range(1..400);
            // Powers of 1.5 and 0.5 of few values, so that changed values meet others.
            let mut searched: Vec<(usize, f64)> = (0..n)
                .map(|place| {
                    let steps: i32 = rng.random_range(0..4);
                    (place * 2, 1.9 * 0.5f64.powi(steps) * if rng.random() { 1.0 } else { -1.0 })
                })
                .collect();
            let mut indexed = searched.clone();
            let but = rng.random_range(0..2 * n);
            shift_by_search(&mut searched, but);
            shift_by_index(&mut indexed, but);
            assert_eq!(searched, indexed);
        }
    }
}
