//! Current values of a topic of results, as of an instant: what was written later waits.
//!
//! Retention: what the topic holds, at most [`VALUES_MAX`] values; past that new ones are
//! not taken and counted. At most [`WAITING_MAX`] records wait for their instant; past
//! that the oldest are applied before it.

use std::collections::BTreeMap;

use dataflows::record::Stored;
use dataflows::time::Millis;
use serde::de::DeserializeOwned;

use crate::alerts::metrics;

const VALUES_MAX: usize = 50_000;
const WAITING_MAX: usize = 50_000;

pub(super) struct Results<T> {
    current: BTreeMap<Vec<u8>, T>,
    waiting: BTreeMap<(Millis, u64), (Vec<u8>, Option<T>)>,
    sequence: u64,
}

impl<T> Default for Results<T> {
    fn default() -> Self {
        Self { current: BTreeMap::new(), waiting: BTreeMap::new(), sequence: 0 }
    }
}

impl<T: DeserializeOwned> Results<T> {
    /// Takes a record; it counts from `at` on.
    pub fn apply(&mut self, stored: &Stored, at: Millis) {
        let value = match stored.value.as_ref().map(|value| serde_json::from_slice(value)).transpose() {
            Ok(value) => value,
            Err(error) => {
                tracing::warn!(%error, topic = &*stored.topic, offset = stored.offset, "a record is unreadable");
                return;
            }
        };
        self.sequence += 1;
        self.waiting.insert((at, self.sequence), (stored.key.clone(), value));
        while self.waiting.len() > WAITING_MAX {
            self.apply_first();
        }
    }

    /// From now on everything up to `at` is current.
    pub fn advance(&mut self, at: Millis) {
        while self.waiting.first_key_value().is_some_and(|((of, _), _)| *of <= at) {
            self.apply_first();
        }
    }

    fn apply_first(&mut self) {
        let Some((_, (key, value))) = self.waiting.pop_first() else { return };
        match value {
            None => {
                self.current.remove(&key);
            }
            Some(value) if self.current.len() < VALUES_MAX || self.current.contains_key(&key) => {
                self.current.insert(key, value);
            }
            Some(_) => metrics::FORGOTTEN.with_label_values(&["result"]).inc(),
        }
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.current.values()
    }

    pub fn len(&self) -> usize {
        self.current.len() + self.waiting.len()
    }
}
