//! What the sources say of themselves → which are silent or fail.

use dataflows::time::{HOUR_MS, Millis};

use super::{Reading, Readings, duration, rounded};
use crate::alerts::record::Fact;
use crate::alerts::rule::{Condition, Rule};
use crate::alerts::sample::{Sample, SourceSample};

/// A sample that has the sources has all of them; without one nothing is known.
pub(super) fn readings(rule: &Rule, at: Millis, sample: Option<&Sample>) -> Readings {
    let Condition::SourceSilent { failing_ms, sources } = &rule.condition else {
        return Readings::default();
    };
    let Some(sample) = sample else { return Readings::default() };
    let chosen = sample.sources.iter().filter(|s| sources.is_empty() || sources.contains(&s.name));
    let all = chosen.map(|source| reading(source, at, *failing_ms)).collect();
    Readings { all, complete: true }
}

fn reading(source: &SourceSample, at: Millis, failing_ms: i64) -> Reading {
    let hours = |ms: i64| rounded(ms as f64 / HOUR_MS as f64);
    let since = |from: Millis| (at.0 - from.0).max(0);
    let name = &source.name;
    let (met, value_ms, threshold_ms, why, short) = match (source.failing_since, source.last_item_at) {
        (Some(failing), _) => {
            let error = source.last_error.as_deref().unwrap_or("no reason was given");
            let failing_for = since(failing);
            let text = format!("has failed for {}", duration(failing_for));
            (
                source.gone || failing_for >= failing_ms,
                failing_for,
                failing_ms,
                format!(
                    "{name} {text} ({} times in a row): {error}; {} are enough",
                    source.errors_in_row,
                    duration(failing_ms)
                ),
                format!("{text} of {}", duration(failing_ms)),
            )
        }
        (None, Some(last)) => {
            let quiet = since(last);
            let after = source.silent_after_ms;
            let usual = after.map_or("its rhythm is not known yet".to_string(), |ms| {
                format!("{} are unusual for it", duration(ms))
            });
            let text = format!("nothing new for {}", duration(quiet));
            (
                after.is_some_and(|after| quiet >= after),
                quiet,
                after.unwrap_or(0),
                format!("{name} answers, but has brought {text}; {usual}"),
                format!("{text}; {usual}"),
            )
        }
        (None, None) => (false, 0, 0, String::new(), "has brought nothing yet".to_string()),
    };
    Reading {
        subject: source.key.clone(),
        label: name.clone(),
        met,
        value: hours(value_ms),
        threshold: hours(threshold_ms),
        why,
        short: format!("{name} {short}"),
        links: vec![source.url.clone()],
        fact: Some(Fact::Source {
            name: name.clone(),
            condition: source.condition.clone(),
            last_success_at: source.last_success_at,
            last_item_at: source.last_item_at,
            usual_gap_s: source.usual_gap_s,
            errors_in_row: source.errors_in_row,
        }),
        ..Reading::default()
    }
}
