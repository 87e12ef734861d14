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
//! makes them distinct. Retention: an item is in its bands while it is live, in each as a
//! number of 4 bytes; of the bands every worker has its part.

mod numbered;
mod words;

use std::sync::Arc;

use super::item::{Edge, Item, Settings};
use super::{signature, sketch};
use numbered::{Members, Numbered};
use words::Words;

type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// What a band is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Words,
    Meaning,
}

/// An item that enters (1) or leaves (-1) its bands.
pub type Change = (Arc<Item>, isize);

/// The bands of an item with their keys.
pub fn bands(item: &Item) -> impl Iterator<Item = (u64, Kind)> + '_ {
    let words = (0..signature::BANDS).map(|at| (item.signature.band(at), Kind::Words));
    let sketch = item.sketch.iter();
    words.chain(sketch.flat_map(|sketch| (0..sketch::BANDS).map(|at| (sketch.band(at), Kind::Meaning))))
}

/// The bands of one worker.
pub struct State {
    settings: Settings,
    worker: u64,
    peers: u64,
    items: Numbered,
    words: Words,
    /// A few thousand, each with many items.
    meaning: HashMap<u64, Members>,
}

impl State {
    /// For worker `worker` of `peers`.
    pub fn new(settings: Settings, worker: usize, peers: usize) -> Self {
        Self {
            settings,
            worker: worker as u64,
            peers: peers as u64,
            items: Numbered::default(),
            words: Words::default(),
            meaning: HashMap::default(),
        }
    }

    /// Bands with at least one item.
    pub fn bands(&self) -> usize {
        self.words.len() + self.meaning.len()
    }

    /// Items that enter (1) and leave (-1) in one epoch; `give` gets links that come and go.
    ///
    /// Band by band, those that leave first, the latest of them first, so that of many that
    /// expire together only the last may be the one that the others are compared with.
    pub fn step(&mut self, changes: &mut Vec<Change>, mut give: impl FnMut(Edge, isize)) {
        changes.sort_unstable_by(|(item_a, diff_a), (item_b, diff_b)| {
            let (enters_a, enters_b) = (*diff_a > 0, *diff_b > 0);
            let by_key = item_a.key.cmp(&item_b.key);
            enters_a.cmp(&enters_b).then(if enters_a { by_key } else { by_key.reverse() })
        });
        let numbers: Vec<(u32, bool)> = changes
            .drain(..)
            .map(|(item, diff)| match diff > 0 {
                true => (self.items.enter(item), true),
                false => (self.items.leave(item.key.symbol), false),
            })
            .collect();
        self.words(&numbers, &mut give);
        self.meaning(&numbers, &mut give);
        numbers.iter().filter(|(_, enters)| !enters).for_each(|(number, _)| self.items.free(*number));
    }

    fn words(&mut self, numbers: &[(u32, bool)], give: &mut impl FnMut(Edge, isize)) {
        let mut pairs = Pairs::new(Kind::Words, &self.items, &self.settings, give);
        for at in 0..signature::BANDS {
            for (number, enters) in numbers {
                if self.items[*number].signature.band(at) % self.peers != self.worker {
                    continue;
                }
                match enters {
                    true => self.words.enter(at, *number, &mut pairs),
                    false => self.words.leave(at, *number, &mut pairs),
                }
            }
        }
    }

    fn meaning(&mut self, numbers: &[(u32, bool)], give: &mut impl FnMut(Edge, isize)) {
        let mut pairs = Pairs::new(Kind::Meaning, &self.items, &self.settings, give);
        for at in 0..sketch::BANDS {
            for (number, enters) in numbers {
                let Some(sketch) = &self.items[*number].sketch else { continue };
                let band = sketch.band(at);
                if band % self.peers != self.worker {
                    continue;
                }
                if *enters {
                    pairs.enter(self.meaning.entry(band).or_default(), *number);
                    continue;
                }
                let members = self.meaning.get_mut(&band).expect("an item leaves a band that it entered");
                pairs.leave(members, *number);
                if members.is_empty() {
                    self.meaning.remove(&band);
                }
            }
        }
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

/// Who is compared in a band, and what comes of it.
struct Pairs<'a, F> {
    kind: Kind,
    items: &'a Numbered,
    settings: &'a Settings,
    rule: Rule,
    give: &'a mut F,
}

impl<'a, F: FnMut(Edge, isize)> Pairs<'a, F> {
    fn new(kind: Kind, items: &'a Numbered, settings: &'a Settings, give: &'a mut F) -> Self {
        Self { kind, items, settings, rule: Rule::of(settings, kind), give }
    }

    fn enter(&mut self, members: &mut Members, number: u32) {
        let at = members.position(self.items, self.items[number].key);
        let at = at.expect_err("an item enters a band once");
        self.changed(members, at, number, 1);
        members.insert(at, number);
    }

    fn leave(&mut self, members: &mut Members, number: u32) {
        let at = members.position(self.items, self.items[number].key);
        let at = at.expect("an item leaves a band that it entered");
        members.remove(at);
        self.changed(members, at, number, -1);
    }

    fn compare(&mut self, a: u32, b: u32, diff: isize) {
        let (a, b) = (&self.items[a], &self.items[b]);
        if is_compared(self.kind, a, b)
            && let Some(link) = self.settings.link(a, b)
        {
            (self.give)(Edge { a: a.key, b: b.key, link }, diff);
        }
    }

    fn changed(&mut self, members: &[u32], at: usize, number: u32, diff: isize) {
        let rule = self.rule;
        rule.changed(members, at, number, diff, |a, b, diff| self.compare(a, b, diff));
    }
}

/// Which two items of a band are compared.
#[derive(Clone, Copy)]
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
        items: &[u32],
        at: usize,
        item: u32,
        diff: isize,
        mut compare: impl FnMut(u32, u32, isize),
    ) {
        let becomes_first = self.first && at == 0;
        let after = if becomes_first { items.len() } else { items.len().min(at + self.max) };
        for &later in &items[at..after] {
            compare(item, later, diff);
        }
        if becomes_first {
            // Those far from the first before are no longer compared with it.
            if let Some((first, rest)) = items.split_first() {
                for &later in rest.iter().skip(self.max) {
                    compare(*first, later, -diff);
                }
            }
            return;
        }
        let before = at.saturating_sub(self.max);
        for &earlier in &items[before..at] {
            compare(earlier, item, diff);
        }
        if self.first && before > 0 {
            compare(items[0], item, diff);
        }
        // Pairs across the new item that were just near enough; the first is compared anyway.
        let across = if self.first { before.max(1) } else { before };
        for earlier in across..at {
            if let Some(&later) = items.get(earlier + self.max) {
                compare(items[earlier], later, -diff);
            }
        }
    }
}

#[cfg(test)]
mod tests;
