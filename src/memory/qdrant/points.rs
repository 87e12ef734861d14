//! The points: what is written into the collection and read back. Payload fields
//! have the names of content.vectors, so that a consumer of either knows the other.

use std::collections::{BTreeMap, HashMap};

use dataflows::embed::{Embedded, chunk_key, parse_version, version_text};
use dataflows::event::Version;
use dataflows::record::{Positions, TopicPartition};
use dataflows::time::Millis;
use qdrant_client::Payload;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::{
    Condition, FieldCondition, FieldType, Filter, Match, NamedVectors, PointId, PointStruct, Range, Value,
    Vector, Vectors,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::memory::terms::{frequencies, terms};
use crate::memory::{Change, Filters, Item};

/// Name of the vector of a chunk.
pub(super) const DENSE: &str = "dense";
/// Name of the sparse vector of an item's words.
pub(super) const WORDS: &str = "words";

pub(super) const KIND: &str = "kind";
pub(super) const ID: &str = "id";
pub(super) const TEXT: &str = "text";
pub(super) const SEEN_AT: &str = "seen_at";
const VERSION: &str = "version";
const PLATFORM: &str = "platform";
const TOPICS: &str = "topics";
const LANG: &str = "lang";
const PUBLISHED_AT: &str = "published_at";

/// What filters and deletions ask for.
pub(super) const INDEXES: &[(&str, FieldType)] = &[
    (KIND, FieldType::Keyword),
    (ID, FieldType::Keyword),
    (PLATFORM, FieldType::Keyword),
    (TOPICS, FieldType::Keyword),
    (LANG, FieldType::Keyword),
    (PUBLISHED_AT, FieldType::Integer),
    (SEEN_AT, FieldType::Integer),
];

/// Number of the layout of points; another is refused.
const SCHEMA: u32 = 1;

/// The namespace of our point ids (drawn at random once).
const NAMESPACE: Uuid = Uuid::from_u128(0x7d8e_5d0b_6c4f_4f0e_9a53_1c5c_0f6e_2b91);

/// A term that no text has. A sparse vector is never empty.
const NO_TERM: u32 = 0;

/// Parameters of BM25 as Robertson gives them.
const BM25_K1: f64 = 1.2;
const BM25_B: f64 = 0.75;
/// A word in the title counts as often as this in the text; as in SQLite's ranking.
const TITLE_WEIGHT: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Item,
    Gone,
    Chunk,
    About,
    Birth,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Item => "item",
            Kind::Gone => "gone",
            Kind::Chunk => "chunk",
            Kind::About => "about",
            Kind::Birth => "birth",
        }
    }
}

/// What the collection says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct About {
    /// `None` until the first chunk.
    pub(super) model: Option<String>,
    /// Of the collection that this was written for.
    pub(super) birth: String,
    pub(super) positions: Positions,
    pub(super) as_of: Option<Millis>,
}

pub(super) fn item_id(id: &str) -> String {
    Uuid::new_v5(&NAMESPACE, format!("item\n{id}").as_bytes()).to_string()
}

fn chunk_id(id: &str, chunk: u32, model: &str) -> String {
    Uuid::new_v5(&NAMESPACE, format!("chunk\n{}\n{model}", chunk_key(id, chunk)).as_bytes()).to_string()
}

impl About {
    /// Whether everything before `positions` is in.
    pub(super) fn covers(&self, positions: &Positions) -> bool {
        positions.iter().all(|(at, next)| self.positions.get(at).copied().unwrap_or(0) >= *next)
    }
}

pub(super) fn about_id() -> PointId {
    Uuid::new_v5(&NAMESPACE, b"about").to_string().into()
}

pub(super) fn birth_id() -> PointId {
    Uuid::new_v5(&NAMESPACE, b"birth").to_string().into()
}

/// The point that tells one collection from another of the same name.
pub(super) fn birth() -> PointStruct {
    let payload = json!({ "kind": Kind::Birth.name(), "birth": Uuid::new_v4().to_string() });
    PointStruct { id: Some(birth_id()), ..point_of("", WORDS, no_words(), payload) }
}

pub(super) fn read_birth(payload: &HashMap<String, Value>) -> Option<String> {
    text_of(payload, "birth")
}

/// The point that a change is about.
pub(super) fn id_of(change: &Change, model: &str) -> String {
    match change {
        Change::Item(item) => item_id(&item.id),
        Change::Deleted { id, .. } | Change::Forgotten { id } => item_id(id),
        Change::Chunk { embedded, .. } => chunk_id(&embedded.id, embedded.chunk, model),
        Change::ChunkGone { id, chunk, .. } => chunk_id(id, *chunk, model),
    }
}

pub(super) fn id_text(id: &PointId) -> Option<String> {
    match id.point_id_options.as_ref()? {
        PointIdOptions::Uuid(uuid) => Some(uuid.clone()),
        PointIdOptions::Num(number) => Some(number.to_string()),
    }
}

/// The payload of an item; times in milliseconds, so that ranges are of numbers.
#[derive(Serialize, Deserialize)]
struct ItemPayload {
    kind: String,
    id: String,
    version: String,
    seen_at: i64,
    platform: String,
    channel: Option<String>,
    author: Option<String>,
    title: Option<String>,
    text: Option<String>,
    url: Option<String>,
    published_at: i64,
    lang: Option<String>,
    topics: Vec<String>,
    compound: Option<f64>,
}

pub(super) fn item(point: &str, item: &Item, average_terms: f64) -> PointStruct {
    let payload = ItemPayload {
        kind: Kind::Item.name().into(),
        id: item.id.clone(),
        version: version_text(item.version),
        seen_at: item.seen_at.0,
        platform: item.platform.clone(),
        channel: item.channel.clone(),
        author: item.author.clone(),
        title: item.title.clone(),
        text: item.text.clone(),
        url: item.url.clone(),
        published_at: item.published_at.0,
        lang: item.lang.clone(),
        topics: item.topics.clone(),
        compound: item.compound,
    };
    let words = sparse_document(item.title.as_deref(), item.text.as_deref(), average_terms);
    point_of(point, WORDS, sparse(words), json!(payload))
}

pub(super) fn read_item(payload: HashMap<String, Value>) -> Option<Item> {
    if text_of(&payload, KIND)? != Kind::Item.name() {
        return None;
    }
    let read: ItemPayload = serde_json::from_value(Payload::from(payload).into()).ok()?;
    Some(Item {
        version: parse_version(read.version.as_bytes())?,
        id: read.id,
        seen_at: Millis(read.seen_at),
        platform: read.platform,
        channel: read.channel,
        author: read.author,
        title: read.title,
        text: read.text,
        url: read.url,
        published_at: Millis(read.published_at),
        lang: read.lang,
        topics: read.topics,
        compound: read.compound,
    })
}

pub(super) fn gone(point: &str, id: &str, version: Version, seen_at: Millis) -> PointStruct {
    let payload =
        json!({ KIND: Kind::Gone.name(), ID: id, VERSION: version_text(version), SEEN_AT: seen_at.0 });
    point_of(point, WORDS, no_words(), payload)
}

pub(super) fn chunk(point: &str, embedded: &Embedded, seen_at: Millis) -> PointStruct {
    let payload = &embedded.payload;
    let payload = json!({
        KIND: Kind::Chunk.name(),
        ID: embedded.id,
        "chunk": embedded.chunk,
        VERSION: version_text(embedded.version),
        "model": embedded.model,
        "text_hash": embedded.text_hash,
        SEEN_AT: seen_at.0,
        PLATFORM: payload.platform,
        "channel": payload.channel,
        "author": payload.author,
        "title": payload.title,
        TEXT: payload.text,
        "url": payload.url,
        PUBLISHED_AT: payload.published_at.0,
        LANG: payload.lang,
        TOPICS: payload.topics,
        "compound": payload.compound,
    });
    point_of(point, DENSE, Vector::new_dense(embedded.vector.0.clone()), payload)
}

#[derive(Serialize, Deserialize)]
struct AboutPayload {
    kind: String,
    schema: u32,
    model: Option<String>,
    birth: String,
    /// `topic/partition` -> the offset of the next record.
    positions: BTreeMap<String, i64>,
    as_of: Option<i64>,
}

pub(super) fn about(about: &About) -> PointStruct {
    let payload = AboutPayload {
        kind: Kind::About.name().into(),
        schema: SCHEMA,
        model: about.model.clone(),
        birth: about.birth.clone(),
        positions: about.positions.iter().map(|(at, next)| (at.to_string(), *next as i64)).collect(),
        as_of: about.as_of.map(|at| at.0),
    };
    PointStruct { id: Some(about_id()), ..point_of("", WORDS, no_words(), json!(payload)) }
}

/// `None` for what another version wrote.
pub(super) fn read_about(payload: HashMap<String, Value>) -> Option<About> {
    let read: AboutPayload = serde_json::from_value(Payload::from(payload).into()).ok()?;
    if read.schema != SCHEMA {
        return None;
    }
    let position = |(at, next): (&String, &i64)| {
        let (topic, partition) = at.rsplit_once('/')?;
        Some((TopicPartition::new(topic, partition.parse().ok()?), *next as u64))
    };
    let positions = read.positions.iter().map(position).collect::<Option<Positions>>()?;
    Some(About { model: read.model, birth: read.birth, positions, as_of: read.as_of.map(Millis) })
}

fn point_of(id: &str, name: &str, vector: Vector, payload: serde_json::Value) -> PointStruct {
    let vectors = NamedVectors { vectors: HashMap::from([(name.to_string(), vector)]) };
    let payload = Payload::try_from(payload).expect("a payload is a JSON object");
    PointStruct::new(id, Vectors::from(vectors), payload)
}

pub(super) fn text_of(payload: &HashMap<String, Value>, name: &str) -> Option<String> {
    payload.get(name)?.as_str().map(ToString::to_string)
}

pub(super) fn version(payload: &HashMap<String, Value>) -> Option<Version> {
    parse_version(text_of(payload, VERSION)?.as_bytes())
}

pub(super) fn filter(kind: Kind, filters: &Filters) -> Filter {
    let mut must = vec![is(KIND, kind.name())];
    let texts = [(PLATFORM, &filters.platform), (LANG, &filters.lang), (TOPICS, &filters.topic)];
    must.extend(texts.into_iter().filter_map(|(field, text)| Some(is(field, text.as_ref()?))));
    if let Some(since) = filters.since {
        must.push(Condition::range(PUBLISHED_AT, Range { gte: Some(since.0 as f64), ..Range::default() }));
    }
    Filter::must(must)
}

/// The chunks of an item, of any model.
pub(super) fn chunks_of(id: &str) -> Filter {
    Filter::must([is(KIND, Kind::Chunk.name()), is(ID, id)])
}

/// The field is exactly this text. `Condition::matches` would search for the words
/// of a text with spaces in it.
pub(super) fn is(field: &str, text: &str) -> Condition {
    Condition::from(FieldCondition {
        key: field.to_string(),
        r#match: Some(Match { match_value: Some(MatchValue::Keyword(text.to_string())) }),
        ..FieldCondition::default()
    })
}

/// The number of a term.
fn term_index(term: &str) -> u32 {
    let hash = blake3::hash(term.as_bytes());
    let index = u32::from_le_bytes(*hash.as_bytes().first_chunk().expect("BLAKE3 gives 32 bytes"));
    index.max(NO_TERM + 1)
}

/// BM25's weight of each term in the item, without the IDF, which Qdrant keeps.
fn sparse_document(title: Option<&str>, text: Option<&str>, average_terms: f64) -> BTreeMap<u32, f32> {
    let title = terms(title.unwrap_or_default());
    let text = terms(text.unwrap_or_default());
    let length = (title.len() + text.len()) as f64;
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    for (terms, weight) in [(title, TITLE_WEIGHT), (text, 1)] {
        for (term, count) in frequencies(terms) {
            *counts.entry(term_index(&term)).or_default() += count * weight;
        }
    }
    let norm = BM25_K1 * (1.0 - BM25_B + BM25_B * length / average_terms);
    counts
        .into_iter()
        .map(|(term, count)| {
            let count = f64::from(count);
            (term, (count * (BM25_K1 + 1.0) / (count + norm)) as f32)
        })
        .collect()
}

/// Each term of a question counts the same.
pub(super) fn sparse_query(terms: &[String]) -> (Vec<u32>, Vec<f32>) {
    let distinct: BTreeMap<u32, f32> = terms.iter().map(|term| (term_index(term), 1.0)).collect();
    distinct.into_iter().unzip()
}

fn sparse(weights: BTreeMap<u32, f32>) -> Vector {
    if weights.is_empty() {
        return no_words();
    }
    let (indices, values): (Vec<u32>, Vec<f32>) = weights.into_iter().unzip();
    Vector::new_sparse(indices, values)
}

fn no_words() -> Vector {
    Vector::new_sparse([NO_TERM], [1.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_collection_says_of_itself_reads_back() {
        let written = About {
            model: Some("m@1".into()),
            birth: "b".into(),
            positions: Positions::from([(TopicPartition::new("content.vectors", 3), 77)]),
            as_of: Some(Millis(5)),
        };
        assert_eq!(read_about(about(&written).payload), Some(written));
        assert_eq!(read_about(about(&About::default()).payload), Some(About::default()));
        assert_eq!(read_about(HashMap::new()), None);
    }

    #[test]
    fn ids_are_stable_and_differ_by_chunk_and_model() {
        assert_eq!(chunk_id("a", 0, "m"), chunk_id("a", 0, "m"));
        let ids = [chunk_id("a", 0, "m"), chunk_id("a", 1, "m"), chunk_id("a", 0, "n"), item_id("a")];
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), ids.len());
    }

    #[test]
    fn words_weigh_as_bm25_says() {
        let weights = sparse_document(Some("Rain"), Some("rain falls"), 3.0);
        let rain = f64::from(weights[&term_index("rain")]);
        // Three occurrences (twice for the title), a document of average length.
        assert!((rain - 3.0 * 2.2 / (3.0 + 1.2)).abs() < 1e-6, "{rain}");
        assert!(sparse_document(None, None, 3.0).is_empty());
    }
}
