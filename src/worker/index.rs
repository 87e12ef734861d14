//! The identity index: what content.enriched says of each id, on disk. This file is
//! long because the store, its encoding and the overlay of one worker are one idea.
//!
//! A cache of the topic with the position it reflects. Invariants:
//! - It is written only after the commit that it reflects; what is not committed
//!   yet lives in an overlay in memory. Written before, a crash would make the
//!   replay look like duplicates and lose records.
//! - The stored position is a lower bound: [`Index::catch_up`] reads on from there,
//!   and reading a record twice changes nothing.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use dataflows::Epoch;
use dataflows::enrich::{Identities, unhex};
use dataflows::event::{Contribution, Engagement, Enriched, Version};
use dataflows::identity::{ContentHash, Entry};
use dataflows::record::{Positions, Stored, TopicPartition, topic};
use dataflows::time::Millis;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use serde::{Deserialize, Serialize};

use crate::log::{Log, LogError};
use crate::ops::failpoint;

/// Layout of the stored entries; another one is rebuilt from the log.
const FORMAT: &[u8] = b"2";
const POSITION: &str = "position/";
/// What the store holds in memory: written entries until they are sorted into files, and
/// the blocks of files that were read last.
const MEMTABLE_BYTES: u64 = 2 << 20;
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
const CACHE_BYTES: u64 = 4 << 20;
const BATCH_ENTRIES_MAX: usize = 10_000;
const READ_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("the identity index at {0} cannot be used: {1}")]
    Store(String, String),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The committed part, shared by all workers.
#[derive(Clone)]
pub struct Index {
    database: Database,
    /// id -> entry
    entries: Keyspace,
    /// ingest time + id, in order of age
    ages: Keyspace,
    meta: Keyspace,
    path: String,
}

impl Index {
    /// Opens the index under `folder`; one of another format is emptied.
    pub fn open(folder: &Path) -> Result<Self, IndexError> {
        let path = folder.display().to_string();
        let fail = |e: fjall::Error| IndexError::Store(path.clone(), e.to_string());
        let open = || -> Result<Self, fjall::Error> {
            let database = Database::builder(folder)
                .cache_size(CACHE_BYTES)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                // With more, one waits for the others in a loop.
                .worker_threads(1)
                .open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            let keyspace = |name| database.keyspace(name, options);
            let (entries, ages, meta) = (keyspace("entries")?, keyspace("ages")?, keyspace("meta")?);
            Ok(Self { entries, ages, meta, database, path: path.clone() })
        };
        let index = open().map_err(fail)?;
        let format = index.meta.get("format").map_err(fail)?;
        if format.as_deref() != Some(FORMAT) {
            index.clear().map_err(fail)?;
        }
        Ok(index)
    }

    fn clear(&self) -> Result<(), fjall::Error> {
        self.entries.clear()?;
        self.ages.clear()?;
        self.meta.clear()?;
        self.meta.insert("format", FORMAT)
    }

    #[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
    fn error(&self, e: impl ToString) -> IndexError {
        IndexError::Store(self.path.clone(), e.to_string())
    }

    pub fn get(&self, id: &str) -> Result<Option<Entry>, IndexError> {
        let bytes = self.entries.get(id).map_err(|e| self.error(e))?;
        bytes.map(|b| decode(&b).map_err(|e| self.error(e))).transpose()
    }

    /// The position of content.enriched that the entries reflect at least.
    pub fn positions(&self) -> Result<Positions, IndexError> {
        let mut positions = Positions::new();
        for item in self.meta.prefix(POSITION) {
            let (key, next) = item.into_inner().map_err(|e| self.error(e))?;
            let partition = std::str::from_utf8(&key[POSITION.len()..]).ok().and_then(|p| p.parse().ok());
            if let (Some(partition), Ok(next)) = (partition, <[u8; 8]>::try_from(&*next)) {
                positions.insert(TopicPartition::new(topic::ENRICHED, partition), u64::from_be_bytes(next));
            }
        }
        Ok(positions)
    }

    /// Says that everything before `positions` is in the entries.
    pub fn reached(&self, positions: &Positions) -> Result<(), IndexError> {
        let mut batch = self.database.batch();
        for (partition, next) in positions {
            batch.insert(&self.meta, format!("{POSITION}{}", partition.partition), next.to_be_bytes());
        }
        batch.commit().map_err(|e| self.error(e))
    }

    /// Writes changes as one: the id, the age of the entry that is there, if one is, and
    /// the new entry; `None` forgets the id.
    fn write<'a>(
        &self,
        changes: impl Iterator<Item = (&'a str, Option<Millis>, Option<&'a Entry>)>,
    ) -> Result<(), IndexError> {
        let mut batch = self.database.batch();
        for (id, age, entry) in changes {
            if let Some(age) = age {
                batch.remove(&self.ages, age_key(age, id));
            }
            match entry {
                Some(entry) => {
                    batch.insert(&self.ages, age_key(entry.ingested_at, id), []);
                    batch.insert(&self.entries, id, encode(entry));
                }
                None => batch.remove(&self.entries, id),
            }
        }
        batch.commit().map_err(|e| self.error(e))
    }

    /// Reads content.enriched from where the index stands to the committed end;
    /// returns that end. `progress` gets records read.
    pub fn catch_up(&self, log: &dyn Log, progress: impl Fn(u64)) -> Result<Positions, IndexError> {
        let ends = ends(log, topic::ENRICHED)?;
        let mut from = self.positions()?;
        from.retain(|partition, _| ends.contains_key(partition));
        if from.iter().any(|(partition, next)| ends[partition] < *next) {
            // Another log than the one it was built from.
            self.clear().map_err(|e| self.error(e))?;
            from.clear();
        }
        for partition in ends.keys() {
            from.entry(partition.clone()).or_insert(0);
        }
        let mut reader = log.reader(&from)?;
        let mut read = 0;
        while !reached(&reader.positions(), &ends) {
            let batch = reader.poll(Duration::from_millis(200), READ_BYTES_MAX)?;
            read += batch.len() as u64;
            for part in batch.chunks(BATCH_ENTRIES_MAX) {
                self.apply(part)?;
                failpoint::pass("index.caught_up", "");
            }
            progress(read);
        }
        self.reached(&ends)?;
        Ok(ends)
    }

    fn apply(&self, records: &[Stored]) -> Result<(), IndexError> {
        // The last record of an id within the batch is the one that counts.
        let mut changes: HashMap<String, Option<Entry>> = HashMap::new();
        for stored in records {
            let id = String::from_utf8_lossy(&stored.key).into_owned();
            match &stored.value {
                None => {
                    changes.insert(id, None);
                }
                Some(value) => match serde_json::from_slice::<Enriched>(value).ok().and_then(|e| entry(&e)) {
                    Some(entry) => {
                        changes.insert(id, Some(entry));
                    }
                    None => tracing::warn!(
                        partition = stored.partition,
                        offset = stored.offset,
                        "a record of content.enriched cannot be read and is left out of the identity index"
                    ),
                },
            }
        }
        let mut ages = HashMap::new();
        for id in changes.keys() {
            if let Some(old) = self.get(id)? {
                ages.insert(id.as_str(), old.ingested_at);
            }
        }
        self.write(changes.iter().map(|(id, e)| (id.as_str(), ages.get(id.as_str()).copied(), e.as_ref())))
    }

    /// Every entry, for hydration.
    pub fn for_each_entry(&self, mut f: impl FnMut(&str, Entry)) -> Result<(), IndexError> {
        for item in self.entries.iter() {
            let (id, bytes) = item.into_inner().map_err(|e| self.error(e))?;
            let entry = decode(&bytes).map_err(|e| self.error(e))?;
            f(&String::from_utf8_lossy(&id), entry);
        }
        Ok(())
    }

    /// Ids that were last changed before `before`, oldest first.
    fn older_than(&self, before: Millis, max: usize) -> Result<Vec<String>, IndexError> {
        let mut ids = Vec::new();
        for item in self.ages.range(..age_key(before, "")).take(max) {
            let key = item.key().map_err(|e| self.error(e))?;
            ids.push(String::from_utf8_lossy(&key[8..]).into_owned());
        }
        Ok(ids)
    }
}

/// An entry as it is stored: compact, and without the optional fields of JSON.
#[derive(Serialize, Deserialize)]
struct Encoded<'a> {
    revision: u64,
    enrichment: u32,
    content_hash: ContentHash,
    ingested_at: i64,
    #[serde(borrow)]
    contribution: Option<EncodedContribution<'a>>,
}

#[derive(Serialize, Deserialize)]
struct EncodedContribution<'a> {
    published_at: i64,
    platform: Cow<'a, str>,
    channel: Option<Cow<'a, str>>,
    author: Option<Cow<'a, str>>,
    topics: Cow<'a, [String]>,
    terms: Cow<'a, [String]>,
    compound: Option<i32>,
    /// Views, likes, comments, shares.
    engagement: [Option<u32>; 4],
}

fn encode(entry: &Entry) -> Vec<u8> {
    let encoded = Encoded {
        revision: entry.version.revision,
        enrichment: entry.version.enrichment,
        content_hash: entry.content_hash,
        ingested_at: entry.ingested_at.0,
        contribution: entry.contribution.as_ref().map(|c| EncodedContribution {
            published_at: c.published_at.0,
            platform: Cow::Borrowed(&c.platform),
            channel: c.channel.as_deref().map(Cow::Borrowed),
            author: c.author.as_deref().map(Cow::Borrowed),
            topics: Cow::Borrowed(&c.topics),
            terms: Cow::Borrowed(&c.terms),
            compound: c.compound,
            engagement: [c.engagement.views, c.engagement.likes, c.engagement.comments, c.engagement.shares],
        }),
    };
    postcard::to_stdvec(&encoded).expect("an entry is plain data")
}

fn decode(bytes: &[u8]) -> Result<Entry, postcard::Error> {
    let encoded: Encoded<'_> = postcard::from_bytes(bytes)?;
    Ok(Entry {
        version: Version { revision: encoded.revision, enrichment: encoded.enrichment },
        content_hash: encoded.content_hash,
        ingested_at: Millis(encoded.ingested_at),
        contribution: encoded.contribution.map(|c| {
            let [views, likes, comments, shares] = c.engagement;
            Contribution {
                published_at: Millis(c.published_at),
                platform: c.platform.into_owned(),
                channel: c.channel.map(Cow::into_owned),
                author: c.author.map(Cow::into_owned),
                topics: c.topics.into_owned(),
                terms: c.terms.into_owned(),
                compound: c.compound,
                engagement: Engagement { views, likes, comments, shares },
            }
        }),
    })
}

fn age_key(ingested_at: Millis, id: &str) -> Vec<u8> {
    // The sign bit flipped, so that bytes sort as numbers do.
    let mut key = ((ingested_at.0 as u64) ^ (1 << 63)).to_be_bytes().to_vec();
    key.extend_from_slice(id.as_bytes());
    key
}

fn entry(enriched: &Enriched) -> Option<Entry> {
    Some(Entry {
        version: enriched.version,
        content_hash: unhex(&enriched.content_hash)?,
        ingested_at: enriched.ingested_at,
        contribution: enriched.contribution(),
    })
}

/// The committed end of every partition of a topic.
pub fn ends(log: &dyn Log, topic: &str) -> Result<Positions, LogError> {
    let topics = log.topics()?;
    let info = topics.iter().find(|t| t.name == topic);
    let ranges = info.map(|t| t.ranges.as_slice()).unwrap_or_default();
    Ok(ranges.iter().enumerate().map(|(p, (_, end))| (TopicPartition::new(topic, p as u32), *end)).collect())
}

/// Whether a reader's positions have reached all of these.
pub fn reached(positions: &Positions, ends: &Positions) -> bool {
    ends.iter().all(|(partition, end)| positions.get(partition).is_some_and(|next| next >= end))
}

/// What one worker knows: the index, and over it what is not committed yet.
pub struct WorkerIndex {
    index: Index,
    overlay: HashMap<Rc<str>, (Epoch, Option<Rc<Entry>>)>,
    pending: VecDeque<(Epoch, Rc<str>, Option<Rc<Entry>>)>,
    /// The ages on the disk of ids in the overlay that are there.
    aged: HashMap<Rc<str>, Millis>,
    /// The id that was looked up on the disk last, and its age if it is there.
    looked_up: Option<(String, Option<Millis>)>,
    clock: Millis,
    failed: Option<IndexError>,
}

impl WorkerIndex {
    pub fn new(index: Index) -> Self {
        Self {
            index,
            overlay: HashMap::new(),
            pending: VecDeque::new(),
            aged: HashMap::new(),
            looked_up: None,
            clock: Millis(i64::MIN),
            failed: None,
        }
    }

    /// Entries that wait for their commit.
    pub fn uncommitted(&self) -> usize {
        self.pending.len()
    }

    /// The latest ingest time seen: the pipeline clock as far as this worker knows it.
    pub fn clock(&self) -> Millis {
        self.clock
    }

    fn get(&mut self, id: &str) -> Option<Entry> {
        if let Some((_, entry)) = self.overlay.get(id) {
            return entry.as_deref().cloned();
        }
        self.look_up(id)
    }

    fn look_up(&mut self, id: &str) -> Option<Entry> {
        let entry = self.index.get(id).unwrap_or_else(|e| {
            // Going on would take known ids for new ones: the epoch must not commit.
            self.failed.get_or_insert(e);
            None
        });
        self.looked_up = Some((id.to_string(), entry.as_ref().map(|e| e.ingested_at)));
        entry
    }

    fn put(&mut self, epoch: Epoch, id: &str, entry: Option<Entry>) {
        if let Some(entry) = &entry {
            self.clock = self.clock.max(entry.ingested_at);
        }
        let (key, entry): (Rc<str>, _) = (id.into(), entry.map(Rc::new));
        if !self.overlay.contains_key(id) {
            // Whoever puts has asked before, about the same id.
            if self.looked_up.as_ref().is_none_or(|(known, _)| known != id) {
                self.look_up(id);
            }
            if let Some((_, Some(age))) = self.looked_up.take() {
                self.aged.insert(Rc::clone(&key), age);
            }
        }
        self.pending.push_back((epoch, Rc::clone(&key), entry.clone()));
        self.overlay.insert(key, (epoch, entry));
    }

    /// An error of the index since the last call; nothing may be committed after one.
    pub fn failure(&mut self) -> Option<IndexError> {
        self.failed.take()
    }

    /// Epochs up to `through` are committed: their entries go to disk.
    pub fn committed(&mut self, through: Epoch) -> Result<(), IndexError> {
        let mut changes = HashMap::new();
        while self.pending.front().is_some_and(|(epoch, _, _)| *epoch <= through) {
            let (_, id, entry) = self.pending.pop_front().expect("just seen");
            changes.insert(id, entry);
        }
        let aged = &mut self.aged;
        failpoint::pass("index.behind", "");
        self.index.write(changes.iter().map(|(id, entry)| (&**id, aged.remove(id), entry.as_deref())))?;
        failpoint::pass("index.written", "");
        self.looked_up = None;
        for (id, entry) in changes {
            if self.overlay.get(&id).is_some_and(|(epoch, _)| *epoch <= through) {
                self.overlay.remove(&id);
            } else if let Some(entry) = entry {
                self.aged.insert(id, entry.ingested_at);
            }
        }
        Ok(())
    }

    /// Forgets ids that were last changed before `before`, `max` at a time; returns
    /// those that were deletions, whose records get tombstones.
    pub fn forget(
        &mut self,
        epoch: Epoch,
        before: Millis,
        max: usize,
        owned: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, IndexError> {
        let mut deletions = Vec::new();
        for id in self.index.older_than(before, max)? {
            if !owned(&id) || self.overlay.contains_key(&*id) {
                continue;
            }
            if self.look_up(&id).is_some_and(|e| e.contribution.is_none()) {
                deletions.push(id.clone());
            }
            self.put(epoch, &id, None);
        }
        Ok(deletions)
    }
}

/// The operator's handle on the worker's index.
#[derive(Clone)]
pub struct SharedIndex(pub Rc<RefCell<WorkerIndex>>);

impl Identities for SharedIndex {
    fn get(&self, id: &str) -> Option<Entry> {
        self.0.borrow_mut().get(id)
    }
    fn put(&mut self, epoch: Epoch, id: &str, entry: Entry) {
        self.0.borrow_mut().put(epoch, id, Some(entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deleted(revision: u64, at: i64) -> Entry {
        Entry {
            version: Version { revision, enrichment: 0 },
            content_hash: [1; 16],
            ingested_at: Millis(at),
            contribution: None,
        }
    }

    #[test]
    fn only_committed_entries_reach_the_disk() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let index = Index::open(folder.path()).expect("opens");
        let mut worker = WorkerIndex::new(index.clone());
        worker.put(1, "x:1", Some(deleted(1, 10)));
        worker.put(2, "x:1", Some(deleted(2, 20)));
        worker.put(2, "x:2", Some(deleted(1, 20)));
        assert_eq!(worker.get("x:1"), Some(deleted(2, 20)), "the overlay is seen at once");
        worker.committed(1).expect("writes");
        assert_eq!(index.get("x:1").expect("reads"), Some(deleted(1, 10)), "as of epoch 1");
        assert_eq!(worker.get("x:1"), Some(deleted(2, 20)), "epoch 2 still lies over it");
        worker.committed(2).expect("writes");
        assert_eq!(index.get("x:1").expect("reads"), Some(deleted(2, 20)));
        assert_eq!(worker.uncommitted(), 0);
    }

    #[test]
    fn reads_what_it_writes() {
        let contribution = Contribution {
            published_at: Millis(-5),
            platform: "x".into(),
            channel: None,
            author: Some("a".into()),
            topics: vec!["t".into()],
            terms: vec!["#new".into()],
            compound: Some(-1),
            engagement: Engagement { likes: Some(3), ..Engagement::default() },
        };
        let entry = Entry { contribution: Some(contribution), ..deleted(7, 8) };
        assert_eq!(decode(&encode(&entry)), Ok(entry));
    }

    #[test]
    fn forgets_by_age_and_names_the_deletions() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let index = Index::open(folder.path()).expect("opens");
        let mut worker = WorkerIndex::new(index.clone());
        for (id, at) in [("x:1", 10), ("x:2", 20), ("x:3", 30)] {
            worker.put(1, id, Some(deleted(1, at)));
        }
        worker.put(1, "x:1", Some(deleted(2, 40)));
        worker.committed(1).expect("writes");
        let gone = worker.forget(2, Millis(30), 10, |_| true).expect("reads");
        assert_eq!(gone, vec!["x:2".to_string()], "x:1 was renewed, x:3 is not old enough");
        assert_eq!(worker.get("x:2"), None);
        worker.committed(2).expect("writes");
        assert_eq!(index.get("x:2").expect("reads"), None);
        assert_eq!(
            index.older_than(Millis(i64::MAX), 10).expect("reads"),
            vec!["x:3".to_string(), "x:1".to_string()]
        );
    }
}
