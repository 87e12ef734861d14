//! VADER's phrases of two and three words, recognised by the names of their words.
//!
//! Words hold no white space, so comparing names is the same as comparing the joined
//! strings, as the reference does.

use super::lexicon::{Name, Word};
use Name::*;

/// The valence that a special phrase gives, whatever its words mean alone.
fn pair(a: Name, b: Name) -> Option<f64> {
    match (a, b) {
        (The, Shit) | (The, Bomb) => Some(3.0),
        (Bad, Ass) => Some(1.5),
        (Bus, Stop) => Some(0.0),
        (Yeah, Right) => Some(-2.0),
        (Beating, Heart) => Some(3.5),
        _ => None,
    }
}

fn triple(a: Name, b: Name, c: Name) -> Option<f64> {
    match (a, b, c) {
        (Kiss, Of, Death) => Some(-1.5),
        (To, Die, For) => Some(3.0),
        _ => None,
    }
}

/// Dampeners of two words.
fn dampener(a: Name, b: Name) -> f64 {
    match (a, b) {
        (Just, Enough) | (Kind, Of) | (Sort, Of) => -0.293,
        _ => 0.0,
    }
}

/// The valence of word `i >= 3` after special phrases that end or begin at it, and
/// dampeners of two words before it.
pub(super) fn adjust(mut valence: f64, words: &[Word], i: usize) -> f64 {
    let name = |at: usize| words[at].name;
    let (three, two, one, zero) = (name(i - 3), name(i - 2), name(i - 1), name(i));
    let before = pair(one, zero)
        .or_else(|| triple(two, one, zero))
        .or_else(|| pair(two, one))
        .or_else(|| triple(three, two, one))
        .or_else(|| pair(three, two));
    if let Some(special) = before {
        valence = special;
    }
    if let Some(special) = words.get(i + 1).and_then(|next| pair(zero, next.name)) {
        valence = special;
    }
    if let Some(special) = words.get(i + 2).and_then(|after| triple(zero, name(i + 1), after.name)) {
        valence = special;
    }
    valence + dampener(three, two) + dampener(two, one)
}
