//! Mastodon, and what speaks its client API: a public timeline of one instance in,
//! statuses out.
//!
//! Every poll reads the newest page. If that does not reach back to what was read
//! last, pages forward from there (`min_id`) fill the gap; a gap of more pages than
//! the limit is filled by the polls after. The newest page shows edits of what it
//! holds; what is missing in it and was there before is asked for by itself, and a 404
//! makes it a deletion.
//!
//! A status is known by its `uri`, which is the same on all instances; the `id` only
//! pages. An instance that stops showing timelines to strangers answers 401 or 422, or
//! an empty list where there was something: all of them are errors, never "nothing new".

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use dataflows::event::{Change, ContentEvent, Engagement, Kind, Media, Party};
use dataflows::time::Millis;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::changes::Known;
use super::event::{self, Draft};
use super::fetch::{FetchError, Fetcher, Quota};
use super::harvest::{self, Harvest, Keep, NoHarvest};
use super::identity::{Aliases, Hash, Rung};
use super::settings::Settings;
use super::source::{Mastodon, Source};
use super::store::State;

/// The largest page that an instance gives.
const PAGE: usize = 40;
/// Missing statuses that are asked for by themselves in one poll.
const MISSING_MAX: usize = 10;
/// With fewer requests left than this a poll leaves the rest to others.
const QUOTA_MIN: u64 = 5;

#[derive(Debug, Deserialize)]
struct Status {
    id: String,
    uri: String,
    url: Option<String>,
    created_at: String,
    edited_at: Option<String>,
    #[serde(default)]
    content: String,
    #[serde(default)]
    spoiler_text: String,
    language: Option<String>,
    in_reply_to_id: Option<String>,
    reblog: Option<Value>,
    account: Account,
    #[serde(default)]
    media_attachments: Vec<Attachment>,
    favourites_count: Option<i64>,
    reblogs_count: Option<i64>,
    replies_count: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Account {
    acct: String,
    url: Option<String>,
    display_name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Attachment {
    r#type: String,
    url: Option<String>,
    #[serde(default)]
    meta: Value,
}

/// What a poll works with.
pub(super) struct Asking<'a> {
    pub fetcher: &'a Fetcher,
    pub settings: &'a Settings,
    pub source: &'a Source,
    pub mastodon: &'a Mastodon,
    pub known: &'a [Known],
    pub now_ms: i64,
}

/// Polls once.
pub(super) async fn harvest(asking: &Asking<'_>, state: &State) -> Result<Harvest, NoHarvest> {
    let mut harvest = Harvest { keep: Keep::of(state), ..Harvest::default() };
    let mut drafts: HashMap<String, Draft> = HashMap::new();
    let newest = asking.page(None).await?;
    if newest.rows.is_empty() && newest.broken == 0 && state.cursor.is_some() {
        let hidden = "the timeline is empty, though it was not: the instance probably stopped showing it";
        return Err(NoHarvest::Unreadable(hidden.into()));
    }
    let mut quota = newest.quota;
    let oldest = newest.rows.last().map(|row| row.id.clone());
    let mut cursor = newest.rows.first().map(|row| row.id.clone()).or_else(|| state.cursor.clone());
    let page: Vec<(String, String)> =
        newest.rows.iter().map(|row| (row.id.clone(), row.key.clone())).collect();
    newest.into(&mut harvest, &mut drafts);
    if let (Some(oldest), Some(seen)) = (&oldest, &state.cursor)
        && by_id(seen, oldest) == Ordering::Less
    {
        let filled = asking.fill(seen, oldest, &mut harvest, &mut drafts, &mut quota).await;
        // Not to the end: the next poll goes on from there.
        if let Some(reached) = filled {
            cursor = Some(reached);
        }
    }
    if let Some(oldest) = &oldest {
        let shown: HashSet<&String> = page.iter().map(|(_, key)| key).collect();
        let missing = state.page.iter().filter(|(id, key)| {
            by_id(id, oldest) != Ordering::Less && !shown.contains(key) && !drafts.contains_key(key)
        });
        let missing: Vec<(String, String)> = missing.take(MISSING_MAX).cloned().collect();
        asking.look_for(&missing, &mut harvest, &mut drafts, &quota).await;
    }
    harvest.drafts = drafts.into_values().collect();
    harvest.drafts.sort_by_key(|draft| std::cmp::Reverse(draft.event.published_at));
    harvest.pause_s = quota.filter(|q| q.remaining < QUOTA_MIN).map(|q| q.reset_s);
    harvest.keep.cursor = cursor;
    harvest.keep.page = page;
    Ok(harvest)
}

/// Ids are numbers or fixed-length texts that grow; a longer one is larger.
fn by_id(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

struct Row {
    id: String,
    key: String,
    /// `None` for a boost: it is no post of its own.
    draft: Option<Draft>,
}

/// One page, the newest first.
struct Page {
    rows: Vec<Row>,
    broken: usize,
    quota: Option<Quota>,
}

impl Page {
    fn into(self, harvest: &mut Harvest, drafts: &mut HashMap<String, Draft>) {
        harvest.broken += self.broken;
        for row in self.rows {
            if let Some(draft) = row.draft {
                drafts.entry(row.key).or_insert(draft);
            }
        }
    }
}

impl Asking<'_> {
    /// The newest page, or the one that follows an id.
    async fn page(&self, min_id: Option<&str>) -> Result<Page, NoHarvest> {
        let mut url = self.source.url.clone();
        url.query_pairs_mut().append_pair("limit", &PAGE.to_string());
        if let Some(id) = min_id {
            url.query_pairs_mut().append_pair("min_id", id);
        }
        let (values, quota) = harvest::json::<Vec<Value>>(self.fetcher, &url, self.now_ms).await?;
        let mut page = Page { rows: Vec::new(), broken: 0, quota };
        for value in values {
            match self.row(value) {
                Some(row) => page.rows.push(row),
                None => page.broken += 1,
            }
        }
        page.rows.sort_by(|a, b| by_id(&b.id, &a.id));
        Ok(page)
    }

    fn row(&self, value: Value) -> Option<Row> {
        let status: Status = serde_json::from_value(value).ok()?;
        let draft = draft(self.settings, self.source, &self.mastodon.instance, &status)?;
        let key = draft.aliases.key(Rung::Guid)?;
        let boost = status.reblog.as_ref().is_some_and(|reblog| !reblog.is_null());
        Some(Row { id: status.id, key, draft: (!boost).then_some(draft) })
    }

    /// Reads forward from `seen` until `oldest`. Returns how far it came if not there.
    async fn fill(
        &self,
        seen: &str,
        oldest: &str,
        harvest: &mut Harvest,
        drafts: &mut HashMap<String, Draft>,
        quota: &mut Option<Quota>,
    ) -> Option<String> {
        let mut reached = seen.to_string();
        for _ in 1..self.settings.pages_max.max(2) {
            if quota.is_some_and(|q| q.remaining < QUOTA_MIN) {
                return Some(reached);
            }
            let page = match self.page(Some(&reached)).await {
                Ok(page) => page,
                Err(error) => {
                    harvest.interrupted = Some(error);
                    return Some(reached);
                }
            };
            *quota = page.quota.or(*quota);
            let last = page.rows.first().map(|row| row.id.clone())?;
            // A server that does not know min_id gives the newest page, or the same again.
            let gap_closed =
                by_id(&last, oldest) != Ordering::Less || by_id(&last, &reached) != Ordering::Greater;
            page.into(harvest, drafts);
            if gap_closed {
                return None;
            }
            reached = last;
        }
        Some(reached)
    }

    /// Asks for statuses that are not where they were.
    async fn look_for(
        &self,
        missing: &[(String, String)],
        harvest: &mut Harvest,
        drafts: &mut HashMap<String, Draft>,
        quota: &Option<Quota>,
    ) {
        let told: HashSet<&str> =
            self.known.iter().filter(|row| row.emitted).map(|row| row.key.as_str()).collect();
        if quota.is_some_and(|q| q.remaining < MISSING_MAX as u64 + QUOTA_MIN) {
            return;
        }
        for (id, key) in missing.iter().filter(|(_, key)| told.contains(key.as_str())) {
            let Ok(url) = self.source.url.join(&format!("/api/v1/statuses/{id}")) else { continue };
            match harvest::json::<Value>(self.fetcher, &url, self.now_ms).await {
                // It is only no longer in this timeline: another tag, say.
                Ok((value, _)) => {
                    if let Some(Row { draft: Some(draft), key, .. }) = self.row(value) {
                        drafts.entry(key).or_insert(draft);
                    }
                }
                Err(NoHarvest::Fetch(FetchError::Status { status: 404 | 410, .. })) => {
                    harvest.gone.push(key.clone());
                }
                // Not known: it stays as it is.
                Err(_) => {}
            }
        }
    }
}

fn draft(settings: &Settings, source: &Source, instance: &str, status: &Status) -> Option<Draft> {
    let published = Millis::parse(&status.created_at).ok()?;
    if status.uri.is_empty() || status.id.is_empty() {
        return None;
    }
    let count = |n: Option<i64>| n.map(|n| u32::try_from(n.max(0)).unwrap_or(u32::MAX));
    let engagement = Engagement {
        views: None,
        likes: count(status.favourites_count),
        comments: count(status.replies_count),
        shares: count(status.reblogs_count),
    };
    let title = Some(status.spoiler_text.trim()).filter(|t| !t.is_empty());
    let text = Some(status.content.trim()).filter(|t| !t.is_empty());
    let media: Vec<Media> = status.media_attachments.iter().filter_map(media).collect();
    let author = author(&status.account, instance);
    let step = |n| harvest::step(n, settings.engagement_step_ratio);
    let media_urls: Vec<&str> = media.iter().map(|m| m.url.as_str()).collect();
    let content = Hash::of(&[
        title.unwrap_or_default(),
        text.unwrap_or_default(),
        status.edited_at.as_deref().unwrap_or_default(),
        &media_urls.join("\n"),
        &step(engagement.likes),
        &step(engagement.comments),
        &step(engagement.shares),
    ]);
    let page = status.url.as_deref().unwrap_or(&status.uri);
    let reply = status.in_reply_to_id.is_some();
    let event = ContentEvent {
        platform: source.platform.clone(),
        native_id: String::new(),
        change: Change::Created,
        kind: Some(if reply { Kind::Comment } else { Kind::Post }),
        revision: None,
        published_at: Some(published),
        author: Some(author),
        channel: None,
        thread_id: None,
        title: title.map(event::escape),
        text: text.map(String::from),
        lang: status.language.as_deref().map(str::to_lowercase).filter(|l| !l.is_empty()),
        url: Some(page).filter(|url| url.starts_with("http")).map(String::from),
        engagement: Some(engagement),
        media,
        reply_to: None,
        other: Default::default(),
    };
    let headline = title.or(text).unwrap_or_default();
    Some(Draft { aliases: Aliases::new(Some(&status.uri), None, headline, Some(published)), event, content })
}

/// `user@instance`, also for the instance's own accounts, which it names without itself.
fn author(account: &Account, instance: &str) -> Party {
    let home = account.url.as_deref().and_then(|url| Url::parse(url).ok());
    let home = home.as_ref().and_then(Url::host_str).unwrap_or(instance);
    let id =
        if account.acct.contains('@') { account.acct.clone() } else { format!("{}@{home}", account.acct) };
    let name = account.display_name.as_deref().map(str::trim).filter(|n| !n.is_empty());
    Party { name: Some(name.unwrap_or(&id).to_string()), id }
}

fn media(attachment: &Attachment) -> Option<Media> {
    let mime = match attachment.r#type.as_str() {
        "video" | "gifv" => "video/mp4",
        "audio" => "audio/mpeg",
        _ => return None,
    };
    let url = attachment.url.clone().filter(|url| url.starts_with("http"))?;
    let seconds = attachment.meta["original"]["duration"].as_f64();
    let duration_ms = seconds.filter(|s| s.is_finite() && *s > 0.0).map(|s| (s * 1_000.0) as u64);
    Some(Media { mime: event::guess(&url).or_else(|| Some(mime.into())), url, duration_ms })
}
