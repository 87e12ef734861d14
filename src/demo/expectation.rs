//! Consumes the deliveries, produces what must come of them: how many of each outcome,
//! and the cells of one day by platform. Compared with what the running program answers.
//!
//! This is a recomputation, not a call: it shares no code with Enrich or Analyse, only
//! the vocabulary and the promises.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::event::ContentEvent;
use dataflows::time::{DAY_MS, Millis};
use serde::Deserialize;

use super::report::count;
use super::{Delivery, Outcome};

/// How long cells of a day are kept.
const DAYS_KEPT: i64 = 400;

/// What must come of a list of deliveries.
#[derive(Debug, Default)]
pub struct Expectation {
    pub outcomes: BTreeMap<Outcome, u64>,
    /// By (start of the day, platform).
    pub cells: BTreeMap<(Millis, String), Cell>,
}

/// One day of one platform.
#[derive(Debug, Default, PartialEq)]
pub struct Cell {
    pub count: u64,
    pub authors: BTreeSet<String>,
    pub views: u64,
    pub likes: u64,
    pub comments: u64,
    pub shares: u64,
    /// Content ids of the items in it.
    pub ids: Vec<String>,
}

/// A cell of `GET /v1/volume?window=1d&by=platform`, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct DayCell {
    pub start: Millis,
    pub platform: String,
    pub count: u64,
    pub scored: u64,
    /// In units of 1e-4.
    pub compound_sum: i64,
    pub authors: u64,
    pub views: u64,
    pub likes: u64,
    pub comments: u64,
    pub shares: u64,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub what: String,
    pub expected: String,
    pub found: String,
}

impl Check {
    pub fn new(what: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what: what.into(), expected: expected.into(), found: found.into() }
    }

    pub fn of_counts(what: impl Into<String>, expected: u64, found: u64) -> Self {
        Self::new(what, count(expected), count(found))
    }

    pub fn passed(&self) -> bool {
        self.expected == self.found
    }
}

/// Works out what must come of the deliveries, sent in this order, as of `now`.
pub fn expectation(deliveries: &[Delivery], now: Millis) -> Expectation {
    let mut expected = Expectation::default();
    let mut current: BTreeMap<String, &ContentEvent> = BTreeMap::new();
    for delivery in deliveries {
        *expected.outcomes.entry(delivery.outcome).or_default() += 1;
        let Some(event) = &delivery.event else { continue };
        match delivery.outcome {
            Outcome::Created | Outcome::Updated => {
                current.insert(event.content_id(), event);
            }
            Outcome::Deleted => {
                current.remove(&event.content_id());
            }
            Outcome::Duplicate | Outcome::Stale | Outcome::Refused => {}
        }
    }
    for (id, event) in current {
        let published_at = event.published_at.expect("whatever is not a deletion has a time");
        let start = published_at.floor(DAY_MS);
        if start.0 + DAYS_KEPT * DAY_MS > now.0 {
            expected.cells.entry((start, event.platform.clone())).or_default().add(id, event);
        }
    }
    expected
}

impl Cell {
    fn add(&mut self, id: String, event: &ContentEvent) {
        let engagement = event.engagement.unwrap_or_default();
        self.count += 1;
        self.authors.extend(event.author.as_ref().map(|author| author.id.clone()));
        self.views += u64::from(engagement.views.unwrap_or(0));
        self.likes += u64::from(engagement.likes.unwrap_or(0));
        self.comments += u64::from(engagement.comments.unwrap_or(0));
        self.shares += u64::from(engagement.shares.unwrap_or(0));
        self.ids.push(id);
    }
}

impl Expectation {
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    /// Compares every cell: counts, distinct authors, engagement, and the sum of the
    /// compounds that content.enriched holds (by content id). One check for the set of
    /// cells, then one for each cell that differs.
    pub fn compare_cells(&self, found: &[DayCell], compounds: &BTreeMap<String, f64>) -> Vec<Check> {
        let mut differing = Vec::new();
        let found: BTreeMap<_, _> = found.iter().map(|c| ((c.start, c.platform.clone()), c)).collect();
        let keys: BTreeSet<_> = self.cells.keys().chain(found.keys()).collect();
        let all = keys.len() as u64;
        for key in keys {
            let what = format!("{} on {}", key.1, &key.0.to_string()[..10]);
            let expected = self.cells.get(key).map_or("no cell".to_string(), |cell| cell.line(compounds));
            let found = found.get(key).map_or("no cell".to_string(), |cell| cell.line());
            differing.extend(Some(Check::new(what, expected, found)).filter(|check| !check.passed()));
        }
        let what = "cells by day and platform, each equal in all its numbers";
        let mut checks = vec![Check::of_counts(what, all, all - differing.len() as u64)];
        checks.append(&mut differing);
        checks
    }
}

impl Cell {
    fn line(&self, compounds: &BTreeMap<String, f64>) -> String {
        let scored: Vec<i64> = self
            .ids
            .iter()
            .filter_map(|id| compounds.get(id))
            .map(|compound| (compound * 1e4).round() as i64)
            .collect();
        let engagement = [self.views, self.likes, self.comments, self.shares];
        numbers([self.count, self.authors.len() as u64, scored.len() as u64], scored.iter().sum(), engagement)
    }
}

impl DayCell {
    fn line(&self) -> String {
        let engagement = [self.views, self.likes, self.comments, self.shares];
        numbers([self.count, self.authors, self.scored], self.compound_sum, engagement)
    }
}

fn numbers([count, authors, scored]: [u64; 3], compound_sum: i64, engagement: [u64; 4]) -> String {
    let [views, likes, comments, shares] = engagement;
    format!("{count} by {authors}, {scored} scored: {compound_sum}, {views}/{likes}/{comments}/{shares}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scenario;

    const END: Millis = Millis(1_800_000_000_000);

    #[test]
    fn counts_what_is_left_after_edits_and_deletions() {
        let deliveries = scenario::deliveries(END);
        let expected = expectation(&deliveries, END);
        assert_eq!(expected.outcomes.values().sum::<u64>(), deliveries.len() as u64);
        // An item is there if it was created and not deleted since; two are past all horizons.
        let left: u64 = expected.cells.values().map(|cell| cell.count).sum();
        let ahead = 3;
        let gone = expected.outcome(Outcome::Deleted) - ahead;
        assert_eq!(left, expected.outcome(Outcome::Created) - gone - 2);
    }

    #[test]
    fn names_the_cell_that_differs() {
        let deliveries = scenario::deliveries(END);
        let expected = expectation(&deliveries, END);
        let compounds: BTreeMap<String, f64> =
            expected.cells.values().flat_map(|c| &c.ids).map(|id| (id.clone(), 0.25)).collect();
        let mut found: Vec<DayCell> = expected
            .cells
            .iter()
            .map(|((start, platform), cell)| DayCell {
                start: *start,
                platform: platform.clone(),
                count: cell.count,
                scored: cell.count,
                compound_sum: 2_500 * cell.count as i64,
                authors: cell.authors.len() as u64,
                views: cell.views,
                likes: cell.likes,
                comments: cell.comments,
                shares: cell.shares,
            })
            .collect();
        let checks = expected.compare_cells(&found, &compounds);
        assert!(checks.iter().all(Check::passed), "{checks:?}");
        found[0].likes += 1;
        let platform = found[0].platform.clone();
        let dropped = found.pop().expect("several cells").platform;
        let failed: Vec<Check> =
            expected.compare_cells(&found, &compounds).into_iter().filter(|c| !c.passed()).collect();
        assert_eq!(failed.len(), 3, "the summary, the changed cell, the missing cell: {failed:?}");
        assert!(failed.iter().any(|c| c.what.starts_with(&platform)));
        assert!(failed.iter().any(|c| c.what.starts_with(&dropped) && c.found == "no cell"));
    }
}
