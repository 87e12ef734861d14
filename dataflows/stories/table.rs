//! A hash table of what knows its symbol: a pointer and a byte a place.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::item::Symbol;

pub trait Named {
    fn symbol(&self) -> Symbol;
}

/// At most one for each symbol.
pub struct Table<T>(HashTable<T>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(HashTable::new())
    }
}

impl<T: Named> Table<T> {
    pub fn get(&self, symbol: Symbol) -> Option<&T> {
        self.0.find(hash(symbol), |value| value.symbol() == symbol)
    }

    pub fn get_mut(&mut self, symbol: Symbol) -> Option<&mut T> {
        self.0.find_mut(hash(symbol), |value| value.symbol() == symbol)
    }

    /// In place of the one with its symbol.
    pub fn insert(&mut self, value: T) {
        let symbol = value.symbol();
        make_room(&mut self.0, |old| hash(old.symbol()));
        match self.0.entry(hash(symbol), |old| old.symbol() == symbol, |old| hash(old.symbol())) {
            Entry::Occupied(mut old) => *old.get_mut() = value,
            Entry::Vacant(free) => _ = free.insert(value),
        }
    }

    pub fn remove(&mut self, symbol: Symbol) -> Option<T> {
        let found = self.0.find_entry(hash(symbol), |value| value.symbol() == symbol);
        found.ok().map(|entry| entry.remove().0)
    }
}

/// Symbols are hashes; those of one worker have their lowest bits in common, by which the
/// table chooses a place.
pub fn hash(symbol: u64) -> u64 {
    symbol.rotate_left(32)
}

/// For one more. Places that were left count as taken until a table is filled anew; where that
/// is enough it does not double.
pub fn make_room<T>(table: &mut HashTable<T>, hash: impl Fn(&T) -> u64) {
    let places = table.num_buckets() / 8 * 7;
    if table.len() < table.capacity() || table.len() > places - places / 16 {
        return;
    }
    let mut anew = HashTable::with_capacity(places);
    for value in table.drain() {
        anew.insert_unique(hash(&value), value, &hash);
    }
    *table = anew;
}
