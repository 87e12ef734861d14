//! A log, an engine of alerts on it, and content as it comes from Enrich.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dataflows::event::{Change, Content, Contribution, Engagement, Enriched, Kind, Party, Version};
use dataflows::record::topic;
use dataflows::stories::record::{FirstSeen, Story, StoryPlatform};
use dataflows::time::{MINUTE_MS, Millis};
use dataflows::volume::VolumeCell;
use parking_lot::Mutex;
use serde_json::json;
use tidings::alerts::Settings;
use tidings::alerts::engine::Engine;
use tidings::alerts::record::{Alert, State};
use tidings::alerts::rule::{self, Rule};
use tidings::alerts::sample::{Sample, Samples};
use tidings::alerts::trial::{self, Trial};
use tidings::discord::outbox::{OutboxRecord, Outgoing};
use tidings::discord::routes::{Route, with_built_in};
use tidings::log::Log;

use crate::rig::{open_log, record, routes, shipped, values};

/// Noon; the clock of most tests begins here.
pub const START: i64 = 1_777_896_000_000;

pub struct Desk {
    pub log: Arc<dyn Log>,
    pub settings: Settings,
    pub rules: Vec<Rule>,
    pub routes: Vec<Route>,
    pub samples: Arc<Mutex<Samples>>,
    /// What the process would say of itself.
    pub now: Arc<Mutex<Sample>>,
    pub stop: Arc<AtomicBool>,
    _folder: tempfile::TempDir,
}

impl Desk {
    /// Rules as in alerts.toml; looked at every 15 seconds, at once.
    pub fn new(rules: &str) -> Self {
        Self::with_routes(rules, "[[route]]\nname='daily'\nto='webhook'\nat='08:00'")
    }

    pub fn with_routes(rules: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let own = routes(text);
        let settings = Settings { settle_s: 0, ..shipped().alerts };
        Self {
            log: open_log(folder.path()),
            rules: rule::parse(rules, &settings.rule, &own).expect("valid rules"),
            routes: with_built_in(own),
            settings,
            samples: Arc::default(),
            now: Arc::default(),
            stop: Arc::default(),
            _folder: folder,
        }
    }

    pub fn engine(&self) -> Engine {
        self.try_engine().expect("opens")
    }

    pub fn try_engine(&self) -> Result<Engine, tidings::log::LogError> {
        let now = Arc::clone(&self.now);
        let sampler = Box::new(move |at| Sample { at, ..now.lock().clone() });
        let (settings, rules) = (self.settings.clone(), self.rules.clone());
        let (samples, stop) = (Arc::clone(&self.samples), Arc::clone(&self.stop));
        Engine::open(self.log.as_ref(), settings, rules, &self.routes, samples, sampler, stop)
    }

    /// Ticks, and lets the engine read and decide everything.
    pub fn tick(&self, engine: &mut Engine, at: i64) {
        tick(self.log.as_ref(), at);
        settle(engine, at, &self.settings);
    }

    /// Every minute from one time to another.
    pub fn pass(&self, engine: &mut Engine, from: i64, to: i64) {
        let mut at = from;
        while at < to {
            at = (at + MINUTE_MS).min(to);
            self.tick(engine, at);
        }
    }

    /// Every record of alerts, in the order of its writing for each key.
    pub fn records(&self) -> Vec<Alert> {
        let mut all: Vec<Alert> = values(self.log.as_ref(), topic::ALERTS);
        all.sort_by(|a, b| (a.since, &a.key, a.edits).cmp(&(b.since, &b.key, b.edits)));
        all
    }

    /// Each alert as it is now.
    pub fn alerts(&self) -> Vec<Alert> {
        let mut last: Vec<Alert> = Vec::new();
        for alert in self.records() {
            last.retain(|known| known.key != alert.key);
            last.push(alert);
        }
        last
    }

    /// The only alert there is, as it is now.
    pub fn only(&self) -> Alert {
        let alerts = self.alerts();
        assert_eq!(alerts.len(), 1, "{alerts:#?}");
        alerts.into_iter().next().expect("one")
    }

    pub fn firing(&self) -> Vec<Alert> {
        self.alerts().into_iter().filter(|alert| alert.state == State::Firing).collect()
    }

    pub fn outbox(&self) -> Vec<Outgoing> {
        let only = |r| match r {
            OutboxRecord::Message(message) => Some(message),
            OutboxRecord::Resolve(_) => None,
        };
        let all = values(self.log.as_ref(), topic::OUTBOX).into_iter().filter_map(only);
        let mut all: Vec<Outgoing> = all.collect();
        all.sort_by(|a, b| (&a.key, a.sequence).cmp(&(&b.key, b.sequence)));
        all
    }

    pub fn trial(&self, name: &str) -> Trial {
        let rule = rule::find(&self.rules, name).expect("the rule");
        let samples = self.samples.lock().clone();
        let (settings, routes) = (&self.settings, &self.routes);
        let tried = trial::run(self.log.as_ref(), settings, rule, routes, &samples, &self.stop);
        tried.expect("tries").expect("not stopped")
    }
}

/// Steps until everything up to `at` is decided.
pub fn settle(engine: &mut Engine, at: i64, settings: &Settings) {
    let wanted = Millis(at - settings.settle_ms()).floor(settings.interval_ms());
    for _ in 0..1_000 {
        engine.step(Duration::from_millis(5)).expect("decides");
        if engine.decided().is_some_and(|decided| decided >= wanted) {
            return;
        }
    }
    panic!("{at} is not decided: {:?}", engine.decided());
}

pub fn tick(log: &dyn Log, at: i64) {
    log.append(vec![record(topic::CLOCK, "clock", b"{}".to_vec(), at)]).expect("appended");
}

/// An item in its first version, ingested at `at`.
pub fn item(platform: &str, n: u64, text: &str, at: i64) -> Enriched {
    let content = Content {
        platform: platform.into(),
        native_id: n.to_string(),
        kind: Kind::Post,
        published_at: Millis(at - 1_000),
        author: Some(Party { id: format!("a{n}"), name: None }),
        channel: None,
        thread_id: None,
        title: Some(text.to_string()),
        text: None,
        lang: Some("en".into()),
        url: Some(format!("https://{platform}.example/{n}")),
        engagement: Engagement::default(),
        media: Vec::new(),
        reply_to: None,
        sentiment: None,
        topics: Vec::new(),
        terms: Default::default(),
        signature: None,
        analyzers: Default::default(),
    };
    Enriched {
        id: format!("{platform}:{n}"),
        change: Change::Created,
        version: Version { revision: 1, enrichment: 0 },
        ingested_at: Millis(at),
        content_hash: String::new(),
        previous: None,
        content: Some(content),
    }
}

pub fn write(log: &dyn Log, enriched: &Enriched) {
    let value = serde_json::to_vec(enriched).expect("serializes");
    log.append(vec![record(topic::ENRICHED, &enriched.id, value, enriched.ingested_at.0)]).expect("appended");
}

/// The next version of an item, ingested at `at`; without content a deletion.
pub fn next(before: &Enriched, at: i64, text: Option<&str>) -> Enriched {
    let previous: Option<Contribution> = before.contribution();
    let content = text.map(|text| {
        let mut content = before.content.clone().expect("content");
        content.title = Some(text.to_string());
        content
    });
    Enriched {
        change: if content.is_some() { Change::Updated } else { Change::Deleted },
        version: Version { revision: before.version.revision + 1, enrichment: 0 },
        ingested_at: Millis(at),
        previous,
        content,
        ..before.clone()
    }
}

/// A cell of an hour.
pub fn cell(log: &dyn Log, start: i64, by: &[&str], topic_name: Option<&str>, scored: i64, mean_e4: i64) {
    let mut value = json!({
        "window": "1h", "start": Millis(start), "by": by,
        "count": scored, "scored": scored, "compound_sum": scored * mean_e4, "compound_mean": mean_e4 as f64 / 1e4,
        "authors": 1, "views": 0, "likes": 0, "comments": 0, "shares": 0,
    });
    if by.contains(&"topic") {
        value["topic"] = json!(topic_name);
    }
    let cell: VolumeCell = serde_json::from_value(value).expect("a cell");
    let mut record = record(topic::VOLUME, "", serde_json::to_vec(&cell).expect("serializes"), start);
    record.key = cell.record_key();
    log.append(vec![record]).expect("appended");
}

/// Last seen at [`START`].
pub fn story(id: &str, platforms: &[&str], authors: u32) -> Story {
    Story {
        id: id.into(),
        opened_at: Millis(START),
        title: "A bridge @everyone fell".into(),
        representative: "hn:1".into(),
        url: Some("https://hn.example/1".into()),
        items: authors,
        authors,
        platforms: platforms
            .iter()
            .map(|p| StoryPlatform {
                platform: p.to_string(),
                items: 1,
                first_seen: Millis(START),
                url: Some(format!("https://{p}.example/1")),
            })
            .collect(),
        first_seen: FirstSeen { at: Millis(START), platform: "hn".into(), content_id: "hn:1".into() },
        last_seen: Millis(START),
        velocity_per_hour: 7,
        timeline: Vec::new(),
        members: vec!["hn:1".into()],
        split: false,
        merged_into: None,
        topics: vec!["politics".into()],
        compound_mean: None,
        why: String::new(),
    }
}

pub fn put_story(log: &dyn Log, story: Option<&Story>, id: &str, at: i64) {
    let mut record = record(topic::STORIES, id, Vec::new(), at);
    record.value = story.map(|story| serde_json::to_vec(story).expect("plain data"));
    log.append(vec![record]).expect("appended");
}
