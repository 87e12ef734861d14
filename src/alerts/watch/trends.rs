//! results.trends → which bursts are strong enough.

use std::collections::BTreeMap;

use dataflows::trends::record::{SubjectKind, Trend, TrendState};

use super::results::Results;
use super::{Reading, Readings, counted, rounded};
use crate::alerts::rule::{Condition, Rule};

/// One reading for each subject: of its strongest burst that rises.
pub(super) fn readings(rule: &Rule, trends: &Results<Trend>) -> Readings {
    let Condition::Burst { subjects, .. } = &rule.condition else { return Readings::default() };
    let rising = trends.values().filter(|trend| {
        let is_topic = trend.subject.kind == SubjectKind::Topic;
        trend.state == TrendState::Rising
            && subjects.iter().any(|kind| kind == trend.subject.kind.name())
            && (rule.topics.is_empty() || (is_topic && rule.topics.contains(&trend.subject.name)))
    });
    let mut strongest: BTreeMap<String, Reading> = BTreeMap::new();
    for reading in rising.filter_map(|trend| reading(rule, trend)) {
        match strongest.get(&reading.subject) {
            Some(known) if (known.met, known.value) >= (reading.met, reading.value) => {}
            _ => {
                strongest.insert(reading.subject.clone(), reading);
            }
        }
    }
    Readings { all: strongest.into_values().collect(), complete: true }
}

fn reading(rule: &Rule, trend: &Trend) -> Option<Reading> {
    let Condition::Burst { score_min, items_min, .. } = rule.condition else { return None };
    let items = u64::try_from(trend.items).unwrap_or(0);
    let name = &trend.subject.name;
    Some(Reading {
        subject: format!("{}:{name}", trend.subject.kind.name()),
        label: name.clone(),
        met: trend.score >= score_min && items >= items_min,
        value: rounded(trend.score),
        threshold: score_min,
        why: format!(
            "{name} rises since {}: {} by {} in its strongest ten minutes, where {:.1} were to be expected; the score is \
             {:.1}, {score_min} is enough",
            trend.since,
            counted(u64::try_from(trend.peak_items).unwrap_or(0), "item"),
            counted(u64::try_from(trend.authors).unwrap_or(0), "author"),
            trend.expected,
            trend.score
        ),
        short: format!(
            "a score of {:.1} of {score_min} with {items} of {}",
            trend.score,
            counted(items_min, "item")
        ),
        ..Reading::default()
    })
}
