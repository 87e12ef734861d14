//! Items by band: changes of the live items in, changes of the links between them out.
//!
//! In a band that few items share every two of them are compared. In one that many share
//! (boilerplate, or chance in a short band) each is compared with the few published just
//! before it, and in a band of words with the very first: a number of comparisons that
//! grows with the items and not with their square, and copies of one text stay two steps
//! apart. Who is compared is a function of the set of items in the band, whatever order they
//! came in.
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

/// An item that enters (1) or leaves (-1) a band.
pub type Entry = ((u64, Kind), (Arc<Item>, isize));

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

/// Most bands have one item: it needs no list, and no room for one.
#[expect(clippy::box_collection, reason = "an item has some twenty bands, and each a place in the table")]
enum Band {
    One(Arc<Item>),
    /// By key.
    Many(Box<Vec<Arc<Item>>>),
}

impl State {
    pub fn new(settings: Settings) -> Self {
        Self { settings, bands: HashMap::default() }
    }

    /// Bands with at least one item.
    pub fn bands(&self) -> usize {
        self.bands.len()
    }

    /// Items that enter (1) and leave (-1) bands in one epoch; `give` gets links that come and go.
    ///
    /// Band by band, those that leave first, the latest of them first, so that of many that
    /// expire together only the last may be the one that the others are compared with.
    pub fn step(&mut self, entries: &mut Vec<Entry>, mut give: impl FnMut(Edge, isize)) {
        entries.sort_unstable_by(|(a, (item_a, diff_a)), (b, (item_b, diff_b))| {
            let (enters_a, enters_b) = (*diff_a > 0, *diff_b > 0);
            let by_key = item_a.key.cmp(&item_b.key);
            a.0.cmp(&b.0).then(enters_a.cmp(&enters_b)).then(if enters_a { by_key } else { by_key.reverse() })
        });
        for ((band, kind), (item, diff)) in entries.drain(..) {
            self.change(band, kind, &item, diff, &mut give);
        }
    }

    fn change(
        &mut self,
        band: u64,
        kind: Kind,
        item: &Arc<Item>,
        diff: isize,
        give: &mut impl FnMut(Edge, isize),
    ) {
        let settings = &self.settings;
        let rule = Rule::of(settings, kind);
        let mut compare = |a: &Item, b: &Item, diff| {
            if is_compared(kind, a, b)
                && let Some(link) = settings.link(a, b)
            {
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
                let items = taken.get_mut().many();
                if diff > 0 {
                    let at = position(items, item.key).expect_err("an item enters a band once");
                    rule.changed(items, at, item, 1, &mut compare);
                    items.insert(at, Arc::clone(item));
                    return;
                }
                let at = position(items, item.key).expect("an item leaves a band that it entered");
                items.remove(at);
                rule.changed(items, at, item, -1, &mut compare);
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
            *self = Self::Many(Box::new(vec![Arc::clone(item)]));
        }
        let Self::Many(items) = self else { unreachable!("just made") };
        items
    }
}

/// Whether two items that a band brings together are looked at: in a band of meaning most are
/// there by chance, which the rest of their sketches shows.
pub fn is_compared(kind: Kind, a: &Item, b: &Item) -> bool {
    match (kind, &a.sketch, &b.sketch) {
        (Kind::Words, ..) => true,
        (Kind::Meaning, Some(a), Some(b)) => a.is_near(b),
        (Kind::Meaning, ..) => false,
    }
}

fn position(items: &[Arc<Item>], key: Key) -> Result<usize, usize> {
    items.binary_search_by_key(&key, |item| item.key)
}

/// Which two items of a band are compared.
struct Rule {
    /// Those at most so many places apart.
    max: usize,
    /// And every one with the first.
    first: bool,
}

impl Rule {
    fn of(settings: &Settings, kind: Kind) -> Self {
        match kind {
            Kind::Words => Self { max: settings.words_neighbours_max.max(1), first: true },
            Kind::Meaning => Self { max: settings.meaning_neighbours_max.max(1), first: false },
        }
    }

    /// The pairs that come (`diff` = 1) when `item` enters before place `at` of `items`, and
    /// those that go; with -1 those that go and come when it leaves.
    fn changed(
        &self,
        items: &[Arc<Item>],
        at: usize,
        item: &Item,
        diff: isize,
        compare: &mut impl FnMut(&Item, &Item, isize),
    ) {
        let becomes_first = self.first && at == 0;
        let after = if becomes_first { items.len() } else { items.len().min(at + self.max) };
        for later in &items[at..after] {
            compare(item, later, diff);
        }
        if becomes_first {
            // Those far from the first before are no longer compared with it.
            if let Some((first, rest)) = items.split_first() {
                for later in rest.iter().skip(self.max) {
                    compare(first, later, -diff);
                }
            }
            return;
        }
        let before = at.saturating_sub(self.max);
        for earlier in &items[before..at] {
            compare(earlier, item, diff);
        }
        if self.first && before > 0 {
            compare(&items[0], item, diff);
        }
        // Pairs across the new item that were just near enough; the first is compared anyway.
        let across = if self.first { before.max(1) } else { before };
        for earlier in across..at {
            if let Some(later) = items.get(earlier + self.max) {
                compare(&items[earlier], later, -diff);
            }
        }
    }
}
