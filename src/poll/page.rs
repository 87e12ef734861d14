//! The text of an HTML page in, the feeds and the channel that it names out.
//!
//! Only `<link>` and `<meta>` are looked for, by a scan that understands tags and
//! nothing else; it is linear in the page and never fails.

use url::Url;

/// Tags that are looked at in one page.
const TAGS_MAX: usize = 5_000;
/// Feeds that one page may offer.
const FEEDS_MAX: usize = 10;

/// The feeds that a page links to, in its order; those of comments last.
pub fn feeds(html: &str, page: &Url) -> Vec<Url> {
    const TYPES: [&str; 5] = [
        "application/rss+xml",
        "application/atom+xml",
        "application/feed+json",
        "application/json",
        "application/rdf+xml",
    ];
    let base = tags(html, "base").find_map(|tag| page.join(&attribute(tag, "href")?).ok());
    let base = base.as_ref().unwrap_or(page);
    let mut found: Vec<(bool, Url)> = Vec::new();
    for tag in tags(html, "link") {
        let rel = attribute(tag, "rel").unwrap_or_default().to_ascii_lowercase();
        let kind = attribute(tag, "type").unwrap_or_default().to_ascii_lowercase();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let alternate = rel.split_whitespace().any(|r| r == "alternate" || r == "feed");
        // WordPress links its JSON API this way too.
        let api = kind == "application/json" && !attribute(tag, "href").is_some_and(|h| h.contains("feed"));
        if !alternate || !TYPES.contains(&kind) || api {
            continue;
        }
        let Some(url) = attribute(tag, "href").and_then(|href| base.join(&href).ok()) else { continue };
        let title = attribute(tag, "title").unwrap_or_default().to_lowercase();
        let comments = title.contains("comment") || url.path().contains("/comments");
        if matches!(url.scheme(), "http" | "https") && found.iter().all(|(_, u)| *u != url) {
            found.push((comments, url));
        }
    }
    found.sort_by_key(|(comments, _)| *comments);
    found.truncate(FEEDS_MAX);
    found.into_iter().map(|(_, url)| url).collect()
}

/// The id of the channel that a YouTube page is about.
pub fn channel_id(html: &str) -> Option<String> {
    let of_url = |url: &str| {
        let (_, rest) = url.split_once("channel_id=").or_else(|| url.split_once("/channel/"))?;
        id(rest)
    };
    let links = tags(html, "link").filter_map(|tag| of_url(&attribute(tag, "href")?));
    let is_id =
        |tag: &&str| matches!(attribute(tag, "itemprop").as_deref(), Some("identifier" | "channelId"));
    let metas = tags(html, "meta").filter(is_id).filter_map(|tag| id(&attribute(tag, "content")?));
    let script = || ["\"externalId\":\"", "\"channelId\":\""].iter().find_map(|k| id(html.split_once(k)?.1));
    links.chain(metas).next().or_else(script)
}

/// A channel id at the start of a text.
fn id(text: &str) -> Option<String> {
    let id: String =
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(40).collect();
    (id.starts_with("UC") && id.len() >= 10).then_some(id)
}

/// The tags of one name, from their name to their end.
fn tags<'a>(html: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    html.match_indices('<')
        .filter_map(move |(at, _)| {
            let rest = &html[at + 1..];
            let start = rest.get(..name.len())?;
            let after = rest[name.len()..].chars().next()?;
            let is_name = start.eq_ignore_ascii_case(name) && (after.is_whitespace() || after == '/');
            is_name.then(|| &rest[..end(rest)])
        })
        .take(TAGS_MAX)
}

/// Where a tag ends: at a `>` outside of quotes, or soon.
fn end(tag: &str) -> usize {
    const TAG_BYTES_MAX: usize = 4_096;
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate().take(TAG_BYTES_MAX) {
        match (quote, byte) {
            (None, b'>') => return at,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    let mut end = tag.len().min(TAG_BYTES_MAX);
    while !tag.is_char_boundary(end) {
        end -= 1;
    }
    end
}

/// The value of an attribute, its references decoded.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag;
    while let Some(at) = rest.to_ascii_lowercase().find(name) {
        let before = rest[..at].chars().next_back();
        let after = rest[at + name.len()..].trim_start();
        if before.is_some_and(|c| c.is_whitespace() || matches!(c, '"' | '\''))
            && let Some(value) = after.strip_prefix('=')
        {
            let value = value.trim_start();
            let value = match value.chars().next()? {
                quote @ ('"' | '\'') => value[1..].split(quote).next()?,
                _ => value.split(|c: char| c.is_whitespace() || c == '>').next()?,
            };
            return Some(dataflows::text::html::to_text(value.trim()).into_owned());
        }
        rest = &rest[at + name.len()..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_feeds_are_found_however_they_are_written() {
        let html = r##"<!DOCTYPE html><html><head><base href="/blog/">
            <link rel="stylesheet" type="text/css" href="style.css">
            <link rel="alternate" type="application/rss+xml" title="Comments" href="/comments/feed">
            <LINK HREF='atom.xml?a=1&amp;b=2' TYPE='application/atom+xml; charset=utf-8' REL='alternate home'/>
            <link rel=alternate type=application/feed+json href=feed.json>
            <link rel="alternate" type="application/json" href="/wp-json/wp/v2/posts/1">
            <link rel="alternate" hreflang="de" href="/de">
            <link rel="alternate" type="application/rss+xml" href="javascript:alert(1)">
            <link data-href="x" rel="alternate" type="application/rss+xml" title="a > b" href="//other.org/feed">
            <link rel="alternate" type="application/rss+xml"></head>"##;
        let page = Url::parse("https://example.org/a/b").unwrap();
        let found: Vec<String> = feeds(html, &page).into_iter().map(String::from).collect();
        let expected = [
            "https://example.org/blog/atom.xml?a=1&b=2",
            "https://example.org/blog/feed.json",
            "https://other.org/feed",
            "https://example.org/comments/feed",
        ];
        assert_eq!(found, expected);
        assert!(feeds(&"<link ".repeat(100_000), &page).is_empty());
        assert!(feeds("<link rel=\"alternate\" é<", &page).is_empty());
    }

    #[test]
    fn a_channel_is_found_in_links_metas_and_scripts() {
        let id = "UCxxxxxxxxxxxxxxxxxxxxxx";
        for html in [
            format!("<link rel=\"canonical\" href=\"https://www.youtube.com/channel/{id}\">"),
            format!(
                "<link rel='alternate' href='https://www.youtube.com/feeds/videos.xml?channel_id={id}&amp;x'>"
            ),
            format!("<meta itemprop=\"identifier\" content=\"{id}\">"),
            format!("<script>var x = {{\"externalId\":\"{id}\",\"more\":1}}</script>"),
        ] {
            assert_eq!(channel_id(&html).as_deref(), Some(id), "{html}");
        }
        assert_eq!(channel_id("<link rel=\"canonical\" href=\"https://www.youtube.com/\">"), None);
    }
}
