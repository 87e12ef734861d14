//! What of an item stories are made of, and when two of them are linked.

use serde::{Deserialize, Serialize};

use super::shown::Packed;
use super::signature::Signature;
use super::sketch::Sketch;
use crate::time::{HOUR_MS, Millis};

/// A content id as a number: the start of its BLAKE3.
pub type Symbol = u64;

pub fn symbol(id: &str) -> Symbol {
    let hash = blake3::hash(id.as_bytes());
    u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("BLAKE3 gives 32 bytes"))
}

/// An item's place in the order of publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub at: Millis,
    pub symbol: Symbol,
}

/// A live item: its current version, with the embedding of it if there is one yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub key: Key,
    pub signature: Signature,
    pub sketch: Option<Sketch>,
    pub shown: Packed,
}

/// Why two items are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Signal {
    /// Most words are the same.
    Words,
    /// Words and meaning agree.
    Both,
    /// The meaning is nearly the same, and they were published about the same time.
    Meaning,
}

/// A link between two items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Link {
    pub signal: Signal,
    /// Whether it counts in a component that is too large.
    pub close: bool,
}

/// A link with its ends, the earlier one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Edge {
    pub a: Key,
    pub b: Key,
    pub link: Link,
}

/// Limits and thresholds of the graph. Similarities are between 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How long after its publication an item is in a story, by the pipeline clock.
    pub horizon_h: i64,
    /// Items held by all workers together; beyond it the oldest leave.
    pub items_max: usize,
    /// Links two items: similarity of words alone.
    pub words_alone_min: f32,
    /// Links two items: cosine alone, if they were published within `meaning_within_h`.
    pub meaning_alone_min: f32,
    pub meaning_within_h: i64,
    /// Links two items: similarity of words and cosine together.
    pub words_min: f32,
    pub meaning_min: f32,
    /// A component of more items is split: only links count that reach one of the next two.
    pub component_items_max: usize,
    pub words_close_min: f32,
    pub meaning_close_min: f32,
    /// How many of those before it an item is compared with, in a band of words.
    pub words_neighbours_max: usize,
    /// The same, in a band of meaning.
    pub meaning_neighbours_max: usize,
}

impl Settings {
    #[cfg(test)]
    pub(super) fn of_tests() -> Self {
        Self {
            horizon_h: 72,
            items_max: 1000,
            words_alone_min: 0.6,
            meaning_alone_min: 0.8,
            meaning_within_h: 24,
            words_min: 0.2,
            meaning_min: 0.6,
            component_items_max: 500,
            words_close_min: 0.8,
            meaning_close_min: 0.9,
            words_neighbours_max: 8,
            meaning_neighbours_max: 64,
        }
    }

    /// Whether the knobs make sense; errors name the knob.
    pub fn check(&self) -> Result<(), String> {
        const HORIZON_H_MAX: i64 = 30 * 24;
        let hours = [("horizon_h", self.horizon_h), ("meaning_within_h", self.meaning_within_h)];
        if let Some((knob, _)) = hours.iter().find(|(_, h)| !(1..=HORIZON_H_MAX).contains(h)) {
            return Err(format!("{knob} is between 1 and {HORIZON_H_MAX}"));
        }
        let shares = [
            ("words_alone_min", self.words_alone_min),
            ("meaning_alone_min", self.meaning_alone_min),
            ("words_min", self.words_min),
            ("meaning_min", self.meaning_min),
            ("words_close_min", self.words_close_min),
            ("meaning_close_min", self.meaning_close_min),
        ];
        if let Some((knob, _)) = shares.iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err(format!("{knob} is between 0 and 1"));
        }
        let counts = [
            ("items_max", self.items_max, 2),
            ("component_items_max", self.component_items_max, 2),
            ("words_neighbours_max", self.words_neighbours_max, 1),
            ("meaning_neighbours_max", self.meaning_neighbours_max, 1),
        ];
        match counts.iter().find(|(_, n, least)| n < least) {
            Some((knob, _, least)) => Err(format!("{knob} is {least} at least")),
            None => Ok(()),
        }
    }

    /// The link between two items, if there is one: a function of both, in any order.
    pub fn link(&self, a: &Item, b: &Item) -> Option<Link> {
        let words = a.signature.jaccard(&b.signature);
        let cosine = match (&a.sketch, &b.sketch) {
            (Some(a), Some(b)) => a.cosine(b),
            _ => None,
        };
        let meaning = cosine.unwrap_or(-1.0);
        let near = (a.key.at.0 - b.key.at.0).abs() <= self.meaning_within_h * HOUR_MS;
        let signal = if words >= self.words_alone_min {
            Signal::Words
        } else if words >= self.words_min && meaning >= self.meaning_min {
            Signal::Both
        } else if meaning >= self.meaning_alone_min && near {
            Signal::Meaning
        } else {
            return None;
        };
        let close = words >= self.words_close_min || (meaning >= self.meaning_close_min && near);
        Some(Link { signal, close })
    }

    /// The end of an item's life, as an instant of the pipeline clock: items leave by the
    /// hour in which they were published.
    pub fn expires_at(&self, published_at: Millis) -> Millis {
        Millis(published_at.floor(HOUR_MS).0 + HOUR_MS + self.horizon_h * HOUR_MS)
    }
}
