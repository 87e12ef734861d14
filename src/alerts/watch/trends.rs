//! results.trends → which bursts are strong enough.

use std::collections::BTreeMap;

use dataflows::trends::record::{SubjectKind, Trend, TrendState};

use super::results::Results;
use super::{Detail, Reading, Readings, counted, rounded};
use crate::alerts::rule::{Condition, Rule};

/// One reading for each subject: of its strongest burst that rises.
pub(super) fn readings(rule: &Rule, trends: &Results<Trend>, detail: Detail) -> Readings {
    let Condition::Burst { subjects, score_min, items_min } = &rule.condition else {
        return Readings::default();
    };
    let rising = trends.values().filter(|trend| {
        let is_topic = trend.subject.kind == SubjectKind::Topic;
        trend.state == TrendState::Rising
            && subjects.iter().any(|kind| kind == trend.subject.kind.name())
            && (rule.topics.is_empty() || (is_topic && rule.topics.contains(&trend.subject.name)))
    });
    let is_met = |trend: &Trend| trend.score >= *score_min && items(trend) >= *items_min;
    let mut strongest: BTreeMap<(&str, &str), &Trend> = BTreeMap::new();
    for trend in rising.filter(|trend| detail.wants(is_met(trend))) {
        let subject = (trend.subject.kind.name(), trend.subject.name.as_str());
        let rank = |trend: &Trend| (is_met(trend), rounded(trend.score));
        match strongest.get(&subject) {
            Some(known) if rank(known) >= rank(trend) => {}
            _ => {
                strongest.insert(subject, trend);
            }
        }
    }
    let reading = |trend: &Trend| reading(trend, *score_min, *items_min, is_met(trend), detail);
    Readings { all: strongest.into_values().map(reading).collect(), complete: true }
}

fn items(trend: &Trend) -> u64 {
    u64::try_from(trend.items).unwrap_or(0)
}

fn reading(trend: &Trend, score_min: f64, items_min: u64, met: bool, detail: Detail) -> Reading {
    let name = &trend.subject.name;
    let why = || {
        format!(
            "{name} rises since {}: {} by {} in its strongest ten minutes, where {:.1} were to be expected; the score is \
             {:.1}, {score_min} is enough",
            trend.since,
            counted(u64::try_from(trend.peak_items).unwrap_or(0), "item"),
            counted(u64::try_from(trend.authors).unwrap_or(0), "author"),
            trend.expected,
            trend.score
        )
    };
    let short = || {
        let needed = counted(items_min, "item");
        format!("a score of {:.1} of {score_min} with {} of {needed}", trend.score, items(trend))
    };
    Reading {
        subject: format!("{}:{name}", trend.subject.kind.name()),
        label: name.clone(),
        met,
        value: rounded(trend.score),
        threshold: score_min,
        why: if met { why() } else { String::new() },
        short: detail.short(met, short),
        ..Reading::default()
    }
}
