//! What a person typed in (an address, an @handle, a #hashtag), the source behind it
//! and its newest items out.
//!
//! In this order: what the words alone tell (a YouTube channel id, a Bluesky profile, a
//! hashtag of an instance), then what the platforms answer about a handle, then the page
//! itself: a feed, or the feeds that it links to, or those at well-known places. Every
//! candidate is read before it is believed; there is a limit to the requests.

use url::Url;

use super::clock::{Clock, SystemClock};
use super::event::{self, Draft};
use super::feed::{self, Feed};
use super::fetch::{FetchError, Fetcher, Validators};
use super::harvest::{self, NoHarvest};
use super::page;
use super::settings::Settings;
use super::source::{self, Source};

/// Where feeds are when no page says so.
const WELL_KNOWN: [&str; 8] =
    ["feed", "rss", "rss.xml", "feed.xml", "atom.xml", "index.xml", "feed.json", "feeds/posts/default"];

/// Items that are shown.
const SHOWN: usize = 3;

/// A source that was found, and what it has.
#[derive(Debug)]
pub struct Found {
    /// As sources.toml has it.
    pub table: toml::Table,
    pub source: Source,
    /// Titles, or the beginnings of texts, the newest first.
    pub items: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    #[error("{0}")]
    Asked(String),
    #[error("{0}: {1}")]
    Fetch(Url, FetchError),
    #[error("no feed was found at {url}: {tried} places were tried")]
    NoFeed { url: Url, tried: usize },
    #[error("{0:?} is neither an address nor an @handle nor a #hashtag")]
    NotUnderstood(String),
}

/// Finds the source behind what was typed in.
pub async fn discover(fetcher: &Fetcher, settings: &Settings, typed: &str) -> Result<Found, NotFound> {
    let mut search =
        Search { fetcher, settings, left: settings.discover_fetches_max, now_ms: SystemClock.now_ms() };
    let typed = typed.trim();
    if let Some(tag) = typed.strip_prefix('#') {
        let (tag, instance) = tag.split_once('@').unwrap_or((tag, settings.endpoints.mastodon.as_str()));
        return search.tag(instance, tag).await;
    }
    if let Some(handle) = typed.strip_prefix('@') {
        return match handle.split_once('@') {
            Some((user, instance)) => search.mastodon_account(instance, user).await,
            None if handle.contains('.') => search.bluesky(handle).await,
            None => search.youtube_page(&format!("@{handle}")).await,
        };
    }
    let text = if typed.contains("://") { typed.to_string() } else { format!("https://{typed}") };
    let url = Url::parse(&text)
        .ok()
        .filter(|u| u.host_str().is_some_and(|h| h.contains('.') || typed.contains("://")));
    let url = url.filter(|u| matches!(u.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| NotFound::NotUnderstood(typed.to_string()))?;
    search.address(&url).await
}

struct Search<'a> {
    fetcher: &'a Fetcher,
    settings: &'a Settings,
    /// Requests that may still be made.
    left: usize,
    now_ms: i64,
}

/// What an address answers.
struct Answer {
    url: Url,
    content_type: Option<String>,
    body: Vec<u8>,
}

impl Search<'_> {
    async fn address(&mut self, url: &Url) -> Result<Found, NotFound> {
        let host = url.host_str().unwrap_or_default().trim_start_matches("www.");
        let segments: Vec<&str> =
            url.path_segments().into_iter().flatten().filter(|s| !s.is_empty()).collect();
        let is_youtube = host == "youtube.com" || host == "m.youtube.com";
        match segments.as_slice() {
            ["channel", id, ..] if is_youtube && id.starts_with("UC") => {
                return self.youtube("channel", id).await;
            }
            ["playlist"] if is_youtube => {
                if let Some((_, id)) = url.query_pairs().find(|(name, _)| name == "list") {
                    return self.youtube("playlist", &id).await;
                }
            }
            [first, ..] if is_youtube && !first.starts_with("feeds") => {
                return self.youtube_page(url.path().trim_start_matches('/')).await;
            }
            ["profile", handle, ..] if host == "bsky.app" => return self.bluesky(handle).await,
            _ if host == "news.ycombinator.com" => return self.hackernews().await,
            ["tags", tag] => {
                if let Ok(found) = self.tag(&url.origin().ascii_serialization(), tag).await {
                    return Ok(found);
                }
            }
            [user] if user.starts_with('@') => {
                let instance = url.origin().ascii_serialization();
                if let Ok(found) = self.mastodon_account(&instance, &user[1..]).await {
                    return Ok(found);
                }
            }
            _ => {}
        }
        self.page(url).await
    }

    /// A feed, or a page that leads to one.
    async fn page(&mut self, url: &Url) -> Result<Found, NotFound> {
        let mut tried = 0;
        let mut places: Vec<Url> = Vec::new();
        match self.fetch(url).await {
            Ok(answer) => {
                tried += 1;
                if let Some(found) = self.feed(url, &answer).await {
                    return Ok(found);
                }
                let html = super::decode::decode(&answer.body, None);
                places.extend(page::feeds(&html, &answer.url));
            }
            // Without an answer the well-known places have none either.
            Err(error @ (FetchError::Status { .. } | FetchError::TooLarge(_))) if self.left > 0 => {
                tracing::debug!(%url, %error, "trying well-known places");
            }
            Err(error) => return Err(NotFound::Fetch(url.clone(), error)),
        }
        let below = format!("{}/", url.path().trim_end_matches('/'));
        let bases = if below == "/" { vec!["/"] } else { vec![below.as_str(), "/"] };
        for base in bases {
            places.extend(WELL_KNOWN.iter().filter_map(|place| url.join(&format!("{base}{place}")).ok()));
        }
        for place in places {
            if self.left == 0 {
                break;
            }
            tried += 1;
            if let Ok(answer) = self.fetch(&place).await
                && let Some(found) = self.feed(&place, &answer).await
            {
                return Ok(found);
            }
        }
        Err(NotFound::NoFeed { url: url.clone(), tried })
    }

    async fn fetch(&mut self, url: &Url) -> Result<Answer, FetchError> {
        if self.left == 0 {
            return Err(FetchError::Unreachable("more requests than one search may make".into()));
        }
        self.left -= 1;
        let response = self.fetcher.get(url, &Validators::default(), self.now_ms).await?;
        let body = response.body.unwrap_or_default();
        Ok(Answer { url: response.url, content_type: response.content_type, body })
    }

    /// The answer as a feed, if it is one. It is followed where it was asked for: a
    /// redirect that is not permanent may lead elsewhere tomorrow.
    async fn feed(&self, asked: &Url, answer: &Answer) -> Option<Found> {
        let (body, content_type, base) =
            (answer.body.clone(), answer.content_type.clone(), answer.url.clone());
        let read =
            tokio::task::spawn_blocking(move || feed::read(&body, content_type.as_deref(), base.as_str()));
        let feed: Feed = read.await.ok()?.ok()?;
        let mut table = toml::Table::new();
        table.insert("type".into(), "feed".into());
        table.insert("url".into(), asked.as_str().into());
        let title = feed.title.clone().filter(|title| !title.trim().is_empty());
        if let Some(title) = title {
            table.insert("name".into(), shown(&title).into());
        }
        let source = one(&table).ok()?;
        let drafts = event::drafts(&source, feed, self.settings.engagement_step_ratio);
        Some(Found { table, source, items: titles(&drafts) })
    }

    async fn youtube(&mut self, key: &str, id: &str) -> Result<Found, NotFound> {
        let mut table = toml::Table::new();
        table.insert("type".into(), "youtube".into());
        table.insert(key.into(), id.into());
        let base = self.settings.endpoints.youtube.trim_end_matches('/');
        if base != "https://www.youtube.com" {
            table.insert("url".into(), format!("{base}/feeds/videos.xml").into());
        }
        let mut source = one(&table)?;
        // The feed fails for days at a time: a channel that is known is added anyway.
        let answer = self.fetch(&source.url.clone()).await;
        let read =
            answer.ok().and_then(|a| feed::read(&a.body, a.content_type.as_deref(), a.url.as_str()).ok());
        let mut items = Vec::new();
        if let Some(feed) = read {
            if let Some(title) = &feed.title {
                table.insert("name".into(), shown(title).into());
                source = one(&table)?;
            }
            items = titles(&event::drafts(&source, feed, self.settings.engagement_step_ratio));
        }
        Ok(Found { table, source, items })
    }

    /// A page of YouTube that names its channel.
    async fn youtube_page(&mut self, path: &str) -> Result<Found, NotFound> {
        let base = self.settings.endpoints.youtube.trim_end_matches('/');
        let url = Url::parse(&format!("{base}/{path}"));
        let url = url.map_err(|_| NotFound::NotUnderstood(path.to_string()))?;
        let answer = self.fetch(&url).await.map_err(|e| NotFound::Fetch(url.clone(), e))?;
        let html = super::decode::decode(&answer.body, None);
        match page::channel_id(&html) {
            Some(id) => self.youtube("channel", &id).await,
            None => Err(NotFound::Asked(format!("{url} names no channel"))),
        }
    }

    async fn json(&mut self, url: &str) -> Result<serde_json::Value, NotFound> {
        if self.left == 0 {
            return Err(NotFound::Asked("more requests than one search may make".into()));
        }
        self.left -= 1;
        let url = Url::parse(url).map_err(|_| NotFound::NotUnderstood(url.to_string()))?;
        match harvest::json(self.fetcher, &url, self.now_ms).await {
            Ok((value, _)) => Ok(value),
            Err(NoHarvest::Fetch(error)) => Err(NotFound::Fetch(url, error)),
            Err(error) => Err(NotFound::Asked(format!("{url}: {error}"))),
        }
    }

    async fn bluesky(&mut self, handle: &str) -> Result<Found, NotFound> {
        let base = self.settings.endpoints.bluesky.trim_end_matches('/').to_string();
        let did = if handle.starts_with("did:") {
            handle.to_string()
        } else {
            let question =
                format!("{base}/xrpc/com.atproto.identity.resolveHandle?handle={}", plain(handle)?);
            let answer = self.json(&question).await?;
            let did = answer["did"].as_str().filter(|did| did.starts_with("did:"));
            did.ok_or_else(|| NotFound::Asked(format!("nobody on Bluesky is called {handle}")))?.to_string()
        };
        let mut table = toml::Table::new();
        table.insert("type".into(), "bluesky".into());
        table.insert("name".into(), format!("@{handle} on Bluesky").into());
        table.insert("authors".into(), toml::Value::Array(vec![did.clone().into()]));
        let source = one(&table)?;
        let question =
            format!("{base}/xrpc/app.bsky.feed.getAuthorFeed?limit={SHOWN}&actor={}", plain(&did)?);
        // Only for show: the stream is what is followed.
        let feed = self.json(&question).await.unwrap_or_default();
        let posts = feed["feed"].as_array().into_iter().flatten();
        let items = posts.filter_map(|item| item["post"]["record"]["text"].as_str()).take(SHOWN).map(shown);
        Ok(Found { table, source, items: items.collect() })
    }

    async fn mastodon_account(&mut self, instance: &str, user: &str) -> Result<Found, NotFound> {
        let base =
            if instance.contains("://") { instance.to_string() } else { format!("https://{instance}") };
        let base = base.trim_end_matches('/').to_string();
        let user = plain(user)?;
        let account = self.json(&format!("{base}/api/v1/accounts/lookup?acct={user}")).await?;
        let id = account["id"].as_str().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| NotFound::Asked(format!("{instance} knows nobody called {user}")))?;
        let mut table = mastodon_table(&base);
        table.insert("account_id".into(), id.into());
        let host = Url::parse(&base).ok().and_then(|u| u.host_str().map(String::from)).unwrap_or_default();
        table.insert("name".into(), format!("@{user}@{host}").into());
        self.statuses(table).await
    }

    async fn tag(&mut self, instance: &str, tag: &str) -> Result<Found, NotFound> {
        let base =
            if instance.contains("://") { instance.to_string() } else { format!("https://{instance}") };
        let mut table = mastodon_table(base.trim_end_matches('/'));
        table.insert("tag".into(), tag.into());
        self.statuses(table).await
    }

    async fn statuses(&mut self, table: toml::Table) -> Result<Found, NotFound> {
        let source = one(&table)?;
        let mut url = source.url.clone();
        url.query_pairs_mut().append_pair("limit", &SHOWN.to_string());
        let statuses = self.json(url.as_str()).await?;
        let Some(statuses) = statuses.as_array() else {
            return Err(NotFound::Asked(format!("{url} is no timeline")));
        };
        let text = |status: &serde_json::Value| {
            shown(&dataflows::text::html::to_text(status["content"].as_str().unwrap_or_default()))
        };
        let items = statuses.iter().take(SHOWN).map(text).collect();
        Ok(Found { table, source, items })
    }

    async fn hackernews(&mut self) -> Result<Found, NotFound> {
        let mut table = toml::Table::new();
        table.insert("type".into(), "hackernews".into());
        let source = one(&table)?;
        let ids = self.json(&format!("{}/topstories.json", source.url)).await?;
        let mut items = Vec::new();
        for id in ids.as_array().into_iter().flatten().take(SHOWN) {
            let item = self.json(&format!("{}/item/{id}.json", source.url)).await?;
            items.extend(item["title"].as_str().map(shown));
        }
        Ok(Found { table, source, items })
    }
}

fn mastodon_table(base: &str) -> toml::Table {
    let instance = base.strip_prefix("https://").unwrap_or(base);
    toml::Table::from_iter([
        ("type".to_string(), "mastodon".into()),
        ("instance".to_string(), instance.into()),
    ])
}

/// A name that can stand in a URL as it is.
fn plain(name: &str) -> Result<&str, NotFound> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:@".contains(&b);
    let good = !name.is_empty() && name.bytes().all(allowed);
    if good { Ok(name) } else { Err(NotFound::NotUnderstood(name.to_string())) }
}

fn one(table: &toml::Table) -> Result<Source, NotFound> {
    let read = source::of_tables(std::slice::from_ref(table));
    let mut sources = read.map_err(|e| NotFound::Asked(e.0.join("; ")))?;
    sources.pop().ok_or_else(|| NotFound::Asked("nothing was found".into()))
}

/// One line for a terminal.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(CHARS_MAX).collect()
}

pub(super) fn titles(drafts: &[Draft]) -> Vec<String> {
    let line = |draft: &Draft| {
        let text = draft.event.title.as_deref().or(draft.event.text.as_deref()).unwrap_or("(no title)");
        shown(&dataflows::text::html::to_text(text))
    };
    drafts.iter().take(SHOWN).map(line).collect()
}
