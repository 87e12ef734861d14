//! The vocabulary: what producers say ([`ContentEvent`]) and what Enrich makes of
//! it ([`Enriched`]).

mod decode;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// What kind of content an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Post,
    Comment,
    Message,
    Article,
    Video,
    Audio,
    Live,
}

/// What happened to the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Created,
    Updated,
    Deleted,
}

/// An author or a channel: an id that is unique on its platform, and a name to show.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Party {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The latest counts that the platform shows; absent ones are unknown and count as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Engagement {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub views: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comments: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u32>,
}

/// Audio or video that belongs to the item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Media {
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// What a poller or a producer says happened, one record of content.events.
///
/// A deletion needs only `platform`, `native_id` and `change`; everything else
/// also needs `kind` and `published_at`. Fields that are not named here are kept
/// in `other`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ContentEvent {
    pub platform: String,
    pub native_id: String,
    pub change: Change,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Party>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Party>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engagement: Option<Engagement>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Fields this version does not know, kept for a later one.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl ContentEvent {
    /// Says that an item is gone: a deletion needs no more than its id.
    pub fn deletion(
        platform: impl Into<String>,
        native_id: impl Into<String>,
        revision: Option<u64>,
    ) -> Self {
        Self {
            platform: platform.into(),
            native_id: native_id.into(),
            change: Change::Deleted,
            kind: None,
            revision,
            published_at: None,
            author: None,
            channel: None,
            thread_id: None,
            title: None,
            text: None,
            lang: None,
            url: None,
            engagement: None,
            media: Vec::new(),
            reply_to: None,
            other: BTreeMap::new(),
        }
    }

    /// `platform:native_id`.
    pub fn content_id(&self) -> String {
        content_id(&self.platform, &self.native_id)
    }
}

pub fn content_id(platform: &str, native_id: &str) -> String {
    format!("{platform}:{native_id}")
}

/// What Analyse counts of one version of one item: one type for plus and minus,
/// so that a retraction removes exactly what was added.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Contribution {
    pub published_at: Millis,
    pub platform: String,
    pub channel: Option<String>,
    pub author: Option<String>,
    /// Names of the watched topics the text is in, sorted, each once.
    pub topics: Vec<String>,
    /// Hashtags and keyphrases of the text, sorted, each once; see [`crate::text::terms`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<String>,
    /// VADER's compound in units of 1e-4, -10000..=10000; `None` is not scored.
    pub compound: Option<i32>,
    pub engagement: Engagement,
}

/// The version of an item: the source's revision, and how often its
/// understanding was renewed without a new revision.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Version {
    pub revision: u64,
    pub enrichment: u32,
}

/// One version of one item as Enrich understood it, one record of content.enriched.
/// A deletion carries no content, only `version` and `previous`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Enriched {
    pub id: String,
    pub change: Change,
    pub version: Version,
    /// When the log took the event in: the pipeline clock.
    pub ingested_at: Millis,
    /// Hash of the event's content, 32 hexadecimal digits: an equal one is a duplicate.
    pub content_hash: String,
    /// What the version before this one contributed; `None` for the first, and
    /// after a deletion.
    pub previous: Option<Contribution>,
    /// `None` in a deletion.
    pub content: Option<Content>,
}

/// The content of one version: text is plain text, and personal values in title, text,
/// names and addresses are masks such as `[email:3f9a1c2b7d]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Content {
    pub platform: String,
    pub native_id: String,
    pub kind: Kind,
    pub published_at: Millis,
    pub author: Option<Party>,
    pub channel: Option<Party>,
    pub thread_id: Option<String>,
    pub title: Option<String>,
    /// Without markup; `None` where the event had none.
    pub text: Option<String>,
    /// ISO 639-1 where known: identified on long texts, declared by the source on short ones.
    pub lang: Option<String>,
    pub url: Option<String>,
    #[serde(default)]
    pub engagement: Engagement,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media>,
    pub reply_to: Option<String>,
    /// `None` when sentiment analysis is off for this item or there is no text.
    pub sentiment: Option<Sentiment>,
    pub topics: Vec<String>,
    /// Hashtags and keyphrases, lower-cased, sorted, each once; see [`crate::text::terms`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<String>,
    /// Analyzer -> its version.
    pub analyzers: BTreeMap<String, String>,
}

/// Sentiment of the analysed text; see [`crate::text::sentiment`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sentiment {
    /// -1 (most negative) to 1 (most positive), 4 decimals.
    pub compound: f64,
    pub positive: f64,
    pub neutral: f64,
    pub negative: f64,
}

impl Sentiment {
    /// The compound as a whole number of 1e-4, so that sums retract exactly.
    pub fn compound_e4(&self) -> i32 {
        (self.compound * 1e4).round() as i32
    }
}

impl Enriched {
    /// What Analyse counts of this version: nothing for a deletion.
    pub fn contribution(&self) -> Option<Contribution> {
        let content = self.content.as_ref()?;
        Some(Contribution {
            published_at: content.published_at,
            platform: content.platform.clone(),
            channel: content.channel.as_ref().map(|c| c.id.clone()),
            author: content.author.as_ref().map(|a| a.id.clone()),
            topics: content.topics.clone(),
            terms: content.terms.clone(),
            compound: content.sentiment.map(|s| s.compound_e4()),
            engagement: content.engagement,
        })
    }
}

impl Content {
    /// The text that analysis reads: title, newline, text; or the one there is.
    pub fn analysed_text(&self) -> String {
        analysed_text(self.title.as_deref(), self.text.as_deref())
    }
}

pub fn analysed_text(title: Option<&str>, text: Option<&str>) -> String {
    match (title, text) {
        (Some(title), Some(text)) => format!("{title}\n{text}"),
        (Some(only), None) | (None, Some(only)) => only.to_string(),
        (None, None) => String::new(),
    }
}
