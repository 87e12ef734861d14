//! The copy of the vectors that searches scan: one byte a value, with what the
//! filters need beside it. About 0.45 kB a chunk.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use dataflows::vector::{Vector, dot_codes, quantize};
use rusqlite::Connection;

use super::store::{self, Effect};
use crate::memory::{DIMENSIONS, Filters, Item};

#[derive(Default)]
pub(super) struct Scan {
    pub(super) model: String,
    /// `DIMENSIONS` codes for each slot.
    codes: Vec<i8>,
    slots: Vec<Slot>,
    slot_of_row: HashMap<i64, usize>,
    items: HashMap<String, u32>,
    /// By the number in `items`; `None`: not there, so its chunks are no hits.
    facts: Vec<Option<Facts>>,
    /// Items that were removed since loading.
    gone: usize,
    names: Names,
}

/// One chunk. A removed chunk's slot is taken by the last one.
struct Slot {
    row: i64,
    item: u32,
    scale: f32,
}

/// What the filters ask of an item.
struct Facts {
    platform: u32,
    lang: u32,
    published_at: i64,
    topics: Vec<u32>,
}

/// Platforms, languages and topics as numbers: few names, many items.
#[derive(Default)]
struct Names(HashMap<String, u32>);

impl Names {
    const NONE: u32 = u32::MAX;

    fn number(&mut self, name: &str) -> u32 {
        match self.0.get(name) {
            Some(number) => *number,
            None => {
                let number = self.0.len() as u32;
                self.0.insert(name.to_string(), number);
                number
            }
        }
    }
}

impl Scan {
    /// Reads everything of `model` from the file.
    pub(super) fn load(connection: &Connection, model: &str) -> rusqlite::Result<Self> {
        let mut scan = Self { model: model.to_string(), ..Self::default() };
        let mut items = connection.prepare(
            "SELECT revision, enrichment, id, seen_at, platform, NULL, NULL, NULL, NULL, NULL,
                published_at, lang, topics, NULL
             FROM item WHERE deleted = 0",
        )?;
        for item in items.query_map([], store::read_item)? {
            scan.put_item(&item?);
        }
        let mut chunks = connection.prepare("SELECT no, id, vector FROM chunk WHERE model = ?1")?;
        let mut rows = chunks.query([model])?;
        while let Some(row) = rows.next()? {
            if let Some(vector) = Vector::from_bytes(row.get_ref(2)?.as_blob()?) {
                scan.put_chunk(row.get(0)?, row.get_ref(1)?.as_str()?, &vector.0);
            }
        }
        Ok(scan)
    }

    pub(super) fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Item(item) => self.put_item(&item),
            Effect::NoItem(id) => {
                if let Some(number) = self.items.get(&id) {
                    self.gone += usize::from(self.facts[*number as usize].take().is_some());
                }
            }
            Effect::Chunk { row, chunk } if chunk.model == self.model => {
                self.put_chunk(row, &chunk.id, &chunk.vector.0);
            }
            Effect::Chunk { .. } => {}
            Effect::NoChunk { row } => self.drop_chunk(row),
        }
    }

    /// Whether most of the item numbers stand for items that are gone: loading
    /// anew then frees them.
    pub(super) fn is_mostly_gone(&self) -> bool {
        const WORTH_IT: usize = 10_000;
        self.gone > WORTH_IT && self.gone * 2 > self.facts.len()
    }

    fn item_number(&mut self, id: &str) -> u32 {
        if let Some(number) = self.items.get(id) {
            return *number;
        }
        let number = self.facts.len() as u32;
        self.facts.push(None);
        self.items.insert(id.to_string(), number);
        number
    }

    fn put_item(&mut self, item: &Item) {
        let number = self.item_number(&item.id);
        let facts = Facts {
            platform: self.names.number(&item.platform),
            lang: item.lang.as_deref().map_or(Names::NONE, |lang| self.names.number(lang)),
            published_at: item.published_at.0,
            topics: item.topics.iter().map(|topic| self.names.number(topic)).collect(),
        };
        self.facts[number as usize] = Some(facts);
    }

    fn put_chunk(&mut self, row: i64, id: &str, vector: &[f32]) {
        if vector.len() != DIMENSIONS {
            return;
        }
        let item = self.item_number(id);
        let quantized = quantize(vector);
        let slot = Slot { row, item, scale: quantized.scale };
        match self.slot_of_row.get(&row) {
            Some(&at) => {
                self.codes[at * DIMENSIONS..(at + 1) * DIMENSIONS].copy_from_slice(&quantized.codes);
                self.slots[at] = slot;
            }
            None => {
                self.slot_of_row.insert(row, self.slots.len());
                self.codes.extend_from_slice(&quantized.codes);
                self.slots.push(slot);
            }
        }
    }

    fn drop_chunk(&mut self, row: i64) {
        let Some(at) = self.slot_of_row.remove(&row) else { return };
        let last = self.slots.len() - 1;
        self.slots.swap_remove(at);
        if at != last {
            self.codes.copy_within(last * DIMENSIONS..(last + 1) * DIMENSIONS, at * DIMENSIONS);
            self.slot_of_row.insert(self.slots[at].row, at);
        }
        self.codes.truncate(last * DIMENSIONS);
    }

    /// Rows of the about `limit` nearest chunks whose items meet the filters.
    pub(super) fn nearest(&self, vector: &[f32], filters: &Filters, limit: usize) -> Vec<i64> {
        if vector.len() != DIMENSIONS || limit == 0 {
            return Vec::new();
        }
        // A name that no item has: nothing can match.
        let number = |name: &Option<String>| match name {
            None => Some(None),
            Some(name) => self.names.0.get(name).copied().map(Some),
        };
        let (Some(platform), Some(lang), Some(topic)) =
            (number(&filters.platform), number(&filters.lang), number(&filters.topic))
        else {
            return Vec::new();
        };
        let meets = |facts: &Facts| {
            platform.is_none_or(|platform| facts.platform == platform)
                && lang.is_none_or(|lang| facts.lang == lang)
                && filters.since.is_none_or(|since| facts.published_at >= since.0)
                && topic.is_none_or(|topic| facts.topics.contains(&topic))
        };
        let query = quantize(vector);
        let mut best: BinaryHeap<Reverse<(Score, usize)>> = BinaryHeap::with_capacity(limit + 1);
        for (at, (slot, codes)) in self.slots.iter().zip(self.codes.as_chunks::<DIMENSIONS>().0).enumerate() {
            if !self.facts[slot.item as usize].as_ref().is_some_and(meets) {
                continue;
            }
            let score = Score(dot_codes(&query.codes, codes) as f32 * slot.scale);
            if best.len() < limit {
                best.push(Reverse((score, at)));
            } else if best.peek().is_some_and(|worst| score > worst.0.0) {
                best.pop();
                best.push(Reverse((score, at)));
            }
        }
        best.into_iter().map(|Reverse((_, at))| self.slots[at].row).collect()
    }
}

/// A finite score, ordered.
#[derive(Clone, Copy, PartialEq)]
struct Score(f32);

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
