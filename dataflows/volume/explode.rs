//! Changes of contributions become changes of cells and of authors per cell.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use differential_dataflow::difference::{Abelian, IsZero, Semigroup};

use super::cell::{By, CellKey, Dimension, Place, Settings, Sums, Symbol, Window};
use crate::event::Contribution;
use crate::time::Millis;

/// An author of a platform by the hash of both under a key drawn at start. The chance
/// that two of a million authors of one cell share it is 3e-8, for those who choose their
/// ids too.
pub type AuthorSymbol = u64;

/// A change to what is counted of one item.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Update {
    pub ingested_at: Millis,
    pub plus: Option<Contribution>,
    pub minus: Option<Contribution>,
}

/// Names announced again after this many milliseconds of epochs, so that those
/// who keep them may forget what was not used for twice as long.
pub const NAME_PERIOD_MS: u64 = 10 * 60 * 1000;

/// Updates of one batch, consolidated.
#[derive(Default)]
pub struct Exploded {
    pub cells: HashMap<CellKey, Sums, foldhash::fast::RandomState>,
    pub authors: HashMap<(CellKey, AuthorSymbol), i64, foldhash::fast::RandomState>,
    /// Names that were not announced in this period.
    pub names: Vec<(Symbol, Arc<str>)>,
    /// Items that came too late, by window.
    pub late: [u64; 3],
}

/// Explodes updates; the state is only which names were announced.
pub struct Explode {
    settings: Settings,
    /// The groupings, and whether their authors are kept here: sums are made of others.
    groupings: Vec<(By, bool)>,
    hash: RandomState,
    announced: HashMap<Symbol, Arc<str>>,
    period: u64,
}

impl Explode {
    /// `hash` must be the same on every worker.
    pub fn new(settings: Settings, hash: RandomState) -> Self {
        let groupings = settings.groupings.iter().map(|by| (*by, !settings.sums_authors(*by))).collect();
        Self { settings, groupings, hash, announced: HashMap::new(), period: 0 }
    }

    /// Starts a batch of `epoch`.
    pub fn begin(&mut self, epoch: u64) {
        let period = epoch / NAME_PERIOD_MS;
        if period != self.period {
            self.announced.clear();
            self.period = period;
        }
    }

    pub fn step(&mut self, update: &Update, out: &mut Exploded) {
        for (contribution, sign) in [(&update.minus, -1), (&update.plus, 1)] {
            if let Some(contribution) = contribution {
                self.contribution(contribution, sign, update.ingested_at, out);
            }
        }
    }

    fn contribution(&mut self, c: &Contribution, sign: i64, ingested_at: Millis, out: &mut Exploded) {
        let platform = self.symbol(Dimension::Platform, &c.platform, out);
        let channel = c.channel.as_ref().map_or(0, |name| self.symbol(Dimension::Channel, name, out));
        let topics: Vec<Symbol> =
            c.topics.iter().map(|name| self.symbol(Dimension::Topic, name, out)).collect();
        let author = c.author.as_ref().map(|author| self.author(&c.platform, author));
        let mut sums = Sums::of(c);
        if sign < 0 {
            sums.negate();
        }
        for window in Window::ALL {
            let start = self.settings.start(window, c.published_at);
            if !self.settings.accepts(window, start, ingested_at) {
                out.late[window as usize] += u64::from(sign > 0);
                continue;
            }
            for &(by, keeps_authors) in &self.groupings {
                let author = author.filter(|_| keeps_authors);
                let place = Place::new(window, start, by);
                let key = |topic| CellKey {
                    place,
                    platform: if by.has(Dimension::Platform) { platform } else { 0 },
                    topic,
                    channel: if by.has(Dimension::Channel) { channel } else { 0 },
                };
                for &topic in topics_of(by, &topics) {
                    add(out, key(topic), &sums, author, sign);
                }
            }
        }
    }

    fn author(&self, platform: &str, author: &str) -> AuthorSymbol {
        self.hash.hash_one((platform, author))
    }

    fn symbol(&mut self, dimension: Dimension, name: &str, out: &mut Exploded) -> Symbol {
        let symbol = symbol(&self.hash, dimension, name);
        match self.announced.get(&symbol) {
            Some(known) => {
                assert_eq!(&**known, name, "two names have the same hash: restart with another key");
            }
            None => {
                let name: Arc<str> = name.into();
                self.announced.insert(symbol, Arc::clone(&name));
                out.names.push((symbol, name));
            }
        }
        symbol
    }
}

/// An item in several topics counts in each; one in none counts under null.
fn topics_of(by: By, topics: &[Symbol]) -> &[Symbol] {
    const NONE: &[Symbol] = &[0];
    if by.has(Dimension::Topic) && !topics.is_empty() { topics } else { NONE }
}

fn add(out: &mut Exploded, key: CellKey, sums: &Sums, author: Option<AuthorSymbol>, sign: i64) {
    out.cells.entry(key).or_default().plus_equals(sums);
    if let Some(author) = author {
        *out.authors.entry((key, author)).or_default() += sign;
    }
}

impl Exploded {
    /// The net changes, without those that cancelled out.
    pub fn drain_cells(&mut self) -> impl Iterator<Item = (CellKey, Sums)> + '_ {
        self.cells.drain().filter(|(_, sums)| !sums.is_zero())
    }

    pub fn drain_authors(&mut self) -> impl Iterator<Item = ((CellKey, AuthorSymbol), i64)> + '_ {
        self.authors.drain().filter(|(_, n)| *n != 0)
    }
}

/// The place of a published cell, under the same hash as [`Explode`]'s.
pub fn key_of(cell: &super::cell::VolumeCell, hash: &RandomState) -> CellKey {
    let symbol = |dimension, name: &Option<Option<String>>| match name {
        Some(Some(name)) => symbol(hash, dimension, name),
        _ => 0,
    };
    CellKey {
        place: Place::new(cell.window, cell.start.0, cell.by()),
        platform: symbol(Dimension::Platform, &cell.platform),
        topic: symbol(Dimension::Topic, &cell.topic),
        channel: symbol(Dimension::Channel, &cell.channel),
    }
}

/// Names of all dimensions share one table, told apart by the hash. 0 is null.
fn symbol(hash: &RandomState, dimension: Dimension, name: &str) -> Symbol {
    hash.hash_one((dimension, name)).max(1)
}
