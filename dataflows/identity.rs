//! Identity and versions: a content event and what is known of its id become a verdict.
//!
//! Within one id the log's order decides:
//! - the highest revision wins; at an equal revision the first in the log wins
//!   and the rest are duplicates; below the highest is stale;
//! - without a revision, other content takes the highest seen plus one, and
//!   content equal to the current one is a duplicate;
//! - a deletion is remembered, also for an id not seen before: only a higher
//!   revision, or without revisions a later `created`, revives it.

use serde::{Deserialize, Serialize};

use crate::event::{Change, ContentEvent, Contribution, Version};
use crate::time::Millis;

/// Hash of everything an event says but when it was fetched.
pub type ContentHash = [u8; 16];

/// What is known of one id: a cache of its last record in content.enriched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The highest version seen.
    pub version: Version,
    /// Of the current content; meaningless after a deletion.
    pub content_hash: ContentHash,
    /// When the log took in the event that made this version: its age for the
    /// identity horizon.
    pub ingested_at: Millis,
    /// What Analyse counts of it; `None` after a deletion.
    pub contribution: Option<Contribution>,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A new version, with this revision.
    Accept { revision: u64 },
    /// Nothing new.
    Duplicate,
    /// Older than what is known.
    Stale,
    /// An update without revision of something deleted.
    AlreadyDeleted,
}

/// Decides by the rules above. `entry` is what the log said of this id so far.
pub fn decide(entry: Option<&Entry>, change: Change, revision: Option<u64>, hash: &ContentHash) -> Verdict {
    let Some(entry) = entry else {
        return Verdict::Accept { revision: revision.unwrap_or(1) };
    };
    let highest = entry.version.revision;
    if let Some(revision) = revision {
        return match revision.cmp(&highest) {
            std::cmp::Ordering::Greater => Verdict::Accept { revision },
            std::cmp::Ordering::Equal => Verdict::Duplicate,
            std::cmp::Ordering::Less => Verdict::Stale,
        };
    }
    let next = Verdict::Accept { revision: highest.saturating_add(1) };
    match (change, entry.contribution.is_none()) {
        (Change::Deleted, true) => Verdict::Duplicate,
        (Change::Deleted, false) => next,
        (Change::Created, true) => next,
        (Change::Updated, true) => Verdict::AlreadyDeleted,
        (_, false) if entry.content_hash == *hash => Verdict::Duplicate,
        (_, false) => next,
    }
}

/// Hashes all fields but the revision, whether it was created or updated, and
/// what the event does not say. Key order of unknown fields does not matter.
pub fn content_hash(event: &ContentEvent) -> ContentHash {
    let mut hasher = blake3::Hasher::new();
    let mut field = |name: u8, value: &[u8]| {
        hasher.update(&[name]);
        hasher.update(&(value.len() as u64).to_le_bytes());
        hasher.update(value);
    };
    let mut text = |name: u8, value: &Option<String>| {
        if let Some(value) = value {
            field(name, value.as_bytes());
        }
    };
    text(0, &event.title);
    text(1, &event.text);
    text(2, &event.lang);
    text(3, &event.url);
    text(4, &event.thread_id);
    text(5, &event.reply_to);
    for (name, party) in [(6, &event.author), (8, &event.channel)] {
        if let Some(party) = party {
            field(name, party.id.as_bytes());
            field(name + 1, party.name.as_deref().unwrap_or_default().as_bytes());
        }
    }
    field(10, &event.published_at.map_or(0, |t| t.0).to_le_bytes());
    field(11, &[event.kind.map_or(u8::MAX, |k| k as u8)]);
    if let Some(e) = event.engagement {
        for count in [e.views, e.likes, e.comments, e.shares] {
            field(12, &count.map_or(-1, i64::from).to_le_bytes());
        }
    }
    for media in &event.media {
        field(13, media.url.as_bytes());
        field(14, media.mime.as_deref().unwrap_or_default().as_bytes());
        field(15, &media.duration_ms.unwrap_or(0).to_le_bytes());
    }
    for (name, value) in &event.other {
        if name != "fetched_at" {
            field(16, name.as_bytes());
            field(17, value.to_string().as_bytes());
        }
    }
    let mut hash = [0; 16];
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: ContentHash = [7; 16];
    const OTHER: ContentHash = [8; 16];

    fn contribution() -> Contribution {
        Contribution {
            published_at: Millis(0),
            platform: "x".into(),
            channel: None,
            author: None,
            topics: vec![],
            terms: vec![],
            compound: None,
            engagement: Default::default(),
        }
    }

    fn entry(revision: u64, live: bool) -> Entry {
        Entry {
            version: Version { revision, enrichment: 0 },
            content_hash: HASH,
            ingested_at: Millis(0),
            contribution: live.then(contribution),
        }
    }

    #[test]
    fn the_rules_one_by_one() {
        use Change::{Created, Deleted, Updated};
        use Verdict::{Accept, AlreadyDeleted, Duplicate, Stale};
        let (live, gone) = (entry(5, true), entry(5, false));
        let cases = [
            (None, Created, None, HASH, Accept { revision: 1 }),
            (None, Updated, Some(9), HASH, Accept { revision: 9 }),
            (None, Deleted, None, HASH, Accept { revision: 1 }),
            (Some(&live), Updated, Some(6), HASH, Accept { revision: 6 }),
            (Some(&live), Updated, Some(5), OTHER, Duplicate),
            (Some(&live), Deleted, Some(5), OTHER, Duplicate),
            (Some(&live), Updated, Some(4), OTHER, Stale),
            (Some(&live), Created, None, HASH, Duplicate),
            (Some(&live), Created, None, OTHER, Accept { revision: 6 }),
            (Some(&live), Deleted, None, OTHER, Accept { revision: 6 }),
            (Some(&gone), Deleted, None, OTHER, Duplicate),
            (Some(&gone), Updated, None, OTHER, AlreadyDeleted),
            (Some(&gone), Created, None, HASH, Accept { revision: 6 }),
            (Some(&gone), Updated, Some(6), HASH, Accept { revision: 6 }),
            (Some(&gone), Created, Some(5), HASH, Duplicate),
        ];
        for (i, (known, change, revision, hash, expected)) in cases.into_iter().enumerate() {
            assert_eq!(decide(known, change, revision, &hash), expected, "case {i}");
        }
    }

    #[test]
    fn the_hash_sees_content_and_nothing_else() {
        let parse = |json: &str| content_hash(&serde_json::from_str(json).expect("valid event"));
        let base = parse(
            r#"{"platform":"x","native_id":"1","change":"created","kind":"post","title":"a","text":"b","published_at":1}"#,
        );
        let same = parse(
            r#"{"platform":"x","native_id":"1","change":"updated","revision":3,"kind":"post","text":"b","title":"a","published_at":1,"fetched_at":9}"#,
        );
        assert_eq!(base, same);
        for other in [
            r#"{"platform":"x","native_id":"1","change":"created","kind":"post","title":"ab","text":"","published_at":1}"#,
            r#"{"platform":"x","native_id":"1","change":"created","kind":"post","title":"a","text":"b","published_at":2}"#,
            r#"{"platform":"x","native_id":"1","change":"created","kind":"post","title":"a","text":"b","published_at":1,"engagement":{"likes":0}}"#,
            r#"{"platform":"x","native_id":"1","change":"created","kind":"post","title":"a","text":"b","published_at":1,"new_field":true}"#,
        ] {
            assert_ne!(base, parse(other), "{other}");
        }
    }
}
