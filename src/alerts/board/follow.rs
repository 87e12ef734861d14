//! Alerts as the log has them, and what became of the items they show since.

use std::collections::{BTreeMap, BTreeSet};

use dataflows::event::Version;
use dataflows::time::Millis;

use crate::alerts::metrics;
use crate::alerts::record::{Alert, Example};
use crate::alerts::watch::Changed;

#[derive(Debug)]
pub(super) struct Followed {
    by_key: BTreeMap<String, Entry>,
    /// Content id -> keys of the alerts that show it.
    by_content: BTreeMap<String, BTreeSet<String>>,
    tracked_max: usize,
    horizon_ms: i64,
}

#[derive(Debug)]
struct Entry {
    alert: Alert,
    /// Current content of shown items that differ; `None` is a deletion.
    changed: BTreeMap<String, (Version, Option<Example>)>,
}

impl Followed {
    pub fn new(tracked_max: usize, horizon_ms: i64) -> Self {
        Self { by_key: BTreeMap::new(), by_content: BTreeMap::new(), tracked_max, horizon_ms }
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn get(&self, key: &str) -> Option<&Alert> {
        self.by_key.get(key).map(|entry| &entry.alert)
    }

    /// Follows an alert as it is now. What is known of its items and not shown still waits.
    pub fn put(&mut self, alert: Alert) {
        let before = self.forget(&alert.key.clone());
        for id in &alert.content_ids {
            self.by_content.entry(id.clone()).or_default().insert(alert.key.clone());
        }
        let mut changed = before.map(|entry| entry.changed).unwrap_or_default();
        changed.retain(|id, (version, now)| {
            let shown = alert.examples.iter().find(|example| example.id == *id);
            shown.is_some_and(|shown| {
                *version > shown.version && !now.as_ref().is_some_and(|now| now.is_same(shown))
            })
        });
        self.by_key.insert(alert.key.clone(), Entry { alert, changed });
    }

    pub fn changed(&mut self, changed: &Changed) {
        let Some(keys) = self.by_content.get(&changed.id) else { return };
        for key in keys {
            let Some(entry) = self.by_key.get_mut(key) else { continue };
            let Some(shown) = entry.alert.examples.iter().find(|example| example.id == changed.id) else {
                continue;
            };
            let newest = entry.changed.get(&changed.id).map_or(shown.version, |(version, _)| *version);
            if changed.version <= newest {
                continue;
            }
            if changed.example.as_ref().is_some_and(|now| now.is_same(shown)) {
                // Changed back, or only what is not shown did.
                entry.changed.remove(&changed.id);
            } else {
                entry.changed.insert(changed.id.clone(), (changed.version, changed.example.clone()));
            }
        }
    }

    /// Keys of the alerts whose record is to be corrected, and of those whose message says
    /// less than the record for an interval.
    pub fn due(&self, at: Millis, interval_ms: i64) -> Vec<String> {
        let lags = |alert: &Alert| {
            let told = alert.told.filter(|_| alert.is_posted());
            told.is_some_and(|told| told < alert.updated && at.0 - told.0 >= interval_ms)
        };
        let is_due = |entry: &&Entry| !entry.changed.is_empty() || lags(&entry.alert);
        self.by_key.values().filter(is_due).map(|entry| entry.alert.key.clone()).collect()
    }

    /// The alert with the items it shows as they are now.
    pub fn corrected(&self, key: &str) -> Option<Alert> {
        let entry = self.by_key.get(key)?;
        let mut alert = entry.alert.clone();
        for (id, (_, now)) in &entry.changed {
            let Some(index) = alert.examples.iter().position(|example| example.id == *id) else { continue };
            let title = alert.examples[index].title.clone();
            match now {
                Some(now) => {
                    if alert.label == title {
                        alert.label = now.title.clone();
                    }
                    alert.examples[index] = Example { edited: true, ..now.clone() };
                }
                None => {
                    let gone = alert.examples.remove(index);
                    alert.links.retain(|link| Some(link) != gone.url.as_ref());
                    alert.content_ids.retain(|id| *id != gone.id);
                    alert.removed += 1;
                    if alert.label == title {
                        alert.label = alert.subject.clone();
                    }
                }
            }
        }
        Some(alert)
    }

    /// Forgets ended alerts past the horizon, and the oldest of them over the cap.
    pub fn expire(&mut self, at: Millis, live: &BTreeSet<&str>) {
        let oldest = at.0.saturating_sub(self.horizon_ms);
        let ended = self.by_key.values().map(|entry| &entry.alert);
        let mut ended: Vec<(Millis, String)> = ended
            .filter(|alert| !live.contains(alert.key.as_str()))
            .map(|alert| (alert.resolved.unwrap_or(alert.updated), alert.key.clone()))
            .collect();
        ended.sort();
        let mut over = self.by_key.len().saturating_sub(self.tracked_max);
        for (resolved, key) in ended {
            if resolved.0 < oldest {
                self.forget(&key);
            } else if over > 0 {
                self.forget(&key);
                metrics::FORGOTTEN.with_label_values(&["alert"]).inc();
            } else {
                break;
            }
            over = over.saturating_sub(1);
        }
    }

    fn forget(&mut self, key: &str) -> Option<Entry> {
        let entry = self.by_key.remove(key)?;
        for id in &entry.alert.content_ids {
            if let Some(keys) = self.by_content.get_mut(id) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_content.remove(id);
                }
            }
        }
        Some(entry)
    }
}
