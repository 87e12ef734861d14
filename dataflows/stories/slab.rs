//! Values by number: 4 bytes where a pointer has 8. The number of a value that is gone is
//! given again.

use std::ops::{Index, IndexMut};

pub struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

/// Numbers are below it.
pub const NUMBERS_MAX: u32 = 1 << 31;

const GIVEN: &str = "a number is used while its value is there";

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub fn insert(&mut self, value: T) -> u32 {
        if let Some(number) = self.free.pop() {
            self.places[number as usize] = Some(value);
            return number;
        }
        let number = u32::try_from(self.places.len()).ok().filter(|n| *n < NUMBERS_MAX);
        self.places.push(Some(value));
        number.expect("memory ends before the numbers do")
    }

    pub fn remove(&mut self, number: u32) -> T {
        let value = self.places[number as usize].take().expect(GIVEN);
        self.free.push(number);
        value
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        self.places[number as usize].as_ref().expect(GIVEN)
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        self.places[number as usize].as_mut().expect(GIVEN)
    }
}
