//! The current stories, as far as digests need them: which content ids are of one.
//!
//! A cache of results.stories. Retention: what the topic holds, at most `stories_max`;
//! past it the one with the oldest activity leaves and is counted.

use std::collections::{BTreeSet, HashMap};

use dataflows::record::Stored;
use dataflows::stories::Story;
use dataflows::time::Millis;

use crate::discord::digest::Told;
use crate::discord::metrics;

#[derive(Debug)]
pub struct Stories {
    by_id: HashMap<String, (Millis, Told)>,
    /// Content id -> the story's id.
    of_content: HashMap<String, String>,
    by_time: BTreeSet<(Millis, String)>,
    stories_max: usize,
    /// What left because of the cap.
    pub dropped: u64,
}

impl Stories {
    pub fn new(stories_max: usize) -> Self {
        Self {
            by_id: HashMap::new(),
            of_content: HashMap::new(),
            by_time: BTreeSet::new(),
            stories_max: stories_max.max(1),
            dropped: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The story of a content id.
    pub fn of(&self, content_id: &str) -> Option<&Told> {
        self.of_content.get(content_id).and_then(|id| self.by_id.get(id)).map(|(_, told)| told)
    }

    /// Takes a record of results.stories in; false if it cannot be read.
    pub fn apply(&mut self, stored: &Stored) -> bool {
        let id = String::from_utf8_lossy(&stored.key).into_owned();
        self.remove(&id);
        let Some(value) = &stored.value else { return true };
        let Ok(story) = serde_json::from_slice::<Story>(value) else { return false };
        if story.merged_into.is_some() {
            return true;
        }
        for member in &story.members {
            self.of_content.insert(member.clone(), id.clone());
        }
        self.by_time.insert((story.last_seen, id.clone()));
        let told = Told { id: id.clone(), items: story.items, members: story.members };
        self.by_id.insert(id, (story.last_seen, told));
        while self.by_id.len() > self.stories_max {
            let Some((_, oldest)) = self.by_time.first().cloned() else { break };
            self.remove(&oldest);
            self.dropped += 1;
            metrics::DIGEST_FORGOTTEN.with_label_values(&["story", "cap"]).inc();
        }
        true
    }

    fn remove(&mut self, id: &str) {
        let Some((last_seen, told)) = self.by_id.remove(id) else { return };
        self.by_time.remove(&(last_seen, id.to_string()));
        for member in told.members {
            // It may be of another story by now.
            if self.of_content.get(&member).is_some_and(|of| of == id) {
                self.of_content.remove(&member);
            }
        }
    }
}
