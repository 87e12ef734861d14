//! Posting and editing: one request, and what its answer makes of the key.

use dataflows::record::{Headers, Stored, topic};
use dataflows::time::Millis;

use super::{DeliverError, Deliverer, Seen, dead_letter};
use crate::discord::message::{check, short_key};
use crate::discord::metrics;
use crate::discord::outbox::{Entry, OutboxRecord, RetiredTarget, Sent, State};
use crate::discord::targets::{Target, TargetKind};
use crate::discord::transport::{Answer, Reply};

/// For how long an answer of a webhook shows that it is there and Discord is well.
const LOOK_UP_FRESH_MS: i64 = 60_000;
/// How long an edit waits while publishing is off.
const EDIT_OFF_WAIT_MS: i64 = 60_000;
/// Discord's error codes.
const UNKNOWN_MESSAGE: i64 = 10_008;

impl Deliverer {
    pub(super) fn post(&mut self, entry: &Entry, now: i64) -> Result<(), DeliverError> {
        let target = match self.routes.get(&entry.wanted.route) {
            None => Err(crate::discord::targets::Suppression::RouteGone),
            Some(route) => self.targets.of(route),
        };
        let target = match target {
            Ok(target) => target,
            Err(why) => return self.conclude(entry, State::Suppressed, why.name(), now),
        };
        if let Some(retired) = self.outbox.retired(&target.fingerprint) {
            let reason = retired.reason.clone();
            return self.conclude(entry, State::Retired, &reason, now);
        }
        let age_max_ms =
            i64::try_from(self.settings.post_age_max_h).unwrap_or(i64::MAX).saturating_mul(3_600_000);
        if now.saturating_sub(entry.wanted.created_at.0) > age_max_ms {
            return self.conclude(entry, State::Dropped, "too_old", now);
        }
        if let Err(limit) = check(&entry.wanted.message) {
            return self.dead(entry, "over_limit", &limit, now);
        }
        if !self.may_request(entry, &target, "post", now) || !self.looked_up(entry, &target, now)? {
            return Ok(());
        }
        let mut intent = entry.sent.clone().with(State::Sending, None, Millis(now));
        intent.attempts += 1;
        intent.intent_at = intent.intent_at.or(Some(Millis(now)));
        intent.target = Some(target.fingerprint.clone());
        intent.channel_id = self.channel_of(&target);
        self.record(intent.clone())?;
        self.limits.requested(now, &self.channel_name(&target));
        let nonce = short_key(&entry.wanted.key);
        let reply = self.runtime.block_on(self.transport.post(&target, &entry.wanted.message, &nonce));
        self.posted(entry, intent, &target, reply)
    }

    /// What the answer to a post means.
    fn posted(
        &mut self,
        entry: &Entry,
        intent: Sent,
        target: &Target,
        reply: Reply,
    ) -> Result<(), DeliverError> {
        let now = crate::discord::wall_clock_ms();
        let answer = match reply {
            Reply::Answered(answer) => answer,
            Reply::NotSent(why) => return self.again(intent, "no_connection", &why, now),
            Reply::Unknown(why) => return self.uncertain(intent, "no_answer", &why, now),
        };
        self.learn(target, "post", &answer, now);
        if answer.is_success() {
            return match answer.message() {
                Some(message) => {
                    let mut sent = intent.with(State::Sent, None, Millis(now));
                    sent.message_id = Some(message.id);
                    sent.channel_id = Some(message.channel_id);
                    sent.sequence = entry.wanted.sequence;
                    self.succeeded("sent", &entry.wanted.reason, now);
                    self.record(sent)
                }
                None => self.uncertain(intent, "unreadable_answer", "success without a message", now),
            };
        }
        let why = answer.explain(&self.transport.masker);
        match answer.status() {
            429 => {
                metrics::POSTS.with_label_values(&["retried", "rate_limited"]).inc();
                self.health.failed(&why, now);
                self.record(intent.with(State::Pending, Some("rate_limited"), Millis(now)))
            }
            401 | 404 if target.is_webhook() => {
                self.retire_target(target, now)?;
                self.conclude(entry, State::Retired, "unknown_webhook", now)
            }
            401 => self.refused(entry, intent, "unauthorized", &why, now),
            403 => self.refused(entry, intent, "forbidden", &why, now),
            404 => self.dead(entry, "unknown_channel", &why, now),
            400..=499 => self.dead(entry, "rejected", &why, now),
            _ => self.uncertain(intent, "server_error", &why, now),
        }
    }

    /// Edits are idempotent: they are repeated until answered.
    pub(super) fn edit(&mut self, entry: &Entry, now: i64) -> Result<(), DeliverError> {
        let route = self.routes.get(&entry.wanted.route);
        let target = match route.map(|r| (self.targets.off(), self.targets.address(r))) {
            Some((None, Ok(target))) => target,
            Some((Some(off), Ok(_))) => {
                // What is public already must be corrected once publishing is on again.
                let retry = self.retries.entry(entry.wanted.key.clone()).or_default();
                if !std::mem::replace(&mut retry.counted, true) {
                    metrics::POSTS.with_label_values(&["suppressed", off.name()]).inc();
                }
                self.postpone(&entry.wanted.key, now + EDIT_OFF_WAIT_MS);
                return Ok(());
            }
            Some((_, Err(why))) => return self.edit_over(entry, "suppressed", why.name(), now),
            None => return self.edit_over(entry, "suppressed", "route_gone", now),
        };
        if entry.sent.target.as_deref().is_some_and(|t| t != target.fingerprint) {
            return self.edit_over(entry, "suppressed", "address_changed", now);
        }
        if self.outbox.retired(&target.fingerprint).is_some() {
            return self.edit_over(entry, "retired", "unknown_webhook", now);
        }
        if let Err(limit) = check(&entry.wanted.message) {
            return self.edit_dead(entry, "over_limit", &limit, now);
        }
        let Some(message_id) = entry.sent.message_id.clone() else {
            return self.edit_over(entry, "dropped", "no_message_id", now);
        };
        if !self.may_request(entry, &target, "edit", now) {
            return Ok(());
        }
        self.limits.requested(now, &self.channel_name(&target));
        let reply = self.runtime.block_on(self.transport.edit(&target, &message_id, &entry.wanted.message));
        self.edited(entry, &target, reply)
    }

    fn edited(&mut self, entry: &Entry, target: &Target, reply: Reply) -> Result<(), DeliverError> {
        let now = crate::discord::wall_clock_ms();
        let (reason, why) = match reply {
            Reply::NotSent(why) => ("no_connection", why),
            Reply::Unknown(why) => ("no_answer", why),
            Reply::Answered(answer) => {
                self.learn(target, "edit", &answer, now);
                let why = answer.explain(&self.transport.masker);
                match answer.status() {
                    200..=299 => {
                        let mut sent = entry.sent.clone().with(State::Sent, None, Millis(now));
                        sent.sequence = entry.wanted.sequence;
                        self.succeeded("edited", &entry.wanted.reason, now);
                        return self.record(sent);
                    }
                    429 => {
                        metrics::POSTS.with_label_values(&["retried", "rate_limited"]).inc();
                        return Ok(());
                    }
                    404 if answer.code() == UNKNOWN_MESSAGE => {
                        return self.edit_over(entry, "dropped", "message_gone", now);
                    }
                    401 | 404 if target.is_webhook() => {
                        self.retire_target(target, now)?;
                        return self.edit_over(entry, "retired", "unknown_webhook", now);
                    }
                    401 => ("unauthorized", why),
                    403 => ("forbidden", why),
                    400..=499 => return self.edit_dead(entry, "rejected", &why, now),
                    _ => ("server_error", why),
                }
            }
        };
        self.health.failed(&why, now);
        let waits_for_network = reason == "no_connection";
        if self.back_off(&entry.wanted.key, now) >= self.settings.attempts_max && !waits_for_network {
            return self.edit_dead(entry, reason, &why, now);
        }
        metrics::POSTS.with_label_values(&["retried", reason]).inc();
        Ok(())
    }

    /// Whether limits allow a request now; if not, the key waits for them.
    pub(super) fn may_request(&mut self, entry: &Entry, target: &Target, kind: &str, now: i64) -> bool {
        let channel = self.channel_name(target);
        let wait = self.limits.wait_ms(now, kind, &target.fingerprint, &channel);
        if wait > 0 {
            self.postpone(&entry.wanted.key, now + wait);
        }
        wait == 0
    }

    /// Before a post through a webhook it is looked up, unless it answered just now: an
    /// outage of Discord is then met where repeating is harmless, not by a post whose
    /// outcome nobody knows. It also tells the channel. Whether to go on.
    fn looked_up(&mut self, entry: &Entry, target: &Target, now: i64) -> Result<bool, DeliverError> {
        let fresh = self.seen.get(&target.fingerprint).is_some_and(|seen| seen.at + LOOK_UP_FRESH_MS > now);
        if !target.is_webhook() || fresh {
            return Ok(true);
        }
        if !self.may_request(entry, target, "look", now) {
            return Ok(false);
        }
        let reply = self.runtime.block_on(self.transport.look_up(target));
        let now = crate::discord::wall_clock_ms();
        let why = match reply {
            Reply::Answered(answer) => {
                self.learn(target, "look", &answer, now);
                match answer.status() {
                    200..=299 => {
                        let channel_id = answer.webhook_channel();
                        if let Some(channel) = &channel_id {
                            self.limits.same_channel(&target.fingerprint, channel);
                        }
                        self.seen.insert(target.fingerprint.clone(), Seen { at: now, channel_id });
                        return Ok(self.may_request(entry, target, "post", now));
                    }
                    401 | 404 => {
                        self.retire_target(target, now)?;
                        self.conclude(entry, State::Retired, "unknown_webhook", now)?;
                        return Ok(false);
                    }
                    429 => return Ok(false),
                    _ => answer.explain(&self.transport.masker),
                }
            }
            Reply::NotSent(why) | Reply::Unknown(why) => why,
        };
        metrics::POSTS.with_label_values(&["retried", "unreachable"]).inc();
        self.health.failed(&why, now);
        self.back_off(&entry.wanted.key, now);
        Ok(false)
    }

    pub(super) fn learn(&mut self, target: &Target, kind: &str, answer: &Answer, now: i64) {
        if self.limits.answered(now, kind, &target.fingerprint, &answer.hints) {
            metrics::INVALID_REQUESTS.inc();
        }
        if answer.is_success()
            && let Some(seen) = self.seen.get_mut(&target.fingerprint)
        {
            seen.at = now;
        }
    }

    fn channel_of(&self, target: &Target) -> Option<String> {
        match &target.kind {
            TargetKind::Channel { id } => Some(id.clone()),
            TargetKind::Webhook { .. } => {
                self.seen.get(&target.fingerprint).and_then(|s| s.channel_id.clone())
            }
        }
    }

    /// What the limit per channel goes by: the channel, or its webhook until it is known.
    fn channel_name(&self, target: &Target) -> String {
        self.channel_of(target).unwrap_or_else(|| target.fingerprint.clone())
    }

    fn succeeded(&self, outcome: &str, reason: &str, now: i64) {
        metrics::POSTS.with_label_values(&[outcome, reason]).inc();
        metrics::LAST_SENT.set(now / 1_000);
        self.health.succeeded(now);
    }

    /// Known not to be posted: it waits for its next attempt.
    fn again(&mut self, intent: Sent, reason: &str, why: &str, now: i64) -> Result<(), DeliverError> {
        metrics::POSTS.with_label_values(&["retried", reason]).inc();
        self.health.failed(why, now);
        self.back_off(&intent.key, now);
        self.record(intent.with(State::Pending, Some(reason), Millis(now)))
    }

    /// Refused for a reason that a person may remove: a bounded number of attempts.
    fn refused(
        &mut self,
        entry: &Entry,
        intent: Sent,
        reason: &str,
        why: &str,
        now: i64,
    ) -> Result<(), DeliverError> {
        if intent.attempts >= self.settings.attempts_max {
            return self.dead(entry, reason, why, now);
        }
        self.again(intent, reason, why, now)
    }

    /// Perhaps posted. Never sent again before it is settled.
    fn uncertain(&mut self, intent: Sent, reason: &str, why: &str, now: i64) -> Result<(), DeliverError> {
        metrics::POSTS.with_label_values(&["uncertain", reason]).inc();
        tracing::warn!(key = intent.key, reason, why, "it is uncertain whether Discord took a post");
        self.health.failed(why, now);
        self.retries.remove(&intent.key);
        self.record(intent.with(State::Uncertain, Some(reason), Millis(now)))
    }

    fn conclude(&mut self, entry: &Entry, state: State, reason: &str, now: i64) -> Result<(), DeliverError> {
        metrics::POSTS.with_label_values(&[state.name(), reason]).inc();
        tracing::info!(key = entry.wanted.key, state = state.name(), reason, "a post is not sent");
        self.record(entry.sent.clone().with(state, Some(reason), Millis(now)))
    }

    fn dead(&mut self, entry: &Entry, reason: &str, why: &str, now: i64) -> Result<(), DeliverError> {
        let sent = entry.sent.clone().with(State::Dropped, Some(reason), Millis(now));
        self.give_up(entry, sent, reason, why, now)
    }

    fn edit_dead(&mut self, entry: &Entry, reason: &str, why: &str, now: i64) -> Result<(), DeliverError> {
        let mut sent = entry.sent.clone().with(State::Sent, Some(&format!("edit {reason}")), Millis(now));
        sent.sequence = entry.wanted.sequence;
        self.give_up(entry, sent, reason, why, now)
    }

    fn give_up(
        &mut self,
        entry: &Entry,
        sent: Sent,
        reason: &str,
        why: &str,
        now: i64,
    ) -> Result<(), DeliverError> {
        metrics::POSTS.with_label_values(&["dropped", reason]).inc();
        tracing::error!(key = entry.wanted.key, reason, why, "Discord does not take a message");
        self.health.failed(why, now);
        let outgoing = OutboxRecord::Message(entry.wanted.clone());
        let refused = Stored {
            topic: topic::OUTBOX.into(),
            partition: entry.place.0,
            offset: entry.place.1,
            timestamp_ms: now,
            key: entry.wanted.key.clone().into_bytes(),
            value: Some(serde_json::to_vec(&outgoing).expect("a message serializes")),
            headers: Headers::new(),
        };
        self.record_with(sent, vec![dead_letter(&refused, &format!("{reason}: {why}"))])
    }

    /// The edit is not made; the post stays as it is.
    fn edit_over(
        &mut self,
        entry: &Entry,
        outcome: &str,
        reason: &str,
        now: i64,
    ) -> Result<(), DeliverError> {
        metrics::POSTS.with_label_values(&[outcome, reason]).inc();
        tracing::warn!(key = entry.wanted.key, outcome, reason, "an edit is not made");
        let mut sent =
            entry.sent.clone().with(State::Sent, Some(&format!("edit {outcome}: {reason}")), Millis(now));
        sent.sequence = entry.wanted.sequence;
        self.record(sent)
    }

    fn retire_target(&mut self, target: &Target, now: i64) -> Result<(), DeliverError> {
        let reason = "unknown_webhook".to_string();
        self.retire(RetiredTarget { target: target.fingerprint.clone(), reason, at: Millis(now) })
    }
}
