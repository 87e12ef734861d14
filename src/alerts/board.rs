//! Readings → alerts: each opens, develops and ends; one live alert per rule and subject.
//!
//! ```text
//!          met                  changed enough, a minute later        absent for the hold time
//! (none) ──────> firing ──────────────────> firing ──────────────────────> resolved
//!                  │  in a cooldown, or over the cap: suppressed, until neither is so
//!                  └─ in the route's quiet hours, not critical: queued for its digest
//! ```
//!
//! Pure: time and readings come in, records go out. An item that an alert shows is
//! followed: its record says at once what became of it; the message does so at once for a
//! deletion, for an edit when its interval is over.
//!
//! Retention: live alerts, at most `subjects_per_rule_max` of a rule; those that ended
//! for `edit_horizon_d`, at most `tracked_max`; past that the oldest are not followed
//! any more and counted. Ends are remembered for the longest cooldown.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::time::{DAY_MS, MINUTE_MS, Millis, SECOND_MS};

use super::record::{Alert, Ended, Severity, State, Suppressed};
use super::rule::Rule;
use super::watch::{Changed, Reading, Readings};
use super::{Settings, metrics, ms};

mod follow;
mod live;

use follow::Followed;
use live::{Live, met_subjects};

/// Rule and subject.
type Place = (String, String);

/// Cooldowns are no longer than this.
const COOLDOWN_MAX_MS: i64 = 30 * DAY_MS;
/// A number that grew by less than this part of itself is no news.
const NEWS_SHARE: f64 = 0.05;

/// A record to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub alert: Alert,
    /// Whether its message is written too.
    pub message: bool,
    /// What happened: opened, queued, suppressed, developed, corrected, resolved.
    pub outcome: &'static str,
}

#[derive(Debug)]
pub struct Board {
    limits: Limits,
    followed: Followed,
    live: BTreeMap<Place, Live>,
    /// When the last of a rule and subject ended.
    ended: BTreeMap<Place, Millis>,
    /// Records written in a minute.
    written: (Millis, usize),
}

#[derive(Clone, Debug)]
struct Limits {
    live_per_rule_max: usize,
    subjects_per_rule_max: usize,
    records_per_minute_max: usize,
    edit_interval_ms: i64,
}

impl Board {
    pub fn new(settings: &Settings) -> Self {
        Self {
            limits: Limits {
                live_per_rule_max: settings.live_per_rule_max,
                subjects_per_rule_max: settings.subjects_per_rule_max,
                records_per_minute_max: settings.records_per_minute_max,
                edit_interval_ms: ms(settings.edit_interval_s, SECOND_MS),
            },
            followed: Followed::new(settings.tracked_max, ms(settings.edit_horizon_d, DAY_MS)),
            live: BTreeMap::new(),
            ended: BTreeMap::new(),
            written: (Millis(i64::MIN), 0),
        }
    }

    /// Takes an alert as the topic has it last; they come in the order of their opening.
    pub fn restore(&mut self, alert: Alert) {
        let place = (alert.rule.clone(), alert.subject.clone());
        match alert.state {
            State::Firing => {
                self.live.insert(place, Live { key: alert.key.clone(), absent_since: None });
            }
            State::Resolved => {
                if self.live.get(&place).is_some_and(|live| live.key == alert.key) {
                    self.live.remove(&place);
                }
                self.remember_end(&alert);
            }
        }
        self.followed.put(alert);
    }

    pub fn live(&self) -> impl Iterator<Item = &Alert> {
        self.live.values().filter_map(|live| self.followed.get(&live.key))
    }

    pub fn followed(&self) -> usize {
        self.followed.len()
    }

    /// An item changed; whoever shows it is corrected in time.
    pub fn changed(&mut self, changed: &Changed) {
        self.followed.changed(changed);
    }

    /// Notes what is absent without deciding anything: at the start, for the time that a
    /// process before has decided.
    pub fn observe(&mut self, at: Millis, rule: &Rule, readings: &Readings) {
        let met = met_subjects(readings);
        for (place, live) in self.live.iter_mut().filter(|(place, _)| place.0 == rule.name) {
            live.note(at, &place.1, &met, readings);
        }
    }

    /// What the readings of a rule make of its alerts.
    pub fn step(&mut self, at: Millis, rule: &Rule, quiet: bool, readings: &Readings) -> Vec<Change> {
        let mut changes = self.end_absent(at, rule, readings);
        let mut met: Vec<&Reading> = readings.all.iter().filter(|reading| reading.met).collect();
        // The strongest first: they get what room there is; live ones keep theirs.
        met.sort_by(|a, b| {
            let is_live = |r: &Reading| self.live.contains_key(&(rule.name.clone(), r.subject.clone()));
            is_live(b)
                .cmp(&is_live(a))
                .then_with(|| b.value.total_cmp(&a.value))
                .then_with(|| a.subject.cmp(&b.subject))
        });
        let beyond = met.len().saturating_sub(self.limits.subjects_per_rule_max);
        met.truncate(self.limits.subjects_per_rule_max);
        if beyond > 0 {
            metrics::SUPPRESSED.with_label_values(&[&rule.name, "subjects_cap"]).inc_by(beyond as u64);
        }
        for reading in met {
            let place = (rule.name.clone(), reading.subject.clone());
            let change = match self.live.get(&place).map(|live| live.key.clone()) {
                Some(key) => self.develop(at, rule, quiet, reading, &key),
                None => self.open(at, rule, quiet, reading),
            };
            changes.extend(change);
        }
        changes
    }

    fn end_absent(&mut self, at: Millis, rule: &Rule, readings: &Readings) -> Vec<Change> {
        let met = met_subjects(readings);
        let mut over = Vec::new();
        for (place, live) in self.live.iter_mut().filter(|(place, _)| place.0 == rule.name) {
            live.note(at, &place.1, &met, readings);
            if live.absent_since.is_some_and(|since| at.0 - since.0 >= rule.hold_ms) {
                over.push(live.key.clone());
            }
        }
        over.into_iter().filter_map(|key| self.end(at, &key, Ended::Over)).collect()
    }

    /// Ends the alerts of rules that are gone or switched off.
    pub fn retire(&mut self, at: Millis, rules: &[Rule]) -> Vec<Change> {
        let mut over = Vec::new();
        for live in self.live.values() {
            let Some(alert) = self.followed.get(&live.key) else { continue };
            let rule = rules.iter().find(|rule| rule.name == alert.rule && rule.kind() == alert.kind);
            match rule {
                None => over.push((live.key.clone(), Ended::RuleRemoved)),
                Some(rule) if !rule.enabled => over.push((live.key.clone(), Ended::RuleOff)),
                Some(_) => {}
            }
        }
        over.into_iter().filter_map(|(key, why)| self.end(at, &key, why)).collect()
    }

    /// Alerts that show what was edited or deleted since, and messages that say less than
    /// their record and are due. What became of an item does not wait for other records.
    pub fn corrections(&mut self, at: Millis) -> Vec<Change> {
        let interval_ms = self.limits.edit_interval_ms;
        let mut changes = Vec::new();
        for key in self.followed.due(at, interval_ms) {
            let Some(mut alert) = self.followed.corrected(&key) else { continue };
            let deletes = self.followed.get(&key).is_some_and(|before| before.removed < alert.removed);
            let is_time = alert.told.is_none_or(|told| at.0 - told.0 >= interval_ms);
            alert.edits += 1;
            alert.updated = at;
            let message = alert.is_posted() && (deletes || is_time);
            changes.push(self.write_with(alert, message, "corrected"));
        }
        changes
    }

    /// Forgets what is past every horizon.
    pub fn expire(&mut self, at: Millis) {
        let live: BTreeSet<&str> = self.live.values().map(|live| live.key.as_str()).collect();
        self.followed.expire(at, &live);
        self.ended.retain(|_, ended| at.0 - ended.0 <= COOLDOWN_MAX_MS);
    }

    fn open(&mut self, at: Millis, rule: &Rule, quiet: bool, reading: &Reading) -> Option<Change> {
        if !self.may_write(at) {
            metrics::SUPPRESSED.with_label_values(&[&rule.name, "rate"]).inc();
            return None;
        }
        let place = (rule.name.clone(), reading.subject.clone());
        let suppressed = self.suppression(at, rule, &place);
        let mut alert = Alert {
            key: Alert::key_of(&rule.name, &reading.subject, at),
            rule: rule.name.clone(),
            kind: rule.kind(),
            severity: rule.severity,
            subject: reading.subject.clone(),
            label: String::new(),
            state: State::Firing,
            since: at,
            updated: at,
            told: None,
            resolved: None,
            ended: None,
            why: String::new(),
            value: 0.0,
            threshold: 0.0,
            examples: Vec::new(),
            removed: 0,
            links: Vec::new(),
            content_ids: Vec::new(),
            route: rule.route.clone(),
            queued: suppressed.is_none() && quiet && rule.severity != Severity::Critical,
            suppressed,
            edits: 0,
            fact: None,
        };
        fill(&mut alert, reading);
        self.live.insert(place, Live { key: alert.key.clone(), absent_since: None });
        let outcome = match (suppressed, alert.queued) {
            (Some(why), _) => {
                metrics::SUPPRESSED.with_label_values(&[&rule.name, why.name()]).inc();
                "suppressed"
            }
            (None, true) => "queued",
            (None, false) => "opened",
        };
        Some(self.write(alert, outcome))
    }

    /// What the reading changes of a live alert, if it is time to say so.
    fn develop(
        &mut self,
        at: Millis,
        rule: &Rule,
        quiet: bool,
        reading: &Reading,
        key: &str,
    ) -> Option<Change> {
        let alert = self.followed.get(key)?;
        if alert.suppressed.is_some() {
            let place = (rule.name.clone(), reading.subject.clone());
            if self.suppression(at, rule, &place).is_some() || !self.may_write(at) {
                return None;
            }
            let mut alert = self.followed.corrected(key)?;
            // The rule may have changed since; nothing of it was posted yet.
            alert.suppressed = None;
            (alert.route, alert.severity) = (rule.route.clone(), rule.severity);
            alert.queued = quiet && rule.severity != Severity::Critical;
            let outcome = if alert.queued { "queued" } else { "opened" };
            return Some(self.renew(at, alert, reading, outcome));
        }
        let last = alert.told.unwrap_or(alert.updated);
        let is_due = at.0 - last.0 >= self.limits.edit_interval_ms;
        if !is_due || !is_news(alert, reading) || !self.may_write(at) {
            return None;
        }
        let alert = self.followed.corrected(key)?;
        Some(self.renew(at, alert, reading, "developed"))
    }

    fn renew(&mut self, at: Millis, mut alert: Alert, reading: &Reading, outcome: &'static str) -> Change {
        fill(&mut alert, reading);
        alert.edits += 1;
        alert.updated = at;
        self.write(alert, outcome)
    }

    fn end(&mut self, at: Millis, key: &str, why: Ended) -> Option<Change> {
        if !self.may_write(at) {
            return None;
        }
        let mut alert = self.followed.corrected(key)?;
        alert.state = State::Resolved;
        alert.resolved = Some(at);
        alert.ended = Some(why);
        alert.edits += 1;
        alert.updated = at;
        self.live.remove(&(alert.rule.clone(), alert.subject.clone()));
        self.remember_end(&alert);
        Some(self.write(alert, "resolved"))
    }

    fn remember_end(&mut self, alert: &Alert) {
        if let (Some(at), Some(Ended::Over), None) = (alert.resolved, alert.ended, alert.suppressed) {
            let ended = self.ended.entry((alert.rule.clone(), alert.subject.clone())).or_insert(at);
            *ended = (*ended).max(at);
        }
    }

    /// Why an alert of this rule and subject would not be posted now.
    fn suppression(&self, at: Millis, rule: &Rule, place: &Place) -> Option<Suppressed> {
        if self.cooldown_until(rule, &place.1).is_some_and(|until| at < until) {
            return Some(Suppressed::Cooldown);
        }
        let shown = self.live.iter().filter(|((of, _), _)| *of == rule.name);
        let shown = shown.filter(|(_, l)| self.followed.get(&l.key).is_some_and(|a| a.suppressed.is_none()));
        (shown.count() >= self.limits.live_per_rule_max).then_some(Suppressed::LiveCap)
    }

    /// Until when one of this rule and subject is not posted again.
    pub fn cooldown_until(&self, rule: &Rule, subject: &str) -> Option<Millis> {
        let ended = self.ended.get(&(rule.name.clone(), subject.to_string()))?;
        Some(Millis(ended.0.saturating_add(rule.cooldown_ms)))
    }

    fn may_write(&self, at: Millis) -> bool {
        self.written.0 != at.floor(MINUTE_MS) || self.written.1 < self.limits.records_per_minute_max
    }

    fn write(&mut self, alert: Alert, outcome: &'static str) -> Change {
        let message = alert.is_posted();
        self.write_with(alert, message, outcome)
    }

    fn write_with(&mut self, mut alert: Alert, message: bool, outcome: &'static str) -> Change {
        let minute = alert.updated.floor(MINUTE_MS);
        if self.written.0 != minute {
            self.written = (minute, 0);
        }
        self.written.1 += 1;
        if message {
            alert.told = Some(alert.updated);
        }
        self.followed.put(alert.clone());
        Change { alert, message, outcome }
    }
}

/// What the alert says becomes what was read.
fn fill(alert: &mut Alert, reading: &Reading) {
    // An item that was edited since stays marked while it is shown.
    let edited: BTreeSet<String> = alert.examples.iter().filter(|e| e.edited).map(|e| e.id.clone()).collect();
    alert.label = reading.label.clone();
    alert.why = reading.why.clone();
    alert.value = reading.value;
    alert.threshold = reading.threshold;
    alert.examples = reading.examples.clone();
    for example in alert.examples.iter_mut().filter(|e| edited.contains(&e.id)) {
        example.edited = true;
    }
    alert.fact = reading.fact.clone();
    alert.links = reading.links.clone();
    let urls = alert.examples.iter().filter_map(|example| example.url.clone());
    alert.links.extend(urls);
    let mut seen = BTreeSet::new();
    alert.links.retain(|link| seen.insert(link.clone()));
    alert.content_ids = alert.examples.iter().map(|example| example.id.clone()).collect();
}

/// Whether a reader would want the message edited: more of it, or items not seen yet.
/// That less is left of it is told at its end.
fn is_news(alert: &Alert, reading: &Reading) -> bool {
    let is_shown = |id: &str| alert.examples.iter().any(|example| example.id == id);
    let grew = reading.value > alert.value + NEWS_SHARE * alert.value.abs();
    grew || reading.examples.iter().any(|example| !is_shown(&example.id)) || alert.label != reading.label
}

#[cfg(test)]
mod tests;
