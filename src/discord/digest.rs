//! What happened in a window → [`Digest`]: the record that says what was found
//! notable, and why. Pure: the same content gives the same digest.
//!
//! **Why an item is there.** `score = 0.5 e + 0.3 m + 0.2 b`, each from 0 to 1:
//! - `e`, engagement percentile: the share of the window's items of the same platform
//!   that have less engagement (half of those with equal), where engagement is
//!   `100 likes + 200 comments + 300 shares + views`; 0 without engagement.
//! - `m`, mood: the absolute VADER compound; 0 where the item is not scored.
//! - `b`, burst: of its watched topics the largest `(now - before) / (now + before + 4)`
//!   over the counts of this window and the previous one, not below 0.
//!
//! Shown are the best, above a score that is a knob, at most a few of one channel;
//! the same link, the same words or the same story are shown once, and with an item of a
//! story where else it is told. Ties: more engagement, then the
//! later, then the smaller id.
//!
//! An item belongs to a window that contains its time of publication, or its first
//! ingestion if it was published at most one window earlier; what the route's last
//! digest showed is not shown again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use dataflows::time::Millis;

use super::activity::{Activity, Volume};
use super::routes::Route;
use super::schedule::Window;

const ENGAGEMENT_WEIGHT: f64 = 0.5;
const MOOD_WEIGHT: f64 = 0.3;
const BURST_WEIGHT: f64 = 0.2;
/// Keeps a topic that went from 0 to 1 from being a burst.
const BURST_PRIOR: f64 = 4.0;
const CHANNELS_SHOWN_MAX: usize = 5;
/// Platforms that are named beside an item of a story.
const ALSO_MAX: usize = 5;

mod known;
mod record;

pub use known::Known;
pub use record::{Also, Digest, Item, OfStory, QuietAlert, Standing, Why};

/// Knobs of the choice.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    pub score_min: f64,
    pub items_per_channel_max: usize,
}

/// Why a candidate is shown or not, for the preview.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    pub id: String,
    pub title: String,
    pub why: Why,
    /// `shown`, or why not.
    pub verdict: String,
}

/// A story as far as a digest needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub id: String,
    pub items: u32,
    /// Content ids, the oldest first.
    pub members: Vec<String>,
}

/// Finds the story of a content id.
pub type StoryOf<'a> = dyn Fn(&str) -> Option<&'a Told> + 'a;

/// Everything a digest is decided from.
pub struct Material<'a> {
    pub route: &'a Route,
    pub window: Window,
    pub decided_at: Millis,
    pub now: &'a Volume,
    pub before: &'a Volume,
    /// What the route's last digest showed.
    pub shown_before: &'a BTreeSet<String>,
    pub story_of: &'a StoryOf<'a>,
}

/// Why items are in or out.
#[derive(Debug, Default)]
pub struct Candidates {
    /// The best first, as many as were asked for.
    pub best: Vec<Candidate>,
    pub total: usize,
}

/// Decides the digest of a window. `items` are current versions, in any order.
pub fn decide<'a>(
    material: &Material<'_>,
    items: impl Iterator<Item = &'a Known>,
    choice: &Choice,
    candidates_max: usize,
) -> (Digest, Candidates) {
    let route = material.route;
    let items: Vec<&Known> = items.collect();
    let mut digest = Digest::skipped(&route.name, material.window, material.decided_at, "empty");
    let mut scored = score(material, &items);
    scored.sort_by(|(a, why_a), (b, why_b)| {
        let rank = |k: &'a Known| (Reverse(k.engagement), Reverse(k.published_at), k.id());
        why_b.score.total_cmp(&why_a.score).then_with(|| rank(a).cmp(&rank(b)))
    });
    let best = choose(material, &scored, choice, candidates_max, &mut digest.items);
    let candidates = Candidates { best, total: scored.len() };
    let told: Vec<Option<&Told>> = digest.items.iter().map(|item| (material.story_of)(&item.id)).collect();
    let members: HashSet<&str> =
        told.iter().flatten().flat_map(|told| &told.members).map(String::as_str).collect();
    let by_id: BTreeMap<&str, &Known> =
        items.iter().filter(|known| members.contains(known.id())).map(|known| (known.id(), *known)).collect();
    for (item, told) in digest.items.iter_mut().zip(told) {
        item.story = told.map(|told| of_story(told, item, material.route, &by_id));
    }
    digest.items_more = (scored.len() - digest.items.len()) as u64;
    digest.total = standing("", &material.now.total, &material.before.total);
    (digest.topics, digest.topics_more) =
        ranked(&material.now.topics, &material.before.topics, route.topics_max);
    (digest.channels, digest.channels_more) =
        ranked(&material.now.channels, &material.before.channels, CHANNELS_SHOWN_MAX);
    name_channels(&mut digest.channels, &items);
    if digest.total.count > 0 || !scored.is_empty() {
        digest.skipped = None;
    }
    (digest, candidates)
}

/// Where else the story of an item is told, as far as the route takes it and it is known.
fn of_story(told: &Told, item: &Item, route: &Route, by_id: &BTreeMap<&str, &Known>) -> OfStory {
    let mut also: Vec<Also> = Vec::new();
    let members = told.members.iter().filter_map(|id| by_id.get(id.as_str()));
    for known in members.filter(|k| route.takes(k.platform(), k.topics()) && k.platform() != item.platform) {
        if also.len() < ALSO_MAX && also.iter().all(|a| a.platform != known.platform()) {
            also.push(known.also());
        }
    }
    OfStory { id: told.id.clone(), items: told.items, also }
}

fn score<'a>(material: &Material<'_>, items: &[&'a Known]) -> Vec<(&'a Known, Why)> {
    let of_window: Vec<&Known> = items
        .iter()
        .copied()
        .filter(|k| k.belongs_to(material.window) && material.route.takes(k.platform(), k.topics()))
        .collect();
    let mut by_platform: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for known in &of_window {
        by_platform.entry(known.platform()).or_default().push(known.engagement);
    }
    by_platform.values_mut().for_each(|all| all.sort_unstable());
    let bursts = bursts(material);
    let why = |known: &Known| {
        let mood = known.mood.map_or(0.0, f64::abs);
        let percentile = percentile(&by_platform[known.platform()], known.engagement);
        let mine = known.topics().filter_map(|t| bursts.get(t).map(|b| (t, *b)));
        let burst = mine.max_by(|(a, x), (b, y)| x.total_cmp(y).then_with(|| b.cmp(a)));
        let burst_share = burst.map_or(0.0, |(_, b)| b);
        Why {
            score: rounded(ENGAGEMENT_WEIGHT * percentile + MOOD_WEIGHT * mood + BURST_WEIGHT * burst_share),
            engagement: known.engagement,
            engagement_percentile: rounded(percentile),
            mood: rounded(mood),
            burst: rounded(burst_share),
            burst_topic: burst.map(|(topic, _)| topic.to_string()),
        }
    };
    of_window.into_iter().map(|known| (known, why(known))).collect()
}

fn percentile(sorted: &[u64], value: u64) -> f64 {
    if value == 0 {
        return 0.0;
    }
    let below = sorted.partition_point(|v| *v < value);
    let equal = sorted.partition_point(|v| *v <= value) - below;
    (below as f64 + equal as f64 / 2.0) / sorted.len() as f64
}

fn bursts<'a>(material: &'a Material<'_>) -> BTreeMap<&'a str, f64> {
    let before = &material.before.topics;
    let burst = |name: &str, now: &Activity| {
        let (now, before) = (now.count as f64, before.get(name).map_or(0.0, |a| a.count as f64));
        ((now - before) / (now + before + BURST_PRIOR)).max(0.0)
    };
    material.now.topics.iter().map(|(n, a)| (n.as_str(), burst(n, a))).filter(|(_, b)| *b > 0.0).collect()
}

/// Four decimals, as they are shown and stored.
fn rounded(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

fn choose(
    material: &Material<'_>,
    scored: &[(&Known, Why)],
    choice: &Choice,
    candidates_max: usize,
    shown: &mut Vec<Item>,
) -> Vec<Candidate> {
    let mut taken = Taken::default();
    let mut candidates = Vec::new();
    for (known, why) in scored {
        let verdict = match taken.refuses(material, choice, known, why) {
            Some(reason) => reason,
            None => {
                taken.take(material, known);
                shown.push(known.item(why.clone()));
                "shown".to_string()
            }
        };
        if candidates.len() < candidates_max {
            candidates.push(Candidate {
                id: known.id().to_string(),
                title: known.title().or(known.text()).unwrap_or_default().to_string(),
                why: why.clone(),
                verdict,
            });
        }
    }
    candidates
}

/// What is shown so far, as far as the rules of the choice ask.
#[derive(Default)]
struct Taken {
    count: usize,
    of_channel: BTreeMap<(String, String), usize>,
    /// Sameness -> the id shown.
    sames: BTreeMap<String, String>,
    /// Story -> the id shown.
    stories: BTreeMap<String, String>,
}

impl Taken {
    fn refuses(&self, material: &Material<'_>, choice: &Choice, known: &Known, why: &Why) -> Option<String> {
        if material.shown_before.contains(known.id()) {
            return Some("the last digest of this route showed it".to_string());
        }
        if why.score < choice.score_min {
            return Some(format!("score {:.2} is below {:.2}", why.score, choice.score_min));
        }
        if let Some(told) = (material.story_of)(known.id()) {
            if let Some(first) = self.stories.get(told.id.as_str()) {
                return Some(format!("same story as {first}"));
            }
            if let Some(before) = told.members.iter().find(|id| material.shown_before.contains(*id)) {
                return Some(format!("the last digest of this route showed its story, with {before}"));
            }
        }
        if let Some(first) = sameness(known).iter().find_map(|s| self.sames.get(s)) {
            return Some(format!("same link or words as {first}"));
        }
        if let Some(of_channel) = channel_key(known).and_then(|key| self.of_channel.get(&key))
            && *of_channel >= choice.items_per_channel_max
        {
            return Some(format!("{of_channel} of its channel are shown already"));
        }
        (self.count >= material.route.items_max).then(|| format!("the {} best are shown", self.count))
    }

    fn take(&mut self, material: &Material<'_>, known: &Known) {
        self.count += 1;
        if let Some(told) = (material.story_of)(known.id()) {
            self.stories.insert(told.id.clone(), known.id().to_string());
        }
        if let Some(key) = channel_key(known) {
            *self.of_channel.entry(key).or_default() += 1;
        }
        self.sames.extend(sameness(known).into_iter().map(|same| (same, known.id().to_string())));
    }
}

fn channel_key(known: &Known) -> Option<(String, String)> {
    known.channel_id().map(|id| (known.platform().to_string(), id.to_string()))
}

/// What makes two items the same for a reader: the link, or the words.
fn sameness(known: &Known) -> Vec<String> {
    let words = format!("{} {}", known.title().unwrap_or(""), known.text().unwrap_or(""));
    let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
    let mut sames: Vec<String> =
        known.url().iter().map(|u| format!("url {}", u.trim_end_matches('/'))).collect();
    if !words.is_empty() {
        sames.push(format!("words {}", words.join(" ")));
    }
    sames
}

fn standing(name: &str, now: &Activity, before: &Activity) -> Standing {
    Standing {
        name: name.to_string(),
        label: None,
        count: now.count,
        previous_count: before.count,
        mood: now.mood().map(rounded),
        previous_mood: before.mood().map(rounded),
    }
}

/// Cells know channels by id; readers by the name their items carry.
fn name_channels(channels: &mut [Standing], items: &[&Known]) {
    for standing in channels {
        let named = items.iter().filter(|k| {
            let rest = standing.name.strip_prefix(k.platform()).and_then(|rest| rest.strip_prefix(':'));
            rest.is_some() && rest == k.channel_id()
        });
        let latest = named.max_by_key(|k| (k.published_at, k.id()));
        standing.label = latest.and_then(|k| k.channel()).map(str::to_string);
    }
}

/// The most active first; by name where equally active.
fn ranked(
    now: &BTreeMap<String, Activity>,
    before: &BTreeMap<String, Activity>,
    max: usize,
) -> (Vec<Standing>, u64) {
    let none = Activity::default();
    let mut all: Vec<Standing> = now
        .iter()
        .filter(|(_, a)| a.count > 0)
        .map(|(n, a)| standing(n, a, before.get(n).unwrap_or(&none)))
        .collect();
    all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    let more = all.len().saturating_sub(max) as u64;
    all.truncate(max);
    (all, more)
}
