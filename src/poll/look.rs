//! A source in, what it shows now out: for people, without storing anything.

use super::bluesky;
use super::clock::{Clock, SystemClock};
use super::discover::titles;
use super::event;
use super::feed;
use super::fetch::{FetchError, Fetcher, Validators};
use super::hackernews;
use super::harvest::Harvest;
use super::identity::Ladder;
use super::mastodon;
use super::settings::Settings;
use super::socket;
use super::source::{Bluesky, HackerNews, Kind, Source};
use super::store::State;

/// What a source shows now, in a few lines; or why it shows nothing.
pub(super) async fn describe(
    fetcher: &Fetcher,
    settings: &Settings,
    source: &Source,
) -> Result<String, String> {
    let now_ms = SystemClock.now_ms();
    match &source.kind {
        Kind::Feed | Kind::Youtube => feed(fetcher, settings, source, now_ms).await,
        Kind::HackerNews(own) => {
            // A few stories say as much as all of them.
            let few = HackerNews { stories_max: own.stories_max.min(STORIES), ..own.clone() };
            let harvest =
                hackernews::harvest(fetcher, settings, source, &few, &State::default(), &[], now_ms).await;
            items(&harvest.map_err(|e| e.to_string())?)
        }
        Kind::Mastodon(own) => {
            let asking = mastodon::Asking { fetcher, settings, source, mastodon: own, known: &[], now_ms };
            let harvest = mastodon::harvest(&asking, &State::default()).await;
            items(&harvest.map_err(|e| e.to_string())?)
        }
        Kind::Bluesky(own) => stream(fetcher, settings, own).await,
    }
}

/// How many stories a check reads.
const STORIES: usize = 5;

fn items(harvest: &Harvest) -> Result<String, String> {
    if let (Some(error), true) = (&harvest.interrupted, harvest.drafts.is_empty()) {
        return Err(error.to_string());
    }
    let mut text = format!("{} items", harvest.drafts.len());
    if harvest.broken > 0 {
        text.push_str(&format!(", {} not readable", harvest.broken));
    }
    for title in titles(&harvest.drafts) {
        text.push_str(&format!("\n         {title}"));
    }
    Ok(text)
}

/// Whether the first host that answers lets us in.
async fn stream(fetcher: &Fetcher, settings: &Settings, own: &Bluesky) -> Result<String, String> {
    let max = settings.stream.message_bytes_max;
    let mut reasons = Vec::new();
    for host in &own.hosts {
        let url = bluesky::subscription(own, host, None, max);
        let name = host.host_str().unwrap_or_default();
        match socket::connect(fetcher, &url, max).await {
            Ok(_) => return Ok(format!("{name} is open")),
            Err(error) => reasons.push(format!("{name}: {error}")),
        }
    }
    Err(reasons.join("; "))
}

async fn feed(
    fetcher: &Fetcher,
    settings: &Settings,
    source: &Source,
    now_ms: i64,
) -> Result<String, String> {
    let fetched = fetcher.get(&source.url, &Validators::default(), now_ms).await;
    let response = fetched.map_err(|e: FetchError| e.to_string())?;
    let (moved, url, content_type) = (response.moved_to, response.url, response.content_type);
    let body = response.body.ok_or("the server answered 304 to a question without conditions")?;
    let bytes = body.len();
    let read = tokio::task::spawn_blocking(move || feed::read(&body, content_type.as_deref(), url.as_str()));
    let feed = read.await.map_err(|_| "the parser cannot bear it".to_string())?.map_err(|e| e.to_string())?;
    let (title, broken) = (feed.title.clone().unwrap_or_default(), feed.skipped);
    let drafts = event::drafts(source, feed, settings.engagement_step_ratio);
    let mut ladder = Ladder::default();
    ladder.learn(drafts.iter().map(|d| &d.aliases));
    let identity = match (ladder.guid && drafts.iter().any(|d| d.aliases.has_guid()), ladder.link) {
        _ if source.kind.has_ids() => "id",
        (true, _) => "guid",
        (false, true) => "link",
        (false, false) => "title and date",
    };
    let newest = drafts.iter().filter_map(|d| d.event.published_at).max();
    let mut text = format!("{title:?}, {} entries, told apart by {identity}, {bytes} bytes", drafts.len());
    if let Some(newest) = newest {
        text.push_str(&format!(", newest {newest}"));
    }
    if broken > 0 {
        text.push_str(&format!(", {broken} entries not readable"));
    }
    if let Some(moved) = moved {
        text.push_str(&format!(", moved for good to {moved}"));
    }
    for title in titles(&drafts) {
        text.push_str(&format!("\n         {title}"));
    }
    Ok(text)
}
