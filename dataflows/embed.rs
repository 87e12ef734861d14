//! EMBED: one version of one item in, the records of content.vectors out.
//!
//! ```text
//!  content.enriched ─> Plan ─> Embed (offload: the model) ─> Embedded ─> records | fault
//!                       pure      the only part that waits                pure
//! ```
//!
//! Invariants:
//! - A chunk's key is content id, `#`, index: stable over versions.
//! - After the records of a version are applied, exactly the chunks of that
//!   version exist: those that the version before had more get tombstones, and a
//!   deletion leaves none.
//! - The records of a version are complete or absent: if one chunk fails, the
//!   version is a fault and the earlier records stay.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::core::OkErr;

use crate::Epoch;
use crate::chunk::chunks;
use crate::event::{Enriched, Version};
use crate::offload::{Answer, Budget, Failure, Stage, offload};
use crate::record::{Headers, Record, topic};
use crate::time::Millis;
use crate::vector::Vector;

/// The header of content.vectors that carries the item's version, also on tombstones.
pub const VERSION_HEADER: &str = "tidings_version";

/// An embedded chunk, one record of content.vectors. Key: content id, `#`, chunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Embedded {
    /// The content id.
    pub id: String,
    /// Which chunk of the item's text, from 0.
    pub chunk: u32,
    pub version: Version,
    /// The model's name and the start of its file's SHA-256: vectors of different
    /// models are not comparable.
    pub model: String,
    /// The start of BLAKE3 over the chunk's text, in hexadecimal.
    pub text_hash: String,
    pub vector: Vector,
    pub payload: Payload,
}

/// What the memory shows and filters by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Payload {
    pub platform: String,
    pub channel: Option<String>,
    pub author: Option<String>,
    pub title: Option<String>,
    /// The chunk's text.
    pub text: String,
    pub url: Option<String>,
    pub published_at: Millis,
    pub lang: Option<String>,
    pub topics: Vec<String>,
    pub compound: Option<f64>,
}

/// What is to be done for one version of one item.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Where the version stands in its batch, to restore the order after embedding.
    pub seq: u64,
    pub id: String,
    /// The partition of content.enriched, so that content.vectors is co-partitioned.
    pub partition: u32,
    pub timestamp_ms: i64,
    pub version: Version,
    pub chunks: Vec<Chunk>,
    /// How many chunks the version before had.
    pub chunks_before: u32,
    /// Chunks over the limit, which are not embedded.
    pub chunks_cut: u32,
    /// Without the text of a chunk; `None` for a deletion.
    pub payload: Option<Payload>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub text: Arc<str>,
    pub hash: TextHash,
}

/// The start of BLAKE3 over a text: what a text is embedded once by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextHash(pub [u8; 16]);

impl TextHash {
    pub fn of(text: &str) -> Self {
        let hash = blake3::hash(text.as_bytes());
        Self(*hash.as_bytes().first_chunk().expect("BLAKE3 gives 32 bytes"))
    }

    pub fn from_hex(hex: &str) -> Option<Self> {
        if hex.len() != 32 || !hex.is_ascii() {
            return None;
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().as_chunks::<2>().0) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl std::fmt::Display for TextHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How texts are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub chunk_chars_max: usize,
    pub chunks_per_item_max: usize,
}

/// Plans the records of `enriched`, whose version before had `chunks_before` chunks.
pub fn plan(enriched: &Enriched, partition: u32, chunks_before: u32, limits: Limits) -> Plan {
    let mut texts = Vec::new();
    let mut cut = 0;
    if let Some(content) = &enriched.content {
        let text = content.analysed_text();
        let all = chunks(&text, limits.chunk_chars_max);
        let kept = all.len().min(limits.chunks_per_item_max);
        cut = all.len() - kept;
        texts = all[..kept].iter().map(|t| Chunk { text: (*t).into(), hash: TextHash::of(t) }).collect();
    }
    let payload = enriched.content.as_ref().map(|content| Payload {
        platform: content.platform.clone(),
        channel: content.channel.as_ref().map(|c| c.name.clone().unwrap_or_else(|| c.id.clone())),
        author: content.author.as_ref().map(|a| a.name.clone().unwrap_or_else(|| a.id.clone())),
        title: content.title.clone(),
        text: String::new(),
        url: content.url.clone(),
        published_at: content.published_at,
        lang: content.lang.clone(),
        topics: content.topics.clone(),
        compound: content.sentiment.map(|s| s.compound),
    });
    Plan {
        seq: 0,
        id: enriched.id.clone(),
        partition,
        timestamp_ms: enriched.ingested_at.0,
        version: enriched.version,
        chunks: texts,
        chunks_before,
        chunks_cut: u32::try_from(cut).unwrap_or(u32::MAX),
        payload,
    }
}

impl Plan {
    /// What the plan weighs while it is with the model.
    pub fn bytes(&self) -> usize {
        const FIXED: usize = 256;
        FIXED + self.chunks.iter().map(|chunk| chunk.text.len() + 64).sum::<usize>()
    }

    /// The records of this version, given the vector of each chunk.
    pub fn records(&self, model: &str, vectors: &[Vector]) -> Vec<Record> {
        assert_eq!(vectors.len(), self.chunks.len(), "one vector for each chunk");
        let mut records: Vec<Record> = Vec::new();
        if let Some(payload) = &self.payload {
            for (chunk, vector) in self.chunks.iter().zip(vectors) {
                let index = records.len() as u32;
                let value = Embedded {
                    id: self.id.clone(),
                    chunk: index,
                    version: self.version,
                    model: model.to_string(),
                    text_hash: chunk.hash.to_string(),
                    vector: vector.clone(),
                    payload: Payload { text: chunk.text.to_string(), ..payload.clone() },
                };
                let json = serde_json::to_vec(&value).expect("an Embedded is plain JSON");
                records.push(self.record(index, Some(json)));
            }
        }
        let kept = records.len() as u32;
        records.extend((kept..self.chunks_before).map(|index| self.record(index, None)));
        records
    }

    fn record(&self, chunk: u32, value: Option<Vec<u8>>) -> Record {
        Record {
            topic: topic::VECTORS.into(),
            partition: Some(self.partition),
            key: chunk_key(&self.id, chunk).into_bytes(),
            value,
            timestamp_ms: self.timestamp_ms,
            headers: Headers::from_iter([(VERSION_HEADER, version_text(self.version))]),
        }
    }
}

/// `revision.enrichment`.
pub fn version_text(version: Version) -> String {
    format!("{}.{}", version.revision, version.enrichment)
}

/// The inverse of [`version_text`].
pub fn parse_version(text: &[u8]) -> Option<Version> {
    let (revision, enrichment) = std::str::from_utf8(text).ok()?.split_once('.')?;
    Some(Version { revision: revision.parse().ok()?, enrichment: enrichment.parse().ok()? })
}

pub fn chunk_key(id: &str, chunk: u32) -> String {
    format!("{id}#{chunk}")
}

/// Content id and chunk of a key of content.vectors.
pub fn parse_chunk_key(key: &[u8]) -> Option<(&str, u32)> {
    let (id, chunk) = std::str::from_utf8(key).ok()?.rsplit_once('#')?;
    Some((id, chunk.parse().ok()?))
}

/// A version that could not be embedded, and why.
#[derive(Clone, Debug)]
pub struct Fault {
    pub plan: Arc<Plan>,
    pub failure: Failure,
}

/// A plan with one vector for each of its chunks.
pub type EmbeddedPlan = (Arc<Plan>, Vec<Vector>);

/// Plans in, embedded plans and faults out. `model` answers a plan with one
/// vector for each of its chunks.
pub fn graph<'scope>(
    plans: StreamVec<'scope, Epoch, Arc<Plan>>,
    budget: Budget,
    model: impl Stage<Arc<Plan>, Vec<Vector>> + 'static,
) -> (StreamVec<'scope, Epoch, EmbeddedPlan>, StreamVec<'scope, Epoch, Fault>) {
    offload(plans, "Embed", budget, |plan: &Arc<Plan>| plan.bytes(), model).ok_err(checked)
}

/// An answer with a vector for each chunk, or the fault.
fn checked((plan, answer): (Arc<Plan>, Answer<Vec<Vector>>)) -> Result<EmbeddedPlan, Fault> {
    match answer {
        Ok(vectors) if vectors.len() == plan.chunks.len() => Ok((plan, vectors)),
        Ok(vectors) => {
            let failure =
                Failure::Error(format!("{} vectors for {} chunks", vectors.len(), plan.chunks.len()));
            Err(Fault { plan, failure })
        }
        Err(failure) => Err(Fault { plan, failure }),
    }
}

#[cfg(test)]
mod tests;
