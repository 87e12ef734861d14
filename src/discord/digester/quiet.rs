//! Alerts that opened in quiet hours: each waits for the next digest of its route.
//!
//! Retention: as long as content is looked back at, at most [`WAITING_MAX`]; past that
//! the oldest are not shown and counted.

use std::collections::BTreeMap;

use dataflows::record::Stored;
use dataflows::time::Millis;

use crate::alerts::record::Alert;
use crate::discord::digest::{Digest, QuietAlert};
use crate::discord::metrics;

const WAITING_MAX: usize = 1_000;
/// Alerts of one digest, the oldest first; the others wait for the next.
const SHOWN_MAX: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Quiet {
    /// By opening and key.
    waiting: BTreeMap<(Millis, String), Alert>,
    /// Keys that a digest has shown, by when it did.
    shown: BTreeMap<String, Millis>,
}

impl Quiet {
    /// Takes a record of the topic alerts.
    pub fn apply(&mut self, stored: &Stored) {
        let Some(value) = &stored.value else { return };
        let alert: Alert = match serde_json::from_slice(value) {
            Ok(alert) => alert,
            Err(error) => {
                tracing::warn!(%error, offset = stored.offset, "an alert is unreadable");
                return;
            }
        };
        if alert.queued && !self.shown.contains_key(&alert.key) {
            self.waiting.insert((alert.since, alert.key.clone()), alert);
        }
        while self.waiting.len() > WAITING_MAX {
            self.waiting.pop_first();
            metrics::DIGEST_FORGOTTEN.with_label_values(&["alert", "cap"]).inc();
        }
    }

    /// Adds what waits for the route to its digest; then there is something to post.
    pub fn add_to(&self, digest: &mut Digest) {
        let of_route = |alert: &&Alert| alert.route == digest.route && alert.since < digest.window.end;
        let waiting = self.waiting.values().filter(of_route).take(SHOWN_MAX);
        let mut waiting: Vec<QuietAlert> = waiting.map(QuietAlert::of).collect();
        if !waiting.is_empty() {
            waiting.reverse();
            digest.alerts = waiting;
            digest.skipped = None;
        }
    }

    /// A scheduled digest that is in the log has shown what it has.
    pub fn remember(&mut self, digest: &Digest) {
        if digest.manual {
            return;
        }
        for alert in &digest.alerts {
            self.waiting.remove(&(alert.since, alert.key.clone()));
            self.shown.insert(alert.key.clone(), digest.decided_at);
        }
    }

    pub fn expire(&mut self, oldest: Millis) {
        self.waiting.retain(|(since, _), _| *since >= oldest);
        self.shown.retain(|_, at| *at >= oldest);
    }
}
