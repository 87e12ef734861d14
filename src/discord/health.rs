//! How Discord's parts are: what `/health/discord` answers.
//!
//! The workers report here after each step; the answer is made from the last reports.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;

use dataflows::time::Millis;

use super::outbox::State;
use super::routes::Route;
use super::schedule::Schedule;
use super::targets::Targets;
use crate::ops::health::Component;
pub use crate::ops::health::Status;

/// Age of the oldest waiting post from which delivery counts as stuck.
const OLDEST_DEGRADED_MS: i64 = 300_000;

/// What `/health/discord` gives as details.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    pub status: Status,
    /// Why it is not `ok`, each with what to do; empty when it is.
    pub reasons: Vec<Reason>,
    /// Whether posts are sent at all.
    pub publishing: bool,
    pub queue: BTreeMap<State, u64>,
    pub oldest_waiting_s: Option<f64>,
    pub uncertain: u64,
    pub last_post_at: Option<Millis>,
    pub last_error: Option<String>,
    pub last_error_at: Option<Millis>,
    pub ratelimit_wait_s: f64,
    pub invalid_requests: usize,
    pub retired_webhooks: Vec<String>,
    pub next_digest_at: BTreeMap<String, Millis>,
    pub pipeline_clock: Option<Millis>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reason {
    pub reason: String,
    pub detail: String,
}

#[derive(Debug, Default)]
struct Inner {
    delivering: bool,
    off: Option<Reason>,
    /// Routes that lead nowhere.
    routes: Vec<Reason>,
    queue: BTreeMap<State, u64>,
    oldest: Option<Millis>,
    last_post_at: Option<Millis>,
    last_error: Option<(String, Millis)>,
    wait_ms: i64,
    guarded_until: Option<i64>,
    invalid: usize,
    retired: Vec<String>,
    next_digest_at: BTreeMap<String, Millis>,
    clock: Option<Millis>,
    forgotten: u64,
    stopped: Vec<Reason>,
}

/// Shared by the workers and the server.
#[derive(Debug, Default)]
pub struct Health(Mutex<Inner>);

impl Health {
    pub(crate) fn deliverer_opened(&self, targets: &Targets, routes: &[Route]) {
        let mut inner = self.0.lock();
        inner.delivering = true;
        inner.off = targets.off().map(|why| reason(why.name(), why.advice()));
        let mut wrong: Vec<Reason> = Vec::new();
        // Those for alerts only have a component of their own.
        for route in routes.iter().filter(|route| route.schedule != Schedule::Never) {
            if let Err(why) = targets.address(route) {
                wrong.push(reason(why.name(), &format!("route {}: {}", route.name, why.advice())));
            }
        }
        inner.routes = wrong;
    }

    pub(crate) fn delivering(
        &self,
        queue: BTreeMap<State, u64>,
        oldest: Option<Millis>,
        wait_ms: i64,
        guarded_until: Option<i64>,
        invalid: usize,
        retired: Vec<String>,
    ) {
        let mut inner = self.0.lock();
        inner.queue = queue;
        inner.oldest = oldest;
        inner.wait_ms = wait_ms;
        inner.guarded_until = guarded_until;
        inner.invalid = invalid;
        inner.retired = retired;
    }

    pub(crate) fn succeeded(&self, now: i64) {
        let mut inner = self.0.lock();
        inner.last_post_at = Some(Millis(now));
        inner.last_error = None;
    }

    pub(crate) fn failed(&self, why: &str, now: i64) {
        self.0.lock().last_error = Some((why.to_string(), Millis(now)));
    }

    pub(crate) fn digesting(&self, clock: Millis, next: BTreeMap<String, Millis>, forgotten: u64) {
        let mut inner = self.0.lock();
        inner.clock = Some(clock);
        inner.next_digest_at = next;
        inner.forgotten = forgotten;
    }

    /// A worker ended with an error and does not come back by itself.
    pub fn stopped(&self, worker: &str, why: &str) {
        self.0.lock().stopped.push(reason(&format!("{worker}_stopped"), why));
    }

    /// The component of `/health`.
    pub fn component(&self, now: i64) -> Component {
        let report = self.report(now);
        let details = serde_json::to_value(&report).expect("a report is plain data");
        let texts = report.reasons.iter().map(|r| format!("{}: {}", r.reason, r.detail)).collect();
        Component { name: "discord".to_string(), status: report.status, reasons: texts, details }
    }

    /// How things are at `now` of the wall clock.
    pub fn report(&self, now: i64) -> Report {
        let inner = self.0.lock();
        let reasons = inner.reasons(now);
        let nowhere = inner.delivering
            && inner.off.is_none()
            && inner.routes.iter().all(|r| r.reason == "not_configured");
        let disabled = inner.off.is_some() || (nowhere && !inner.routes.is_empty());
        let status = if !inner.stopped.is_empty() {
            Status::Down
        } else if disabled
            && reasons.iter().all(|r| inner.off.as_ref() == Some(r) || inner.routes.contains(r))
        {
            Status::Disabled
        } else if reasons.is_empty() {
            Status::Ok
        } else {
            Status::Degraded
        };
        Report {
            status,
            reasons,
            publishing: inner.delivering && !disabled,
            oldest_waiting_s: inner.oldest.map(|at| (now - at.0).max(0) as f64 / 1e3),
            uncertain: inner.queue.get(&State::Uncertain).copied().unwrap_or(0),
            queue: inner.queue.clone(),
            last_post_at: inner.last_post_at,
            last_error: inner.last_error.as_ref().map(|(why, _)| why.clone()),
            last_error_at: inner.last_error.as_ref().map(|(_, at)| *at),
            ratelimit_wait_s: inner.wait_ms.max(0) as f64 / 1e3,
            invalid_requests: inner.invalid,
            retired_webhooks: inner.retired.clone(),
            next_digest_at: inner.next_digest_at.clone(),
            pipeline_clock: inner.clock,
        }
    }
}

impl Inner {
    fn reasons(&self, now: i64) -> Vec<Reason> {
        let mut reasons = self.stopped.clone();
        reasons.extend(self.off.clone());
        reasons.extend(self.routes.iter().cloned());
        let uncertain = self.queue.get(&State::Uncertain).copied().unwrap_or(0);
        if uncertain > 0 {
            reasons.push(reason(
                "uncertain",
                &format!("{uncertain} posts may or may not have been made: tidings outbox list"),
            ));
        }
        if !self.retired.is_empty() {
            reasons.push(reason(
                "webhook_retired",
                "Discord says the webhook no longer exists: make a new one and set its URL",
            ));
        }
        if let Some(until) = self.guarded_until.filter(|until| *until > now) {
            let detail = format!("too many refused requests; no more until {}", Millis(until));
            reasons.push(reason("guard", &detail));
        }
        if self.oldest.is_some_and(|at| now - at.0 > OLDEST_DEGRADED_MS) && uncertain == 0 {
            reasons.push(reason("stuck", "the oldest post waits for more than 5 minutes: see last_error"));
        }
        if self.forgotten > 0 {
            let detail = format!(
                "{} items or cells left the digests' memory early: raise discord.digests.items_max",
                self.forgotten
            );
            reasons.push(reason("memory_full", &detail));
        }
        reasons
    }
}

fn reason(reason: &str, detail: &str) -> Reason {
    Reason { reason: reason.to_string(), detail: detail.to_string() }
}
