//! An alert that is firing, and since when its condition is absent.

use std::collections::BTreeSet;

use dataflows::time::Millis;

use crate::alerts::watch::Readings;

#[derive(Debug)]
pub(super) struct Live {
    pub key: String,
    pub absent_since: Option<Millis>,
}

impl Live {
    /// Notes at an instant whether its condition is absent, as far as that is known.
    pub fn note(&mut self, at: Millis, subject: &str, met: &BTreeSet<&str>, readings: &Readings) {
        if met.contains(subject) {
            self.absent_since = None;
            return;
        }
        let is_unsure = match readings.all.iter().find(|reading| reading.subject == subject) {
            Some(reading) => reading.unsure,
            None => !readings.complete,
        };
        if !is_unsure {
            self.absent_since.get_or_insert(at);
        }
    }
}

pub(super) fn met_subjects(readings: &Readings) -> BTreeSet<&str> {
    readings.all.iter().filter(|reading| reading.met).map(|reading| reading.subject.as_str()).collect()
}
