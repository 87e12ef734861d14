//! Stories as they can be asked for: a view of results.stories in memory.
//!
//! A cache of the topic: it starts empty, reads from the beginning, and follows. It holds
//! what the topic holds: at most half as many stories as the graph holds items
//! (`stories.graph.items_max`), and merged ones until they expire.

pub mod api;

use std::collections::{BTreeMap, HashMap};

use dataflows::record::Stored;
use dataflows::stories::Story;
use dataflows::time::Millis;
use serde::{Deserialize, Serialize};

/// Table `[stories]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub enabled: bool,
    pub catch_up_records_max: u64,
    pub epoch_bytes_max: usize,
    pub graph: dataflows::stories::Settings,
}

/// What to select. `None` filters nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Stories with an item published at or after this.
    pub since: Option<Millis>,
    /// Stories with an item on this platform.
    pub platform: Option<String>,
    pub items_min: u32,
    /// Begins after the story with this activity and id.
    pub after: Option<Place>,
}

/// A story's place in the order of the list: the newest activity first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Negated, so that the newest sort first.
    newest: i64,
    id: String,
}

impl Place {
    fn of(story: &Story) -> Self {
        Self { newest: -story.last_seen.0, id: story.id.clone() }
    }
}

/// The current stories.
#[derive(Debug, Default)]
pub struct View {
    /// Without those that became part of another.
    stories: BTreeMap<Place, Story>,
    places: HashMap<String, Place>,
    merged: HashMap<String, Story>,
    as_of: Millis,
}

impl View {
    /// The pipeline clock of the latest story.
    pub fn as_of(&self) -> Millis {
        self.as_of
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.stories.len()
    }

    pub fn is_empty(&self) -> bool {
        self.stories.is_empty()
    }

    /// Takes one record of results.stories in.
    pub fn apply(&mut self, stored: &Stored) {
        self.as_of = self.as_of.max(Millis(stored.timestamp_ms));
        let id = String::from_utf8_lossy(&stored.key).into_owned();
        if let Some(place) = self.places.remove(&id) {
            self.stories.remove(&place);
        }
        self.merged.remove(&id);
        match stored.value.as_deref().map(serde_json::from_slice::<Story>) {
            None => {}
            Some(Ok(story)) if story.merged_into.is_some() => _ = self.merged.insert(id, story),
            Some(Ok(story)) => {
                let place = Place::of(&story);
                self.places.insert(id, place.clone());
                self.stories.insert(place, story);
            }
            Some(Err(e)) => {
                tracing::warn!(error = %e, offset = stored.offset, "a record of results.stories cannot be read");
            }
        }
    }

    /// The story with this id; of one that became part of another, as it last was.
    pub fn get(&self, id: &str) -> Option<&Story> {
        let live = self.places.get(id).and_then(|place| self.stories.get(place));
        live.or_else(|| self.merged.get(id))
    }

    /// The stories of a query, the newest activity first.
    pub fn query<'a>(&'a self, query: &'a Query) -> impl Iterator<Item = &'a Story> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = query.after.clone().map_or(Unbounded, Excluded);
        let since = query.since.unwrap_or(Millis(i64::MIN));
        self.stories
            .range((after, Unbounded))
            .map(|(_, story)| story)
            .take_while(move |story| story.last_seen >= since)
            .filter(|story| story.items >= query.items_min)
            .filter(|story| {
                let wanted = query.platform.as_ref();
                wanted.is_none_or(|wanted| story.platforms.iter().any(|p| p.platform == *wanted))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataflows::record::{Headers, topic};
    use dataflows::stories::record::{FirstSeen, StoryPlatform};

    fn story(id: &str, last_seen: i64, platforms: &[&str]) -> Story {
        let platform = |name: &&str| StoryPlatform {
            platform: name.to_string(),
            items: 1,
            first_seen: Millis(1),
            url: None,
        };
        Story {
            id: id.into(),
            opened_at: Millis(1),
            title: "t".into(),
            representative: "x:1".into(),
            url: None,
            items: platforms.len() as u32,
            authors: 2,
            platforms: platforms.iter().map(platform).collect(),
            first_seen: FirstSeen { at: Millis(1), platform: "x".into(), content_id: "x:1".into() },
            last_seen: Millis(last_seen),
            velocity_per_hour: 1,
            timeline: Vec::new(),
            members: vec!["x:1".into()],
            split: false,
            merged_into: None,
            topics: Vec::new(),
            compound_mean: None,
            why: "2 pairs share most words".into(),
        }
    }

    fn stored(id: &str, story: Option<&Story>) -> Stored {
        Stored {
            topic: topic::STORIES.into(),
            partition: 0,
            offset: 0,
            timestamp_ms: 7,
            key: id.into(),
            value: story.map(|story| serde_json::to_vec(story).unwrap()),
            headers: Headers::new(),
        }
    }

    #[test]
    fn the_newest_activity_comes_first_and_pages_follow_each_other() {
        let mut view = View::default();
        for (id, at, platforms) in
            [("a", 10, &["x"][..]), ("b", 30, &["x", "y"]), ("c", 20, &["y", "z", "x"])]
        {
            view.apply(&stored(id, Some(&story(id, at, platforms))));
        }
        let ids = |query: &Query| view.query(query).map(|s| s.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&Query::default()), ["b", "c", "a"]);
        assert_eq!(ids(&Query { since: Some(Millis(20)), ..Query::default() }), ["b", "c"]);
        assert_eq!(ids(&Query { platform: Some("z".into()), ..Query::default() }), ["c"]);
        assert_eq!(ids(&Query { items_min: 2, ..Query::default() }), ["b", "c"]);
        let after = Some(Place::of(view.get("b").unwrap()));
        assert_eq!(ids(&Query { after, ..Query::default() }), ["c", "a"]);
    }

    #[test]
    fn a_story_moves_merges_and_goes() {
        let mut view = View::default();
        view.apply(&stored("a", Some(&story("a", 10, &["x"]))));
        view.apply(&stored("b", Some(&story("b", 20, &["x"]))));
        view.apply(&stored("a", Some(&story("a", 30, &["x"]))));
        assert_eq!(view.query(&Query::default()).map(|s| s.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let merged = Story { merged_into: Some("a".into()), ..story("b", 20, &["x"]) };
        view.apply(&stored("b", Some(&merged)));
        assert_eq!((view.len(), view.get("b")), (1, Some(&merged)));
        view.apply(&stored("a", None));
        view.apply(&stored("b", None));
        assert!(view.is_empty() && view.get("b").is_none());
    }
}
