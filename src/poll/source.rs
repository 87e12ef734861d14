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
//! Every type has `name`, `interval_s` and `backfill`; [`Kind`] has what only one of
//! them has. A new platform is one more `type`: its own file under `poll/`, one
//! variant here and its table in `tables`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use dataflows::time::Millis;
use url::Url;

mod tables;

/// The sources that are followed when nobody wrote a file of their own.
pub const DEFAULT: &str = include_str!("../../config/sources.toml");

/// Polls closer together than this only make a publisher block us.
pub const INTERVAL_MIN_S: u64 = 60;
pub const NAME_BYTES_MAX: usize = 100;

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

impl fmt::Display for Backfill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "none"),
            Self::Last(n) => write!(f, "last:{n}"),
            Self::Since(at) => write!(f, "since:{at}"),
        }
    }
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

/// One thing to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Identity of the source in state, and of a feed in content ids; see [`feed_key`].
    pub key: String,
    pub name: String,
    /// Where it is asked; of a stream the first of its hosts.
    pub url: Url,
    pub platform: String,
    pub interval_s: Option<u64>,
    pub backfill: Backfill,
    pub kind: Kind,
}

/// What sort of platform a source is on, with what only that sort has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RSS, Atom or JSON Feed; podcasts are these.
    Feed,
    /// The Atom feed of a YouTube channel or playlist.
    Youtube,
    HackerNews(HackerNews),
    Mastodon(Mastodon),
    /// A Jetstream of Bluesky: pushed, not polled.
    Bluesky(Bluesky),
}

impl Kind {
    /// The `type` in sources.toml.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Youtube => "youtube",
            Self::HackerNews(_) => "hackernews",
            Self::Mastodon(_) => "mastodon",
            Self::Bluesky(_) => "bluesky",
        }
    }

    /// Whether the platform pushes over a connection that stays open.
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Bluesky(_))
    }

    /// Whether its items have ids that the platform vouches for, so that identity
    /// need not be guessed and is the same in every source that shows the item.
    pub fn has_ids(&self) -> bool {
        !matches!(self, Self::Feed)
    }
}

/// Stories of Hacker News.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HackerNews {
    /// Of `top`, `new`, `best`, `ask`, `show`, `job`.
    pub lists: Vec<String>,
    /// Stories from the head of each list.
    pub stories_max: usize,
}

/// A timeline that a Mastodon instance shows to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mastodon {
    /// The host that answers, as people write it.
    pub instance: String,
}

/// Posts of Bluesky, out of the stream of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bluesky {
    /// Hosts of the same stream, asked in turn after a failure.
    pub hosts: Vec<Url>,
    /// Record types, as `wantedCollections` takes them.
    pub collections: Vec<String>,
    /// Only these accounts (`did:…`); all when empty.
    pub authors: Vec<String>,
    /// Only posts that say to be in one of these languages; all when empty.
    pub langs: Vec<String>,
    /// Only posts with one of these words, case aside; all when empty.
    pub keywords: Vec<String>,
    pub replies: bool,
    /// New posts a minute; what is over is counted and left out.
    pub posts_per_minute_max: Option<u32>,
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
        match tables::read(table) {
            Err(reasons) => errors.extend(reasons.into_iter().map(|r| format!("source {number}: {r}"))),
            Ok(source) => {
                if let Some(first) = names.insert(source.name.clone(), number) {
                    errors.push(format!("source {number}: name {:?} is that of source {first}", source.name));
                }
                if let Some(first) = keys.insert(source.key.clone(), number) {
                    let what = if source.kind == Kind::Feed { "url" } else { "what it follows," };
                    errors.push(format!("source {number}: {what} {} is that of source {first}", source.url));
                }
                sources.push(source);
            }
        }
    }
    if errors.is_empty() { Ok(sources) } else { Err(SourcesError(errors)) }
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
        assert!(sources.iter().all(|s| s.url.scheme() == "https"));
        assert!(sources.iter().all(|s| s.kind.is_stream() || s.backfill != Backfill::None));
        let platforms: std::collections::BTreeSet<&str> =
            sources.iter().map(|s| s.platform.as_str()).collect();
        assert_eq!(
            platforms.into_iter().collect::<Vec<_>>(),
            ["bluesky", "hackernews", "mastodon", "rss", "youtube"]
        );
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
