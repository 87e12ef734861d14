//! The text of a response in, a [`Feed`] out: entries as the platform gave them,
//! and what the publisher says about polling.
//!
//! feed-rs parses. It gives up on a whole document for one fault, so on failure
//! (and for a document that is not safe as a whole) every entry is parsed by
//! itself, with bare ampersands repaired; entries that still fail are counted.
//! Entities that a document defines are never expanded.

use std::time::Duration;

use feed_rs::model;
use feed_rs::parser::{self, Parser};

use super::decode;
use super::outline::{self, Outline};

/// A feed as it was read.
#[derive(Debug, Default)]
pub struct Feed {
    pub title: Option<String>,
    pub lang: Option<String>,
    /// The feed's own names: people, for entries that name nobody.
    pub author: Option<model::Person>,
    pub entries: Vec<model::Entry>,
    /// Milliseconds that `<itunes:duration>` says, by entry; empty where no entry has one.
    pub lengths_ms: Vec<Option<u64>>,
    /// Entries that could not be read.
    pub skipped: usize,
    pub wishes: Wishes,
}

/// What the feed itself says about polling.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Wishes {
    pub ttl_s: Option<u64>,
    /// Hours of the day (UTC) not to poll in.
    pub skip_hours: Vec<u8>,
    /// Days not to poll on, 1 = Monday to 7 = Sunday.
    pub skip_days: Vec<u8>,
}

/// Why a body is not a feed. Says what it is, without its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAFeed {
    #[error("the response is empty")]
    Empty,
    #[error("received an HTML page, not a feed")]
    Html,
    #[error("received XML with the root <{0}>, not a feed")]
    Xml(String),
    #[error("received {0}, not a feed")]
    Other(String),
    #[error("the feed is not readable ({entries} entries found, none readable): {reason}")]
    Broken { entries: usize, reason: String },
}

/// Reads a body. `base` resolves relative links, `content_type` is the header.
pub fn read(body: &[u8], content_type: Option<&str>, base: &str) -> Result<Feed, NotAFeed> {
    let charset = content_type.and_then(charset);
    let decoded = decode::decode(body, charset);
    let text = outline::without_doctype(&decoded);
    if let Some(refusal) = refuse(text, &decoded, content_type) {
        return Err(refusal);
    }
    let mut reason = String::from("it multiplies when read as a whole");
    if text.starts_with('{') || outline::is_safe(text) {
        match parser_for(base).parse(text.as_bytes()) {
            Ok(feed) => {
                let mut feed = finish(feed, 0, text);
                if text.contains(DURATION) {
                    let outline = outline::outline(text);
                    let lengths = outline.entries.iter().map(|entry| length_ms(entry));
                    feed.lengths_ms = lengths.collect();
                }
                return Ok(feed);
            }
            Err(error) => reason = error.to_string(),
        }
    }
    if text.starts_with('{') {
        return salvage_json(text, base, &reason);
    }
    salvage(text, base, reason)
}

/// What clearly is no feed, told by its first bytes.
fn refuse(text: &str, decoded: &str, content_type: Option<&str>) -> Option<NotAFeed> {
    if text.trim().is_empty() && decoded.trim().is_empty() {
        return Some(NotAFeed::Empty);
    }
    let start: String = decoded.chars().take(200).collect::<String>().to_ascii_lowercase();
    if start.starts_with("<!doctype html") || start.starts_with("<html") {
        return Some(NotAFeed::Html);
    }
    if !text.starts_with(['<', '{']) {
        let kind = content_type.map_or("data", |c| c.split(';').next().unwrap_or(c).trim());
        return Some(NotAFeed::Other(kind.chars().take(80).collect()));
    }
    None
}

/// Entry by entry.
fn salvage(text: &str, base: &str, reason: String) -> Result<Feed, NotAFeed> {
    let outline = outline::outline(text);
    match outline.root {
        Some("rss" | "RDF" | "feed" | "entry") => {}
        Some("html" | "HTML") => return Err(NotAFeed::Html),
        Some(other) => return Err(NotAFeed::Xml(other.chars().take(40).collect())),
        None => return Err(NotAFeed::Other("text without markup".into())),
    }
    let mut entries = Vec::new();
    let mut lengths_ms = Vec::new();
    for entry in &outline.entries {
        if let Some(parsed) = entry_alone(&outline, entry, base) {
            entries.push(parsed);
            lengths_ms.push(length_ms(entry));
        }
    }
    let skipped = outline.entries.len() - entries.len();
    if entries.is_empty() {
        return Err(NotAFeed::Broken { entries: skipped, reason });
    }
    let head = outline.head_only();
    let mut feed = Some(head.as_str())
        .filter(|head| outline::is_safe(head))
        .and_then(|head| {
            let parsed = parser_for(base).parse(head.as_bytes());
            parsed.or_else(|_| parser_for(base).parse(escape_bare_ampersands(head).as_bytes())).ok()
        })
        .map_or_else(Feed::default, |feed| finish(feed, 0, text));
    feed.entries = entries;
    feed.lengths_ms = lengths_ms;
    feed.skipped = skipped;
    Ok(feed)
}

const DURATION: &str = "<itunes:duration>";

/// What a podcast says of the length of an episode: seconds, m:ss or h:mm:ss. feed-rs
/// forgets it where the episode has no summary of iTunes' own.
fn length_ms(entry: &str) -> Option<u64> {
    let (_, rest) = entry.split_once(DURATION)?;
    let (value, _) = rest.split_once('<')?;
    let mut seconds: u64 = 0;
    for part in value.trim().split(':') {
        let part: u64 = part.trim().parse().ok().filter(|n| *n < 1_000_000)?;
        seconds = seconds.checked_mul(60)?.checked_add(part)?;
    }
    seconds.checked_mul(1_000).filter(|ms| *ms > 0)
}

const HEAD_KEYS_MAX: usize = 20;
const HEAD_VALUE_BYTES_MAX: usize = 500;

/// Item by item, of a JSON Feed.
fn salvage_json(text: &str, base: &str, reason: &str) -> Result<Feed, NotAFeed> {
    let no_feed = || NotAFeed::Other(format!("JSON that is no feed ({reason})"));
    let mut head: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|_| no_feed())?;
    let Some(serde_json::Value::Array(items)) = head.remove("items") else { return Err(no_feed()) };
    // It is repeated for every item: only what is small.
    head.retain(|_, value| value.to_string().len() <= HEAD_VALUE_BYTES_MAX);
    let head: serde_json::Map<_, _> = head.into_iter().take(HEAD_KEYS_MAX).collect();
    let alone = |items: Vec<serde_json::Value>| {
        let mut document = head.clone();
        document.insert("items".into(), items.into());
        parser_for(base).parse(serde_json::Value::from(document).to_string().as_bytes())
    };
    let mut feed = finish(alone(Vec::new()).map_err(|_| no_feed())?, 0, text);
    for item in items {
        match alone(vec![item]) {
            Ok(parsed) => feed.entries.extend(parsed.entries),
            Err(_) => feed.skipped += 1,
        }
    }
    if feed.entries.is_empty() && feed.skipped > 0 {
        return Err(NotAFeed::Broken { entries: feed.skipped, reason: reason.to_string() });
    }
    Ok(feed)
}

fn entry_alone(outline: &Outline<'_>, entry: &str, base: &str) -> Option<model::Entry> {
    let document = outline.wrap(entry);
    if !outline::is_safe(&document) {
        return None;
    }
    let parsed = parser_for(base)
        .parse(document.as_bytes())
        .or_else(|_| parser_for(base).parse(outline.wrap(&escape_bare_ampersands(entry)).as_bytes()));
    parsed.ok()?.entries.pop()
}

/// Sanitising is off because Enrich turns HTML into text; generated ids are empty
/// because a made-up one must not pass for the publisher's.
fn parser_for(base: &str) -> Parser {
    parser::Builder::new()
        .base_uri(Some(base))
        .sanitize_content(false)
        .id_generator(|_, _, _| String::new())
        .build()
}

fn finish(feed: model::Feed, skipped: usize, text: &str) -> Feed {
    // Only the head can hold the publisher's wishes: entries come later, and long.
    let head = &text[..text.find("<item").or_else(|| text.find("<entry")).unwrap_or(text.len())];
    let wishes = Wishes {
        ttl_s: feed.ttl.map(|minutes| Duration::from_secs(u64::from(minutes) * 60).as_secs()),
        skip_hours: values(head, "skipHours", "hour")
            .filter_map(|h| h.parse().ok())
            .map(|h: u8| h % 24)
            .collect(),
        skip_days: values(head, "skipDays", "day").filter_map(weekday).collect(),
    };
    Feed {
        title: feed.title.map(|t| t.content.trim().to_string()).filter(|t| !t.is_empty()),
        lang: feed.language,
        author: feed.authors.into_iter().next(),
        entries: feed.entries,
        lengths_ms: Vec::new(),
        skipped,
        wishes,
    }
}

/// The texts of every `<inner>` in the first `<outer>`, which feed-rs does not read.
fn values<'a>(head: &'a str, outer: &str, inner: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let block = head
        .split_once(&format!("<{outer}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{outer}>")))
        .map_or("", |(block, _)| block);
    let start = format!("<{inner}>");
    block.split('<').filter_map(move |part| part.strip_prefix(&start[1..])).map(str::trim)
}

fn weekday(name: &str) -> Option<u8> {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let at = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name))?;
    u8::try_from(at + 1).ok()
}

fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim())
    })
}

/// `a & b` -> `a &amp; b`, outside of CDATA; references stay as they are.
fn escape_bare_ampersands(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("<![CDATA[") {
            let end = rest.find("]]>").map_or(rest.len(), |end| end + 3);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else {
            out.push_str(if rest.starts_with('&') && !is_reference(rest) { "&amp;" } else { &rest[..1] });
            rest = &rest[1..];
        }
    }
    out + rest
}

/// Whether `&…` is a whole reference.
fn is_reference(text: &str) -> bool {
    const NAME_BYTES_MAX: usize = 32;
    let Some(end) = text.bytes().take(NAME_BYTES_MAX).position(|b| b == b';') else { return false };
    let name = text[1..end].strip_prefix('#').unwrap_or(&text[1..end]);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://example.org/feed";

    fn rss(items: &str) -> String {
        format!("<rss version=\"2.0\"><channel><title>T</title>{items}</channel></rss>")
    }

    #[test]
    fn one_broken_entry_costs_itself() {
        let good = "<item><guid>1</guid><title>one</title></item>";
        let last = "<item><guid>3</guid><title>three</title></item>";
        for broken in [
            "<item><guid>2</guid><title>two</b></title></item>",
            "<item><guid>2</guid><title>two",
            "<item><guid>2</guid><a href=\"x></item>",
            "<item><guid>2</guid><title>&#xFFFFFFF;</title></item>",
        ] {
            let feed = read(rss(&format!("{good}{broken}{last}")).as_bytes(), None, BASE).expect(broken);
            let ids: Vec<&str> = feed.entries.iter().map(|e| e.id.as_str()).collect();
            assert_eq!((ids, feed.skipped), (vec!["1", "3"], 1), "{broken}");
            assert_eq!(feed.title.as_deref(), Some("T"));
        }
    }

    #[test]
    fn atom_faults_that_feed_rs_refuses_cost_one_entry() {
        let text = "<feed xmlns=\"http://www.w3.org/2005/Atom\"><title>T</title>\
            <entry><id>1</id><title>one</title></entry>\
            <entry><id>2</id><title type=\"image/png\">two</title></entry></feed>";
        let feed = read(text.as_bytes(), None, BASE).expect("one is readable");
        assert_eq!((feed.entries.len(), feed.skipped), (1, 1));
        assert_eq!(feed.entries[0].title.as_ref().map(|t| t.content.as_str()), Some("one"));
    }

    #[test]
    fn a_truncated_feed_keeps_its_whole_entries() {
        let text = rss("<item><guid>1</guid></item><item><guid>2</guid></item>");
        let feed = read(&text.as_bytes()[..text.len() - 30], None, BASE).expect("the first is whole");
        assert_eq!((feed.entries.len(), feed.skipped), (1, 1));
    }

    #[test]
    fn bare_ampersands_are_repaired() {
        let text =
            rss("<item><guid>1</guid><title>a & b &amp; c</title><link>https://e.org/?a=1&b=2</link></item>");
        let feed = read(text.as_bytes(), None, BASE).expect("repaired");
        assert_eq!(feed.skipped, 0);
        assert_eq!(feed.entries[0].title.as_ref().map(|t| t.content.as_str()), Some("a & b & c"));
        assert_eq!(feed.entries[0].links[0].href, "https://e.org/?a=1&b=2");
    }

    #[test]
    fn entities_are_not_expanded() {
        let mut text = String::from("<?xml version=\"1.0\"?><!DOCTYPE rss [<!ENTITY l0 \"lol\">");
        for level in 1..12 {
            let body = format!("&l{};", level - 1).repeat(10);
            text.push_str(&format!("<!ENTITY l{level} \"{body}\">"));
        }
        text.push_str("<!ENTITY x SYSTEM \"file:///etc/passwd\">]>");
        text.push_str(&rss("<item><guid>1</guid><title>&l11;&x;</title></item>"));
        let feed = read(text.as_bytes(), None, BASE).expect("readable");
        assert_eq!(feed.entries[0].title.as_ref().map(|t| t.content.as_str()), Some("&l11;&x;"));
    }

    #[test]
    fn nested_groups_do_not_reach_the_parser() {
        let deep = "<media:group>".repeat(60_000);
        let text = format!(
            "<rss version=\"2.0\" xmlns:media=\"http://search.yahoo.com/mrss/\"><channel>\
             <item><guid>1</guid></item><item><guid>2</guid>{deep}</item></channel></rss>"
        );
        let feed = read(text.as_bytes(), None, BASE).expect("the first is readable");
        assert_eq!((feed.entries.len(), feed.skipped), (1, 1));
    }

    #[test]
    fn what_is_no_feed_is_named() {
        let cases = [
            ("", "empty"),
            ("<!DOCTYPE html><html><body>x</body></html>", "HTML page"),
            ("\n<html lang='en'><body>x", "HTML page"),
            (
                "<?xml version='1.0'?><!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0 Strict//EN' 'x'><html/>",
                "HTML page",
            ),
            ("<opml><body/></opml>", "root <opml>"),
            ("{\"a\": 1}", "JSON that is no feed"),
            ("not found", "received text/plain"),
        ];
        for (body, part) in cases {
            let error =
                read(body.as_bytes(), Some("text/plain; charset=utf-8"), BASE).expect_err(body).to_string();
            assert!(error.contains(part), "{body:?}: {error}");
        }
    }

    #[test]
    fn the_publishers_wishes_are_read() {
        let text = rss("<ttl>90</ttl><skipHours><hour>0</hour><hour> 24 </hour><hour>7</hour></skipHours>\
            <skipDays><day>Saturday</day><day>sunday</day></skipDays>");
        let feed = read(text.as_bytes(), None, BASE).expect("valid, and empty");
        let expected = Wishes { ttl_s: Some(5400), skip_hours: vec![0, 0, 7], skip_days: vec![6, 7] };
        assert_eq!(feed.wishes, expected);
    }
}
