//! Cells of an hour of results.volume → whether the mood fell.
//!
//! The last window is the current hour and those before it, so that a drop shows before
//! the hour is over; the windows before it are what it is compared with. Sums stay
//! integers: a mean is compared by cross multiplication.
//!
//! Retention: the hours of the longest rule, at most `cells_max` cells; then the oldest
//! hour leaves and is counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dataflows::record::Stored;
use dataflows::time::{HOUR_MS, Millis};
use dataflows::volume::{Dimension, VolumeCell, Window};

use super::{Reading, Readings, rounded, signed};
use crate::alerts::metrics;
use crate::alerts::rule::{Condition, Rule};

/// Platform and topic of a cell; `None` is all of them.
type Place = (Option<String>, Option<String>);

pub(super) struct Moods {
    hours: BTreeMap<Millis, HashMap<Place, Sum>>,
    by_record: HashMap<Vec<u8>, (Millis, Place)>,
    cells_max: usize,
}

/// Scored items, and the sum of their compounds in 1e-4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    scored: i64,
    compound_e4: i64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.scored += other.scored;
        self.compound_e4 += other.compound_e4;
    }

    fn mean(self) -> f64 {
        if self.scored == 0 { 0.0 } else { self.compound_e4 as f64 / 1e4 / self.scored as f64 }
    }

    /// Whether this mean is below the other by `drop_e4`; exactly.
    fn is_below(self, other: Self, drop_e4: i64) -> bool {
        let [n, m] = [self, other].map(|sum| i128::from(sum.scored));
        let [a, b] = [self, other].map(|sum| i128::from(sum.compound_e4));
        n > 0 && m > 0 && b * n - a * m >= i128::from(drop_e4) * n * m
    }
}

impl Moods {
    pub fn new(cells_max: usize) -> Self {
        Self { hours: BTreeMap::new(), by_record: HashMap::new(), cells_max }
    }

    pub fn len(&self) -> usize {
        self.by_record.len()
    }

    pub fn apply(&mut self, stored: &Stored) {
        if let Some((hour, place)) = self.by_record.remove(&stored.key)
            && let Some(cells) = self.hours.get_mut(&hour)
        {
            cells.remove(&place);
        }
        let Some(value) = &stored.value else { return };
        let cell: VolumeCell = match serde_json::from_slice(value) {
            Ok(cell) => cell,
            Err(error) => {
                tracing::warn!(%error, offset = stored.offset, "a record of results.volume is unreadable");
                return;
            }
        };
        let by = cell.by();
        let place = (cell.platform.flatten(), cell.topic.flatten());
        // Of cells by a dimension those count that have one.
        let named =
            by.has(Dimension::Platform) == place.0.is_some() && by.has(Dimension::Topic) == place.1.is_some();
        if cell.window != Window::Hour || by.has(Dimension::Channel) || !named {
            return;
        }
        let sum = Sum { scored: cell.scored, compound_e4: cell.compound_sum };
        self.hours.entry(cell.start).or_default().insert(place.clone(), sum);
        self.by_record.insert(stored.key.clone(), (cell.start, place));
        while self.by_record.len() > self.cells_max {
            let Some((hour, cells)) = self.hours.pop_first() else { break };
            self.by_record.retain(|_, (of, _)| *of != hour);
            metrics::FORGOTTEN.with_label_values(&["cell"]).inc_by(cells.len() as u64);
        }
    }

    pub fn expire(&mut self, oldest: Millis) {
        let oldest = oldest.floor(HOUR_MS);
        if self.hours.first_key_value().is_some_and(|(hour, _)| *hour < oldest) {
            self.hours = self.hours.split_off(&oldest);
            self.by_record.retain(|_, (hour, _)| *hour >= oldest);
        }
    }

    pub fn readings(&self, rule: &Rule, at: Millis) -> Readings {
        let Condition::MoodDrop { window_h, before_h, each_topic, .. } = rule.condition else {
            return Readings::default();
        };
        let end = Millis(at.floor(HOUR_MS).0 + HOUR_MS);
        let start = Millis(end.0 - window_h as i64 * HOUR_MS);
        let earliest = Millis(start.0 - before_h as i64 * HOUR_MS);
        let subjects: Vec<Option<String>> = match (each_topic, rule.topics.is_empty()) {
            (_, false) => rule.topics.iter().cloned().map(Some).collect(),
            (false, true) => vec![None],
            (true, true) => self.topics(start, end).into_iter().map(Some).collect(),
        };
        let reading = |topic: Option<String>| {
            let last = self.sum(start, end, rule, topic.as_ref());
            let before = self.sum(earliest, start, rule, topic.as_ref());
            read(rule, topic, last, before)
        };
        Readings { all: subjects.into_iter().map(reading).collect(), complete: true }
    }

    fn topics(&self, start: Millis, end: Millis) -> BTreeSet<String> {
        let cells = self.hours.range(start..end).flat_map(|(_, cells)| cells.keys());
        cells.filter_map(|(_, topic)| topic.clone()).collect()
    }

    fn sum(&self, start: Millis, end: Millis, rule: &Rule, topic: Option<&String>) -> Sum {
        let mut sum = Sum::default();
        for (_, cells) in self.hours.range(start..end) {
            if rule.platforms.is_empty() {
                sum.add(cells.get(&(None, topic.cloned())).copied().unwrap_or_default());
            }
            for platform in &rule.platforms {
                let place = (Some(platform.clone()), topic.cloned());
                sum.add(cells.get(&place).copied().unwrap_or_default());
            }
        }
        sum
    }
}

fn read(rule: &Rule, topic: Option<String>, last: Sum, before: Sum) -> Reading {
    let Condition::MoodDrop { window_h, before_h, drop_e4, scored_min, .. } = rule.condition else {
        return Reading::default();
    };
    let enough = |sum: Sum| sum.scored >= i64::try_from(scored_min).unwrap_or(i64::MAX);
    let subject = topic.unwrap_or_else(|| "everything".to_string());
    let drop = before.mean() - last.mean();
    let hours = |n: u64| if n == 1 { "hour".to_string() } else { format!("{n} hours") };
    let needed = drop_e4 as f64 / 1e4;
    let short = if !enough(last) || !enough(before) {
        format!(
            "{} scored items in the last {} and {} in the {} before; {scored_min} are needed in both",
            last.scored,
            hours(window_h),
            before.scored,
            hours(before_h)
        )
    } else {
        format!("a drop of {:.2} of {needed:.2}", drop.max(0.0))
    };
    Reading {
        met: enough(last) && enough(before) && last.is_below(before, drop_e4),
        value: rounded(drop),
        threshold: needed,
        why: format!(
            "The mood of {subject} is {} over the last {} ({} scored items), {drop:.2} below the {} of the {} before \
             ({} scored items); a drop of {needed:.2} is enough",
            signed(last.mean()),
            hours(window_h),
            last.scored,
            signed(before.mean()),
            hours(before_h),
            before.scored
        ),
        short,
        label: subject.clone(),
        subject,
        ..Reading::default()
    }
}
