//! Who has which band of words. An item has sixteen of them, nearly all to itself: a place in
//! a table is the number of an item, or of a list, and the key is read where that leads.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::Pairs;
use super::numbered::{Members, Numbered};
use crate::stories::item::Edge;
use crate::stories::signature::BANDS;
use crate::stories::slab::{NUMBERS_MAX, Slab};
use crate::stories::table::{hash, make_room};

/// A table for each band of a signature: they grow one after the other.
#[derive(Default)]
pub struct Words {
    tables: [HashTable<Place>; BANDS],
    lists: Slab<List>,
}

/// The items of a band that has several.
struct List {
    band: u64,
    members: Members,
}

/// The number of an item or, with the highest bit, of a list.
#[derive(Clone, Copy)]
struct Place(u32);

impl Place {
    fn of_list(list: u32) -> Self {
        Self(list | NUMBERS_MAX)
    }

    fn list(self) -> Option<u32> {
        (self.0 & NUMBERS_MAX != 0).then_some(self.0 & !NUMBERS_MAX)
    }
}

impl Words {
    /// Bands with at least one item.
    pub fn len(&self) -> usize {
        self.tables.iter().map(HashTable::len).sum()
    }

    #[cfg(test)]
    pub fn lists(&self) -> usize {
        self.lists.len()
    }

    /// The item enters its band of that place in the signature.
    pub fn enter(&mut self, at: usize, number: u32, pairs: &mut Pairs<'_, impl FnMut(Edge, isize)>) {
        let (table, lists, items) = (&mut self.tables[at], &mut self.lists, pairs.items);
        let band = items[number].signature.band(at);
        let key = |place: &Place| key(*place, at, lists, items);
        make_room(table, |place| hash(key(place)));
        match table.entry(hash(band), |place| key(place) == band, |place| hash(key(place))) {
            Entry::Vacant(free) => _ = free.insert(Place(number)),
            Entry::Occupied(mut taken) => {
                let place = taken.get_mut();
                let list = place.list().unwrap_or_else(|| {
                    let list = lists.insert(List { band, members: Members::of(place.0) });
                    *place = Place::of_list(list);
                    list
                });
                pairs.enter(&mut lists[list].members, number);
            }
        }
    }

    pub fn leave(&mut self, at: usize, number: u32, pairs: &mut Pairs<'_, impl FnMut(Edge, isize)>) {
        let (table, lists, items) = (&mut self.tables[at], &mut self.lists, pairs.items);
        let band = items[number].signature.band(at);
        let found = table.find_entry(hash(band), |place| key(*place, at, lists, items) == band);
        let mut place = found.ok().expect("an item leaves a band that it entered");
        let Some(list) = place.get().list() else {
            assert_eq!(place.remove().0.0, number, "a band leads to the item that entered it");
            return;
        };
        pairs.leave(&mut lists[list].members, number);
        if let [one] = *lists[list].members {
            *place.get_mut() = Place(one);
            lists.remove(list);
        }
    }
}

fn key(place: Place, at: usize, lists: &Slab<List>, items: &Numbered) -> u64 {
    match place.list() {
        Some(list) => lists[list].band,
        None => items[place.0].signature.band(at),
    }
}
