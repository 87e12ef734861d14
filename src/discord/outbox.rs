//! discord.outbox and discord.sent → where every post stands.
//!
//! ```text
//!            outbox record            intent              answer
//!   (none) ───────────────> pending ─────────> sending ───────────> sent ──> edited (same state,
//!                              ▲  │               │                              higher sequence)
//!     known not to be posted   │  │               │ unknown, or a crash in between
//!                              │  │               ▼
//!                              └──┼────────── uncertain ──> sent | pending | dropped
//!                                 │        (the channel's history, or `outbox resolve`)
//!                                 └──> suppressed | retired | dropped, each with its reason
//! ```
//!
//! Invariants:
//! - A post is attempted only after its intent (`sending`) is durable, and only from
//!   `pending`; so without a record of an answer nobody ever posts the key again
//!   unless it is settled that it was not posted.
//! - Records of one key are idempotent: the log may be read again from anywhere.
//! - A body is held only while it may still be sent.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use dataflows::record::{Stored, topic};
use dataflows::time::Millis;

use super::message::Message;

/// What waits to be posted or edited, or to be settled; one record of discord.outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutboxRecord {
    Message(Outgoing),
    Resolve(Resolve),
}

/// A message of one key; the first is posted, later ones of the key edit it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outgoing {
    pub key: String,
    /// The route by name; never an address.
    pub route: String,
    /// 1 is the post; an edit has a higher one.
    pub sequence: u64,
    /// `digest`, `edited`, `removed`.
    pub reason: String,
    pub created_at: Millis,
    /// The content it shows.
    pub content_ids: Vec<String>,
    pub message: Message,
}

/// A person settles an uncertain post.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resolve {
    pub key: String,
    #[serde(flatten)]
    pub action: Resolution,
    pub asked_at: Millis,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Resolution {
    /// It was posted, as this message.
    Posted { message_id: String },
    /// It was not posted: post it.
    Resend,
    /// Leave it.
    Drop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "OutboxState")]
pub enum State {
    /// To be posted.
    Pending,
    /// The request may be on its way; after a crash nobody knows.
    Sending,
    /// Posted; `message_id` says where.
    Sent,
    /// Perhaps posted.
    Uncertain,
    /// Its webhook no longer exists.
    Retired,
    /// Not posted, on purpose.
    Suppressed,
    /// Given up.
    Dropped,
}

impl State {
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Sending,
        Self::Sent,
        Self::Uncertain,
        Self::Retired,
        Self::Suppressed,
        Self::Dropped,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Uncertain => "uncertain",
            Self::Retired => "retired",
            Self::Suppressed => "suppressed",
            Self::Dropped => "dropped",
        }
    }

    /// Whether nothing more will be sent under the key.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Retired | Self::Suppressed | Self::Dropped)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of a post or of an address; one record of discord.sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SentRecord {
    Post(Sent),
    /// An address that is gone for good.
    Target(RetiredTarget),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetiredTarget {
    /// A hash of the address.
    pub target: String,
    pub reason: String,
    pub at: Millis,
}

/// Where one key stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    pub key: String,
    pub state: State,
    /// What Discord shows: the sequence posted or last edited; 0 is nothing.
    pub sequence: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A hash of the address it went to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Requests to post it, so far.
    pub attempts: u32,
    /// When the first of them was about to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent_at: Option<Millis>,
    pub at: Millis,
}

impl Sent {
    pub fn pending(key: &str, at: Millis) -> Self {
        Self {
            key: key.to_string(),
            state: State::Pending,
            sequence: 0,
            reason: None,
            target: None,
            channel_id: None,
            message_id: None,
            attempts: 0,
            intent_at: None,
            at,
        }
    }

    pub fn with(mut self, state: State, reason: Option<&str>, at: Millis) -> Self {
        self.state = state;
        self.reason = reason.map(str::to_string);
        self.at = at;
        self
    }
}

/// What is to be done for a key now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Post,
    Edit,
    /// Find out whether it was posted.
    Settle,
    Nothing,
}

/// One key.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The latest wanted; its body is empty once it cannot be sent any more.
    pub wanted: Outgoing,
    pub sent: Sent,
    /// Where the outbox record came from, for dead letters.
    pub place: (u32, u64),
}

impl Entry {
    pub fn work(&self) -> Work {
        match self.sent.state {
            State::Pending => Work::Post,
            State::Sending | State::Uncertain => Work::Settle,
            State::Sent if self.wanted.sequence > self.sent.sequence => Work::Edit,
            _ => Work::Nothing,
        }
    }

    fn forget_body(&mut self) {
        if self.work() == Work::Nothing {
            self.wanted.message = Message::default();
            self.wanted.content_ids = Vec::new();
        }
    }
}

/// Why a record could not be taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("not a record of this topic: {0}")]
    Form(String),
}

/// Every key of the two topics, and every retired address. Retention: what the
/// topics keep, at most `keys_max` keys; past that the oldest finished ones leave.
#[derive(Debug, Default)]
pub struct Outbox {
    entries: BTreeMap<String, Entry>,
    /// Answers whose outbox record is not read yet, or no longer kept.
    orphans: BTreeMap<String, Sent>,
    retired: BTreeMap<String, RetiredTarget>,
    /// Settlements asked for and not applied, by place.
    resolves: BTreeMap<(u32, u64), Resolve>,
    keys_max: usize,
}

impl Outbox {
    pub fn new(keys_max: usize) -> Self {
        Self { keys_max, ..Self::default() }
    }

    /// Takes a record of either topic.
    pub fn apply(&mut self, stored: &Stored) -> Result<(), Unreadable> {
        let Some(value) = &stored.value else {
            if let Ok(key) = std::str::from_utf8(&stored.key) {
                self.entries.remove(key);
                self.orphans.remove(key);
            }
            return Ok(());
        };
        let form = |e: serde_json::Error| Unreadable::Form(e.to_string());
        if &*stored.topic == topic::OUTBOX {
            match serde_json::from_slice(value).map_err(form)? {
                OutboxRecord::Message(outgoing) => self.want(outgoing, (stored.partition, stored.offset)),
                OutboxRecord::Resolve(resolve) => {
                    self.resolves.insert((stored.partition, stored.offset), resolve);
                }
            }
        } else {
            match serde_json::from_slice(value).map_err(form)? {
                SentRecord::Post(sent) => self.answered(sent),
                SentRecord::Target(retired) => {
                    self.retired.insert(retired.target.clone(), retired);
                }
            }
        }
        self.keep_bounded();
        Ok(())
    }

    fn want(&mut self, outgoing: Outgoing, place: (u32, u64)) {
        let key = outgoing.key.clone();
        match self.entries.get_mut(&key) {
            Some(entry) if entry.wanted.sequence >= outgoing.sequence => return,
            Some(entry) => {
                entry.wanted = outgoing;
                entry.place = place;
            }
            None => {
                let fresh = || Sent::pending(&key, outgoing.created_at);
                let sent = self.orphans.remove(&key).unwrap_or_else(fresh);
                self.entries.insert(key.clone(), Entry { wanted: outgoing, sent, place });
            }
        }
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.forget_body();
        }
    }

    /// Takes what is known of a post.
    pub fn answered(&mut self, sent: Sent) {
        match self.entries.get_mut(&sent.key) {
            Some(entry) => {
                entry.sent = sent;
                entry.forget_body();
            }
            None => {
                self.orphans.insert(sent.key.clone(), sent);
            }
        }
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.values()
    }

    pub fn retired(&self, target: &str) -> Option<&RetiredTarget> {
        self.retired.get(target)
    }

    pub fn retired_targets(&self) -> impl Iterator<Item = &RetiredTarget> {
        self.retired.values()
    }

    /// The next settlement asked for, if it was not applied before: its place is at
    /// or after `from` of its partition.
    pub fn take_resolve(&mut self, from: impl Fn(u32) -> u64) -> Option<Resolve> {
        while let Some(((partition, offset), resolve)) = self.resolves.pop_first() {
            if offset >= from(partition) {
                return Some(resolve);
            }
        }
        None
    }

    /// What the settlement makes of the key; an error says why it cannot.
    pub fn resolved(&self, resolve: &Resolve, at: Millis) -> Result<Sent, String> {
        let entry =
            self.entries.get(&resolve.key).ok_or_else(|| format!("no post has the key {:?}", resolve.key))?;
        if entry.sent.state != State::Uncertain {
            return Err(format!("the post is {}, only an uncertain one can be settled", entry.sent.state));
        }
        let sent = entry.sent.clone();
        Ok(match &resolve.action {
            Resolution::Posted { message_id } => {
                if message_id.is_empty() || !message_id.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(format!("{message_id:?} is not a message id"));
                }
                let mut sent = sent.with(State::Sent, Some("resolved by hand"), at);
                sent.message_id = Some(message_id.clone());
                sent.sequence = sent.sequence.max(1);
                sent
            }
            Resolution::Resend => sent.with(State::Pending, Some("resolved by hand"), at),
            Resolution::Drop => sent.with(State::Dropped, Some("resolved by hand"), at),
        })
    }

    /// How many keys are in each state, and when the oldest of those that wait was made.
    pub fn depth(&self) -> (BTreeMap<State, u64>, Option<Millis>) {
        let mut depth: BTreeMap<State, u64> = State::ALL.into_iter().map(|s| (s, 0)).collect();
        let mut oldest = None;
        for entry in self.entries.values() {
            *depth.entry(entry.sent.state).or_default() += 1;
            if entry.work() != Work::Nothing {
                oldest =
                    Some(oldest.map_or(entry.wanted.created_at, |o: Millis| o.min(entry.wanted.created_at)));
            }
        }
        (depth, oldest)
    }

    fn keep_bounded(&mut self) {
        while self.entries.len() > self.keys_max {
            let done = self.entries.values().filter(|e| e.work() == Work::Nothing);
            let Some(key) = done.min_by_key(|e| e.wanted.created_at).map(|e| e.wanted.key.clone()) else {
                break;
            };
            self.entries.remove(&key);
        }
        while self.orphans.len() > self.keys_max {
            self.orphans.pop_first();
        }
    }
}

#[cfg(test)]
mod tests;
