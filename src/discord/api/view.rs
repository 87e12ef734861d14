//! Digests and the outbox as they can be read: a view of digests, discord.outbox and
//! discord.sent, the pages of it, and what follows the topics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use dataflows::record::{Positions, Stored, topic};
use dataflows::time::Millis;

use crate::discord::deliver::{ranges, reached};
use crate::discord::digest::Digest;
use crate::discord::message::{Message, footer};
use crate::discord::outbox::{Entry, Outbox, Resolve, State};
use crate::log::{Log, LogError, Reader};
use crate::ops::http::{List, number};

pub(super) const DIGESTS: List = List { name: "digests", limit_default: 50, limit_max: 200 };
pub(super) const OUTBOX: List = List { name: "outbox", ..DIGESTS };
/// Digests shown; older ones are in the topic.
const DIGESTS_MAX: usize = 1_000;
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
const IDLE_WAIT: Duration = Duration::from_millis(250);

/// What the topics say, for reading.
#[derive(Debug)]
pub struct View {
    outbox: Outbox,
    digests: BTreeMap<(Millis, String), Digest>,
}

impl View {
    pub fn new(keys_max: usize) -> Self {
        Self { outbox: Outbox::new(keys_max), digests: BTreeMap::new() }
    }

    /// Takes a record of one of the three topics; unreadable ones are not shown.
    pub fn apply(&mut self, stored: &Stored) {
        if &*stored.topic != topic::DIGESTS {
            if let Err(error) = self.outbox.apply(stored) {
                tracing::debug!(%error, "a record is not shown");
            }
            return;
        }
        let Some(digest) = stored.value.as_ref().and_then(|v| serde_json::from_slice::<Digest>(v).ok())
        else {
            return;
        };
        self.digests.insert((digest.decided_at, digest.key.clone()), digest);
        while self.digests.len() > DIGESTS_MAX {
            self.digests.pop_first();
        }
    }

    /// The newest first, from after the cursor.
    pub fn digests(&self, page: &Page) -> Result<Listed<Digest>, String> {
        let all = self.digests.iter().rev().map(|((at, key), digest)| (*at, key.as_str(), digest));
        Ok(page.list(&DIGESTS, all)?.map(Digest::clone))
    }

    pub fn outbox(&self, page: &Page) -> Result<Listed<OutboxItem>, String> {
        let mut entries: Vec<&Entry> =
            self.outbox.entries().filter(|e| page.state.is_none_or(|state| e.sent.state == state)).collect();
        entries
            .sort_by(|a, b| (b.wanted.created_at, &b.wanted.key).cmp(&(a.wanted.created_at, &a.wanted.key)));
        let all = entries.into_iter().map(|e| (e.wanted.created_at, e.wanted.key.as_str(), e));
        Ok(page.list(&OUTBOX, all)?.map(OutboxItem::of))
    }

    pub fn item(&self, key: &str) -> Option<OutboxItem> {
        self.outbox.get(key).map(OutboxItem::of)
    }

    pub fn check(&self, resolve: &Resolve) -> Result<(), String> {
        self.outbox.resolved(resolve, resolve.asked_at).map(|_| ())
    }
}

/// One key of the outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutboxItem {
    pub key: String,
    pub route: String,
    pub state: State,
    #[serde(default)]
    pub reason: Option<String>,
    /// What Discord shows, and what it should show.
    pub sequence: u64,
    pub wanted_sequence: u64,
    pub attempts: u32,
    #[serde(default)]
    pub channel_id: Option<String>,
    #[serde(default)]
    pub message_id: Option<String>,
    /// What the footer of the post says, to find it by eye.
    pub footer: String,
    pub created_at: Millis,
    pub changed_at: Millis,
    /// While it may still be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
}

impl OutboxItem {
    fn of(entry: &Entry) -> Self {
        let Entry { wanted, sent, .. } = entry;
        let message = &wanted.message;
        Self {
            key: wanted.key.clone(),
            route: wanted.route.clone(),
            state: sent.state,
            reason: sent.reason.clone(),
            sequence: sent.sequence,
            wanted_sequence: wanted.sequence,
            attempts: sent.attempts,
            channel_id: sent.channel_id.clone(),
            message_id: sent.message_id.clone(),
            footer: footer(&wanted.key),
            created_at: wanted.created_at,
            changed_at: sent.at,
            message: (*message != Message::default()).then(|| message.clone()),
        }
    }
}

/// `limit`, `cursor`, and for the outbox `state`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Page {
    #[serde(default, deserialize_with = "number")]
    pub limit: Option<usize>,
    #[serde(default)]
    pub cursor: Option<String>,
    /// Posts in this state.
    #[serde(default)]
    pub state: Option<State>,
}

/// A page, and where the next one starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Listed<T> {
    pub items: Vec<T>,
    /// The `cursor` of the next page; null on the last.
    pub cursor: Option<String>,
}

impl<T> Listed<T> {
    fn map<U>(self, shown: impl FnMut(T) -> U) -> Listed<U> {
        Listed { items: self.items.into_iter().map(shown).collect(), cursor: self.cursor }
    }
}

impl Page {
    fn list<'a, T>(
        &self,
        list: &List,
        newest_first: impl Iterator<Item = (Millis, &'a str, T)>,
    ) -> Result<Listed<T>, String> {
        let limit = list.limit(self.limit)?;
        let after: Option<(i64, String)> = list.after(self.cursor.as_deref())?;
        let rest = newest_first
            .filter(|(at, key, _)| after.as_ref().is_none_or(|(a, k)| (at.0, *key) < (*a, k.as_str())));
        let (page, cursor) = list.page(rest, limit, |(at, key, _)| (at.0, key.to_string()));
        Ok(Listed { items: page.into_iter().map(|(_, _, item)| item).collect(), cursor })
    }
}

/// Follows the three topics.
pub struct Follower {
    reader: Box<dyn Reader>,
    ends: Positions,
    view: Arc<Mutex<View>>,
}

impl Follower {
    pub fn open(log: &dyn Log, keys_max: usize) -> Result<Self, LogError> {
        let mut starts = Positions::new();
        let mut ends = Positions::new();
        for name in [topic::DIGESTS, topic::OUTBOX, topic::SENT] {
            let (first, last) = ranges(log, name)?;
            starts.extend(first);
            ends.extend(last);
        }
        Ok(Self { reader: log.reader(&starts)?, ends, view: Arc::new(Mutex::new(View::new(keys_max))) })
    }

    pub fn view(&self) -> Arc<Mutex<View>> {
        self.view.clone()
    }

    /// Reads until everything that was there at the opening is in the view.
    pub fn catch_up(&mut self) -> Result<(), LogError> {
        while !reached(&self.reader.positions(), &self.ends) {
            self.step(IDLE_WAIT)?;
        }
        Ok(())
    }

    pub fn step(&mut self, wait: Duration) -> Result<(), LogError> {
        let records = self.reader.poll(wait, READ_BYTES_MAX)?;
        let mut view = self.view.lock();
        records.iter().for_each(|stored| view.apply(stored));
        Ok(())
    }

    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), LogError> {
        while !stop.load(Ordering::Relaxed) {
            self.step(IDLE_WAIT)?;
        }
        Ok(())
    }
}
