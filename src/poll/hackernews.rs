//! Hacker News by its Firebase API: the heads of its lists in, stories out.
//!
//! A list is an array of ids, each item one request, `updates` the ids that changed
//! lately. A poll reads the stories at the head of the lists, of those that left them
//! the known ones that `updates` names, and a few others in turn; all of it within a
//! named number of requests. There is no documented rate limit.
//!
//! What the API is known to answer: `null` for an item that does not exist (yet),
//! items with nothing but an id that are `deleted`, items that are `dead` (killed, and
//! sometimes brought back). A request that fails costs its item until the next poll.

use std::collections::HashSet;

use dataflows::event::{Change, ContentEvent, Engagement, Kind, Party};
use dataflows::time::Millis;
use futures_util::StreamExt;
use serde::Deserialize;
use url::Url;

use super::changes::Known;
use super::event::Draft;
use super::fetch::{Fetcher, Quota};
use super::harvest::{self, Harvest, Keep, NoHarvest};
use super::identity::{Aliases, Hash};
use super::settings::Settings;
use super::source::{HackerNews, Source};
use super::store::State;

/// Of the stories that left the lists, how many are looked at again in one poll.
const RECHECKED: usize = 20;

/// One item as the API has it; a comment or an unknown type is none of ours.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    id: u64,
    deleted: bool,
    dead: bool,
    r#type: Option<String>,
    by: Option<String>,
    time: Option<i64>,
    title: Option<String>,
    text: Option<String>,
    url: Option<String>,
    score: Option<i64>,
    descendants: Option<i64>,
}

#[derive(Deserialize)]
struct Updates {
    items: Vec<u64>,
}

/// Polls once. `known` is what is remembered of the source.
pub(super) async fn harvest(
    fetcher: &Fetcher,
    settings: &Settings,
    source: &Source,
    hackernews: &HackerNews,
    state: &State,
    known: &[Known],
    now_ms: i64,
) -> Result<Harvest, NoHarvest> {
    let mut ids: Vec<u64> = Vec::new();
    for list in &hackernews.lists {
        let (listed, _) =
            harvest::json::<Vec<u64>>(fetcher, &at(&source.url, &format!("{list}stories")), now_ms).await?;
        let new = listed.into_iter().take(hackernews.stories_max).filter(|id| !ids.contains(id));
        ids.extend(new.collect::<Vec<_>>());
    }
    let mut harvest = Harvest { keep: Keep::of(state), ..Harvest::default() };
    if known.iter().any(|row| row.emitted) {
        match harvest::json::<Updates>(fetcher, &at(&source.url, "updates"), now_ms).await {
            Ok((updates, _)) => ids.extend(elsewhere(known, &ids, &updates.items, state.polls)),
            Err(error) => harvest.interrupted = Some(error),
        }
    }
    ids.truncate(settings.item_requests_max);
    let asked: Vec<_> = ids.into_iter().map(|id| item(fetcher, &source.url, id, now_ms)).collect();
    let mut fetched = futures_util::stream::iter(asked).buffered(settings.item_requests_at_once.max(1));
    while let Some((id, answer)) = fetched.next().await {
        match answer {
            Ok((item, _)) => sort(&mut harvest, settings, source, id, item),
            // Nothing more will come of this poll; what is here counts.
            Err(error) if error.retry_after_s().is_some() => {
                harvest.interrupted = Some(error);
                break;
            }
            Err(NoHarvest::Unreadable(_)) => harvest.broken += 1,
            Err(error) => harvest.interrupted = Some(error),
        }
    }
    Ok(harvest)
}

async fn item(
    fetcher: &Fetcher,
    base: &Url,
    id: u64,
    now_ms: i64,
) -> (u64, Result<(Option<Item>, Option<Quota>), NoHarvest>) {
    (id, harvest::json(fetcher, &at(base, &format!("item/{id}")), now_ms).await)
}

fn at(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}.json", base.path().trim_end_matches('/')));
    url
}

/// Known stories that are not in `listed` and worth a look.
fn elsewhere(known: &[Known], listed: &[u64], updated: &[u64], polls: u64) -> Vec<u64> {
    let listed: HashSet<u64> = listed.iter().copied().collect();
    let updated: HashSet<u64> = updated.iter().copied().collect();
    let mut told: Vec<u64> =
        known.iter().filter(|row| row.emitted).filter_map(|row| id_of(&row.key)).collect();
    // The newest first: an old story changes no more.
    told.sort_unstable_by(|a, b| b.cmp(a));
    told.retain(|id| !listed.contains(id));
    let (changed, mut rest): (Vec<u64>, Vec<u64>) = told.into_iter().partition(|id| updated.contains(id));
    rest.truncate(RECHECKED * 20);
    if !rest.is_empty() {
        let start = usize::try_from(polls).unwrap_or(0).wrapping_mul(RECHECKED) % rest.len();
        rest.rotate_left(start);
    }
    changed.into_iter().chain(rest.into_iter().take(RECHECKED)).collect()
}

fn id_of(key: &str) -> Option<u64> {
    key.strip_prefix("g:")?.parse().ok()
}

fn sort(harvest: &mut Harvest, settings: &Settings, source: &Source, id: u64, item: Option<Item>) {
    // An id of the list may not be readable everywhere yet: null says nothing of it.
    let Some(item) = item else { return };
    if item.deleted || item.dead {
        harvest.gone.push(format!("g:{id}"));
        return;
    }
    if !matches!(item.r#type.as_deref(), Some("story" | "job" | "poll")) {
        return;
    }
    match draft(settings, source, &Item { id, ..item }) {
        Some(draft) => harvest.drafts.push(draft),
        None => harvest.broken += 1,
    }
}

fn draft(settings: &Settings, source: &Source, item: &Item) -> Option<Draft> {
    let title = item.title.as_deref().map(str::trim).filter(|t| !t.is_empty())?;
    let published = Millis(item.time?.checked_mul(1_000)?);
    let id = item.id.to_string();
    let discussion = format!("https://news.ycombinator.com/item?id={id}");
    let page = item.url.as_deref().filter(|url| Url::parse(url).is_ok_and(|u| u.has_host()));
    let count = |n: Option<i64>| n.map(|n| u32::try_from(n.max(0)).unwrap_or(u32::MAX));
    let engagement =
        Engagement { likes: count(item.score), comments: count(item.descendants), ..Engagement::default() };
    let text = item.text.as_deref().map(str::trim).filter(|t| !t.is_empty());
    let content = Hash::of(&[
        title,
        text.unwrap_or_default(),
        page.unwrap_or_default(),
        &harvest::step(engagement.likes, settings.engagement_step_ratio),
        &harvest::step(engagement.comments, settings.engagement_step_ratio),
    ]);
    let event = ContentEvent {
        platform: source.platform.clone(),
        native_id: id.clone(),
        change: Change::Created,
        kind: Some(Kind::Post),
        revision: None,
        published_at: Some(published),
        author: item.by.clone().map(|by| Party { name: Some(by.clone()), id: by }),
        channel: Some(Party { id: "hackernews".into(), name: Some("Hacker News".into()) }),
        thread_id: None,
        title: Some(title.to_string()),
        text: text.map(String::from),
        lang: Some("en".into()),
        url: Some(page.map_or_else(|| discussion.clone(), String::from)),
        engagement: Some(engagement),
        media: Vec::new(),
        reply_to: None,
        other: [("discussion_url".to_string(), discussion.into())].into(),
    };
    Some(Draft { aliases: Aliases::new(Some(&id), None, title, Some(published)), event, content })
}
