//! What the sources say of themselves → which are silent or fail.
//!
//! Silence is what a source brought not, although it answered: from its last item to its
//! last answer. Time in which nobody asked it, or nobody could, is not its silence.

use dataflows::time::{HOUR_MS, Millis};

use super::{Detail, Reading, Readings, duration, rounded};
use crate::alerts::record::Fact;
use crate::alerts::rule::{Condition, Rule};
use crate::alerts::sample::{Sample, SourceSample};

/// A sample that has the sources has all of them; without one nothing is known.
pub(super) fn readings(rule: &Rule, at: Millis, sample: Option<&Sample>, detail: Detail) -> Readings {
    let Condition::SourceSilent { failing_ms, sources } = &rule.condition else {
        return Readings::default();
    };
    let Some(sample) = sample else { return Readings::default() };
    let chosen = sample.sources.iter().filter(|s| sources.is_empty() || sources.contains(&s.name));
    let found = chosen.map(|source| (source, standing(source, at, *failing_ms)));
    let told = found.filter(|(_, standing)| detail.wants(standing.met) || standing.unsure);
    let all = told.map(|(source, standing)| reading(source, &standing, detail)).collect();
    Readings { all, complete: true }
}

/// What there is and what is needed, in milliseconds.
struct Standing {
    met: bool,
    /// It fails, but not for long enough since this process looks: whether one that was
    /// silent or failing before is well again is not known.
    unsure: bool,
    fails: bool,
    value_ms: i64,
    threshold_ms: i64,
}

fn standing(source: &SourceSample, at: Millis, failing_ms: i64) -> Standing {
    if let Some(failing) = source.failing_since {
        let value_ms = (at.0 - failing.0).max(0);
        let met = source.gone || value_ms >= failing_ms;
        return Standing { met, unsure: !met, fails: true, value_ms, threshold_ms: failing_ms };
    }
    let quiet_ms = source.quiet_ms().unwrap_or(0);
    let after_ms = source.silent_after_ms;
    Standing {
        met: after_ms.is_some_and(|after| quiet_ms >= after),
        unsure: false,
        fails: false,
        value_ms: quiet_ms,
        threshold_ms: after_ms.unwrap_or(0),
    }
}

fn reading(source: &SourceSample, standing: &Standing, detail: Detail) -> Reading {
    let hours = |ms: i64| rounded(ms as f64 / HOUR_MS as f64);
    let name = &source.name;
    let met = standing.met;
    let bare = Reading {
        subject: source.key.clone(),
        label: name.clone(),
        met,
        unsure: standing.unsure,
        value: hours(standing.value_ms),
        threshold: hours(standing.threshold_ms),
        short: detail.short(met, || short(source, standing)),
        ..Reading::default()
    };
    if !met {
        return bare;
    }
    Reading {
        why: why(source, standing),
        links: vec![source.url.clone()],
        fact: Some(Fact::Source {
            name: name.clone(),
            condition: source.condition.clone(),
            last_success_at: source.last_success_at,
            last_item_at: source.last_item_at,
            usual_gap_s: source.usual_gap_s,
            errors_in_row: source.errors_in_row,
        }),
        ..bare
    }
}

fn why(source: &SourceSample, standing: &Standing) -> String {
    let name = &source.name;
    if !standing.fails {
        let (quiet, usual) = (duration(standing.value_ms), usual(source));
        return format!("{name} answers, but has brought nothing new for {quiet}; {usual}");
    }
    format!(
        "{name} has failed for {} ({} times in a row): {}; {} are enough",
        duration(standing.value_ms),
        source.errors_in_row,
        source.last_error.as_deref().unwrap_or("no reason was given"),
        duration(standing.threshold_ms)
    )
}

fn short(source: &SourceSample, standing: &Standing) -> String {
    let (name, value) = (&source.name, duration(standing.value_ms));
    if standing.fails {
        return format!("{name} has failed for {value} of {}", duration(standing.threshold_ms));
    }
    match source.quiet_ms() {
        Some(_) => format!("{name} nothing new for {value}; {}", usual(source)),
        None => format!("{name} has brought nothing yet"),
    }
}

fn usual(source: &SourceSample) -> String {
    let known = source.silent_after_ms.map(|ms| format!("{} are unusual for it", duration(ms)));
    known.unwrap_or_else(|| "its rhythm is not known yet".to_string())
}
