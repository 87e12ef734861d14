//! What a feed shows now and what is known of it in, what to say and what to
//! remember out. A pure step: time and history are arguments.
//!
//! Rules:
//! - `created`: an item not known. `updated`: a known one with other content. A
//!   date that moves alone is no change: feeds rewrite dates, so the first one
//!   seen stays the item's date.
//! - An entry without a date, or with one in the future, was published when it
//!   was first seen. That time is written down before the event is sent
//!   (`undated`), so that the same event is sent again after a crash.
//! - The first fetch of a source seeds: what backfill does not ask for counts as
//!   seen, and later edits of it are not told either, because nobody heard of it.
//! - `deleted`: a known item that the platform says is gone; feeds never say that.
//! - **An item that leaves the feed is not deleted.** Feeds show a window.
//!   It is only forgotten, after it was absent for long, or because more are
//!   known than the limit: the longest absent first, never by date, and never
//!   one that the feed still shows.

use std::collections::{BTreeMap, HashMap, HashSet};

use dataflows::event::{Change, ContentEvent};
use dataflows::time::Millis;

use super::event::Draft;
use super::identity::{self, Aliases, Hash, Ladder, Rung};
use super::source::{Backfill, Source};

/// What is remembered of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub key: String,
    pub guid: Option<Hash>,
    pub link: Option<Hash>,
    pub title: Hash,
    pub content: Hash,
    pub published_ms: i64,
    /// Whether an event was sent for it; seeded items have none.
    pub emitted: bool,
    /// Since when the feed does not show it.
    pub absent_since_ms: Option<i64>,
}

impl Known {
    fn name(&self, rung: Rung) -> Option<Hash> {
        match rung {
            Rung::Guid => self.guid,
            Rung::Link => self.link,
            Rung::Title => Some(self.title),
        }
    }

    fn rename(&mut self, aliases: &Aliases) {
        self.guid = aliases.get(Rung::Guid).or(self.guid);
        self.link = aliases.get(Rung::Link).or(self.link);
        self.title = aliases.get(Rung::Title).unwrap_or(self.title);
    }
}

/// Limits of memory.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub seen_max: usize,
    pub absent_ms: i64,
    /// Dates later than this after now are no dates.
    pub ahead_ms: i64,
}

/// History and the present.
pub struct Input<'a> {
    pub source: &'a Source,
    pub drafts: Vec<Draft>,
    /// Keys of items that the platform says are gone.
    pub gone: Vec<String>,
    pub known: Vec<Known>,
    /// First-seen times written down by an attempt that did not finish.
    pub undated: &'a BTreeMap<String, i64>,
    pub first_fetch: bool,
    pub now_ms: i64,
    pub memory: Memory,
}

#[derive(Debug, Default)]
pub struct Changes {
    /// To send, oldest first, each with the hash of its content.
    pub events: Vec<(ContentEvent, Hash)>,
    /// To write down before sending: first-seen times of items without a date.
    pub undated: Vec<(String, i64)>,
    /// To write down after sending.
    pub remember: Vec<Known>,
    pub forget: Vec<String>,
    /// Entries that repeat another of the same fetch.
    pub duplicates: usize,
}

/// Compares; `ladder` learns from the fetch.
pub fn compare(input: Input<'_>, ladder: &mut Ladder) -> Changes {
    let Input { source, drafts, gone, known, undated, first_fetch, now_ms, memory } = input;
    if !source.kind.has_ids() {
        ladder.learn(drafts.iter().map(|d| &d.aliases));
    }
    let index = Index::new(&known);
    let mut changes = Changes::default();
    let mut shown: HashSet<usize> = HashSet::new();
    delete(&mut changes, source, &known, &gone, &mut shown);
    let mut new_keys: HashSet<String> = HashSet::new();
    let mut fresh: Vec<(ContentEvent, Known, bool)> = Vec::new();
    for draft in drafts {
        if let Some(at) = index.find(&known, *ladder, &draft.aliases) {
            if shown.insert(at) {
                update(&mut changes, source, &known[at], draft);
            } else {
                changes.duplicates += 1;
            }
            continue;
        }
        let rungs = ladder.rungs(&draft.aliases);
        let free = |key: &String| !index.keys.contains(key.as_str());
        let key = rungs.iter().filter_map(|(rung, _)| draft.aliases.key(*rung)).find(free);
        let Some(key) = key.filter(|key| new_keys.insert(key.clone())) else {
            changes.duplicates += 1;
            continue;
        };
        let date = draft.event.published_at.filter(|p| p.0 <= now_ms + memory.ahead_ms);
        let published = date.map_or_else(|| undated.get(&key).copied().unwrap_or(now_ms), |p| p.0);
        let row = Known {
            guid: draft.aliases.get(Rung::Guid),
            link: draft.aliases.get(Rung::Link),
            title: draft.aliases.get(Rung::Title).unwrap_or(draft.content),
            content: draft.content,
            published_ms: published,
            emitted: true,
            absent_since_ms: None,
            key,
        };
        fresh.push((told(source, draft.event, &row, Change::Created), row, date.is_some()));
    }
    // Feeds list the newest first. The sort is stable: of equal dates their order decides.
    changes.events.reverse();
    fresh.reverse();
    fresh.sort_by_key(|(_, row, _)| row.published_ms);
    let skip = match (first_fetch, source.backfill) {
        (false, _) => 0,
        (true, Backfill::None) => fresh.len(),
        (true, Backfill::Last(n)) => fresh.len().saturating_sub(n),
        (true, Backfill::Since(_)) => 0,
    };
    for (at, (event, mut row, dated)) in fresh.into_iter().enumerate() {
        let too_old = |since: Millis| !dated || row.published_ms < since.0;
        let since = matches!(source.backfill, Backfill::Since(since) if first_fetch && too_old(since));
        row.emitted = at >= skip && !since;
        if !dated {
            changes.undated.push((row.key.clone(), row.published_ms));
        }
        if row.emitted {
            changes.events.push((event, row.content));
        }
        changes.remember.push(row);
    }
    age(&mut changes, &known, &shown, new_keys.len(), now_ms, memory);
    changes
}

/// A known item that the feed shows.
fn update(changes: &mut Changes, source: &Source, known: &Known, draft: Draft) {
    let mut row = known.clone();
    row.rename(&draft.aliases);
    row.absent_since_ms = None;
    row.content = draft.content;
    if row.content != known.content && row.emitted {
        changes.events.push((told(source, draft.event, &row, Change::Updated), row.content));
    }
    if row != *known {
        changes.remember.push(row);
    }
}

/// What the platform says is gone is told and forgotten: should it come back, it is new.
fn delete(
    changes: &mut Changes,
    source: &Source,
    known: &[Known],
    gone: &[String],
    shown: &mut HashSet<usize>,
) {
    let gone: HashSet<&String> = gone.iter().collect();
    for (at, row) in known.iter().enumerate().filter(|(_, row)| gone.contains(&row.key)) {
        // Neither shown nor absent: it does not age.
        shown.insert(at);
        changes.forget.push(row.key.clone());
        if row.emitted {
            let deleted = ContentEvent::deletion(&*source.platform, native_id(source, row), None);
            changes.events.push((deleted, row.content));
        }
    }
}

fn native_id(source: &Source, row: &Known) -> String {
    if source.kind.has_ids() {
        return identity::native_id(&row.key).to_string();
    }
    format!("{}/{}", source.key, row.key)
}

fn told(source: &Source, mut event: ContentEvent, row: &Known, change: Change) -> ContentEvent {
    event.native_id = native_id(source, row);
    event.published_at = Some(Millis(row.published_ms));
    event.change = change;
    event
}

/// Known items that the feed does not show.
fn age(
    changes: &mut Changes,
    known: &[Known],
    shown: &HashSet<usize>,
    new: usize,
    now_ms: i64,
    memory: Memory,
) {
    let mut absent: Vec<(i64, &Known)> = Vec::new();
    for (_, row) in known.iter().enumerate().filter(|(at, _)| !shown.contains(at)) {
        absent.push((row.absent_since_ms.unwrap_or(now_ms), row));
    }
    absent.sort_by(|a, b| (a.0, &a.1.key).cmp(&(b.0, &b.1.key)));
    let mut over = (known.len() + new).saturating_sub(memory.seen_max);
    for (since, row) in absent {
        if over > 0 || now_ms - since > memory.absent_ms {
            changes.forget.push(row.key.clone());
            over = over.saturating_sub(1);
        } else if row.absent_since_ms.is_none() {
            changes.remember.push(Known { absent_since_ms: Some(now_ms), ..row.clone() });
        }
    }
}

/// Known items by each of their names.
struct Index<'a> {
    names: HashMap<(Rung, Hash), usize>,
    keys: HashSet<&'a str>,
}

impl<'a> Index<'a> {
    fn new(known: &'a [Known]) -> Self {
        let mut names = HashMap::new();
        // Of several with one name, one that the feed still shows.
        let (present, absent): (Vec<_>, Vec<_>) =
            known.iter().enumerate().partition(|(_, row)| row.absent_since_ms.is_none());
        for (at, row) in present.into_iter().chain(absent) {
            for rung in [Rung::Guid, Rung::Link, Rung::Title] {
                if let Some(hash) = row.name(rung) {
                    names.entry((rung, hash)).or_insert(at);
                }
            }
        }
        Self { names, keys: known.iter().map(|row| row.key.as_str()).collect() }
    }

    fn find(&self, known: &[Known], ladder: Ladder, aliases: &Aliases) -> Option<usize> {
        let rungs = ladder.rungs(aliases);
        rungs.iter().enumerate().find_map(|(position, name)| {
            let at = *self.names.get(name)?;
            let never_had_higher = rungs[..position].iter().all(|(rung, _)| known[at].name(*rung).is_none());
            never_had_higher.then_some(at)
        })
    }
}
