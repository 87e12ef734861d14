//! Settling what is uncertain: the channel's history says whether the post is there.
//!
//! Every post carries its key in the footer. With a bot token the messages since the
//! first intent are read; the whole of them without the footer means it was not posted.

use dataflows::time::Millis;

use super::{DeliverError, Deliverer};
use crate::discord::message::footer;
use crate::discord::metrics;
use crate::discord::outbox::{Entry, State};
use crate::discord::targets::{Target, TargetKind};
use crate::discord::transport::{HISTORY_PAGE, Reply};

/// Discord's epoch, from which its ids count milliseconds.
const DISCORD_EPOCH_MS: i64 = 1_420_070_400_000;
/// How far our clock and Discord's may be apart.
const CLOCK_SKEW_MS: i64 = 300_000;

/// What the history says.
enum Found {
    Posted {
        message_id: String,
    },
    NotPosted,
    /// It cannot be told; the reason.
    Unclear(&'static str, String),
    /// Ask again later.
    Later(String),
}

impl Deliverer {
    pub(super) fn can_settle(&self, entry: &Entry) -> bool {
        let unreadable = entry.sent.reason.as_deref() == Some("history_too_long");
        self.targets.has_bot()
            && self.targets.off().is_none()
            && entry.sent.channel_id.is_some()
            && !unreadable
    }

    pub(super) fn settle(&mut self, entry: &Entry, now: i64) -> Result<(), DeliverError> {
        if entry.sent.state == State::Sending {
            // This process records an answer before it looks at the key again: the one
            // before it died, or lost the log, between its intent and the answer.
            metrics::POSTS.with_label_values(&["uncertain", "interrupted"]).inc();
            tracing::warn!(key = entry.wanted.key, "a post was interrupted: perhaps Discord took it");
            let at = entry.sent.at;
            return self.record(entry.sent.clone().with(State::Uncertain, Some("interrupted"), at));
        }
        let Some(channel_id) = entry.sent.channel_id.clone() else { return Ok(()) };
        let target = Target {
            fingerprint: format!("history {channel_id}"),
            kind: TargetKind::Channel { id: channel_id },
        };
        if !self.may_request(entry, &target, "history", now) {
            return Ok(());
        }
        let found = self.search(entry, &target);
        let now = crate::discord::wall_clock_ms();
        let at = Millis(now);
        match found {
            Found::Posted { message_id } => {
                metrics::POSTS.with_label_values(&["settled", "found"]).inc();
                let mut sent = entry.sent.clone().with(State::Sent, Some("found in the history"), at);
                sent.message_id = Some(message_id);
                // Which edit it shows is not known: anything later is applied again.
                sent.sequence = 1;
                self.record(sent)
            }
            Found::NotPosted => {
                metrics::POSTS.with_label_values(&["settled", "absent"]).inc();
                self.retries.remove(&entry.wanted.key);
                self.record(entry.sent.clone().with(State::Pending, Some("not in the history"), at))
            }
            Found::Unclear(reason, why) => {
                self.health.failed(&why, now);
                self.record(entry.sent.clone().with(State::Uncertain, Some(reason), at))
            }
            Found::Later(why) => {
                self.health.failed(&why, now);
                self.back_off(&entry.wanted.key, now);
                Ok(())
            }
        }
    }

    fn search(&mut self, entry: &Entry, target: &Target) -> Found {
        let TargetKind::Channel { id } = &target.kind else { return Found::NotPosted };
        let wanted = footer(&entry.wanted.key);
        let since = entry.sent.intent_at.unwrap_or(entry.sent.at).0 - CLOCK_SKEW_MS;
        let mut after = u64::try_from(since - DISCORD_EPOCH_MS).unwrap_or(0) << 22;
        for _ in 0..self.settings.settle_pages_max {
            let reply = self.runtime.block_on(self.transport.history(id, after));
            let answer = match reply {
                Reply::Answered(answer) => answer,
                Reply::NotSent(why) | Reply::Unknown(why) => return Found::Later(why),
            };
            self.learn(target, "history", &answer, crate::discord::wall_clock_ms());
            if !answer.is_success() {
                return Found::Later(answer.explain(&self.transport.masker));
            }
            let Some(page) = answer.messages() else {
                return Found::Later("a history that is none".to_string());
            };
            if let Some(message) = page.iter().find(|m| m.has_footer(&wanted)) {
                return Found::Posted { message_id: message.id.clone() };
            }
            if page.len() < HISTORY_PAGE {
                return Found::NotPosted;
            }
            let newest = page.iter().filter_map(|m| m.id.parse::<u64>().ok()).max().unwrap_or(after);
            if newest <= after {
                break;
            }
            after = newest;
        }
        Found::Unclear("history_too_long", "more messages than settle_pages_max reads".to_string())
    }
}
