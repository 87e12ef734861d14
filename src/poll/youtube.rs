//! An entry of a YouTube feed and the draft that any feed would make of it in, the
//! draft of a video out.
//!
//! The video is known by its own id (`yt:videoId`), whichever feed shows it, and its
//! channel by the channel's. The feed is flaky: for weeks a valid channel may answer
//! 404 or 500, so those are transient here as everywhere.

use dataflows::event::{Engagement, Kind, Party};
use feed_rs::model;

use super::event::Draft;
use super::harvest;
use super::identity::{Aliases, Hash};

/// The id behind `yt:video:…`.
fn video_id(entry: &model::Entry) -> Option<&str> {
    let id = entry.id.trim().strip_prefix("yt:video:")?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (!id.is_empty() && id.bytes().all(plain)).then_some(id)
}

/// `None`: the entry is no video.
pub(super) fn of_feed(draft: Draft, entry: &model::Entry, step_ratio: f64) -> Option<Draft> {
    let id = video_id(entry)?;
    let community = entry.media.iter().find_map(|media| media.community.as_ref());
    let count = |n: Option<u64>| n.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let engagement = Engagement {
        views: community.and_then(|c| count(c.stats_views)),
        likes: community.and_then(|c| count(c.stars_count)),
        ..Engagement::default()
    };
    let person = entry.authors.first();
    let channel = person.map(|person| {
        let uri = person.uri.as_deref().unwrap_or_default().trim_end_matches('/');
        let id = uri.rsplit_once('/').map_or(uri, |(_, id)| id);
        let name = person.name.clone();
        Party { id: if id.is_empty() { name.clone().unwrap_or_default() } else { id.into() }, name }
    });
    let mut event = draft.event;
    let channel = channel.filter(|c| !c.id.is_empty()).or(event.channel.take());
    event.kind = Some(Kind::Video);
    event.author = channel.clone();
    event.channel = channel;
    event.engagement = Some(engagement);
    event.native_id = id.to_string();
    let headline = event.title.clone().unwrap_or_default();
    let content = Hash::of(&[
        &draft.content.hex(),
        &harvest::step(engagement.views, step_ratio),
        &harvest::step(engagement.likes, step_ratio),
    ]);
    Some(Draft { aliases: Aliases::new(Some(id), None, &headline, event.published_at), event, content })
}
