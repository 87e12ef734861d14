//! The items of the bands by number, and lists of them by their keys.

use std::ops::{Deref, Index};
use std::sync::Arc;

use hashbrown::HashTable;

use crate::stories::item::{Item, Key, Symbol};
use crate::stories::slab::Slab;
use crate::stories::table::{hash, make_room};

#[derive(Default)]
pub struct Numbered {
    items: Slab<Arc<Item>>,
    numbers: HashTable<u32>,
}

impl Numbered {
    pub fn enter(&mut self, item: Arc<Item>) -> u32 {
        let symbol = item.key.symbol;
        let number = self.items.insert(item);
        let items = &self.items;
        let hash_of = |number: &u32| hash(items[*number].key.symbol);
        make_room(&mut self.numbers, hash_of);
        self.numbers.insert_unique(hash(symbol), number, hash_of);
        number
    }

    /// The item keeps its number until that is free.
    pub fn leave(&mut self, symbol: Symbol) -> u32 {
        let items = &self.items;
        let found = self.numbers.find_entry(hash(symbol), |number| items[*number].key.symbol == symbol);
        let Ok(entry) = found else { panic!("an item leaves that entered") };
        entry.remove().0
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn free(&mut self, number: u32) {
        self.items.remove(number);
    }
}

impl Index<u32> for Numbered {
    type Output = Item;

    fn index(&self, number: u32) -> &Item {
        &self.items[number]
    }
}

/// Numbers of items, in the order of their keys.
#[derive(Default)]
pub struct Members(Vec<u32>);

impl Members {
    pub fn of(number: u32) -> Self {
        Self(vec![number])
    }

    pub fn position(&self, items: &Numbered, key: Key) -> Result<usize, usize> {
        self.0.binary_search_by_key(&key, |number| items[*number].key)
    }

    /// There are thousands of lists: they grow by an eighth, and what many have left shrinks.
    pub fn insert(&mut self, at: usize, number: u32) {
        let Self(numbers) = self;
        if numbers.len() == numbers.capacity() {
            numbers.reserve_exact(numbers.len() / 8 + 1);
        }
        numbers.insert(at, number);
    }

    pub fn remove(&mut self, at: usize) {
        let Self(numbers) = self;
        numbers.remove(at);
        if numbers.capacity() > 4 * (numbers.len() + 1) {
            numbers.shrink_to(2 * numbers.len());
        }
    }
}

impl Deref for Members {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.0
    }
}
