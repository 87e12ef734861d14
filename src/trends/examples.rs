//! The newest items by what they are about: examples of trends.
//!
//! Consumes content.enriched; edits and deletions are honoured. Holds a bounded number of
//! items, a few hundred bytes each; the one that was taken in first leaves first.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use dataflows::event::{Content, Engagement, Enriched, Party};
use dataflows::record::Stored;
use dataflows::time::Millis;
use dataflows::trends::{Subject, SubjectKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Characters of a text that stand for an item without a title.
const TITLE_CHARS_MAX: usize = 160;

/// An item as an example of what is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TrendExample")]
pub struct Example {
    /// Its content id.
    pub id: String,
    /// Its title, or its first words.
    pub title: String,
    pub url: Option<String>,
    pub platform: String,
    pub author: Option<Party>,
    pub published_at: Millis,
    pub engagement: Engagement,
}

impl Example {
    fn of(id: &str, content: Content) -> Self {
        let words = content.title.as_deref().filter(|title| !title.trim().is_empty());
        let title = shortened(words.or(content.text.as_deref()).unwrap_or_default());
        Self {
            id: id.to_string(),
            title,
            url: content.url,
            platform: content.platform,
            author: content.author,
            published_at: content.published_at,
            engagement: content.engagement,
        }
    }

    /// As digests weigh it.
    fn noticed(&self) -> u64 {
        let Engagement { views, likes, comments, shares } = self.engagement;
        let count = |n: Option<u32>| u64::from(n.unwrap_or(0));
        100 * count(likes) + 200 * count(comments) + 300 * count(shares) + count(views)
    }
}

/// One line, cut between words.
fn shortened(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if line.chars().count() + word.chars().count() >= TITLE_CHARS_MAX {
            line.push('…');
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

#[derive(Debug)]
struct Item {
    example: Example,
    subjects: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Examples {
    items_max: usize,
    /// By the number under which they were taken in.
    items: BTreeMap<u64, Item>,
    numbers: HashMap<String, u64>,
    /// By the hash of a subject.
    about: HashMap<u64, BTreeSet<u64>>,
    hash: RandomState,
    next: u64,
}

impl Examples {
    pub(super) fn new(items_max: usize) -> Self {
        Self {
            items_max,
            items: BTreeMap::new(),
            numbers: HashMap::new(),
            about: HashMap::new(),
            hash: RandomState::new(),
            next: 0,
        }
    }

    pub(super) fn apply(&mut self, stored: &Stored) {
        let id = String::from_utf8_lossy(&stored.key).into_owned();
        let number = self.forget(&id);
        let Some(value) = &stored.value else { return };
        let content = match serde_json::from_slice::<Enriched>(value) {
            Ok(enriched) => enriched.content,
            Err(error) => {
                tracing::warn!(%error, offset = stored.offset, "a record of content.enriched cannot be read");
                None
            }
        };
        let Some(content) = content else { return };
        // An edit keeps its place: it is no newer item.
        let number = number.unwrap_or(self.next);
        self.next = self.next.max(number + 1);
        let of =
            |kind, names: &[String]| names.iter().map(|n| self.hash.hash_one((kind, n))).collect::<Vec<_>>();
        let mut subjects = of(SubjectKind::Topic, &content.topics);
        subjects.extend(of(SubjectKind::Term, &content.terms));
        if subjects.is_empty() {
            return;
        }
        for subject in &subjects {
            self.about.entry(*subject).or_default().insert(number);
        }
        self.items.insert(number, Item { example: Example::of(&id, content), subjects });
        self.numbers.insert(id, number);
        while self.items.len() > self.items_max {
            let oldest = self.items.first_key_value().map(|(_, item)| item.example.id.clone());
            oldest.map(|id| self.forget(&id));
        }
    }

    /// Lets an item go; the number it had.
    fn forget(&mut self, id: &str) -> Option<u64> {
        let number = self.numbers.remove(id)?;
        for subject in self.items.remove(&number)?.subjects {
            if let Some(numbers) = self.about.get_mut(&subject) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.about.remove(&subject);
                }
            }
        }
        Some(number)
    }

    /// The most noticed first, then the newest; of equal titles only the first.
    pub(super) fn of(&self, subject: &Subject, within: impl Fn(Millis) -> bool, max: usize) -> Vec<Example> {
        let about = self.about.get(&self.hash.hash_one((subject.kind, &subject.name)));
        let items = about.into_iter().flatten().filter_map(|number| self.items.get(number));
        let mut found: Vec<&Example> =
            items.map(|item| &item.example).filter(|e| within(e.published_at)).collect();
        let order = |e: &Example| (std::cmp::Reverse((e.noticed(), e.published_at)), e.id.clone());
        found.sort_by_cached_key(|e| order(e));
        let mut titles = HashSet::new();
        found.into_iter().filter(|e| titles.insert(e.title.to_lowercase())).take(max).cloned().collect()
    }
}
