//! `sources.toml` in, [`Source`]s out; everything wrong with the file at once.
//!
//! ```toml
//! [[source]]
//! type = "feed"
//! url = "https://example.org/feed.xml"
//! name = "Example"            # default: the host; unique
//! platform = "rss"            # default
//! interval_s = 900            # default: [poll] interval_s
//! backfill = "last:5"         # none (default), last:N, since:TIME
//! ```
//! A new platform is one more `type`: its own file under `poll/`, one arm here.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use dataflows::time::Millis;
use serde::Deserialize;
use url::Url;

/// The sources that are followed when nobody wrote a file of their own.
pub const DEFAULT: &str = include_str!("../../config/sources.toml");

/// Polls closer together than this only make a publisher block us.
pub const INTERVAL_MIN_S: u64 = 60;
const NAME_BYTES_MAX: usize = 100;

/// What to emit at the very first poll of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backfill {
    /// Nothing: what is there counts as seen.
    None,
    /// The newest N items.
    Last(usize),
    /// What was published since. Items without a date are not emitted.
    Since(Millis),
}

impl FromStr for Backfill {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("backfill = {text:?} is none of \"none\", \"last:N\", \"since:TIME\"");
        if text == "none" {
            return Ok(Self::None);
        }
        match text.split_once(':') {
            Some(("last", n)) => n.trim().parse().map(Self::Last).map_err(|_| bad()),
            Some(("since", time)) => {
                let time = time.trim();
                // A plain date is the start of that day in UTC.
                let whole = if time.contains('T') { time.to_string() } else { format!("{time}T00:00:00Z") };
                Millis::parse(&whole).map(Self::Since).map_err(|_| bad())
            }
            _ => Err(bad()),
        }
    }
}

/// One RSS or Atom feed to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Identity of the source in state and in content ids; see [`feed_key`].
    pub key: String,
    pub name: String,
    pub url: Url,
    pub platform: String,
    pub interval_s: Option<u64>,
    pub backfill: Backfill,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Table {
    Feed(FeedTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedTable {
    url: String,
    name: Option<String>,
    platform: Option<String>,
    interval_s: Option<u64>,
    backfill: Option<String>,
}

/// What is wrong with a `sources.toml`, all of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct SourcesError(pub Vec<String>);

impl fmt::Display for SourcesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sources.toml: {}", self.0.join("; "))
    }
}

/// Reads the tables of `[[source]]`, as the configuration holds them.
pub fn of_tables(tables: &[toml::Table]) -> Result<Vec<Source>, SourcesError> {
    let tables = tables.iter().cloned().map(toml::Value::Table).collect();
    let file = toml::Table::from_iter([("source".to_string(), toml::Value::Array(tables))]);
    parse(&file.to_string())
}

/// Reads the text of a `sources.toml`.
pub fn parse(text: &str) -> Result<Vec<Source>, SourcesError> {
    let file: toml::Table =
        text.parse().map_err(|e| SourcesError(vec![format!("{e}").trim().to_string()]))?;
    let mut errors = Vec::new();
    for unknown in file.keys().filter(|key| key.as_str() != "source") {
        errors.push(format!("unknown key {unknown:?}, expected [[source]]"));
    }
    let tables = match file.get("source") {
        None => Vec::new(),
        Some(toml::Value::Array(tables)) => tables.clone(),
        Some(_) => {
            errors.push("source must be written as [[source]]".to_string());
            Vec::new()
        }
    };
    let mut sources: Vec<Source> = Vec::new();
    let mut names = BTreeMap::new();
    let mut keys = BTreeMap::new();
    for (index, table) in tables.into_iter().enumerate() {
        let number = index + 1;
        match read(table) {
            Err(reasons) => errors.extend(reasons.into_iter().map(|r| format!("source {number}: {r}"))),
            Ok(source) => {
                if let Some(first) = names.insert(source.name.clone(), number) {
                    errors.push(format!("source {number}: name {:?} is that of source {first}", source.name));
                }
                if let Some(first) = keys.insert(source.key.clone(), number) {
                    errors.push(format!("source {number}: url {} is that of source {first}", source.url));
                }
                sources.push(source);
            }
        }
    }
    if errors.is_empty() { Ok(sources) } else { Err(SourcesError(errors)) }
}

fn read(table: toml::Value) -> Result<Source, Vec<String>> {
    // serde names the fields of a tagged enum badly, so the tag is checked first.
    match table.get("type").map(|t| t.as_str()) {
        None => return Err(vec!["type is missing (known: \"feed\")".into()]),
        Some(Some("feed")) => {}
        Some(other) => {
            return Err(vec![format!(
                "type {:?} is unknown (known: \"feed\")",
                other.unwrap_or("of another kind")
            )]);
        }
    }
    let Table::Feed(feed) = table.try_into().map_err(|e: toml::de::Error| vec![e.message().to_string()])?;
    read_feed(feed)
}

fn read_feed(feed: FeedTable) -> Result<Source, Vec<String>> {
    let mut errors = Vec::new();
    let url = match Url::parse(&feed.url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
        Ok(url) if url.has_host() => {
            errors.push(format!("url {:?} is not http or https", feed.url));
            None
        }
        _ => {
            errors.push(format!("url {:?} is not a URL", feed.url));
            None
        }
    };
    if url.as_ref().is_some_and(|u| !u.username().is_empty() || u.password().is_some()) {
        errors.push("url must not carry a user name or password: it is shown in logs and pages".into());
    }
    let platform = feed.platform.unwrap_or_else(|| "rss".to_string());
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if platform.is_empty() || platform.len() > 32 || !platform.chars().all(plain) {
        errors.push(format!("platform {platform:?} must be 1 to 32 of a-z, 0-9, - and _"));
    }
    if feed.interval_s.is_some_and(|s| s < INTERVAL_MIN_S) {
        errors.push(format!("interval_s must be at least {INTERVAL_MIN_S}"));
    }
    if feed.name.as_ref().is_some_and(|n| n.trim().is_empty() || n.len() > NAME_BYTES_MAX) {
        errors.push(format!("name must have 1 to {NAME_BYTES_MAX} bytes"));
    }
    let backfill = feed.backfill.as_deref().unwrap_or("none").parse().unwrap_or_else(|e| {
        errors.push(e);
        Backfill::None
    });
    match url {
        Some(url) if errors.is_empty() => {
            let name = feed.name.unwrap_or_else(|| url.host_str().unwrap_or_default().to_string());
            Ok(Source { key: feed_key(&url), name, url, platform, interval_s: feed.interval_s, backfill })
        }
        _ => Err(errors),
    }
}

/// The stable key of a feed: its host, and 12 hexadecimal digits of a hash of
/// host, port, path and query. The scheme and a fragment do not count, so that a
/// move to https changes no identity; a redirect does not either, because the
/// URL is the one that is configured.
pub fn feed_key(url: &Url) -> String {
    const HOST_BYTES_MAX: usize = 80;
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map_or_else(String::new, |p| format!(":{p}"));
    let path = url.path().trim_end_matches('/');
    let query = url.query().map_or_else(String::new, |q| format!("?{q}"));
    let digest = blake3::hash(format!("{host}{port}{path}{query}").as_bytes()).to_hex();
    let shown: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).collect();
    format!("{}-{}", &shown[..shown.len().min(HOST_BYTES_MAX)], &digest[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_sources_are_valid() {
        let sources = parse(DEFAULT).expect("config/sources.toml");
        assert!(sources.len() >= 4);
        assert!(sources.iter().all(|s| s.url.scheme() == "https" && s.backfill != Backfill::None));
    }

    #[test]
    fn every_error_is_told_at_once() {
        let text = r#"
            [[source]]
            type = "feed"
            url = "https://example.org/feed"
            [[source]]
            type = "feed"
            url = "http://example.org/feed/"
            name = "Again"
            [[source]]
            type = "feed"
            url = "gopher://example.org"
            interval_s = 1
            backfill = "some"
            [[source]]
            type = "feed"
            url = "https://example.net/"
            nmae = "typo"
            [[source]]
            type = "smoke signals"
            [[source]]
            url = "https://example.com/"
            [more]
        "#;
        let SourcesError(errors) = parse(text).expect_err("six faults");
        let all = errors.join("\n");
        for part in [
            "unknown key \"more\"",
            "source 2: url http://example.org/feed/ is that of source 1",
            "source 3: url \"gopher://example.org\" is not http",
            "source 3: interval_s must be at least 60",
            "source 3: backfill = \"some\"",
            "source 4: unknown field `nmae`",
            "source 5: type \"smoke signals\" is unknown",
            "source 6: type is missing",
        ] {
            assert!(all.contains(part), "{part} is missing in:\n{all}");
        }
    }

    #[test]
    fn backfill_reads_its_three_forms() {
        assert_eq!("none".parse(), Ok(Backfill::None));
        assert_eq!("last:5".parse(), Ok(Backfill::Last(5)));
        assert_eq!(
            "since:2026-11-01".parse(),
            Ok(Backfill::Since(Millis::parse("2026-11-01T00:00:00Z").unwrap()))
        );
        assert_eq!(
            "since:2026-11-01T10:00:00Z".parse(),
            Ok(Backfill::Since(Millis::parse("2026-11-01T10:00:00Z").unwrap()))
        );
        assert!("last:-1".parse::<Backfill>().is_err());
        assert!("since:yesterday".parse::<Backfill>().is_err());
    }

    #[test]
    fn the_feed_key_ignores_scheme_and_trailing_slash() {
        let key = |text: &str| feed_key(&Url::parse(text).unwrap());
        assert_eq!(key("http://example.org/feed"), key("https://example.org/feed/"));
        assert_ne!(key("https://example.org/feed"), key("https://example.org/feed?page=2"));
        assert!(key("https://example.org/feed").starts_with("example.org-"));
    }
}
