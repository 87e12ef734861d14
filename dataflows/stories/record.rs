//! A story as results.stories holds it: what several authors or platforms publish about
//! the same thing, in the last three days of the pipeline clock.
//!
//! Key: the story's id. A tombstone when its last item expired, or too little of it is left.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// Content ids that a story lists at most, the oldest first.
pub const MEMBERS_MAX: usize = 50;

/// One record of results.stories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Story {
    /// Given when it is first published; kept over merges (by the older story) and splits
    /// (by the part with the representative).
    pub id: String,
    /// When it was first published, by the pipeline clock: the older of two stories is the
    /// one with the earlier time.
    pub opened_at: Millis,
    /// Of the representative, shortened; the beginning of its text where it has no title.
    pub title: String,
    /// The content id of the item that stands for the story.
    pub representative: String,
    /// Of the representative.
    pub url: Option<String>,
    pub items: u32,
    /// Distinct authors by platform; a channel stands in for an author that is not known.
    pub authors: u32,
    /// By first item, so that the first is where the story was first seen.
    pub platforms: Vec<StoryPlatform>,
    pub first_seen: FirstSeen,
    /// When its latest item was published.
    pub last_seen: Millis,
    /// Items in the last hour of its life, by the time they were published.
    pub velocity_per_hour: u32,
    /// Items by hour of publication; hours without any are left out.
    pub timeline: Vec<StoryHour>,
    /// Content ids, the oldest first, [`MEMBERS_MAX`] at most.
    pub members: Vec<String>,
    /// Whether this is a part of something so large that only closer links count in it.
    #[serde(default)]
    pub split: bool,
    /// The story that this one became part of; then the other fields are as they last were.
    #[serde(default)]
    pub merged_into: Option<String>,
    /// Watched topics of its items, sorted.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Mean of the scored items' compounds; `None` where none is scored.
    pub compound_mean: Option<f64>,
    /// Which signals link its items, in words.
    pub why: String,
}

/// What of a story is on one platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoryPlatform {
    pub platform: String,
    pub items: u32,
    pub first_seen: Millis,
    /// Of the first item there that has one.
    #[serde(default)]
    pub url: Option<String>,
}

/// Where a story appeared first, as far as its live items tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FirstSeen {
    pub at: Millis,
    pub platform: String,
    pub content_id: String,
}

/// How many items of a story an hour has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoryHour {
    pub start: Millis,
    pub items: u32,
}
