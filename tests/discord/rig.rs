//! A log in a temporary folder, a local Discord, and the parts between them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::record::{Headers, Record, Stored, topic};
use dataflows::time::Millis;
use serde::de::DeserializeOwned;
use tidings::config::Secret;
use tidings::discord::deliver::Deliverer;
use tidings::discord::health::Health;
use tidings::discord::message::{Embed, Message, footer};
use tidings::discord::outbox::{OutboxRecord, Outgoing, State};
use tidings::discord::routes::{Route, parse};
use tidings::discord::{Access, Settings, wall_clock_ms};
use tidings::log::{Log, TopicSpec};

use crate::server::{BOT_TOKEN, Conduct, DiscordServer};

/// Longer than anything here takes; a test that waits for it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const ROUTES: &str = r#"
[[route]]
name = "hook"
to = "webhook"
at = ["08:00"]
[[route]]
name = "bot"
channel_id = "888"
every = "1h"
"#;

#[derive(serde::Deserialize)]
pub struct Shipped {
    pub discord: Settings,
    pub log: tidings::log::Settings,
    pub alerts: tidings::alerts::Settings,
}

pub fn shipped() -> Shipped {
    toml::from_str(include_str!("../../config/default.toml")).expect("the shipped settings")
}

/// The shipped settings, impatient.
pub fn settings(base: &str) -> Settings {
    Settings {
        api_base: base.to_string(),
        request_timeout_s: 1,
        backoff_min_s: 0,
        backoff_max_s: 0,
        settle_after_s: 0,
        attempts_max: 4,
        ..shipped().discord
    }
}

pub fn access(server: &DiscordServer, bot: bool) -> Access {
    Access {
        webhook: Some(Secret::new(server.webhook_url())),
        bot_token: bot.then(|| Secret::new(format!("Bot {BOT_TOKEN}"))),
        publishing: true,
        ..Access::default()
    }
}

pub fn routes(text: &str) -> Vec<Route> {
    parse(text, &shipped().discord.route).expect("valid routes")
}

pub fn open_log(folder: &Path) -> Arc<dyn Log> {
    let log = tidings::log::open(&shipped().log, folder).expect("the log opens");
    let names = [
        topic::ENRICHED,
        topic::VOLUME,
        topic::STORIES,
        topic::CLOCK,
        topic::TRENDS,
        topic::STORIES,
        topic::ALERTS,
        topic::ALERTS_STATE,
        topic::DIGESTS,
        topic::OUTBOX,
        topic::SENT,
        topic::DEAD_LETTERS,
    ];
    let specs: Vec<TopicSpec> = names
        .iter()
        .map(|name| TopicSpec { name, partitions: 2, compact: false, retention_ms: None })
        .collect();
    log.create(&specs).expect("topics");
    log
}

pub fn read_all(log: &dyn Log, name: &str) -> Vec<Stored> {
    let info = log.topics().expect("topics").into_iter().find(|t| t.name == name).expect("the topic");
    let place = |p: usize| dataflows::record::TopicPartition::new(name, p as u32);
    let starts = info.ranges.iter().enumerate().map(|(p, (start, _))| (place(p), *start)).collect();
    let mut reader = log.reader(&starts).expect("a reader");
    let mut all = Vec::new();
    while info
        .ranges
        .iter()
        .enumerate()
        .any(|(p, (_, end))| reader.positions().get(&place(p)).is_none_or(|at| at < end))
    {
        all.extend(reader.poll(Duration::from_millis(100), 1 << 22).expect("reads"));
    }
    all
}

pub fn values<T: DeserializeOwned>(log: &dyn Log, name: &str) -> Vec<T> {
    let parse =
        |s: Stored| serde_json::from_slice(&s.value.expect("a value")).expect("the form of the topic");
    read_all(log, name).into_iter().map(parse).collect()
}

pub fn record(topic: &str, key: &str, value: Vec<u8>, at: i64) -> Record {
    Record {
        topic: topic.into(),
        partition: None,
        key: key.into(),
        value: Some(value),
        timestamp_ms: at,
        headers: Headers::new(),
    }
}

pub fn message(key: &str, text: &str) -> Message {
    let embed = Embed {
        title: Some("A title".into()),
        description: Some(text.into()),
        footer: Some(footer(key)),
        ..Embed::default()
    };
    Message { content: None, embeds: vec![embed], silent: true }
}

pub fn outgoing(key: &str, route: &str, sequence: u64) -> Outgoing {
    Outgoing {
        key: key.into(),
        route: route.into(),
        sequence,
        reason: if sequence == 1 { "digest".into() } else { "edited".into() },
        created_at: Millis(wall_clock_ms()),
        content_ids: vec!["x:1".into()],
        message: message(key, &format!("version {sequence}")),
    }
}

pub fn put(log: &dyn Log, outgoing: Outgoing) {
    let key = outgoing.key.clone();
    let value = serde_json::to_vec(&OutboxRecord::Message(outgoing)).expect("serializes");
    log.append(vec![record(topic::OUTBOX, &key, value, wall_clock_ms())]).expect("appended");
}

pub struct Rig {
    pub server: DiscordServer,
    pub log: Arc<dyn Log>,
    pub folder: tempfile::TempDir,
    pub settings: Settings,
    pub access: Access,
    pub routes: Vec<Route>,
    pub health: Arc<Health>,
}

impl Rig {
    pub fn new(conduct: Conduct, bot: bool) -> Self {
        let seed = rand::random();
        println!("seed {seed}");
        let server = DiscordServer::start(conduct, seed);
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            settings: settings(&server.base()),
            access: access(&server, bot),
            log: open_log(folder.path()),
            routes: routes(ROUTES),
            health: Arc::default(),
            server,
            folder,
        }
    }

    pub fn deliverer(&self) -> Deliverer {
        Deliverer::open(
            self.log.as_ref(),
            self.settings.clone(),
            &self.access,
            self.routes.clone(),
            self.health.clone(),
        )
        .expect("delivery opens")
    }

    /// Delivers until the key is in the state.
    pub fn until(&self, deliverer: &mut Deliverer, key: &str, state: State) {
        self.until_true(deliverer, &format!("{key} {state}"), |d| {
            d.outbox().get(key).is_some_and(|e| e.sent.state == state)
        });
    }

    pub fn until_true(&self, deliverer: &mut Deliverer, what: &str, done: impl Fn(&Deliverer) -> bool) {
        let start = Instant::now();
        while !done(deliverer) {
            assert!(
                start.elapsed() < PATIENCE,
                "not {what}: {:#?}",
                deliverer.outbox().entries().collect::<Vec<_>>()
            );
            deliverer.step(Duration::from_millis(20)).expect("delivers");
        }
    }

    pub fn state(&self, deliverer: &Deliverer, key: &str) -> State {
        deliverer.outbox().get(key).expect("known").sent.state
    }
}

/// The value of a counter of posts now.
pub fn posts(outcome: &str, reason: &str) -> u64 {
    tidings::discord::metrics::POSTS.with_label_values(&[outcome, reason]).get()
}
