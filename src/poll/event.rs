//! A feed's entry in, a [`Draft`] of a content event out; and a content event as
//! the record that content.events holds.
//!
//! How an entry maps: `kind` is audio or video when it has such an enclosure,
//! else article; `channel` is the feed (id = its key's URL, name = its title);
//! `text` is the content, or the summary, as HTML, which Enrich turns into text;
//! `media` are the enclosures that are audio or video. There is no revision:
//! feeds have none.

use dataflows::event::{self, Change, ContentEvent, Media, Party};
use dataflows::faults::cloud_event;
use dataflows::record::{Record, topic};
use dataflows::time::Millis;
use feed_rs::model;
use url::Url;

use super::feed::Feed;
use super::identity::{self, Aliases, Hash};
use super::source::{Kind, Source};
use super::youtube;

/// An event that lacks what only history knows: its id, its change, and when the
/// item was first seen.
#[derive(Clone, Debug)]
pub struct Draft {
    pub event: ContentEvent,
    pub aliases: Aliases,
    /// Of everything that makes it another version: not its date, nor the feed's name.
    pub content: Hash,
}

/// The entries of a feed, in its order.
pub fn drafts(source: &Source, feed: Feed, step_ratio: f64) -> Vec<Draft> {
    let channel =
        Party { id: source.url.to_string(), name: Some(feed.title.unwrap_or_else(|| source.name.clone())) };
    let author = feed.author.as_ref().and_then(party);
    let lang = feed.lang.as_deref();
    // Of a feed that was read in one piece there is one length for each entry.
    let lengths = if feed.lengths_ms.len() == feed.entries.len() { &feed.lengths_ms[..] } else { &[] };
    let drafts = feed.entries.iter().enumerate().filter_map(|(at, entry)| {
        let mut draft = draft(source, &channel, author.as_ref(), lang, entry);
        // It belongs to the one enclosure of an episode, and says so beside it.
        if let [Media { duration_ms: duration @ None, .. }] = &mut draft.event.media[..] {
            *duration = lengths.get(at).copied().flatten();
        }
        match source.kind {
            Kind::Youtube => youtube::of_feed(draft, entry, step_ratio),
            _ => Some(draft),
        }
    });
    drafts.collect()
}

fn draft(
    source: &Source,
    channel: &Party,
    feed_author: Option<&Party>,
    feed_lang: Option<&str>,
    entry: &model::Entry,
) -> Draft {
    let guid = Some(entry.id.trim()).filter(|id| !id.is_empty());
    let url = link(entry);
    let canonical = url.as_deref().map(identity::canonical_link);
    let title = entry.title.as_ref().map(|t| t.content.trim().to_string()).filter(|t| !t.is_empty());
    let text = text(entry);
    let media = media(entry);
    let author = entry.authors.iter().find_map(party);
    let published = entry.published.or(entry.updated).map(|t| Millis(t.timestamp_millis()));

    let headline = title.as_deref().or(text.as_deref()).unwrap_or_default();
    let aliases = Aliases::new(guid, canonical.as_deref(), headline, published);
    let author_name = author.as_ref().map(|a| a.name.as_deref().unwrap_or(&a.id));
    // Of a media address only what precedes the query counts: signatures change.
    let media_paths: Vec<&str> = media.iter().map(|m| m.url.split('?').next().unwrap_or_default()).collect();
    let content = Hash::of(&[
        title.as_deref().unwrap_or_default(),
        text.as_deref().unwrap_or_default(),
        canonical.as_deref().unwrap_or_default(),
        author_name.unwrap_or_default(),
        &media_paths.join("\n"),
    ]);
    let event = ContentEvent {
        platform: source.platform.clone(),
        native_id: String::new(),
        change: Change::Created,
        kind: Some(kind(&media)),
        revision: None,
        published_at: published,
        author: author.or_else(|| feed_author.cloned()),
        channel: Some(channel.clone()),
        thread_id: None,
        title,
        text,
        lang: entry
            .language
            .as_deref()
            .or(feed_lang)
            .map(|l| l.trim().to_lowercase())
            .filter(|l| !l.is_empty()),
        url,
        engagement: None,
        media,
        reply_to: None,
        other: Default::default(),
    };
    Draft { event, aliases, content }
}

/// The page of the entry; a guid that is a URL serves where there is no link.
fn link(entry: &model::Entry) -> Option<String> {
    let page = |rel: Option<&str>| matches!(rel, None | Some("alternate"));
    let own = entry
        .links
        .iter()
        .filter(|l| l.target.is_none() && !is_attachment(l))
        .find(|l| page(l.rel.as_deref()));
    let found = own.map_or(entry.id.trim(), |l| l.href.trim());
    Url::parse(found).ok().filter(|u| matches!(u.scheme(), "http" | "https")).map(String::from)
}

/// HTML; what is declared as plain text is escaped, so that it survives as text.
fn text(entry: &model::Entry) -> Option<String> {
    let content = entry.content.as_ref().and_then(|c| Some((c.body.as_deref()?, c.content_type.to_string())));
    let summary = || entry.summary.as_ref().map(|s| (s.content.as_str(), s.content_type.to_string()));
    let described = || {
        let of_media = entry.media.iter().find_map(|m| m.description.as_ref());
        of_media.map(|d| (d.content.as_str(), d.content_type.to_string()))
    };
    let not_empty = |(body, _): &(&str, String)| !body.trim().is_empty();
    let (body, mime) = content
        .filter(not_empty)
        .or_else(|| summary().filter(not_empty))
        .or_else(|| described().filter(not_empty))?;
    let body = body.trim();
    Some(if mime.starts_with("text/plain") { escape(body) } else { body.to_string() })
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn party(person: &model::Person) -> Option<Party> {
    let clean = |t: &Option<String>| t.as_deref().map(str::trim).filter(|t| !t.is_empty()).map(String::from);
    let name = clean(&person.name).or_else(|| clean(&person.email))?;
    Some(Party { id: clean(&person.uri).unwrap_or_else(|| name.clone()), name: Some(name) })
}

fn media(entry: &model::Entry) -> Vec<Media> {
    let attached = entry.media.iter().flat_map(|object| {
        object.content.iter().filter_map(move |content| {
            let url = content.url.as_ref()?;
            let mime = content.content_type.as_ref().map(ToString::to_string);
            let duration = content.duration.or(object.duration);
            Some((url.to_string(), mime, duration.and_then(|d| u64::try_from(d.as_millis()).ok())))
        })
    });
    let linked = entry
        .links
        .iter()
        .filter(|l| l.rel.as_deref() == Some("enclosure") || is_attachment(l))
        .map(|l| (l.href.clone(), l.media_type.clone(), None));
    let mut found: Vec<Media> = Vec::new();
    for (url, mime, duration_ms) in attached.chain(linked) {
        let Some(mime) = mime.filter(|m| is_played(m)).or_else(|| guess(&url)) else { continue };
        if url.starts_with("http") && found.iter().all(|m| m.url != url) {
            found.push(Media { url, mime: Some(mime), duration_ms });
        }
    }
    found
}

/// An attachment of a JSON Feed, which is a link without a role.
fn is_attachment(link: &model::Link) -> bool {
    link.rel.is_none() && link.media_type.as_deref().is_some_and(is_played)
}

fn is_played(mime: &str) -> bool {
    mime.starts_with("audio/") || mime.starts_with("video/")
}

pub(super) fn guess(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next()?;
    let mime = match path.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "mp3" => "audio/mpeg",
        "m4a" => "audio/mp4",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "wav" => "audio/wav",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        _ => return None,
    };
    Some(mime.to_string())
}

fn kind(media: &[Media]) -> event::Kind {
    let is = |what: &str| media.iter().any(|m| m.mime.as_deref().is_some_and(|mime| mime.starts_with(what)));
    if is("video/") {
        event::Kind::Video
    } else if is("audio/") {
        event::Kind::Audio
    } else {
        event::Kind::Article
    }
}

/// The record of an event, with the headers of the CloudEvents Kafka binding.
/// `ce_id` is the same whenever the same version is sent again.
pub fn record(event: &ContentEvent, source: &Source, content: Hash, fetched_ms: i64) -> Record {
    let id = event.content_id();
    let mut headers = cloud_event("content.event.v1", &format!("poll/{}", source.key), fetched_ms);
    let version = if event.change == Change::Deleted { "deleted".to_string() } else { content.hex() };
    headers.push("ce_id", format!("{id}#{version}").as_bytes());
    headers.push("fetched_at", Millis(fetched_ms).to_string().as_bytes());
    Record {
        topic: topic::EVENTS.into(),
        partition: None,
        key: id.into_bytes(),
        value: Some(serde_json::to_vec(event).expect("an event has string keys only, so JSON can hold it")),
        timestamp_ms: fetched_ms,
        headers,
    }
}
