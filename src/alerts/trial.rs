//! `alerts test RULE`: the last day of the log once more, for one rule → what it would
//! have fired, and for the rest the nearest miss and why.
//!
//! Pure but for reading the log: nothing is written, and no cooldown or alert of before
//! counts. Of sources, disk and delivery only what the running process sampled is known;
//! of trends and stories what the log still holds after compaction.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use dataflows::record::Positions;
use dataflows::time::{DAY_MS, Millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Settings;
use super::board::Board;
use super::engine::feed::Feed;
use super::engine::instant;
use super::record::{Alert, Kind};
use super::rule::Rule;
use super::sample::Samples;
use super::watch::{Detail, Reading, World};
use crate::discord::routes::Route;
use crate::log::{Log, LogError};

/// Subjects whose nearest miss is told.
const MISSES_MAX: usize = 20;

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    pub rule: String,
    pub kind: Kind,
    /// The time looked at; equal where nothing was ingested yet.
    pub from: Millis,
    pub to: Millis,
    /// How often the rule was looked at.
    pub looks: u64,
    /// As each alert was at its end, or is now; suppressed and queued ones say so.
    pub fired: Vec<Alert>,
    /// For subjects that did not fire, the nearest they came.
    pub misses: Vec<Miss>,
    /// What has to be known to read this.
    pub notes: Vec<String>,
}

/// The nearest a subject came to an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Miss {
    pub subject: String,
    pub label: String,
    pub at: Millis,
    pub value: f64,
    pub threshold: f64,
    /// `3 of 5 items`.
    pub why_not: String,
}

/// Tries the rule on the last day; `None` where it was asked to stop.
pub fn run(
    log: &dyn Log,
    settings: &Settings,
    rule: &Rule,
    routes: &[Route],
    samples: &Samples,
    stop: &AtomicBool,
) -> Result<Option<Trial>, LogError> {
    let notes = notes(rule, samples);
    let rule = Rule { enabled: true, ..rule.clone() };
    let route = routes.iter().find(|route| route.name == rule.route);
    let bytes = settings.batch_bytes_max;
    let world = World::new(std::slice::from_ref(&rule), settings);
    let latest = Feed::open(log, world, None, &Positions::new(), bytes)?.latest();
    let from = latest.map_or(Millis(0), |latest| Millis(latest.0 - DAY_MS).floor(settings.interval_ms()));
    let world = World::new(std::slice::from_ref(&rule), settings);
    let mut feed = Feed::open(log, world, Some(from), &Positions::new(), bytes)?;
    feed.catch_up(|_, own| own, |_| {}, stop)?;
    let to = feed.clock.map_or(from, |clock| instant(settings, clock));
    let mut board = Board::new(settings);
    let mut fired: BTreeMap<String, Alert> = BTreeMap::new();
    let mut nearest: BTreeMap<String, (Millis, Reading)> = BTreeMap::new();
    let (mut at, mut looks) = (from, 0);
    while at < to && !stop.load(Ordering::Relaxed) {
        at = Millis(at.0 + settings.interval_ms());
        looks += 1;
        feed.world.advance(at);
        let readings = feed.world.readings(&rule, at, samples.at(at), Detail::All);
        let quiet = route.is_some_and(|route| route.is_quiet(at));
        for change in board.step(at, &rule, quiet, &readings) {
            fired.insert(change.alert.key.clone(), change.alert);
        }
        for reading in readings.all.into_iter().filter(|reading| !reading.met) {
            let known = nearest.get(&reading.subject).map(|(_, known)| share(known));
            if known.is_none_or(|known| share(&reading) > known) {
                nearest.insert(reading.subject.clone(), (at, reading));
            }
        }
        board.expire(at);
    }
    if stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let mut fired: Vec<Alert> = fired.into_values().collect();
    fired.sort_by(|a, b| (a.since, &a.key).cmp(&(b.since, &b.key)));
    let misses = misses(&fired, nearest);
    Ok(Some(Trial { rule: rule.name.clone(), kind: rule.kind(), from, to, looks, fired, misses, notes }))
}

fn misses(fired: &[Alert], nearest: BTreeMap<String, (Millis, Reading)>) -> Vec<Miss> {
    let has_fired = |subject: &String| fired.iter().any(|alert| alert.subject == *subject);
    let mut misses: Vec<(f64, Miss)> = nearest
        .into_iter()
        .filter(|(subject, _)| !has_fired(subject))
        .map(|(subject, (at, reading))| {
            let share = share(&reading);
            let Reading { label, value, threshold, short, .. } = reading;
            (share, Miss { subject, label, at, value, threshold, why_not: short })
        })
        .collect();
    misses.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| x.subject.cmp(&y.subject)));
    misses.truncate(MISSES_MAX);
    misses.into_iter().map(|(_, miss)| miss).collect()
}

/// How near a reading is to what is needed.
fn share(reading: &Reading) -> f64 {
    if reading.threshold > 0.0 { reading.value / reading.threshold } else { reading.value }
}

fn notes(rule: &Rule, samples: &Samples) -> Vec<String> {
    let mut notes = Vec::new();
    if !rule.enabled {
        notes.push("the rule is switched off".to_string());
    }
    if rule.kind().is_operational() {
        notes.push(match samples.since() {
            Some(since) => {
                format!("what the process knows of sources, disk and delivery is known since {since}")
            }
            None => "nothing is known of sources, disk and delivery: only a running process samples them"
                .to_string(),
        });
    }
    if matches!(rule.kind(), Kind::Burst | Kind::StorySpread) {
        notes.push("values that were replaced since may be gone from the log".to_string());
    }
    notes
}
