//! Digests that were posted, and what became of the content they show.
//!
//! A change of what a reader sees makes an amendment: the digest under the same key
//! with a higher sequence. At most one per digest in `edit_interval_s` of the pipeline
//! clock; a deletion at once. A change of engagement only makes none.
//!
//! Retention: digests of the last `edit_horizon_d`, at most `tracked_max`; past that
//! the oldest are not followed any more and counted.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::event::Version;
use dataflows::record::TopicPartition;
use dataflows::time::{DAY_MS, Millis};

use crate::discord::DigestSettings;
use crate::discord::digest::{Digest, Known};
use crate::discord::message::alerts_unshown;
use crate::discord::metrics;

/// A posted digest as the log has it, and what changed since.
#[derive(Debug)]
pub struct Tracked {
    digest: Digest,
    /// Current content of shown items that differ; `None` is a deletion.
    changed: BTreeMap<String, (Version, Option<Known>)>,
    /// Where the first of those changes was read.
    places: BTreeMap<TopicPartition, u64>,
    deletion: bool,
}

#[derive(Debug)]
pub struct Posted {
    by_key: BTreeMap<String, Tracked>,
    /// Content id -> keys of the digests that show it.
    by_content: BTreeMap<String, BTreeSet<String>>,
    /// By age, to forget the oldest first.
    by_time: BTreeSet<(Millis, String)>,
    interval_ms: i64,
    horizon_ms: i64,
    tracked_max: usize,
}

/// Counts what became of a digest.
pub(super) fn count(digest: &Digest) {
    let (outcome, reason) = match &digest.skipped {
        Some(reason) => ("skipped", reason.as_str()),
        None if digest.sequence > 1 => ("amended", reason(digest)),
        None if digest.manual => ("posted", "asked"),
        None => ("posted", "schedule"),
    };
    metrics::DIGESTS.with_label_values(&[outcome, reason]).inc();
    let unshown = alerts_unshown(digest);
    if outcome == "posted" && unshown > 0 {
        tracing::warn!(
            key = digest.key,
            unshown,
            "a digest has no room for all alerts of the quiet hours: `tidings alerts list` has them"
        );
        metrics::ALERTS_UNSHOWN.with_label_values(&[&digest.route]).inc_by(unshown as u64);
    }
}

/// Why a digest was amended last.
pub fn reason(digest: &Digest) -> &'static str {
    if digest.removed > 0 { "removed" } else { "edited" }
}

impl Posted {
    pub fn new(knobs: &DigestSettings) -> Self {
        Self {
            by_key: BTreeMap::new(),
            by_content: BTreeMap::new(),
            by_time: BTreeSet::new(),
            interval_ms: i64::try_from(knobs.edit_interval_s).unwrap_or(i64::MAX).saturating_mul(1_000),
            horizon_ms: i64::try_from(knobs.edit_horizon_d).unwrap_or(i64::MAX).saturating_mul(DAY_MS),
            tracked_max: knobs.tracked_max,
        }
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub fn knows(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// Follows a digest; a higher sequence replaces a lower one.
    pub fn track(&mut self, digest: Digest) {
        if self.by_key.get(&digest.key).is_some_and(|t| t.digest.sequence >= digest.sequence) {
            return;
        }
        self.forget(&digest.key.clone());
        for id in digest.content_ids() {
            self.by_content.entry(id).or_default().insert(digest.key.clone());
        }
        self.by_time.insert((digest.decided_at, digest.key.clone()));
        let tracked = Tracked { changed: BTreeMap::new(), places: BTreeMap::new(), deletion: false, digest };
        self.by_key.insert(tracked.digest.key.clone(), tracked);
        while self.by_key.len() > self.tracked_max {
            let Some((_, oldest)) = self.by_time.first().cloned() else { break };
            self.forget(&oldest);
            metrics::DIGEST_FORGOTTEN.with_label_values(&["posted", "cap"]).inc();
        }
    }

    /// A version of an item was read; `known` is `None` for a deletion.
    pub fn changed(
        &mut self,
        id: &str,
        version: Version,
        known: Option<&Known>,
        place: &(TopicPartition, u64),
    ) {
        let Some(keys) = self.by_content.get(id) else { return };
        for key in keys {
            let Some(tracked) = self.by_key.get_mut(key) else { continue };
            let shown = tracked.digest.shown(id);
            // Of what an alert is about a digest shows no more than its name.
            if shown.is_none() && known.is_some() {
                continue;
            }
            let shown_version = shown.map(|(version, _)| version).unwrap_or_default();
            let newest = tracked.changed.get(id).map_or(shown_version, |(version, _)| *version);
            if version <= newest {
                continue;
            }
            let same = known.zip(shown).is_some_and(|(known, (_, shown))| known.shown() == shown);
            if same {
                // Changed back, or only its engagement did.
                tracked.changed.remove(id);
            } else {
                tracked.changed.insert(id.to_string(), (version, known.cloned()));
                let offset = tracked.places.entry(place.0.clone()).or_insert(place.1);
                *offset = (*offset).min(place.1);
            }
            tracked.deletion = tracked.changed.values().any(|(_, known)| known.is_none());
            if tracked.changed.is_empty() {
                tracked.places.clear();
            }
        }
    }

    /// The amendments that are due.
    pub fn amendments(&self, clock: Millis) -> Vec<Digest> {
        let due = |t: &&Tracked| {
            let last = t.digest.amended_at.unwrap_or(t.digest.decided_at);
            !t.changed.is_empty() && (t.deletion || clock.0 - last.0 >= self.interval_ms)
        };
        self.by_key.values().filter(due).map(|t| t.amended(clock)).collect()
    }

    /// Where changes were read that are not shown yet.
    pub fn waiting(&self) -> impl Iterator<Item = (TopicPartition, u64)> {
        self.by_key.values().flat_map(|t| t.places.iter().map(|(place, offset)| (place.clone(), *offset)))
    }

    /// Forgets what is older than the horizon.
    pub fn expire(&mut self, clock: Millis) {
        let oldest = Millis(clock.0.saturating_sub(self.horizon_ms));
        while let Some((_, key)) = self.by_time.first().filter(|(at, _)| *at < oldest).cloned() {
            self.forget(&key);
        }
    }

    fn forget(&mut self, key: &str) {
        let Some(tracked) = self.by_key.remove(key) else { return };
        self.by_time.remove(&(tracked.digest.decided_at, key.to_string()));
        for id in tracked.digest.content_ids() {
            if let Some(keys) = self.by_content.get_mut(&id) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_content.remove(&id);
                }
            }
        }
    }
}

impl Tracked {
    fn amended(&self, clock: Millis) -> Digest {
        let mut digest = self.digest.clone();
        digest.sequence += 1;
        digest.amended_at = Some(clock);
        for (id, (_, known)) in &self.changed {
            for story in digest.items.iter_mut().filter_map(|item| item.story.as_mut()) {
                // An edited one may be about something else now.
                story.also.retain(|also| also.id != *id);
            }
            match known {
                None => {
                    let items = digest.items.len();
                    digest.items.retain(|item| item.id != *id);
                    let mut gone = digest.items.len() < items;
                    for alert in digest.alerts.iter_mut().filter(|alert| alert.content_ids.contains(id)) {
                        alert.content_ids.retain(|of| of != id);
                        alert.label = alert.rule.clone();
                        gone = true;
                    }
                    digest.removed += u32::from(gone);
                }
                Some(known) => {
                    if let Some(item) = digest.items.iter_mut().find(|item| item.id == *id) {
                        let story = item.story.take();
                        *item = known.item(item.why.clone());
                        (item.edited, item.story) = (true, story);
                    }
                }
            }
        }
        digest
    }
}
