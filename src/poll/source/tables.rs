//! One `[[source]]` table in, a [`Source`] or everything that is wrong with it out.
//!
//! Each type has a struct of its own with the keys it takes, so that a misspelt or
//! misplaced key is an error that names it.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::{
    Backfill, Bluesky, HackerNews, INTERVAL_MIN_S, Kind, Mastodon, NAME_BYTES_MAX, Source, feed_key,
};

const KNOWN: [&str; 5] = ["feed", "hackernews", "bluesky", "mastodon", "youtube"];

/// Where the platforms answer that have one address for all.
const HACKERNEWS_URL: &str = "https://hacker-news.firebaseio.com/v0";
const YOUTUBE_URL: &str = "https://www.youtube.com/feeds/videos.xml";
const JETSTREAM_HOSTS: [&str; 4] = [
    "https://jetstream2.us-east.bsky.network/subscribe",
    "https://jetstream1.us-east.bsky.network/subscribe",
    "https://jetstream2.us-west.bsky.network/subscribe",
    "https://jetstream1.us-west.bsky.network/subscribe",
];
const POSTS: &str = "app.bsky.feed.post";

/// What Firebase lists at most.
const STORIES_MAX: usize = 500;
/// What Jetstream takes.
const COLLECTIONS_MAX: usize = 100;
/// Jetstream takes 10 000, but they travel in the URL: this many fit into any server's.
const AUTHORS_MAX: usize = 100;
const KEYWORDS_MAX: usize = 1_000;

/// What every type takes.
#[derive(Deserialize)]
struct Common {
    name: Option<String>,
    interval_s: Option<u64>,
    backfill: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedTable {
    url: String,
    platform: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct YoutubeTable {
    url: Option<String>,
    channel: Option<String>,
    playlist: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HackerNewsTable {
    url: Option<String>,
    lists: Option<Vec<String>>,
    stories_max: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MastodonTable {
    instance: String,
    tag: Option<String>,
    account_id: Option<String>,
    #[serde(default)]
    local: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlueskyTable {
    hosts: Option<Vec<String>>,
    collections: Option<Vec<String>>,
    #[serde(default)]
    authors: Vec<String>,
    #[serde(default)]
    langs: Vec<String>,
    #[serde(default)]
    keywords: Vec<String>,
    replies: Option<bool>,
    posts_per_minute_max: Option<u32>,
}

/// What a type makes of its own keys.
struct Read {
    key: String,
    /// Used where the table has no name.
    name: String,
    url: Url,
    platform: String,
    kind: Kind,
}

pub(super) fn read(table: toml::Value) -> Result<Source, Vec<String>> {
    let toml::Value::Table(mut table) = table else { return Err(vec!["is no table".into()]) };
    let known = KNOWN.map(|k| format!("{k:?}")).join(", ");
    let kind = match table.remove("type") {
        None => return Err(vec![format!("type is missing (known: {known})")]),
        Some(toml::Value::String(kind)) if KNOWN.contains(&kind.as_str()) => kind,
        Some(other) => {
            let other = other.as_str().unwrap_or("of another kind").to_string();
            return Err(vec![format!("type {other:?} is unknown (known: {known})")]);
        }
    };
    let common = ["name", "interval_s", "backfill"];
    let (shared, own): (toml::Table, toml::Table) =
        table.into_iter().partition(|(key, _)| common.contains(&key.as_str()));
    let mut errors = Vec::new();
    let common = of::<Common>(shared).and_then(common_keys).map_err(|e| errors.extend(e)).ok();
    let read = match kind.as_str() {
        "feed" => of(own).and_then(feed),
        "youtube" => of(own).and_then(youtube),
        "hackernews" => of(own).and_then(hackernews),
        "mastodon" => of(own).and_then(|own| mastodon(&own)),
        _ => of(own).and_then(|own| bluesky(own, common.as_ref().and_then(|c| c.0.as_deref()))),
    };
    let read = read.map_err(|e| errors.extend(e)).ok();
    match (common, read) {
        (Some((name, interval_s, backfill)), Some(read)) if errors.is_empty() => {
            let Read { key, name: host, url, platform, kind } = read;
            Ok(Source { key, name: name.unwrap_or(host), url, platform, interval_s, backfill, kind })
        }
        _ => Err(errors),
    }
}

fn of<T: DeserializeOwned>(table: toml::Table) -> Result<T, Vec<String>> {
    toml::Value::Table(table).try_into().map_err(|e: toml::de::Error| vec![e.message().to_string()])
}

type CommonKeys = (Option<String>, Option<u64>, Backfill);

fn common_keys(common: Common) -> Result<CommonKeys, Vec<String>> {
    let mut errors = Vec::new();
    if common.interval_s.is_some_and(|s| s < INTERVAL_MIN_S) {
        errors.push(format!("interval_s must be at least {INTERVAL_MIN_S}"));
    }
    if common.name.as_ref().is_some_and(|n| n.trim().is_empty() || n.len() > NAME_BYTES_MAX) {
        errors.push(format!("name must have 1 to {NAME_BYTES_MAX} bytes"));
    }
    let backfill = common.backfill.as_deref().unwrap_or("none").parse();
    match backfill {
        Ok(backfill) if errors.is_empty() => Ok((common.name, common.interval_s, backfill)),
        Ok(_) => Err(errors),
        Err(e) => Err(errors.into_iter().chain([e]).collect()),
    }
}

fn http_url(text: &str) -> Result<Url, Vec<String>> {
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        Ok(url) if url.has_host() => return Err(vec![format!("url {text:?} is not http or https")]),
        _ => return Err(vec![format!("url {text:?} is not a URL")]),
    };
    if !url.username().is_empty() || url.password().is_some() {
        let shown = "url must not carry a user name or password: it is shown in logs and pages";
        return Err(vec![shown.into()]);
    }
    Ok(url)
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_string()
}

fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..12].to_string()
}

fn feed(table: FeedTable) -> Result<Read, Vec<String>> {
    let platform = table.platform.unwrap_or_else(|| "rss".to_string());
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let url = http_url(&table.url);
    if platform.is_empty() || platform.len() > 32 || !platform.chars().all(plain) {
        let error = format!("platform {platform:?} must be 1 to 32 of a-z, 0-9, - and _");
        return Err(url.err().into_iter().flatten().chain([error]).collect());
    }
    let url = url?;
    Ok(Read { key: feed_key(&url), name: host(&url), url, platform, kind: Kind::Feed })
}

fn youtube(table: YoutubeTable) -> Result<Read, Vec<String>> {
    let mut url = http_url(table.url.as_deref().unwrap_or(YOUTUBE_URL))?;
    let plain =
        |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let (parameter, id) = match (table.channel, table.playlist) {
        (Some(id), None) if plain(&id) && id.starts_with("UC") => ("channel_id", id),
        (Some(id), None) => return Err(vec![format!("channel {id:?} is no channel id (UC…)")]),
        (None, Some(id)) if plain(&id) => ("playlist_id", id),
        (None, Some(id)) => return Err(vec![format!("playlist {id:?} is no playlist id")]),
        _ => return Err(vec!["either channel or playlist is needed".into()]),
    };
    url.query_pairs_mut().append_pair(parameter, &id);
    let platform = "youtube".into();
    Ok(Read { key: feed_key(&url), name: format!("YouTube {id}"), url, platform, kind: Kind::Youtube })
}

fn hackernews(table: HackerNewsTable) -> Result<Read, Vec<String>> {
    const LISTS: [&str; 6] = ["top", "new", "best", "ask", "show", "job"];
    let url = http_url(table.url.as_deref().unwrap_or(HACKERNEWS_URL))?;
    let lists = table.lists.unwrap_or_else(|| vec!["top".into()]);
    let stories_max = table.stories_max.unwrap_or(60);
    let mut errors = Vec::new();
    for list in lists.iter().filter(|list| !LISTS.contains(&list.as_str())) {
        errors.push(format!("lists: {list:?} is none of {}", LISTS.join(", ")));
    }
    if lists.is_empty() {
        errors.push("lists must name one of the lists".into());
    }
    if !(1..=STORIES_MAX).contains(&stories_max) {
        errors.push(format!("stories_max must be between 1 and {STORIES_MAX}"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let name = format!("Hacker News: {}", lists.join(", "));
    let key = format!("hackernews-{}", digest(&format!("{url} {}", lists.join(" "))));
    let kind = Kind::HackerNews(HackerNews { lists, stories_max });
    Ok(Read { key, name, url, platform: "hackernews".into(), kind })
}

fn mastodon(table: &MastodonTable) -> Result<Read, Vec<String>> {
    let whole = if table.instance.contains("://") {
        table.instance.clone()
    } else {
        format!("https://{}", table.instance)
    };
    let base = http_url(&whole).map_err(|_| vec![format!("instance {:?} is no host", table.instance)])?;
    let path = match (&table.tag, &table.account_id) {
        (Some(tag), None) => {
            let tag = tag.trim_start_matches('#');
            if tag.is_empty() || !tag.chars().all(|c| c.is_alphanumeric() || c == '_') {
                return Err(vec![format!("tag {tag:?} is no hashtag")]);
            }
            format!("/api/v1/timelines/tag/{tag}")
        }
        (None, Some(id)) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            format!("/api/v1/accounts/{id}/statuses")
        }
        (None, Some(id)) => return Err(vec![format!("account_id {id:?} is no id")]),
        (None, None) => "/api/v1/timelines/public".to_string(),
        _ => return Err(vec!["either tag or account_id, not both".into()]),
    };
    let mut url = base.join(&path).map_err(|e| vec![e.to_string()])?;
    if table.local {
        url.set_query(Some("local=true"));
    }
    let instance = host(&base);
    let name = match &table.tag {
        Some(tag) => format!("#{} on {instance}", tag.trim_start_matches('#')),
        None => instance.clone(),
    };
    let kind = Kind::Mastodon(Mastodon { instance });
    Ok(Read { key: feed_key(&url), name, url, platform: "mastodon".into(), kind })
}

fn bluesky(table: BlueskyTable, name: Option<&str>) -> Result<Read, Vec<String>> {
    let mut errors = Vec::new();
    let given = table.hosts.unwrap_or_else(|| JETSTREAM_HOSTS.map(String::from).to_vec());
    let mut hosts = Vec::new();
    for host in &given {
        // The client speaks HTTP until the server has agreed to the upgrade.
        let host = host.replacen("wss://", "https://", 1).replacen("ws://", "http://", 1);
        http_url(&host).map_or_else(|e| errors.extend(e), |url| hosts.push(url));
    }
    let collections = table.collections.unwrap_or_else(|| vec![POSTS.into()]);
    for (key, count, max) in [
        ("collections", collections.len(), COLLECTIONS_MAX),
        ("authors", table.authors.len(), AUTHORS_MAX),
        ("keywords", table.keywords.len(), KEYWORDS_MAX),
    ] {
        if count > max {
            errors.push(format!("{key} has {count} entries, {max} are allowed"));
        }
    }
    for did in table.authors.iter().filter(|did| !did.starts_with("did:")) {
        errors.push(format!("authors: {did:?} is no did (did:plc:…)"));
    }
    if collections.is_empty() {
        errors.push("collections must name one".into());
    }
    if table.posts_per_minute_max == Some(0) {
        errors.push("posts_per_minute_max must be at least 1".into());
    }
    let Some(url) = hosts.first().cloned().filter(|_| errors.is_empty()) else {
        errors.extend(given.is_empty().then(|| "hosts must name one".to_string()));
        return Err(errors);
    };
    let name = name.unwrap_or("Bluesky").to_string();
    let lower = |words: Vec<String>| words.into_iter().map(|w| w.trim().to_lowercase()).collect();
    let kind = Kind::Bluesky(Bluesky {
        hosts,
        collections,
        authors: table.authors,
        langs: lower(table.langs),
        keywords: lower(table.keywords),
        replies: table.replies.unwrap_or(true),
        posts_per_minute_max: table.posts_per_minute_max,
    });
    // Filters may change and the place in the stream still holds.
    Ok(Read { key: format!("bluesky-{}", digest(&name)), name, url, platform: "bluesky".into(), kind })
}
