//! What goes wrong inside → readings of `pipeline_trouble`, one subject each: a stage
//! that refuses records, the disk, delivery, and texts whose language nobody can tell.

use std::collections::BTreeSet;

use dataflows::time::Millis;

use super::minutes::{Minute, Minutes};
use super::{Reading, Readings, counted, duration, rounded};
use crate::alerts::record::Fact;
use crate::alerts::rule::Trouble;
use crate::alerts::sample::{DeliverySample, DiskSample, Sample};

pub(super) fn readings(wanted: &Trouble, at: Millis, minutes: &Minutes, sample: Option<&Sample>) -> Readings {
    let watches = |name: &str| wanted.watch.contains(name);
    let sums = minutes.within(at, wanted.window_ms);
    let mut all = Vec::new();
    if watches("stage_failures") {
        let stages: BTreeSet<&str> =
            STAGES.into_iter().chain(sums.failed.keys().map(String::as_str)).collect();
        all.extend(stages.into_iter().map(|stage| failures(wanted, &sums, stage)));
    }
    if watches("language") {
        all.push(language(wanted, &sums));
    }
    if let Some(sample) = sample {
        all.extend(sample.disk.iter().filter(|_| watches("storage")).map(|disk| storage(wanted, disk)));
        let delivery = sample.delivery.iter().filter(|_| watches("delivery"));
        all.extend(delivery.map(|delivery| self::delivery(wanted, delivery)));
    }
    // Storage and delivery are not known without a sample.
    Readings { all, complete: sample.is_some() }
}

/// The stages that write dead letters; each is known to be well when it wrote none.
const STAGES: [&str; 3] = ["analyse", "embed", "enrich"];

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { rounded(part as f64 * 100.0 / whole as f64) }
}

fn failures(wanted: &Trouble, sums: &Minute, stage: &str) -> Reading {
    let failed = sums.failed.get(stage).copied().unwrap_or(0);
    let taken = sums.taken + failed;
    let percent = share(failed, taken);
    let window = duration(wanted.window_ms);
    let enough = taken >= wanted.records_min;
    let limit = wanted.failures_percent;
    let short = if enough {
        format!("{percent:.1} % of {limit} % of the records of {stage} failed within {window}")
    } else {
        format!("{taken} of {} records within {window}", wanted.records_min)
    };
    Reading {
        subject: format!("stage.{stage}"),
        label: format!("failures in {stage}"),
        met: enough && percent > limit,
        value: percent,
        threshold: limit,
        why: format!(
            "{percent:.1} % of what {stage} took in within {window} became dead letters ({failed} of {}); more than \
             {limit} % is too much",
            counted(taken, "record")
        ),
        short,
        fact: Some(Fact::Stage { stage: stage.to_string(), failed, taken }),
        ..Reading::default()
    }
}

fn language(wanted: &Trouble, sums: &Minute) -> Reading {
    let percent = share(sums.unknown, sums.long);
    let window = duration(wanted.window_ms);
    let enough = sums.long >= wanted.records_min;
    let limit = wanted.unknown_percent;
    let short = if enough {
        format!("{percent:.1} % of {limit} % of the long texts have no language within {window}")
    } else {
        format!("{} of {} long texts within {window}", sums.long, wanted.records_min)
    };
    Reading {
        subject: "language".to_string(),
        label: "low confidence: language".to_string(),
        met: enough && percent > limit,
        value: percent,
        threshold: limit,
        why: format!(
            "The language of {percent:.1} % of the long texts taken in within {window} could not be told ({} of {}); \
             more than {limit} % is too much",
            sums.unknown, sums.long
        ),
        short,
        fact: Some(Fact::Language { unknown: sums.unknown, items: sums.long }),
        ..Reading::default()
    }
}

fn storage(wanted: &Trouble, disk: &DiskSample) -> Reading {
    let used = share(disk.size_bytes.saturating_sub(disk.free_bytes), disk.size_bytes);
    let limit = wanted.storage_percent;
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    Reading {
        subject: "storage".to_string(),
        label: "storage".to_string(),
        met: used > limit,
        value: used,
        threshold: limit,
        why: format!(
            "{used:.1} % of the disk of the data folder is used ({:.1} GiB of {:.1} GiB are free); more than \
             {limit} % is too much",
            gib(disk.free_bytes),
            gib(disk.size_bytes)
        ),
        short: format!("{used:.1} % of {limit} % of the disk is used"),
        fact: Some(Fact::Storage { free_bytes: disk.free_bytes, size_bytes: disk.size_bytes }),
        ..Reading::default()
    }
}

fn delivery(wanted: &Trouble, now: &DeliverySample) -> Reading {
    let waiting_ms = now.oldest_waiting_s.map_or(0, |s| i64::try_from(s).unwrap_or(i64::MAX / 1_000) * 1_000);
    let mut faults = Vec::new();
    if waiting_ms >= wanted.waiting_ms {
        faults.push(format!("the oldest post has waited for {}", duration(waiting_ms)));
    }
    if now.retired_webhooks > 0 {
        faults.push(format!("{} no longer exists at Discord", counted(now.retired_webhooks, "webhook")));
    }
    if now.uncertain > 0 {
        faults.push(format!("{} may or may not have been made", counted(now.uncertain, "post")));
    }
    let error = now.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    Reading {
        subject: "delivery".to_string(),
        label: "delivery to Discord".to_string(),
        met: !faults.is_empty(),
        value: rounded(waiting_ms as f64 / 60_000.0),
        threshold: rounded(wanted.waiting_ms as f64 / 60_000.0),
        why: format!("Delivery fails: {}{error}", faults.join(", ")),
        short: format!(
            "the oldest post has waited for {} of {}",
            duration(waiting_ms),
            duration(wanted.waiting_ms)
        ),
        fact: Some(Fact::Delivery {
            oldest_waiting_s: now.oldest_waiting_s,
            retired_webhooks: now.retired_webhooks,
            uncertain: now.uncertain,
            last_error: now.last_error.clone(),
        }),
        ..Reading::default()
    }
}
