//! What a digest says: one record of digests.

use dataflows::event::Version;
use dataflows::time::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alerts::record::{Alert, Severity};
use crate::discord::schedule::Window;

/// One digest as it was decided, one record of digests. Later edits and deletions
/// of what it shows amend `items`, never the choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Digest {
    /// Route and window: `digest~ROUTE~START~END`.
    pub key: String,
    pub route: String,
    pub window: Window,
    /// What it is compared with.
    pub previous: Window,
    /// The pipeline clock when it was decided.
    pub decided_at: Millis,
    /// Asked for, rather than by schedule.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub manual: bool,
    /// Why nothing is posted: `empty`, `missed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// Scheduled windows right before this one that had no digest (downtime).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
    pub total: Standing,
    pub topics: Vec<Standing>,
    pub topics_more: u64,
    pub channels: Vec<Standing>,
    pub channels_more: u64,
    pub items: Vec<Item>,
    /// Items of the window that are not shown.
    pub items_more: u64,
    /// Alerts that opened in the quiet hours of the route, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<QuietAlert>,
    /// Shown items that were deleted since.
    #[serde(default)]
    pub removed: u32,
    /// 1 as decided; grows with every amendment.
    pub sequence: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amended_at: Option<Millis>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Digest {
    /// Everything that it shows or links to.
    pub fn content_ids(&self) -> Vec<String> {
        let items = self.items.iter().map(|item| &item.id);
        let also = self.items.iter().flat_map(|item| &item.story).flat_map(|story| &story.also);
        let mut ids: Vec<String> = Vec::new();
        let alerts = self.alerts.iter().flat_map(|alert| &alert.content_ids);
        for id in items.chain(also.map(|also| &also.id)).chain(alerts) {
            if !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        ids
    }

    /// Version and hash of a content as it is shown here, as an item or beside one.
    pub fn shown(&self, id: &str) -> Option<(Version, &str)> {
        let item = self.items.iter().find(|item| item.id == id).map(|item| (item.version, &*item.shown));
        let also = || self.items.iter().flat_map(|item| &item.story).flat_map(|story| &story.also);
        item.or_else(|| also().find(|also| also.id == id).map(|also| (also.version, &*also.shown)))
    }

    pub fn key_of(route: &str, window: Window) -> String {
        format!("digest~{route}~{}~{}", window.start, window.end)
    }

    /// A record of a window that has no digest.
    pub fn skipped(route: &str, window: Window, decided_at: Millis, reason: &str) -> Self {
        Self {
            key: Self::key_of(route, window),
            route: route.to_string(),
            window,
            previous: window.previous(),
            decided_at,
            manual: false,
            skipped: Some(reason.to_string()),
            missed: 0,
            total: Standing::default(),
            topics: Vec::new(),
            topics_more: 0,
            channels: Vec::new(),
            channels_more: 0,
            items: Vec::new(),
            items_more: 0,
            alerts: Vec::new(),
            removed: 0,
            sequence: 1,
            amended_at: None,
        }
    }
}

/// An alert that a digest tells of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuietAlert {
    pub key: String,
    pub rule: String,
    pub severity: Severity,
    /// What readers call its subject; of an item that was deleted, the rule's name.
    pub label: String,
    pub why: String,
    pub since: Millis,
    /// When it ended, if it had by then.
    pub resolved: Option<Millis>,
    pub content_ids: Vec<String>,
}

impl QuietAlert {
    pub fn of(alert: &Alert) -> Self {
        Self {
            key: alert.key.clone(),
            rule: alert.rule.clone(),
            severity: alert.severity,
            label: alert.label.clone(),
            why: alert.why.clone(),
            since: alert.since,
            resolved: alert.resolved,
            content_ids: alert.content_ids.clone(),
        }
    }
}

/// A topic, a channel or everything, in this window and the one before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    pub name: String,
    /// What readers call it, where that differs from `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    pub count: u64,
    pub previous_count: u64,
    /// Mean compound of the scored items; `None` where none is scored.
    pub mood: Option<f64>,
    pub previous_mood: Option<f64>,
}

/// A notable item as the digest shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Item {
    pub id: String,
    pub version: Version,
    /// Hash of what is shown of it, engagement left out.
    pub shown: String,
    pub platform: String,
    pub channel: Option<String>,
    pub author: Option<String>,
    pub title: Option<String>,
    pub text: Option<String>,
    pub url: Option<String>,
    pub published_at: Millis,
    pub mood: Option<f64>,
    pub topics: Vec<String>,
    pub why: Why,
    /// Edited since the digest was decided.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edited: bool,
    /// The story that the item stood for when the digest was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub story: Option<OfStory>,
}

/// The story of a shown item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OfStory {
    pub id: String,
    /// Of all items of it, when the digest was decided.
    pub items: u32,
    /// One item of it on each other platform, the earliest there.
    pub also: Vec<Also>,
}

/// Another item of the same story. An edit or a deletion of it takes it out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Also {
    pub id: String,
    pub version: Version,
    /// As in [`Item`].
    pub shown: String,
    pub platform: String,
    pub url: Option<String>,
}

/// The components of the score; see the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    pub score: f64,
    pub engagement: u64,
    pub engagement_percentile: f64,
    pub mood: f64,
    pub burst: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst_topic: Option<String>,
}
