//! Cells of an hour of results.volume → whether the mood fell.
//!
//! The last window is the current hour and those before it, so that a drop shows before
//! the hour is over; the windows before it are what it is compared with. Sums stay
//! integers: a mean is compared by cross multiplication.
//!
//! Most cells are none that a rule asks for: their keys say so, and they are not parsed.
//!
//! Retention: the hours of the longest rule, at most `cells_max` cells; then the oldest
//! hour leaves and is counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dataflows::record::Stored;
use dataflows::time::{HOUR_MS, Millis};
use dataflows::volume::cell::parse_record_key;
use dataflows::volume::{Dimension, VolumeCell, Window};

use super::{Detail, Reading, Readings, rounded, signed};
use crate::alerts::metrics;
use crate::alerts::rule::{Condition, Rule};

/// Platform and topic of a cell; `None` is all of them.
type Place = (Option<String>, Option<String>);

pub(super) struct Moods {
    rules: Vec<Rule>,
    hours: BTreeMap<Millis, HashMap<Place, Sum>>,
    by_record: HashMap<Vec<u8>, Millis>,
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
    pub fn new(rules: &[Rule], cells_max: usize) -> Self {
        let rules = rules.iter().filter(|rule| matches!(rule.condition, Condition::MoodDrop { .. }));
        Self { rules: rules.cloned().collect(), hours: BTreeMap::new(), by_record: HashMap::new(), cells_max }
    }

    pub fn len(&self) -> usize {
        self.by_record.len()
    }

    /// Whether there is a rule for moods.
    pub fn is_asked(&self) -> bool {
        !self.rules.is_empty()
    }

    /// The hour and place of the cell of this key, if a rule asks for it.
    fn asked(&self, key: &[u8]) -> Option<(Millis, Place)> {
        let (window, start, by, names) = parse_record_key(key)?;
        if window != Window::Hour {
            return None;
        }
        let (mut platform, mut topic) = (None, None);
        for (dimension, name) in by.dimensions().zip(names) {
            // Of cells by a dimension those count that have one.
            match dimension {
                Dimension::Platform => platform = Some(name?),
                Dimension::Topic => topic = Some(name?),
                Dimension::Channel => return None,
            }
        }
        let place = (platform, topic);
        self.rules.iter().any(|rule| asks(rule, &place)).then_some((start, place))
    }

    pub fn apply(&mut self, stored: &Stored) {
        if !self.is_asked() {
            return;
        }
        let Some((hour, place)) = self.asked(&stored.key) else { return };
        if self.by_record.remove(&stored.key).is_some()
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
        let sum = Sum { scored: cell.scored, compound_e4: cell.compound_sum };
        self.hours.entry(hour).or_default().insert(place, sum);
        self.by_record.insert(stored.key.clone(), hour);
        while self.by_record.len() > self.cells_max {
            let Some((hour, cells)) = self.hours.pop_first() else { break };
            self.by_record.retain(|_, of| *of != hour);
            metrics::FORGOTTEN.with_label_values(&["cell"]).inc_by(cells.len() as u64);
        }
    }

    pub fn expire(&mut self, oldest: Millis) {
        let oldest = oldest.floor(HOUR_MS);
        if self.hours.first_key_value().is_some_and(|(hour, _)| *hour < oldest) {
            self.hours = self.hours.split_off(&oldest);
            self.by_record.retain(|_, hour| *hour >= oldest);
        }
    }

    pub fn readings(&self, rule: &Rule, at: Millis, detail: Detail) -> Readings {
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
            read(rule, topic, last, before, detail)
        };
        Readings { all: subjects.into_iter().filter_map(reading).collect(), complete: true }
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

/// Whether the rule looks at cells of this place.
fn asks(rule: &Rule, (platform, topic): &Place) -> bool {
    let Condition::MoodDrop { each_topic, .. } = rule.condition else { return false };
    let is_platform = match platform {
        None => rule.platforms.is_empty(),
        Some(platform) => rule.platforms.contains(platform),
    };
    is_platform
        && match topic {
            None => rule.topics.is_empty() && !each_topic,
            Some(_) if rule.topics.is_empty() => each_topic,
            Some(topic) => rule.topics.contains(topic),
        }
}

/// `None` is not met and not asked for.
fn read(rule: &Rule, topic: Option<String>, last: Sum, before: Sum, detail: Detail) -> Option<Reading> {
    let Condition::MoodDrop { window_h, before_h, drop_e4, scored_min, .. } = rule.condition else {
        return None;
    };
    let enough = |sum: Sum| sum.scored >= i64::try_from(scored_min).unwrap_or(i64::MAX);
    let met = enough(last) && enough(before) && last.is_below(before, drop_e4);
    if !detail.wants(met) {
        return None;
    }
    let subject = topic.unwrap_or_else(|| "everything".to_string());
    let drop = before.mean() - last.mean();
    let hours = |n: u64| if n == 1 { "hour".to_string() } else { format!("{n} hours") };
    let needed = drop_e4 as f64 / 1e4;
    let why = || {
        format!(
            "The mood of {subject} is {} over the last {} ({} scored items), {drop:.2} below the {} of the {} before \
             ({} scored items); a drop of {needed:.2} is enough",
            signed(last.mean()),
            hours(window_h),
            last.scored,
            signed(before.mean()),
            hours(before_h),
            before.scored
        )
    };
    let short = || {
        if enough(last) && enough(before) {
            return format!("a drop of {:.2} of {needed:.2}", drop.max(0.0));
        }
        format!(
            "{} scored items in the last {} and {} in the {} before; {scored_min} are needed in both",
            last.scored,
            hours(window_h),
            before.scored,
            hours(before_h)
        )
    };
    Some(Reading {
        met,
        value: rounded(drop),
        threshold: needed,
        why: if met { why() } else { String::new() },
        short: detail.short(met, short),
        label: subject.clone(),
        subject,
        ..Reading::default()
    })
}

#[cfg(test)]
mod tests {
    use dataflows::record::topic;
    use serde_json::json;

    use super::*;
    use crate::alerts::{default_settings, rule};

    const HOUR: &str = "2026-05-04T12:00:00Z";

    fn stored(key: &str, value: &serde_json::Value) -> Stored {
        Stored {
            topic: topic::VOLUME.into(),
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: key.as_bytes().to_vec(),
            value: Some(value.to_string().into_bytes()),
            headers: Default::default(),
        }
    }

    #[test]
    fn cells_that_no_rule_asks_for_are_not_held_nor_parsed() {
        let text = "[[alert]]\nname='a'\nkind='mood_drop'\ntopics=['ai']\n\
                    [[alert]]\nname='b'\nkind='mood_drop'\nplatforms=['hn']";
        let rules = rule::parse(text, &default_settings().rule, &[]).expect("valid");
        let mut moods = Moods::new(&rules, 100);
        let cell = json!({"window": "1h", "start": HOUR, "by": [], "count": 3, "scored": 3, "compound_sum": 9,
            "compound_mean": null, "authors": 1, "views": 0, "likes": 0, "comments": 0, "shares": 0});
        let key = |place: &str| format!("[\"1h\",\"{HOUR}\",{place}]");
        let unasked = [
            key("\"none\""),
            key("\"topic\",\"go\""),
            key("\"topic\",null"),
            key("\"platform\",\"rss\""),
            key("\"platform+topic\",\"hn\",\"ai\""),
            key("\"platform+channel\",\"hn\",\"c\""),
            key("\"topic\",\"ai\"").replace("1h", "1m"),
        ];
        for key in unasked {
            moods.apply(&stored(&key, &cell));
            assert_eq!(moods.len(), 0, "{key}");
        }
        let asked = [key("\"topic\",\"ai\""), key("\"platform\",\"hn\"")];
        for (n, key) in asked.iter().enumerate() {
            moods.apply(&stored(key, &cell));
            assert_eq!(moods.len(), n + 1, "{key}");
        }
        let gone = Stored { value: None, ..stored(&asked[0], &cell) };
        moods.apply(&gone);
        assert_eq!(moods.len(), 1);
    }
}
