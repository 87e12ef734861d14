//! The items of a story become what is told of it.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{FirstSeen, MEMBERS_MAX, Story, StoryHour, StoryPlatform};
use super::shown::Shown;
use super::split::Info;
use crate::time::{HOUR_MS, Millis};
use crate::volume::cell::mean;

/// An item that is told of.
pub struct Told<'a> {
    pub at: Millis,
    pub shown: Shown<'a>,
}

/// Whether it takes more than one: at least two items, of two authors or two platforms.
/// An item without author and channel counts for no author.
pub fn is_story(items: &[Told<'_>]) -> bool {
    let platforms: BTreeSet<&str> = items.iter().map(|item| item.shown.platform).collect();
    items.len() >= 2 && (platforms.len() >= 2 || authors(items) >= 2)
}

fn authors(items: &[Told<'_>]) -> usize {
    let known = items.iter().filter_map(|item| Some((item.shown.platform, item.shown.author?)));
    known.collect::<BTreeSet<_>>().len()
}

/// The item that stands for a story: the earliest with a title, or the earliest.
pub fn representative<'a, 'b>(items: &'b [Told<'a>]) -> &'b Shown<'a> {
    let titled = items.iter().find(|item| item.shown.has_title);
    &titled.or(items.first()).expect("a story has items").shown
}

/// `items` are in the order of publication.
pub fn story(id: &str, opened_at: Millis, items: &[Told<'_>], info: Info) -> Story {
    let (first, last) = (&items[0], &items[items.len() - 1]);
    let shown = representative(items);
    let last_hour = Millis(last.at.0 - HOUR_MS);
    let compounds = || items.iter().filter_map(|item| item.shown.compound);
    let topics: BTreeSet<&str> = items.iter().flat_map(|item| item.shown.topics.iter().copied()).collect();
    Story {
        id: id.to_string(),
        opened_at,
        title: shown.title.to_string(),
        representative: shown.id.to_string(),
        url: shown.url.map(str::to_string),
        items: count(items.len()),
        authors: count(authors(items)),
        platforms: platforms(items),
        first_seen: FirstSeen {
            at: first.at,
            platform: first.shown.platform.to_string(),
            content_id: first.shown.id.to_string(),
        },
        last_seen: last.at,
        velocity_per_hour: count(items.iter().filter(|item| item.at > last_hour).count()),
        timeline: timeline(items),
        members: items.iter().take(MEMBERS_MAX).map(|item| item.shown.id.to_string()).collect(),
        split: info.split,
        merged_into: None,
        topics: topics.into_iter().map(str::to_string).collect(),
        compound_mean: mean(compounds().map(i64::from).sum(), compounds().count() as i64),
        why: why(&info),
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn platforms(items: &[Told<'_>]) -> Vec<StoryPlatform> {
    let mut found: Vec<StoryPlatform> = Vec::new();
    let mut place: BTreeMap<&str, usize> = BTreeMap::new();
    for item in items {
        let platform = item.shown.platform;
        let at = *place.entry(platform).or_insert(found.len());
        if at == found.len() {
            found.push(StoryPlatform {
                platform: platform.to_string(),
                items: 0,
                first_seen: item.at,
                url: None,
            });
        }
        found[at].items += 1;
        if found[at].url.is_none() {
            found[at].url = item.shown.url.map(str::to_string);
        }
    }
    found
}

fn timeline(items: &[Told<'_>]) -> Vec<StoryHour> {
    let mut hours: BTreeMap<Millis, u32> = BTreeMap::new();
    for item in items {
        *hours.entry(item.at.floor(HOUR_MS)).or_default() += 1;
    }
    hours.into_iter().map(|(start, items)| StoryHour { start, items }).collect()
}

/// How many pairs which signal links.
fn why(info: &Info) -> String {
    let [words, both, meaning] = info.links;
    let pairs = |n: u32, one: &str, many: &str| match n {
        0 => None,
        1 => Some(format!("1 pair {one}")),
        n => Some(format!("{n} pairs {many}")),
    };
    let signals = [
        pairs(words, "shares most words", "share most words"),
        pairs(both, "agrees in words and meaning", "agree in words and meaning"),
        pairs(meaning, "means nearly the same", "mean nearly the same"),
    ];
    let mut why = signals.into_iter().flatten().collect::<Vec<_>>().join("; ");
    if info.split {
        why.push_str("; part of something too large, by its closest links");
    }
    why
}
