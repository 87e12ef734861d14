//! Items by band: changes of the live items in, changes of the links between them out.
//!
//! In a band that few items share every two of them are compared. In one that many share
//! (boilerplate, or chance in a short band) each is compared with the few published just
//! before it and with the very first: a number of comparisons that grows with the items and
//! not with their square, and copies of one text stay two steps apart. Who is compared is a
//! function of the set of items in the band, whatever order they came in.
//!
//! A pair that shares several bands is given for each of them: whoever reads the links
//! makes them distinct. Retention: an item is in its bands while it is live.

use std::sync::Arc;

use super::item::{Edge, Item, Key, Settings};

type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// What a band is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    Words,
    Meaning,
}

/// The bands of an item with their keys.
pub fn bands(item: &Item) -> impl Iterator<Item = (u64, Kind)> + '_ {
    let words = item.signature.bands().map(|band| (band, Kind::Words));
    let meaning = item.sketch.as_deref().into_iter().flat_map(super::sketch::Sketch::bands);
    words.chain(meaning.map(|band| (band, Kind::Meaning)))
}

/// The bands of one worker.
pub struct State {
    settings: Settings,
    bands: HashMap<u64, Band>,
}

/// Most bands have one item: it needs no list.
enum Band {
    One(Arc<Item>),
    /// By key.
    Many(Vec<Arc<Item>>),
}

impl State {
    pub fn new(settings: Settings) -> Self {
        Self { settings, bands: HashMap::default() }
    }

    /// Bands with at least one item.
    pub fn bands(&self) -> usize {
        self.bands.len()
    }

    /// An item enters (1) or leaves (-1) a band; `give` gets links that come and go.
    pub fn step(
        &mut self,
        band: u64,
        kind: Kind,
        item: &Arc<Item>,
        diff: isize,
        give: &mut impl FnMut(Edge, isize),
    ) {
        let (settings, neighbours_max) = (&self.settings, neighbours_max(&self.settings, kind));
        let mut compare = |a: &Item, b: &Item, diff| {
            if let Some(link) = settings.link(a, b) {
                give(Edge { a: a.key, b: b.key, link }, diff);
            }
        };
        use std::collections::hash_map::Entry;
        match self.bands.entry(band) {
            Entry::Vacant(free) => {
                assert!(diff > 0, "an item leaves a band that it entered");
                free.insert(Band::One(Arc::clone(item)));
            }
            Entry::Occupied(mut taken) => {
                if diff > 0 {
                    let items = taken.get_mut().many();
                    let at = position(items, item.key).expect_err("an item enters a band once");
                    changed(items, at, item, neighbours_max, 1, &mut compare);
                    items.insert(at, Arc::clone(item));
                    return;
                }
                let items = taken.get_mut().many();
                let at = position(items, item.key).expect("an item leaves a band that it entered");
                items.remove(at);
                changed(items, at, item, neighbours_max, -1, &mut compare);
                match items.as_mut_slice() {
                    [] => _ = taken.remove(),
                    [one] => *taken.get_mut() = Band::One(Arc::clone(one)),
                    _ => {}
                }
            }
        }
    }
}

impl Band {
    fn many(&mut self) -> &mut Vec<Arc<Item>> {
        if let Self::One(item) = self {
            *self = Self::Many(vec![Arc::clone(item)]);
        }
        let Self::Many(items) = self else { unreachable!("just made") };
        items
    }
}

fn neighbours_max(settings: &Settings, kind: Kind) -> usize {
    let max = match kind {
        Kind::Words => settings.words_neighbours_max,
        Kind::Meaning => settings.meaning_neighbours_max,
    };
    max.max(1)
}

fn position(items: &[Arc<Item>], key: Key) -> Result<usize, usize> {
    items.binary_search_by_key(&key, |item| item.key)
}

/// The pairs that come (`diff` = 1) when `item` enters before place `at` of `items`, and
/// those that go: two are compared if one is first or they are at most `max` places apart.
fn changed(
    items: &[Arc<Item>],
    at: usize,
    item: &Item,
    max: usize,
    diff: isize,
    compare: &mut impl FnMut(&Item, &Item, isize),
) {
    let after = if at == 0 { items.len() } else { items.len().min(at + max) };
    for later in &items[at..after] {
        compare(item, later, diff);
    }
    if at == 0 {
        // Those far from the first before are no longer compared with it.
        if let Some((first, rest)) = items.split_first() {
            for later in rest.iter().skip(max) {
                compare(first, later, -diff);
            }
        }
        return;
    }
    let before = at.saturating_sub(max);
    for earlier in &items[before..at] {
        compare(earlier, item, diff);
    }
    if before > 0 {
        compare(&items[0], item, diff);
    }
    // Pairs across the new item that were just near enough; the first is compared anyway.
    for earlier in before.max(1)..at {
        if let Some(later) = items.get(earlier + max) {
            compare(&items[earlier], later, -diff);
        }
    }
}
