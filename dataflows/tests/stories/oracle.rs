//! Recomputes from scratch, after each epoch, what there should be: by comparing every two
//! live items, union-find, and counting. It shares with the graph the definition of a link
//! between two items and of a text's bands; who is compared within a band, components,
//! splitting, what is told and what is called how it does in its own way.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dataflows::stories::Story;
use dataflows::stories::bands::{Kind, bands, is_compared};
use dataflows::stories::item::{Item, Key, Link, Settings, Signal, symbol};
use dataflows::stories::items::{Change, Vectored, Versioned};
use dataflows::stories::record::{FirstSeen, StoryHour, StoryPlatform};
use dataflows::time::{HOUR_MS, Millis};

use super::harness::Stories;

/// The last version and vector of each id.
pub struct Oracle {
    settings: Settings,
    versions: BTreeMap<String, Versioned>,
    /// With the text that it is known to be of.
    vectors: BTreeMap<String, (Vectored, Option<u64>)>,
    pub clock: i64,
}

impl Oracle {
    pub fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            versions: BTreeMap::new(),
            vectors: BTreeMap::new(),
            clock: i64::MIN,
        }
    }

    fn is_past(&self, at: Millis) -> bool {
        (at.0.div_euclid(HOUR_MS) + 1 + self.settings.horizon_h) * HOUR_MS <= self.clock
    }

    /// The clock of an epoch comes first in it.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Clock(at) => {
                self.clock = self.clock.max(at.0);
                let place = |id: &String, vector: &Vectored| match self.versions.get(id) {
                    Some(version) if version.signature.is_some() => version.published_at,
                    _ => vector.published_at,
                };
                let past = self.vectors.iter().filter(|(id, (v, _))| self.is_past(place(id, v)));
                let past: Vec<String> = past.map(|(id, _)| id.clone()).collect();
                past.iter().for_each(|id| _ = self.vectors.remove(id));
            }
            Change::Version(new) => {
                let id = new.shown.id().to_string();
                let other = |text: Option<u64>| text.is_some_and(|text| text != new.text);
                if new.signature.is_none()
                    || self.is_past(new.published_at)
                    || self.vectors.get(&id).is_some_and(|(_, text)| other(*text))
                {
                    self.vectors.remove(&id);
                }
                self.versions.insert(id, Versioned::clone(new));
            }
            Change::Gone(id) => {
                self.versions.remove(&**id);
                self.vectors.remove(&**id);
            }
            Change::Vector(new) if self.is_past(new.published_at) => {}
            Change::Vector(new) => {
                self.vectors.insert(new.id.to_string(), (Vectored::clone(new), None));
            }
            Change::VectorGone(id, version) => {
                if self.vectors.get(&**id).is_some_and(|(v, _)| v.version <= *version) {
                    self.vectors.remove(&**id);
                }
            }
        }
        let Some(id) = change.id() else { return };
        if let (Some(version), Some((vector, text))) = (self.versions.get(id), self.vectors.get_mut(id))
            && vector.version == version.version
        {
            *text = Some(version.text);
        }
    }

    pub fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        for (id, version) in &self.versions {
            let (false, Some(signature)) = (self.is_past(version.published_at), version.signature) else {
                continue;
            };
            let vector = self.vectors.get(id).filter(|(_, text)| *text == Some(version.text));
            items.push(Item {
                key: Key { at: version.published_at, symbol: symbol(id) },
                signature,
                sketch: vector.and_then(|(v, _)| v.sketch.clone()),
                shown: version.shown.clone(),
            });
        }
        items.sort_by_key(|item| item.key);
        items
    }

    /// What hangs together, in the order of publication, with what is told of the links.
    pub fn parts(&self, items: &[Item], settings: &Settings) -> Vec<(Vec<usize>, bool, [u32; 3])> {
        let links = links(items, settings);
        let mut parts = Vec::new();
        for component in sets(items.len(), links.keys().copied()) {
            if component.len() < 2 {
                continue;
            }
            if component.len() <= settings.component_items_max {
                parts.push((component, false));
                continue;
            }
            let close = |a: usize, b: usize| links.get(&(a.min(b), a.max(b))).is_some_and(|l| l.close);
            let pairs = links.iter().filter(|(_, link)| link.close).map(|(pair, _)| *pair);
            for set in sets(items.len(), pairs) {
                if !component.contains(&set[0]) {
                    continue;
                }
                if set.len() <= settings.component_items_max {
                    parts.push((set, true));
                    continue;
                }
                let mut left = set;
                while !left.is_empty() {
                    let first = left[0];
                    let (part, rest) = left.iter().partition(|&&i| i == first || close(first, i));
                    parts.push((part, true));
                    left = rest;
                }
            }
        }
        parts
            .into_iter()
            .filter(|(part, _)| part.len() > 1)
            .map(|(part, split)| {
                let mut count = [0; 3];
                for (_, link) in links.iter().filter(|((a, b), _)| part.contains(a) && part.contains(b)) {
                    count[match link.signal {
                        Signal::Words => 0,
                        Signal::Both => 1,
                        Signal::Meaning => 2,
                    }] += 1;
                }
                (part, split, count)
            })
            .collect()
    }

    /// The stories after an epoch, given those before it.
    pub fn stories(&self, before: &Stories, settings: &Settings) -> Stories {
        let items = self.items();
        let parts: Vec<_> = self.parts(&items, settings).into_iter().collect();
        let mut after = Stories::new();
        // Who goes on as what.
        let place: HashMap<String, usize> = parts
            .iter()
            .enumerate()
            .flat_map(|(n, (part, ..))| part.iter().map(move |i| (n, *i)))
            .map(|(n, i)| (items[i].shown.id().to_string(), n))
            .collect();
        let mut claims: BTreeMap<usize, Vec<&Story>> = BTreeMap::new();
        for story in before.values().filter(|s| s.merged_into.is_none()) {
            let heir = place.get(&story.representative);
            if let Some(n) = heir.or_else(|| story.members.iter().find_map(|id| place.get(id))) {
                claims.entry(*n).or_default().push(story);
            }
        }
        for (n, (part, split, links)) in parts.iter().enumerate() {
            let members: Vec<&Item> = part.iter().map(|i| &items[*i]).collect();
            if !is_story(&members) {
                continue;
            }
            let mut claimed = claims.remove(&n).unwrap_or_default();
            claimed.sort_by_key(|s| (s.opened_at, s.id.clone()));
            let (id, opened_at) = match claimed.first() {
                Some(oldest) => (oldest.id.clone(), oldest.opened_at),
                // Its id is its own; the test gives it the one that the graph gave.
                None => (format!("new-{}", members[0].shown.id()), Millis(self.clock)),
            };
            for other in claimed.iter().skip(1) {
                let merged = Story { merged_into: Some(id.clone()), ..(*other).clone() };
                after.insert(other.id.clone(), merged);
            }
            after.insert(id.clone(), tell(id, opened_at, &members, *split, *links));
        }
        let merged = before.values().filter(|s| s.merged_into.is_some());
        after.extend(merged.map(|s| (s.id.clone(), s.clone())));
        after.retain(|_, s| s.merged_into.is_none() || !self.is_past(s.last_seen));
        after
    }
}

fn links(items: &[Item], settings: &Settings) -> BTreeMap<(usize, usize), Link> {
    let mut bands_of: BTreeMap<(u64, bool), Vec<usize>> = BTreeMap::new();
    for (i, item) in items.iter().enumerate() {
        for (band, kind) in bands(item) {
            bands_of.entry((band, kind == Kind::Words)).or_default().push(i);
        }
    }
    let mut links = BTreeMap::new();
    for ((_, words), members) in bands_of {
        let max = if words { settings.words_neighbours_max } else { settings.meaning_neighbours_max };
        for (n, &b) in members.iter().enumerate() {
            for (m, &a) in members[..n].iter().enumerate() {
                let kind = if words { Kind::Words } else { Kind::Meaning };
                if ((words && m == 0) || n - m <= max)
                    && is_compared(kind, &items[a], &items[b])
                    && let Some(link) = settings.link(&items[a], &items[b])
                {
                    links.insert((a, b), link);
                }
            }
        }
    }
    links
}

/// Union-find over 0..n; each set in order.
fn sets(n: usize, pairs: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    fn root(parent: &mut [usize], mut i: usize) -> usize {
        while parent[i] != i {
            parent[i] = parent[parent[i]];
            i = parent[i];
        }
        i
    }
    let mut parent: Vec<usize> = (0..n).collect();
    for (a, b) in pairs {
        let (a, b) = (root(&mut parent, a), root(&mut parent, b));
        parent[a] = b;
    }
    let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for i in 0..n {
        sets.entry(root(&mut parent, i)).or_default().push(i);
    }
    sets.into_values().collect()
}

fn author_count(items: &[&Item]) -> usize {
    let known = items.iter().filter(|i| i.shown.shown().author.is_some());
    known.map(|i| (i.shown.shown().platform, i.shown.shown().author)).collect::<BTreeSet<_>>().len()
}

fn is_story(items: &[&Item]) -> bool {
    author_count(items) > 1
        || items.iter().any(|i| i.shown.shown().platform != items[0].shown.shown().platform)
}

fn tell(id: String, opened_at: Millis, items: &[&Item], split: bool, links: [u32; 3]) -> Story {
    let first = items[0];
    let last = items.iter().map(|i| i.key.at.0).max().expect("members");
    let best = items.iter().find(|i| i.shown.shown().has_title).unwrap_or(&first);
    let mut platforms: Vec<StoryPlatform> = Vec::new();
    for item in items {
        if platforms.iter().all(|p| p.platform != item.shown.shown().platform) {
            let there: Vec<_> =
                items.iter().filter(|i| i.shown.shown().platform == item.shown.shown().platform).collect();
            platforms.push(StoryPlatform {
                platform: item.shown.shown().platform.to_string(),
                items: there.len() as u32,
                first_seen: there.iter().map(|i| i.key.at).min().expect("members"),
                url: there.iter().find_map(|i| i.shown.shown().url.map(str::to_string)),
            });
        }
    }
    let hours: BTreeSet<i64> = items.iter().map(|i| i.key.at.0.div_euclid(HOUR_MS)).collect();
    let in_hour = |h: i64| items.iter().filter(|i| i.key.at.0.div_euclid(HOUR_MS) == h).count() as u32;
    let names = [
        ["pair shares most words", "pairs share most words"],
        ["pair agrees in words and meaning", "pairs agree in words and meaning"],
        ["pair means nearly the same", "pairs mean nearly the same"],
    ];
    let mut why: Vec<String> = Vec::new();
    for (n, name) in links.iter().zip(names) {
        if *n > 0 {
            why.push(format!("{n} {}", name[usize::from(*n > 1)]));
        }
    }
    if split {
        why.push("part of something too large, by its closest links".into());
    }
    let compounds: Vec<i32> = items.iter().filter_map(|i| i.shown.shown().compound).collect();
    let mean = compounds.iter().map(|c| f64::from(*c)).sum::<f64>() / compounds.len() as f64 / 1e4;
    let mut topics: Vec<String> =
        items.iter().flat_map(|i| i.shown.shown().topics).map(str::to_string).collect();
    topics.sort();
    topics.dedup();
    Story {
        id,
        opened_at,
        title: best.shown.shown().title.to_string(),
        representative: best.shown.shown().id.to_string(),
        url: best.shown.shown().url.map(str::to_string),
        items: items.len() as u32,
        authors: author_count(items) as u32,
        platforms,
        first_seen: FirstSeen {
            at: first.key.at,
            platform: first.shown.shown().platform.to_string(),
            content_id: first.shown.shown().id.to_string(),
        },
        last_seen: Millis(last),
        velocity_per_hour: items.iter().filter(|i| last - i.key.at.0 < HOUR_MS).count() as u32,
        timeline: hours
            .into_iter()
            .map(|h| StoryHour { start: Millis(h * HOUR_MS), items: in_hour(h) })
            .collect(),
        members: items.iter().take(50).map(|i| i.shown.shown().id.to_string()).collect(),
        split,
        merged_into: None,
        topics,
        compound_mean: (!compounds.is_empty()).then_some((mean * 1e8).round() / 1e8),
        why: why.join("; "),
    }
}
