//! A memory of its own for each test, texts, and embedders that are scripted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dataflows::embed::{Embedded, Payload, TextHash};
use dataflows::event::{Change as Happened, Content, Engagement, Enriched, Kind, Version};
use dataflows::record::{Headers, Positions, Record, TopicPartition, topic};
use dataflows::time::Millis;
use dataflows::vector::Vector;
use parking_lot::Mutex;
use serde::Deserialize;
use tidings::config::Secret;
use tidings::log::{Log, TopicSpec};
use tidings::memory::models::{Embedder, Model};
use tidings::memory::qdrant::Qdrant;
use tidings::memory::search::{Answer, Query, Search};
use tidings::memory::sqlite::Sqlite;
use tidings::memory::{Batch, Change, DIMENSIONS, Filters, Item, Memory, Settings};

use crate::qdrant_server::Server;

/// How long anything may take before the test says that it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const MODEL: &str = "words@1";

#[derive(Clone, Deserialize)]
pub struct Shipped {
    pub log: tidings::log::Settings,
    pub memory: Settings,
    pub embed: tidings::memory::embed::Settings,
    pub models: tidings::memory::models::Settings,
}

pub fn shipped() -> Shipped {
    let mut shipped: Shipped =
        toml::from_str(include_str!("../../config/default.toml")).expect("the shipped settings");
    shipped.memory.poll_timeout_ms = 20;
    shipped.embed.poll_timeout_ms = 20;
    shipped.memory.retry_delay_max_ms = 400;
    shipped.memory.qdrant.retry_delay_ms = 5;
    shipped
}

/// One memory, which can be opened again.
pub struct Deployment {
    folder: tempfile::TempDir,
    qdrant: Option<(url::Url, Option<Secret>)>,
    pub server: Option<Server>,
    pub settings: Settings,
}

impl Deployment {
    pub fn sqlite() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            qdrant: None,
            server: None,
            settings: shipped().memory,
        }
    }

    pub fn served() -> Self {
        let server = Server::start();
        let url = server.url.parse().expect("an address");
        Self { qdrant: Some((url, None)), server: Some(server), ..Self::sqlite() }
    }

    /// The Qdrant of the environment, in a collection of its own.
    #[expect(clippy::disallowed_methods, reason = "the Qdrant under test is named by the environment")]
    pub fn real() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let url = std::env::var("QDRANT_URL").ok().filter(|url| !url.is_empty())?;
        let key = std::env::var("QDRANT_API_KEY").ok().filter(|key| !key.is_empty());
        let mut deployment = Self::sqlite();
        deployment.qdrant = Some((url.parse().expect("QDRANT_URL is a URL"), key.map(Secret::new)));
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        deployment.settings.qdrant.collection = format!("tidings-test-{}-{count}", std::process::id());
        Some(deployment)
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("memory.sqlite")
    }

    pub fn open(&self) -> Arc<dyn Memory> {
        match &self.qdrant {
            None => Arc::new(Sqlite::open(&self.settings.sqlite, &self.path()).expect("the memory opens")),
            Some((url, key)) => {
                Arc::new(Qdrant::open(&self.settings.qdrant, url, key.as_ref()).expect("the client opens"))
            }
        }
    }

    pub fn search(&self, memory: &Arc<dyn Memory>) -> Search {
        Search::new(memory.clone(), Model::of(Arc::new(Words::default())), self.settings.search.clone())
    }
}

pub fn version(revision: u64) -> Version {
    Version { revision, enrichment: 0 }
}

pub fn item(id: &str, title: &str, text: &str) -> Item {
    Item {
        id: id.into(),
        version: version(1),
        seen_at: Millis(1_000),
        platform: "rss".into(),
        channel: None,
        author: None,
        title: (!title.is_empty()).then(|| title.into()),
        text: (!text.is_empty()).then(|| text.into()),
        url: Some(format!("https://example.org/{id}")),
        published_at: Millis(1_000),
        lang: Some("en".into()),
        topics: Vec::new(),
        compound: Some(0.25),
    }
}

pub fn chunk_of(item: &Item, chunk: u32, text: &str, vector: Vector) -> Embedded {
    Embedded {
        id: item.id.clone(),
        chunk,
        version: item.version,
        model: MODEL.into(),
        text_hash: TextHash::of(text).to_string(),
        vector,
        payload: Payload {
            platform: item.platform.clone(),
            channel: item.channel.clone(),
            author: item.author.clone(),
            title: item.title.clone(),
            text: text.into(),
            url: item.url.clone(),
            published_at: item.published_at,
            lang: item.lang.clone(),
            topics: item.topics.clone(),
            compound: item.compound,
        },
    }
}

pub fn put(item: Item) -> Change {
    Change::Item(Box::new(item))
}

pub fn chunk(item: &Item, index: u32, text: &str) -> Change {
    let embedded = Box::new(chunk_of(item, index, text, Words::vector(text)));
    Change::Chunk { embedded, seen_at: item.seen_at }
}

/// The item and its whole text as one chunk.
pub fn whole(item: Item) -> Vec<Change> {
    let text =
        format!("{} {}", item.title.clone().unwrap_or_default(), item.text.clone().unwrap_or_default());
    vec![chunk(&item, 0, text.trim()), put(item)]
}

pub fn batch(changes: Vec<Change>) -> Batch {
    Batch { changes, ..Batch::default() }
}

pub fn query(text: &str) -> Query {
    Query { text: text.into(), filters: Filters::default(), limit: 10, offset: 0 }
}

pub fn ids(answer: &Answer) -> Vec<&str> {
    answer.hits.iter().map(|hit| hit.id.as_str()).collect()
}

/// An embedder that knows words and a few synonyms: each word is a direction, and a
/// text the sum of its words. Counts what it was asked.
#[derive(Default)]
pub struct Words {
    pub asked: Mutex<BTreeMap<String, u32>>,
    /// Held by a test, it makes the text "hang" hang.
    pub hang: Mutex<()>,
}

const SYNONYMS: &[(&str, &str)] =
    &[("automobile", "car"), ("physician", "doctor"), ("kitten", "cat"), ("feline", "cat")];

impl Words {
    pub fn vector(text: &str) -> Vector {
        let mut sum = vec![0.0f32; DIMENSIONS];
        for word in tidings::memory::terms::terms(text) {
            let meaning = SYNONYMS.iter().find(|(word_, _)| *word_ == word).map_or(word.as_str(), |(_, m)| m);
            let mut stream = blake3::Hasher::new().update(meaning.as_bytes()).finalize_xof();
            let mut bytes = vec![0u8; DIMENSIONS];
            stream.fill(&mut bytes);
            sum.iter_mut().zip(bytes).for_each(|(sum, byte)| *sum += f32::from(byte) - 127.5);
        }
        Vector(sum).normalized()
    }

    pub fn asked(&self, text: &str) -> u32 {
        self.asked.lock().get(text).copied().unwrap_or(0)
    }

    pub fn total(&self) -> u32 {
        self.asked.lock().values().sum()
    }
}

impl Embedder for Words {
    fn model(&self) -> &str {
        MODEL
    }
    fn batch_max(&self) -> usize {
        4
    }
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, String> {
        for text in texts {
            *self.asked.lock().entry((*text).to_string()).or_default() += 1;
        }
        if texts.contains(&"hang") {
            drop(self.hang.lock());
        }
        assert!(!texts.contains(&"panic"), "the text says so");
        if texts.contains(&"fail") {
            return Err("the text says so".into());
        }
        Ok(texts.iter().map(|text| Words::vector(text)).collect())
    }
}

/// A version of an item as Enrich writes it; `None`: a deletion.
pub fn enriched(id: &str, revision: u64, text: Option<&str>) -> Enriched {
    Enriched {
        id: id.into(),
        change: if text.is_some() { Happened::Updated } else { Happened::Deleted },
        version: version(revision),
        ingested_at: Millis(1_000 + revision as i64),
        content_hash: String::new(),
        previous: None,
        content: text.map(|text| Content {
            platform: "rss".into(),
            native_id: id.trim_start_matches("rss:").into(),
            kind: Kind::Post,
            published_at: Millis(1_000),
            author: None,
            channel: None,
            thread_id: None,
            title: None,
            text: Some(text.into()),
            lang: Some("en".into()),
            url: None,
            engagement: Engagement::default(),
            media: Vec::new(),
            reply_to: None,
            sentiment: None,
            topics: Vec::new(),
            terms: Vec::new(),
            analyzers: BTreeMap::new(),
        }),
    }
}

pub fn record(enriched: &Enriched) -> Record {
    Record {
        topic: topic::ENRICHED.into(),
        partition: None,
        key: enriched.id.clone().into_bytes(),
        value: Some(serde_json::to_vec(enriched).expect("plain data")),
        timestamp_ms: enriched.ingested_at.0,
        headers: Headers::new(),
    }
}

pub const PARTITIONS: u32 = 3;

pub fn open_log(folder: &std::path::Path) -> Arc<dyn Log> {
    let log = tidings::log::open(&shipped().log, folder).expect("the log opens");
    let spec = |name| TopicSpec { name, partitions: PARTITIONS, compact: true, retention_ms: None };
    log.create(&[spec(topic::ENRICHED), spec(topic::VECTORS), spec(topic::DEAD_LETTERS)]).expect("topics");
    log
}

/// Everything committed on a topic.
pub fn read_all(log: &dyn Log, name: &str) -> Vec<dataflows::record::Stored> {
    let info = log.topics().expect("topics").into_iter().find(|t| t.name == name).expect("the topic exists");
    let ends: Positions =
        (0u32..).zip(&info.ranges).map(|(p, (_, end))| (TopicPartition::new(name, p), *end)).collect();
    let from = ends.keys().map(|partition| (partition.clone(), 0)).collect();
    let mut reader = log.reader(&from).expect("a reader");
    let deadline = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    while reader.positions().iter().any(|(partition, at)| *at < ends[partition]) {
        assert!(Instant::now() < deadline, "stuck reading {name}");
        all.extend(reader.poll(Duration::from_millis(100), 1 << 20).expect("records"));
    }
    all
}

/// What compaction would keep: the last value of each key.
pub fn compacted(log: &dyn Log, name: &str) -> BTreeMap<String, Vec<u8>> {
    let mut last = BTreeMap::new();
    for stored in read_all(log, name) {
        let key = String::from_utf8(stored.key).expect("text");
        match stored.value {
            Some(value) => last.insert(key, value),
            None => last.remove(&key),
        };
    }
    last
}

/// Waits until it holds; the text says what was waited for.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
