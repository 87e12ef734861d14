//! Parts and their items become records of results.stories. Of all workers one publishes.
//!
//! Invariants:
//! - An epoch publishes a story at most once, and only if its value differs from the one
//!   last published.
//! - What is published is a function of what was published before, of the parts, their
//!   items and the clock: [`name`] says which part is which story.
//! - Until every worker has said that it has read what was there at the start, nothing is
//!   published; then only differences to what results.stories holds, tombstones included.
//!
//! Retention: a story leaves when too little of it is left; one that became part of another
//! when its own last item would have expired.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::item::{Item, Key, Settings, Symbol};
use super::name::{self, Heirs};
use super::record::Story;
use super::split::{Info, Said};
use super::table::{Named, Table};
use super::tell::{self, Told, is_story};
use crate::faults::cloud_event;
use crate::record::{Record, topic};
use crate::time::Millis;

type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// What reaches the publisher.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Part {
    Item(Arc<Item>, isize),
    Said(Said, isize),
    Clock(Millis),
    /// A record of results.stories, before the rest.
    Published(Box<Story>),
    /// A worker has read what was there at the start.
    CaughtUp,
}

impl Named for Arc<Item> {
    fn symbol(&self) -> Symbol {
        self.key.symbol
    }
}

/// The items of a part.
#[derive(Default)]
struct Members {
    /// In order. Most parts have two or three.
    keys: Vec<Key>,
    info: Option<Info>,
}

/// The publisher's state.
pub struct State {
    settings: Settings,
    items: Table<Arc<Item>>,
    parts: HashMap<Symbol, Members>,
    part_of: HashMap<Symbol, Symbol>,
    /// Stories as they are published, without those that became part of another.
    stories: BTreeMap<String, Story>,
    /// The part that is the story, and the other way round.
    story_of: HashMap<Symbol, String>,
    place_of: HashMap<String, Symbol>,
    merged: BTreeMap<String, Story>,
    clock: Millis,
    /// Workers that have yet to catch up.
    behind: usize,
}

/// Parts and items that an epoch changed.
#[derive(Default)]
struct Touched {
    parts: BTreeSet<Symbol>,
    /// Stories of parts that changed or are gone.
    stories: BTreeSet<String>,
}

impl State {
    pub fn new(settings: Settings, peers: usize) -> Self {
        Self {
            settings,
            items: Table::default(),
            parts: HashMap::default(),
            part_of: HashMap::default(),
            stories: BTreeMap::new(),
            story_of: HashMap::default(),
            place_of: HashMap::default(),
            merged: BTreeMap::new(),
            clock: Millis(i64::MIN),
            behind: peers,
        }
    }

    pub fn clock(&self) -> Millis {
        self.clock
    }

    /// Stories that are published and not part of another.
    pub fn stories(&self) -> usize {
        self.stories.len()
    }

    /// Items with a link.
    pub fn linked(&self) -> usize {
        self.part_of.len()
    }

    pub fn is_behind(&self) -> bool {
        self.behind > 0
    }

    /// All parts of one epoch in; its records out, in the order of story ids.
    pub fn step(&mut self, parts: Vec<Part>, out: &mut Vec<Record>) {
        let was_behind = self.is_behind();
        let mut touched = self.apply(parts);
        if self.is_behind() {
            return;
        }
        if was_behind {
            touched.parts.extend(self.parts.keys());
            touched.stories.extend(self.stories.keys().cloned());
        }
        let mut changes = BTreeMap::new();
        if !touched.parts.is_empty() || !touched.stories.is_empty() {
            self.tell(touched, &mut changes);
        }
        self.expire_merged(&mut changes);
        out.extend(changes.into_iter().map(|(id, story)| self.record(id, story.as_ref())));
    }

    fn apply(&mut self, parts: Vec<Part>) -> Touched {
        let (mut touched, mut entered) = (Touched::default(), Vec::new());
        let mut said: BTreeMap<Said, isize> = BTreeMap::new();
        for part in parts {
            match part {
                Part::Clock(at) => self.clock = self.clock.max(at),
                Part::CaughtUp => self.behind = self.behind.saturating_sub(1),
                Part::Published(story) => {
                    let all = if story.merged_into.is_some() { &mut self.merged } else { &mut self.stories };
                    all.insert(story.id.clone(), *story);
                }
                Part::Said(what, diff) => *said.entry(what).or_default() += diff,
                Part::Item(item, diff) => {
                    if diff < 0 {
                        self.items.remove(item.key.symbol);
                    } else {
                        entered.push(item);
                    }
                }
            }
        }
        // What goes before what comes: a member moves from part to part within an epoch.
        for gone in [true, false] {
            for (what, _) in said.iter().filter(|(_, diff)| **diff != 0 && (**diff < 0) == gone) {
                let part = self.hear(what, gone);
                touched.parts.insert(part);
            }
        }
        // Only now: a part whose members all changed keeps what is known of it.
        for part in &touched.parts {
            if self.parts.get(part).is_some_and(|members| members.keys.is_empty()) {
                self.parts.remove(part);
            }
        }
        for item in entered {
            touched.parts.extend(self.part_of.get(&item.key.symbol));
            self.items.insert(item);
        }
        for part in &touched.parts {
            touched.stories.extend(self.story_of.get(part).cloned());
        }
        touched.parts.retain(|part| self.parts.contains_key(part));
        touched
    }

    fn hear(&mut self, what: &Said, gone: bool) -> Symbol {
        match *what {
            Said::Member(part, key) if gone => {
                let members = self.parts.get_mut(&part).expect("a member leaves a part that it is in");
                if let Ok(at) = members.keys.binary_search(&key) {
                    members.keys.remove(at);
                }
                if self.part_of.get(&key.symbol) == Some(&part) {
                    self.part_of.remove(&key.symbol);
                }
                part
            }
            Said::Member(part, key) => {
                let members = self.parts.entry(part).or_default();
                if let Err(at) = members.keys.binary_search(&key) {
                    members.keys.insert(at, key);
                }
                self.part_of.insert(key.symbol, part);
                part
            }
            Said::Info(part, info) => {
                if !gone {
                    self.parts.entry(part).or_default().info = Some(info);
                }
                part
            }
        }
    }

    /// Says anew what the touched stories are and which parts are stories.
    fn tell(&mut self, touched: Touched, changes: &mut BTreeMap<String, Option<Story>>) {
        let claims = touched.stories.iter().filter_map(|id| self.stories.get(id));
        let Heirs { of_part, without } = name::heirs(claims, |symbol| self.part_of.get(&symbol).copied());
        for id in &touched.stories {
            if let Some(part) = self.place_of.remove(id) {
                self.story_of.remove(&part);
            }
        }
        for id in without {
            self.stories.remove(&id);
            changes.insert(id, None);
        }
        let parts: BTreeSet<Symbol> = touched.parts.into_iter().chain(of_part.keys().copied()).collect();
        for part in parts {
            let claimed = of_part.get(&part).cloned().unwrap_or_default();
            self.tell_part(part, claimed, changes);
        }
    }

    /// `claimed` are the stories whose heir the part is, the oldest first.
    fn tell_part(
        &mut self,
        part: Symbol,
        claimed: Vec<String>,
        changes: &mut BTreeMap<String, Option<Story>>,
    ) {
        let members = self.parts.get(&part).expect("a part with members");
        let told = |key: &Key| {
            let item = self.items.get(key.symbol).expect("a member is a live item");
            Told { at: item.key.at, shown: item.shown.shown() }
        };
        let items: Vec<Told<'_>> = members.keys.iter().map(told).collect();
        if !is_story(&items) {
            for id in claimed {
                self.stories.remove(&id);
                changes.insert(id, None);
            }
            return;
        }
        let mut claimed = claimed.into_iter();
        let (id, opened_at) = match claimed.next() {
            Some(id) => {
                let opened_at = self.stories[&id].opened_at;
                (id, opened_at)
            }
            None => {
                let taken = |id: &str| {
                    self.stories.contains_key(id) || self.merged.contains_key(id) || changes.contains_key(id)
                };
                (name::new_id(tell::representative(&items).id, self.clock, taken), self.clock)
            }
        };
        let story = tell::story(&id, opened_at, &items, members.info.unwrap_or_default());
        self.story_of.insert(part, id.clone());
        self.place_of.insert(id.clone(), part);
        if self.stories.get(&id) != Some(&story) {
            changes.insert(id.clone(), Some(story.clone()));
            self.stories.insert(id.clone(), story);
        }
        for other in claimed {
            let mut story = self.stories.remove(&other).expect("a story that claims is published");
            story.merged_into = Some(id.clone());
            changes.insert(other.clone(), Some(story.clone()));
            self.merged.insert(other, story);
        }
    }

    fn expire_merged(&mut self, changes: &mut BTreeMap<String, Option<Story>>) {
        let (clock, settings) = (self.clock, &self.settings);
        self.merged.retain(|id, story| {
            let live = settings.expires_at(story.last_seen) > clock;
            if !live {
                changes.insert(id.clone(), None);
            }
            live
        });
    }

    fn record(&self, id: String, story: Option<&Story>) -> Record {
        let at_ms = self.clock.0.max(0);
        Record {
            topic: topic::STORIES.into(),
            partition: None,
            key: id.into_bytes(),
            value: story.map(|story| serde_json::to_vec(story).expect("a story is plain data")),
            timestamp_ms: at_ms,
            headers: cloud_event("results.stories.v1", "stories", at_ms),
        }
    }
}
