//! content.enriched, content.vectors and control.clock become changes; what cannot be read,
//! dead letters.

use std::borrow::Cow;

use serde::Deserialize;

use super::item::symbol;
use super::items::{Change, Vectored, Versioned};
use super::shown::Shown;
use super::signature::Signature;
use super::sketch::Sketch;
use crate::embed::{VERSION_HEADER, parse_chunk_key, parse_version};
use crate::event::{Sentiment, Version};
use crate::faults::{Fault, Reason};
use crate::pii::without_masks;
use crate::record::{Stored, topic};
use crate::time::Millis;
use crate::vector::Vector;

/// Characters of a title that a story shows.
const TITLE_CHARS_MAX: usize = 140;

/// What is read of [`crate::event::Enriched`].
#[derive(Deserialize)]
struct Enriched<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    version: Version,
    #[serde(borrow)]
    content: Option<Content<'a>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    platform: Cow<'a, str>,
    published_at: Millis,
    #[serde(borrow)]
    author: Option<Id<'a>>,
    #[serde(borrow)]
    channel: Option<Id<'a>>,
    #[serde(borrow)]
    title: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    url: Option<Text<'a>>,
    sentiment: Option<Sentiment>,
    topics: Vec<String>,
    #[serde(default)]
    signature: Option<Signature>,
}

/// Borrowed where it has no escapes; serde borrows no `Cow` that is in an `Option`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Id<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// What is read of [`crate::embed::Embedded`].
#[derive(Deserialize)]
struct Embedded<'a> {
    version: Version,
    #[serde(borrow)]
    model: Cow<'a, str>,
    vector: Vector,
    #[serde(borrow)]
    payload: Payload<'a>,
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    published_at: Millis,
}

/// One record in; a change out, if it is of the start of a text.
pub fn decode(stored: &Stored) -> Result<Option<Change>, Fault> {
    if &*stored.topic == topic::CLOCK {
        return Ok(None);
    }
    if &*stored.topic == topic::VECTORS {
        return vector(stored);
    }
    let malformed =
        |e: &dyn std::fmt::Display| Fault::new(Reason::Malformed, format!("not an enriched record: {e}"));
    let Some(value) = &stored.value else {
        let id = std::str::from_utf8(&stored.key).map_err(|e| malformed(&e))?;
        return Ok(Some(Change::Gone(id.into())));
    };
    let enriched: Enriched<'_> = serde_json::from_slice(value).map_err(|e| malformed(&e))?;
    Ok(Some(match enriched.content {
        None => Change::Gone(enriched.id.into()),
        Some(content) => Change::Version(Box::new(versioned(&enriched.id, enriched.version, &content))),
    }))
}

fn versioned(id: &str, version: Version, content: &Content<'_>) -> Versioned {
    let (title, text) = (content.title.as_ref().map(|t| &*t.0), content.text.as_ref().map(|t| &*t.0));
    let heading = title.filter(|t| !t.trim().is_empty());
    let shown = Shown {
        id,
        platform: &content.platform,
        author: content.author.as_ref().or(content.channel.as_ref()).map(|a| &*a.id),
        title: &shortened(heading.or(text).unwrap_or_default()),
        has_title: heading.is_some(),
        url: content.url.as_ref().map(|url| &*url.0),
        topics: content.topics.iter().map(String::as_str).collect(),
        compound: content.sentiment.map(|s| s.compound_e4()),
    };
    Versioned {
        version,
        published_at: content.published_at,
        text: symbol(&crate::event::analysed_text(title, text)),
        signature: content.signature,
        shown: shown.packed(),
    }
}

fn vector(stored: &Stored) -> Result<Option<Change>, Fault> {
    let malformed =
        |e: &dyn std::fmt::Display| Fault::new(Reason::Malformed, format!("not a record of vectors: {e}"));
    let (id, chunk) = parse_chunk_key(&stored.key).ok_or_else(|| malformed(&"its key names no chunk"))?;
    if chunk != 0 {
        return Ok(None);
    }
    let Some(value) = &stored.value else {
        let version = stored.headers.get(VERSION_HEADER).and_then(parse_version);
        let version = version.unwrap_or(Version { revision: u64::MAX, enrichment: u32::MAX });
        return Ok(Some(Change::VectorGone(id.into(), version)));
    };
    let embedded: Embedded<'_> = serde_json::from_slice(value).map_err(|e| malformed(&e))?;
    if !Signature::is_of(&without_masks(&embedded.payload.text)) {
        // Of a text that is too short: nothing will ask for it.
        return Ok(Some(Change::VectorGone(id.into(), embedded.version)));
    }
    Ok(Some(Change::Vector(Box::new(Vectored {
        id: id.into(),
        version: embedded.version,
        published_at: embedded.payload.published_at,
        sketch: Sketch::of(&embedded.model, &embedded.vector.0),
    }))))
}

/// The first line that says something, cut between words where it is long.
fn shortened(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let Some((limit, _)) = line.char_indices().nth(TITLE_CHARS_MAX) else { return line.to_string() };
    let cut = line[..limit].rfind(char::is_whitespace).filter(|at| *at * 2 > limit).unwrap_or(limit);
    format!("{}…", line[..cut].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed;
    use crate::event::Enriched;
    use crate::record::Headers;

    fn stored(topic: &str, key: &str, value: Option<&str>) -> Stored {
        Stored {
            topic: topic.into(),
            partition: 0,
            offset: 0,
            timestamp_ms: 1,
            key: key.into(),
            value: value.map(Into::into),
            headers: Headers::from_iter([(VERSION_HEADER, "4.1")]),
        }
    }

    #[test]
    fn reads_what_enrich_and_embed_write() {
        let signature = Signature::of("one two three four five six seven").expect("long enough");
        let json = format!(
            r#"{{"id":"x:1","change":"updated","version":{{"revision":4,"enrichment":1}},
            "ingested_at":"2026-11-24T10:00:00Z","content_hash":"00","previous":null,
            "content":{{"platform":"x","native_id":"1","kind":"post","published_at":"2026-11-24T09:00:00Z",
            "author":{{"id":"a","name":"A"}},"channel":{{"id":"c"}},"thread_id":null,"title":"t \"q\"","text":"more",
            "lang":"en","url":"https://example.org","engagement":{{"likes":4}},"reply_to":null,
            "sentiment":{{"compound":0.1234,"positive":0.1,"neutral":0.9,"negative":0.0}},"topics":["a"],
            "signature":{},"analyzers":{{}}}}}}"#,
            serde_json::to_string(&signature).expect("plain")
        );
        let enriched: Enriched = serde_json::from_str(&json).expect("valid");
        let written = serde_json::to_string(&enriched).expect("plain");
        let Ok(Some(Change::Version(read))) = decode(&stored(topic::ENRICHED, "x:1", Some(&written))) else {
            panic!("a version");
        };
        assert_eq!(read.signature, Some(signature));
        let shown = Shown {
            id: "x:1",
            platform: "x",
            author: Some("a"),
            title: "t \"q\"",
            has_title: true,
            url: Some("https://example.org"),
            topics: vec!["a"],
            compound: Some(1234),
        };
        assert_eq!(read.shown.shown(), shown);
        assert_eq!(read.text, symbol("t \"q\"\nmore"));

        let limits = embed::Limits { chunk_chars_max: 100, chunks_per_item_max: 2 };
        let mut enriched = enriched;
        enriched.content.as_mut().expect("content").text = Some("one two three four five six".into());
        let records = embed::plan(&enriched, 0, 2, limits).records("m", &[Vector(vec![1.0, 0.5])]);
        let value = std::str::from_utf8(records[0].value.as_ref().expect("a vector")).expect("text");
        let Ok(Some(Change::Vector(read))) = decode(&stored(topic::VECTORS, "x:1#0", Some(value))) else {
            panic!("a vector");
        };
        assert_eq!(read.sketch, Sketch::of("m", &[1.0, 0.5]));
        assert_eq!(read.version, enriched.version);
    }

    #[test]
    fn tombstones_deletions_other_chunks_and_nonsense() {
        let gone = |topic, key| decode(&stored(topic, key, None)).expect("a tombstone");
        let version = Version { revision: 4, enrichment: 1 };
        assert_eq!(gone(topic::ENRICHED, "x:1"), Some(Change::Gone("x:1".into())));
        assert_eq!(gone(topic::VECTORS, "x:1#0"), Some(Change::VectorGone("x:1".into(), version)));
        assert_eq!(gone(topic::VECTORS, "x:1#1"), None);
        assert_eq!(gone(topic::CLOCK, "tick"), None);
        assert!(decode(&stored(topic::ENRICHED, "x:1", Some("{}"))).is_err());
        assert!(decode(&stored(topic::VECTORS, "x:1#0", Some("{}"))).is_err());
        assert!(decode(&stored(topic::VECTORS, "x:1", Some("{}"))).is_err());
    }

    #[test]
    fn titles_are_one_line_and_short() {
        assert_eq!(shortened("\n  first line \nsecond"), "first line");
        let long = "word ".repeat(60);
        let short = shortened(&long);
        assert!(short.chars().count() <= TITLE_CHARS_MAX + 1 && short.ends_with("word…"), "{short}");
        assert_eq!(shortened(&"x".repeat(200)).chars().count(), TITLE_CHARS_MAX + 1);
        assert_eq!(shortened(""), "");
    }
}
