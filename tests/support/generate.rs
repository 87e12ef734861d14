//! A seeded stream of events with its expected result.
//!
//! Of every hundred events two are duplicates, one is an edit, one a deletion, five
//! are late (hours to months). The expected cells are recomputed from the lines
//! alone: identity by revisions, whole items per cell, recounted. The text analysis
//! is taken as it is; its own tests compare it with the reference.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dataflows::text::{analyse, topics::Topics};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Platform, topic and channel of a cell: absent, null or a name.
type Place = [Option<Option<String>>; 3];

/// One item as it stands after all events.
#[derive(Clone)]
struct Item {
    platform: String,
    channel: Option<String>,
    author: Option<String>,
    published_at: i64,
    text: String,
    likes: i64,
}

/// The lines, and what must come of them.
pub struct Stream {
    pub lines: Vec<String>,
    /// Versions that must be in content.enriched: (id, revision), each once.
    pub versions: BTreeSet<(String, u64)>,
    items: HashMap<String, Item>,
    now_ms: i64,
}

/// Words for mood and for nothing in particular.
const WORDS: &[&str] = &[
    "great", "awful", "the", "it", "was", "loves", "not", "good", "terrible", "a", "room", "door", "happy",
    "sad", "very", "new", "walk", "GREAT", "never", "lost!!!", "😀", "but", "today", "people", "with",
    "about", "some", "under", "window", "long", "road", "there", "were", "morning", "seen", "of", "and",
    "to", "in", "on",
];

/// Words of watched topics: one text in three has one.
const TOPIC_WORDS: &[&str] =
    &["election", "football", "AI", "climate", "software", "hospital", "film", "inflation"];

impl Stream {
    /// `n` events that are ingested about `now_ms`.
    pub fn new(seed: u64, n: usize, now_ms: i64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut stream =
            Self { lines: Vec::with_capacity(n), versions: BTreeSet::new(), items: HashMap::new(), now_ms };
        let mut live: Vec<(String, String, u64)> = Vec::new();
        let mut next = 0u64;
        while stream.lines.len() < n {
            match rng.random_range(0..100) {
                0 | 1 if !stream.lines.is_empty() => {
                    let again =
                        rng.random_range(stream.lines.len().saturating_sub(2_000)..stream.lines.len());
                    let line = stream.lines[again].clone();
                    stream.lines.push(line);
                }
                2 if live.len() > 10 => {
                    let i = rng.random_range(live.len().saturating_sub(5_000)..live.len());
                    live[i].2 += 1;
                    let (platform, native, revision) = live[i].clone();
                    stream.put(&mut rng, &platform, &native, revision, "updated");
                }
                3 if live.len() > 10 => {
                    let i = rng.random_range(live.len().saturating_sub(5_000)..live.len());
                    let (platform, native, revision) = live.swap_remove(i);
                    stream.delete(&platform, &native, revision + 1);
                }
                _ => {
                    next += 1;
                    let platform =
                        ["rss", "bluesky", "mastodon", "youtube", "hackernews"][rng.random_range(0..5)];
                    let native = format!("{next}-{}", rng.random_range(0..1_000_000));
                    stream.put(&mut rng, platform, &native, 1, "created");
                    live.push((platform.to_string(), native, 1));
                }
            }
        }
        stream
    }

    fn put(&mut self, rng: &mut StdRng, platform: &str, native: &str, revision: u64, change: &str) {
        let age = match rng.random_range(0..100) {
            0 => rng.random_range(2 * HOUR_MS..5 * DAY_MS),
            1 | 2 => rng.random_range(2 * HOUR_MS..12 * HOUR_MS),
            3 => rng.random_range(9 * DAY_MS..28 * DAY_MS),
            4 => rng.random_range(40 * DAY_MS..300 * DAY_MS),
            _ => rng.random_range(0..20 * MINUTE_MS),
        };
        // A zipf-like choice: few channels get most.
        let pick = |rng: &mut StdRng, n: f64| (n.powf(rng.random_range(0.0..1.0)) as u64).saturating_sub(1);
        let words = rng.random_range(3..60);
        let mut text: Vec<&str> = (0..words).map(|_| WORDS[rng.random_range(0..WORDS.len())]).collect();
        if rng.random_range(0..3) == 0 {
            text.push(TOPIC_WORDS[rng.random_range(0..TOPIC_WORDS.len())]);
        }
        let item = Item {
            platform: platform.to_string(),
            channel: (rng.random_range(0..20) > 0).then(|| format!("c{}", pick(rng, 200.0))),
            author: (rng.random_range(0..50) > 0).then(|| format!("a{}", pick(rng, 5_000.0))),
            published_at: self.now_ms - age,
            text: text.join(" "),
            likes: rng.random_range(0..1_000),
        };
        let party =
            |id: &Option<String>| id.as_ref().map(|id| json!({ "id": id, "name": id.to_uppercase() }));
        let line = json!({
            "platform": platform, "native_id": native, "kind": "post", "change": change, "revision": revision,
            "author": party(&item.author), "channel": party(&item.channel), "title": null, "text": item.text,
            "lang": "en", "url": format!("https://example.org/{native}"), "published_at": item.published_at,
            "engagement": { "likes": item.likes }, "media": [], "reply_to": null,
        });
        self.lines.push(line.to_string());
        let id = format!("{platform}:{native}");
        self.versions.insert((id.clone(), revision));
        self.items.insert(id, item);
    }

    fn delete(&mut self, platform: &str, native: &str, revision: u64) {
        let line =
            json!({ "platform": platform, "native_id": native, "change": "deleted", "revision": revision });
        self.lines.push(line.to_string());
        let id = format!("{platform}:{native}");
        self.items.remove(&id);
        self.versions.insert((id, revision));
    }

    /// Every cell, by window, start, grouping and place, as `/v1/volume` shows it.
    pub fn expected(&self, topics: &Topics) -> BTreeMap<String, Value> {
        #[derive(Default)]
        struct Sum<'a> {
            count: i64,
            scored: i64,
            compound: i64,
            likes: i64,
            authors: BTreeSet<(&'a str, &'a str)>,
        }
        let mut sums: BTreeMap<(&str, i64, &str, Place), Sum<'_>> = BTreeMap::new();
        for item in self.items.values() {
            let analysis = analyse(None, Some(&item.text), Some("en"), topics, 0, true);
            let compound = analysis.sentiment.map(|s| (s.compound * 1e4).round() as i64);
            let age = self.now_ms - item.published_at;
            for (window, length, kept) in
                [("1m", MINUTE_MS, 7 * DAY_MS), ("1h", HOUR_MS, 30 * DAY_MS), ("1d", DAY_MS, 30 * DAY_MS)]
            {
                if age > kept {
                    continue;
                }
                let start = item.published_at.div_euclid(length) * length;
                let in_topics: Vec<Option<String>> = match analysis.topics.as_slice() {
                    [] => vec![None],
                    some => some.iter().cloned().map(Some).collect(),
                };
                let platform = || Some(Some(item.platform.clone()));
                let channel = || Some(item.channel.clone());
                let mut places = vec![
                    ("none", [None, None, None]),
                    ("platform", [platform(), None, None]),
                    ("platform,channel", [platform(), None, channel()]),
                ];
                for topic in in_topics {
                    places.push(("topic", [None, Some(topic.clone()), None]));
                    places.push(("platform,topic", [platform(), Some(topic.clone()), None]));
                    places.push(("platform,topic,channel", [platform(), Some(topic), channel()]));
                }
                for (by, place) in places {
                    let sum = sums.entry((window, start, by, place)).or_default();
                    sum.count += 1;
                    sum.scored += i64::from(compound.is_some());
                    sum.compound += compound.unwrap_or(0);
                    sum.likes += item.likes;
                    sum.authors.extend(item.author.as_ref().map(|a| (item.platform.as_str(), a.as_str())));
                }
            }
        }
        sums.into_iter()
            .map(|((window, start, by, place), sum)| {
                let key = format!("{window} {start} {by} {place:?}");
                let cell = json!({
                    "count": sum.count, "scored": sum.scored, "compound_sum": sum.compound, "likes": sum.likes,
                    "authors": sum.authors.len(), "views": 0, "comments": 0, "shares": 0,
                    "compound_mean": "right",
                });
                (key, cell)
            })
            .collect()
    }
}

/// A cell of `/v1/volume` in the form of [`Stream::expected`].
pub fn shown(by: &str, cell: &Value) -> (String, Value) {
    let start = dataflows::time::Millis::parse(cell["start"].as_str().expect("a start")).expect("RFC 3339").0;
    let dimension = |name: &str| cell.get(name).map(|v| v.as_str().map(str::to_string));
    let place = [dimension("platform"), dimension("topic"), dimension("channel")];
    let key = format!("{} {start} {by} {place:?}", cell["window"].as_str().expect("a window"));
    let mut value = serde_json::Map::new();
    for field in ["count", "scored", "compound_sum", "likes", "authors", "views", "comments", "shares"] {
        value.insert(field.into(), cell[field].clone());
    }
    // Six decimals are promised; eight are kept.
    let sum = cell["compound_sum"].as_f64().expect("a sum");
    let mean = match cell["scored"].as_f64().expect("a count") {
        0.0 => cell["compound_mean"].is_null(),
        scored => cell["compound_mean"].as_f64().is_some_and(|m| (m - sum / scored / 1e4).abs() < 1e-8),
    };
    value.insert("compound_mean".into(), if mean { json!("right") } else { cell["compound_mean"].clone() });
    (key, Value::Object(value))
}
