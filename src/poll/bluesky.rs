//! Messages of a Bluesky Jetstream in, content events out. Pure: no socket, no clock.
//!
//! The wire is that of Jetstream v1, which `/subscribe` keeps: one JSON object a message,
//! `kind` commit, identity or account; the last two come whatever the filter, and are
//! passed over. A place in the stream is a time (`time_us`, the same on all hosts but
//! for seconds) and, from hosts of the second version, a sequence number (`cursor`) that
//! means something on that host only. What comes twice is known by its revision: the
//! time in the commit's `rev`, in microseconds.
//!
//! Deletions name no content, so a filter cannot know whose they are. [`Told`] remembers
//! what was passed on: only that is deleted again, and what is older than its memory.

use std::collections::{HashSet, VecDeque};

use dataflows::event::{Change, ContentEvent, Kind, Party};
use dataflows::time::Millis;
use serde::{Deserialize, Serialize};
use url::Url;

use super::event;
use super::identity::Hash;
use super::source::{Bluesky, Source};

/// Cursors below are sequence numbers, others microseconds since 1970.
pub const SEQUENCES_BELOW: u64 = 1_000_000_000_000_000;

/// How far a stream was followed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub time_us: u64,
    /// Sequence number, and the host that counts so.
    pub seq: Option<(u64, String)>,
}

impl Place {
    /// The cursor to ask `host` for: its own number, which includes the last message,
    /// or a time a little before it.
    pub fn cursor(&self, host: &str, rewind_s: u64) -> u64 {
        match &self.seq {
            Some((seq, of)) if of == host => *seq,
            _ => self.time_us.saturating_sub(rewind_s * 1_000_000).max(SEQUENCES_BELOW),
        }
    }
}

/// The URL of a subscription.
pub fn subscription(bluesky: &Bluesky, host: &Url, cursor: Option<u64>, message_bytes_max: usize) -> Url {
    let mut url = host.clone();
    {
        let mut query = url.query_pairs_mut();
        for collection in &bluesky.collections {
            query.append_pair("wantedCollections", collection);
        }
        for did in &bluesky.authors {
            query.append_pair("wantedDids", did);
        }
        query.append_pair("maxMessageSizeBytes", &message_bytes_max.to_string());
        if let Some(cursor) = cursor {
            query.append_pair("cursor", &cursor.to_string());
        }
    }
    url
}

#[derive(Debug, Deserialize)]
struct Message {
    did: String,
    time_us: u64,
    cursor: Option<u64>,
    kind: String,
    commit: Option<Commit>,
}

#[derive(Debug, Deserialize)]
struct Commit {
    rev: String,
    operation: String,
    collection: String,
    rkey: String,
    record: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Post {
    #[serde(default)]
    text: String,
    #[serde(rename = "createdAt")]
    created_at: Option<String>,
    #[serde(default)]
    langs: Vec<String>,
    reply: Option<Reply>,
}

#[derive(Debug, Deserialize)]
struct Reply {
    root: Link,
    parent: Link,
}

#[derive(Debug, Deserialize)]
struct Link {
    uri: String,
}

/// What a message comes to.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// To tell, with the hash of its content.
    Event(Box<ContentEvent>, Hash),
    /// Not what the source is about.
    Filtered,
    /// Over the budget of its minute.
    OverBudget,
    /// Neither a commit nor of interest.
    Other,
}

/// A message, where it stood in the stream, and what it comes to.
pub struct Read {
    pub time_us: u64,
    pub seq: Option<u64>,
    pub said: Said,
}

/// Reads messages of one source in their order.
pub struct Reader<'a> {
    source: &'a Source,
    bluesky: &'a Bluesky,
    /// How far dates may lie ahead of the message.
    ahead_ms: i64,
    /// The minute of the stream that is under way, and the posts told in it.
    minute: (u64, u32),
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a Source, bluesky: &'a Bluesky, ahead_ms: i64) -> Self {
        Self { source, bluesky, ahead_ms, minute: (0, 0) }
    }

    /// `None`: not readable.
    pub fn read(&mut self, text: &str, told: &mut Told) -> Option<Read> {
        let message: Message = serde_json::from_str(text).ok()?;
        let (time_us, seq) = (message.time_us, message.cursor.filter(|seq| *seq < SEQUENCES_BELOW));
        let said = match message.commit {
            Some(commit) if message.kind == "commit" => self.commit(&message.did, time_us, commit, told)?,
            _ => Said::Other,
        };
        Some(Read { time_us, seq, said })
    }

    fn commit(&mut self, did: &str, time_us: u64, commit: Commit, told: &mut Told) -> Option<Said> {
        if !self.bluesky.collections.contains(&commit.collection) {
            return Some(Said::Other);
        }
        let id = format!("{did}/{}/{}", commit.collection, commit.rkey);
        let revision = tid_us(&commit.rev).unwrap_or(time_us);
        if commit.operation == "delete" {
            let ours = !self.is_filtering() || told.may_have(&id, tid_us(&commit.rkey).unwrap_or(time_us));
            if !ours {
                return Some(Said::Filtered);
            }
            let gone = ContentEvent::deletion(&*self.source.platform, id, Some(revision));
            return Some(Said::Event(Box::new(gone), Hash::of(&["deleted", &commit.rev])));
        }
        let post: Post = serde_json::from_value(commit.record?).ok()?;
        let known = commit.operation == "update" && told.has(&id);
        if !known && !self.wants(&post) {
            return Some(Said::Filtered);
        }
        if !known && self.is_over_budget(time_us) {
            return Some(Said::OverBudget);
        }
        told.add(&id, time_us);
        let change = if commit.operation == "update" { Change::Updated } else { Change::Created };
        Some(self.told(did, &id, &commit.rkey, time_us, revision, change, &post))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message, used once")]
    fn told(
        &self,
        did: &str,
        id: &str,
        rkey: &str,
        time_us: u64,
        revision: u64,
        change: Change,
        post: &Post,
    ) -> Said {
        let said_ms = i64::try_from(time_us / 1_000).unwrap_or(i64::MAX);
        // The author's own clock, where it can be believed.
        let claimed = post.created_at.as_deref().and_then(|at| Millis::parse(at).ok());
        let published = claimed.filter(|at| at.0 > 0 && at.0 <= said_ms + self.ahead_ms);
        let reply = post.reply.as_ref();
        let of_uri = |link: &Link| link.uri.strip_prefix("at://").unwrap_or(&link.uri).to_string();
        let content = Hash::of(&[&post.text, id, &revision.to_string()]);
        let event = ContentEvent {
            kind: Some(if reply.is_some() { Kind::Comment } else { Kind::Post }),
            change,
            published_at: Some(published.unwrap_or(Millis(said_ms))),
            author: Some(Party { id: did.into(), name: None }),
            thread_id: reply.map(|r| of_uri(&r.root)),
            text: Some(event::escape(&post.text)),
            lang: post.langs.first().map(|l| l.to_lowercase()),
            url: Some(format!("https://bsky.app/profile/{did}/post/{rkey}")),
            reply_to: reply.map(|r| of_uri(&r.parent)),
            ..ContentEvent::deletion(&*self.source.platform, id, Some(revision))
        };
        Said::Event(Box::new(event), content)
    }

    /// Whether posts are left out at all; if not, every deletion may be of one of ours.
    fn is_filtering(&self) -> bool {
        let b = self.bluesky;
        let all = b.langs.is_empty() && b.keywords.is_empty() && b.replies;
        !all || b.posts_per_minute_max.is_some()
    }

    fn wants(&self, post: &Post) -> bool {
        let b = self.bluesky;
        if post.text.trim().is_empty() || (!b.replies && post.reply.is_some()) {
            return false;
        }
        // `en` also means en-GB.
        let speaks = |lang: &String| {
            let said = lang.to_lowercase();
            b.langs
                .iter()
                .any(|l| said == *l || said.strip_prefix(l.as_str()).is_some_and(|r| r.starts_with('-')))
        };
        (b.langs.is_empty() || post.langs.iter().any(speaks))
            && (b.keywords.is_empty() || has_word(&post.text.to_lowercase(), &b.keywords))
    }

    fn is_over_budget(&mut self, time_us: u64) -> bool {
        let Some(max) = self.bluesky.posts_per_minute_max else { return false };
        let minute = time_us / 60_000_000;
        if self.minute.0 != minute {
            self.minute = (minute, 0);
        }
        self.minute.1 = self.minute.1.saturating_add(1);
        self.minute.1 > max
    }
}

/// Whether one of the words stands in the text by itself.
fn has_word(text: &str, words: &[String]) -> bool {
    let inner = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    words.iter().filter(|word| !word.is_empty()).any(|word| {
        text.match_indices(word.as_str()).any(|(at, found)| {
            !inner(text[..at].chars().next_back()) && !inner(text[at + found.len()..].chars().next())
        })
    })
}

/// The microseconds in a TID: 13 characters of base 32, 10 bits of which are a clock's id.
pub fn tid_us(tid: &str) -> Option<u64> {
    const ALPHABET: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";
    if tid.len() != 13 {
        return None;
    }
    let mut value: u64 = 0;
    for byte in tid.bytes() {
        let digit = ALPHABET.iter().position(|b| *b == byte)? as u64;
        value = value.checked_mul(32)?.checked_add(digit)?;
    }
    Some(value >> 10)
}

/// Ids of posts that were passed on, the last so many of them.
#[derive(Debug, Default)]
pub struct Told {
    max: usize,
    ids: HashSet<i64>,
    order: VecDeque<(i64, u64)>,
    /// The youngest time that was forgotten.
    forgotten_us: u64,
    /// Not written down yet.
    new: Vec<(i64, u64)>,
}

impl Told {
    /// Out of what was written down, the oldest first.
    pub fn new(max: usize, written: Vec<(i64, u64)>) -> Self {
        let mut told = Self { max, ..Self::default() };
        for (id, time_us) in written {
            told.insert(id, time_us);
        }
        told
    }

    fn hash(id: &str) -> i64 {
        let [a, b, c, d, e, f, g, h, ..] = Hash::of(&[id]).0;
        i64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn insert(&mut self, id: i64, time_us: u64) -> bool {
        let new = self.ids.insert(id);
        if new {
            self.order.push_back((id, time_us));
        }
        while self.order.len() > self.max {
            if let Some((old, old_us)) = self.order.pop_front() {
                self.ids.remove(&old);
                self.forgotten_us = self.forgotten_us.max(old_us);
            }
        }
        new
    }

    pub fn add(&mut self, id: &str, time_us: u64) {
        let hash = Self::hash(id);
        if self.insert(hash, time_us) {
            self.new.push((hash, time_us));
        }
    }

    pub fn has(&self, id: &str) -> bool {
        self.ids.contains(&Self::hash(id))
    }

    /// Whether the post, made at this time, was told or may have been before the memory.
    pub fn may_have(&self, id: &str, made_us: u64) -> bool {
        made_us <= self.forgotten_us || self.has(id)
    }

    /// What to write down since the last call, and the time up to which is forgotten.
    pub fn take_new(&mut self) -> (Vec<(i64, u64)>, u64) {
        (std::mem::take(&mut self.new), self.forgotten_us)
    }
}

#[cfg(test)]
mod tests;
