//! From content and volume to a digest in Discord, on the embedded log; long because
//! its cases share how content is made.

use std::sync::Arc;
use std::time::Duration;

use dataflows::event::{Change, Content, Engagement, Enriched, Kind, Party, Sentiment};
use dataflows::record::topic;
use dataflows::time::{HOUR_MS, MINUTE_MS, Millis};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tidings::discord::digest::Digest;
use tidings::discord::digester::Digester;
use tidings::discord::health::Health;
use tidings::discord::outbox::{OutboxRecord, Outgoing, State};
use tidings::discord::routes::Route;
use tidings::log::Log;

use crate::rig::*;
use crate::server::Conduct;

pub const DAILY: &str = "[[route]]\nname='daily'\nto='webhook'\nat='08:00'\nitems_max=3";

pub fn at(text: &str) -> i64 {
    Millis::parse(text).expect("a time").0
}

pub fn item(n: u64, published: &str, likes: u32, compound: f64) -> Enriched {
    let content = Content {
        platform: "hn".into(),
        native_id: n.to_string(),
        kind: Kind::Post,
        published_at: Millis(at(published)),
        author: Some(Party { id: format!("a{n}"), name: Some(format!("Author {n}")) }),
        channel: Some(Party { id: format!("c{n}"), name: Some(format!("Channel {n}")) }),
        thread_id: None,
        title: Some(format!("Title {n} @everyone")),
        text: Some(format!("Words of {n}")),
        lang: Some("en".into()),
        url: Some(format!("https://news.example/{n}")),
        engagement: Engagement { likes: Some(likes), ..Engagement::default() },
        media: Vec::new(),
        reply_to: None,
        sentiment: Some(Sentiment { compound, positive: 0.0, neutral: 1.0, negative: 0.0 }),
        topics: vec!["rust".into()],
        signature: None,
        terms: Vec::new(),
        analyzers: Default::default(),
    };
    // By way of JSON: as it is read from the log, whatever else Enrich keeps in it.
    let whole = json!({
        "id": format!("hn:{n}"), "change": "created", "version": {"revision": 1, "enrichment": 0},
        "ingested_at": published, "previous": null, "content": content, "content_hash": "",
    });
    serde_json::from_value(whole).expect("the form of content.enriched")
}

pub fn write(log: &dyn Log, enriched: &Enriched) {
    let value = serde_json::to_vec(enriched).expect("serializes");
    log.append(vec![record(topic::ENRICHED, &enriched.id, value, enriched.ingested_at.0)]).expect("appended");
}

/// The next version, ingested then, changed by `change`.
pub fn revise(log: &dyn Log, enriched: &mut Enriched, ingested: i64, change: impl FnOnce(&mut Content)) {
    enriched.version.revision += 1;
    enriched.ingested_at = Millis(ingested);
    enriched.change = Change::Updated;
    change(enriched.content.as_mut().expect("content"));
    write(log, enriched);
}

pub fn delete(log: &dyn Log, enriched: &mut Enriched, ingested: i64) {
    enriched.version.revision += 1;
    enriched.ingested_at = Millis(ingested);
    enriched.change = Change::Deleted;
    enriched.content = None;
    write(log, enriched);
}

fn cell(
    log: &dyn Log,
    start: &str,
    by: &[&str],
    topic_name: Option<&str>,
    channel: Option<&str>,
    count: u64,
    mood: f64,
) {
    let platform = channel.map(|_| "hn");
    let value = json!({"window": "1h", "start": start, "by": by, "platform": platform, "topic": topic_name, "channel": channel,
        "count": count, "scored": count, "compound_sum": (count as f64 * mood * 1e4).round() as i64, "compound_mean": mood, "authors": 1, "views": 0, "likes": 0,
        "comments": 0, "shares": 0});
    let key = format!("{start} {by:?} {topic_name:?} {channel:?}");
    log.append(vec![record(topic::VOLUME, &key, value.to_string().into_bytes(), at(start))])
        .expect("appended");
}

pub fn tick(log: &dyn Log, ms: i64) {
    log.append(vec![record(topic::CLOCK, "clock", b"{}".to_vec(), ms)]).expect("appended");
}

pub struct Desk {
    pub log: Arc<dyn Log>,
    routes: Vec<Route>,
    health: Arc<Health>,
    _folder: tempfile::TempDir,
}

impl Desk {
    pub fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { log: open_log(folder.path()), routes: routes(text), health: Arc::default(), _folder: folder }
    }

    pub fn digester(&self) -> Digester {
        self.digester_with(settings("http://127.0.0.1:1"))
    }

    fn digester_with(&self, settings: tidings::discord::Settings) -> Digester {
        Digester::open(self.log.as_ref(), settings, self.routes.clone(), self.health.clone(), false)
            .expect("opens")
    }

    pub fn digests(&self) -> Vec<Digest> {
        values(self.log.as_ref(), topic::DIGESTS)
    }

    pub fn outbox(&self) -> Vec<Outgoing> {
        let only = |r| match r {
            OutboxRecord::Message(m) => Some(m),
            OutboxRecord::Resolve(_) => None,
        };
        let mut all: Vec<Outgoing> =
            values(self.log.as_ref(), topic::OUTBOX).into_iter().filter_map(only).collect();
        all.sort_by(|a, b| (&a.key, a.sequence).cmp(&(&b.key, b.sequence)));
        all
    }

    /// Ticks, and lets the digester read everything.
    pub fn tick(&self, digester: &mut Digester, ms: i64) {
        tick(self.log.as_ref(), ms);
        drain(digester);
    }
}

pub fn drain(digester: &mut Digester) {
    for _ in 0..4 {
        digester.step(Duration::from_millis(30)).expect("decides");
    }
}

fn some_content(log: &dyn Log) -> Vec<Enriched> {
    let items: Vec<Enriched> =
        (1..=5).map(|n| item(n, "2026-05-04T07:00:00Z", n as u32 * 10, 0.1 * n as f64)).collect();
    items.iter().for_each(|i| write(log, i));
    for (start, count, mood) in [("2026-05-03T07:00:00Z", 2, -0.2), ("2026-05-04T07:00:00Z", 5, 0.3)] {
        cell(log, start, &[], None, None, count, mood);
        cell(log, start, &["topic"], Some("rust"), None, count, mood);
        cell(log, start, &["channel"], None, Some("c1"), count, mood);
    }
    items
}

#[test]
fn content_becomes_one_digest_in_discord() {
    let desk = Desk::new(DAILY);
    let log = desk.log.as_ref();
    tick(log, at("2026-05-03T09:00:00Z"));
    some_content(log);
    let mut digester = desk.digester();
    desk.tick(&mut digester, at("2026-05-04T08:00:59Z"));
    assert!(
        desk.digests().iter().all(|d| d.window.end.0 < at("2026-05-04T08:00:00Z")),
        "decided before it settled"
    );
    desk.tick(&mut digester, at("2026-05-04T08:01:00Z"));
    drop(digester);
    let mut digester = desk.digester();
    desk.tick(&mut digester, at("2026-05-04T09:00:00Z"));
    let digests: Vec<Digest> = desk.digests().into_iter().filter(|d| d.skipped.is_none()).collect();
    assert_eq!(digests.len(), 1, "{digests:#?}");
    let digest = &digests[0];
    assert_eq!(digest.key, "digest~daily~2026-05-03T08:00:00Z~2026-05-04T08:00:00Z");
    assert_eq!((digest.total.count, digest.total.previous_count), (5, 2));
    assert_eq!(
        (digest.topics[0].name.as_str(), digest.topics[0].mood, digest.topics[0].previous_mood),
        ("rust", Some(0.3), Some(-0.2))
    );
    assert_eq!(digest.channels[0].label.as_deref(), Some("Channel 1"));
    assert_eq!(digest.content_ids(), ["hn:5", "hn:4", "hn:3"]);
    assert_eq!(digest.items_more, 2);
    let why = &digest.items[0].why;
    assert_eq!((why.engagement, why.engagement_percentile, why.mood), (5_000, 0.9, 0.5));
    assert_eq!(why.burst_topic.as_deref(), Some("rust"));
    assert!((why.score - (0.5 * 0.9 + 0.3 * 0.5 + 0.2 * why.burst)).abs() < 1e-4, "{why:?}");

    let mut rig = Rig::new(Conduct::default(), false);
    rig.log = desk.log.clone();
    rig.routes = desk.routes.clone();
    let mut deliverer = rig.deliverer();
    // The test's clock is in the past of the wall clock.
    rig.settings.post_age_max_h = 1_000_000;
    drop(deliverer);
    deliverer = rig.deliverer();
    rig.until(&mut deliverer, &digest.key, State::Sent);
    let messages = rig.server.messages();
    assert_eq!(messages.len(), 1);
    let text = messages[0].body.to_string();
    for part in
        ["Most active topics", "rust", "Channel 1", "and 2 more", "news.example", "Title 5", "mood +0.30"]
    {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    rig.server.assert_no_violations();
}

#[test]
fn every_window_has_one_digest_however_often_it_restarts() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let desk = Desk::new(&format!("{DAILY}\n[[route]]\nname='hourly'\nto='webhook'\nevery='1h'"));
    let start = at("2026-05-04T00:00:00Z");
    tick(desk.log.as_ref(), start);
    let mut digester = desk.digester();
    for step in 1..=30 * 4 {
        let now = start + step * 15 * MINUTE_MS;
        if random.random_bool(0.3) {
            let mut one = item(step as u64, "2026-05-04T00:00:00Z", 1, 0.5);
            one.ingested_at = Millis(now - MINUTE_MS);
            one.content.as_mut().expect("content").published_at = Millis(now - MINUTE_MS);
            write(desk.log.as_ref(), &one);
        }
        tick(desk.log.as_ref(), now);
        digester.step(Duration::from_millis(5)).expect("decides");
        if random.random_bool(0.15) {
            drop(digester);
            digester = desk.digester();
        }
    }
    drain(&mut digester);
    let mut digests = desk.digests();
    digests.sort_by_key(|d| (d.route.clone(), d.window.end));
    let hourly: Vec<&Digest> = digests.iter().filter(|d| d.route == "hourly").collect();
    for pair in hourly.windows(2) {
        assert_eq!(pair[0].window.end, pair[1].window.start, "seed {seed}: a window is missing or doubled");
    }
    assert!(hourly.len() >= 28, "{}", hourly.len());
    assert_eq!(digests.iter().filter(|d| d.route == "daily").count(), 1);
    let posted = digests.iter().filter(|d| d.skipped.is_none()).count();
    assert_eq!(desk.outbox().len(), posted);
    for digest in digests.iter().filter(|d| d.route == "hourly" && d.skipped.is_none()) {
        let shown_elsewhere =
            hourly.iter().filter(|d| d.content_ids().iter().any(|id| digest.content_ids().contains(id)));
        assert_eq!(shown_elsewhere.count(), 1, "an item is in two digests of the route");
    }
}

#[test]
fn downtime_yields_one_digest_and_counts_the_rest() {
    let desk = Desk::new("[[route]]\nname='hourly'\nto='webhook'\nevery='1h'");
    let log = desk.log.as_ref();
    let start = at("2026-05-04T00:00:00Z");
    tick(log, start);
    write(log, &item(1, "2026-05-04T00:30:00Z", 1, 0.5));
    let mut digester = desk.digester();
    desk.tick(&mut digester, start + HOUR_MS + 2 * MINUTE_MS);
    assert_eq!(desk.digests().len(), 1);
    drop(digester);
    write(log, &item(2, "2026-05-04T05:30:00Z", 1, 0.5));
    let mut digester = desk.digester();
    desk.tick(&mut digester, start + 6 * HOUR_MS + 2 * MINUTE_MS);
    let digests = desk.digests();
    let missed: Vec<&Digest> = digests.iter().filter(|d| d.skipped.as_deref() == Some("missed")).collect();
    assert_eq!(missed.len(), 4, "{digests:#?}");
    let last = digests.iter().max_by_key(|d| d.window.end).expect("one");
    assert_eq!((last.missed, last.window.end.0, last.skipped.clone()), (4, start + 6 * HOUR_MS, None));
    assert_eq!(desk.outbox().len(), 2);
    assert!(desk.outbox().iter().any(|o| {
        o.message.embeds[0]
            .description
            .as_deref()
            .is_some_and(|d| d.contains("4 earlier digests were missed"))
    }));
}

#[test]
fn an_empty_window_is_skipped_and_says_so() {
    let desk = Desk::new(DAILY);
    tick(desk.log.as_ref(), at("2026-05-03T09:00:00Z"));
    let mut digester = desk.digester();
    desk.tick(&mut digester, at("2026-05-04T08:05:00Z"));
    let digests = desk.digests();
    assert_eq!(digests.iter().map(|d| d.skipped.as_deref()).collect::<Vec<_>>(), [Some("empty")]);
    assert!(desk.outbox().is_empty());
}

#[test]
fn edits_wait_deletions_do_not_and_engagement_is_no_edit() {
    let desk = Desk::new(DAILY);
    let log = desk.log.as_ref();
    tick(log, at("2026-05-03T09:00:00Z"));
    let mut items = some_content(log);
    let decided = at("2026-05-04T08:01:00Z");
    let mut digester = desk.digester();
    desk.tick(&mut digester, decided);
    assert_eq!(desk.outbox().len(), 1);

    // Engagement changes all the time: no edit, however long it takes.
    revise(log, &mut items[4], decided + 20 * MINUTE_MS, |c| c.engagement.likes = Some(9_999));
    drain(&mut digester);
    assert_eq!(desk.outbox().len(), 1);

    // Two edits within ten minutes of one another make two messages at most ten minutes apart.
    revise(log, &mut items[4], decided + 21 * MINUTE_MS, |c| c.title = Some("Corrected once".into()));
    drain(&mut digester);
    assert_eq!(desk.outbox().len(), 2);
    revise(log, &mut items[4], decided + 22 * MINUTE_MS, |c| c.title = Some("Corrected twice".into()));
    drain(&mut digester);
    assert_eq!(desk.outbox().len(), 2, "a second edit within ten minutes");

    // The wait survives a restart, and is over when the clock says so.
    drop(digester);
    let mut digester = desk.digester();
    desk.tick(&mut digester, decided + 30 * MINUTE_MS);
    assert_eq!(desk.outbox().len(), 2);
    desk.tick(&mut digester, decided + 31 * MINUTE_MS);
    let outbox = desk.outbox();
    assert_eq!(outbox.iter().map(|o| o.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    let text = serde_json::to_string(&outbox[2].message).expect("serializes");
    assert!(text.contains("Corrected twice") && text.contains("edited since"), "{text}");

    // A deletion is shown at once; an item that is not shown makes none.
    delete(log, &mut items[0], decided + 32 * MINUTE_MS);
    drain(&mut digester);
    assert_eq!(desk.outbox().len(), 3);
    delete(log, &mut items[4], decided + 33 * MINUTE_MS);
    drain(&mut digester);
    let last = desk.outbox().pop().expect("some");
    let text = serde_json::to_string(&last.message).expect("serializes");
    assert_eq!((last.sequence, last.reason.as_str()), (4, "removed"));
    assert!(!text.contains("Corrected") && text.contains("1 removed by its source"), "{text}");
    let amended = desk.digests().into_iter().max_by_key(|d| d.sequence).expect("some");
    assert_eq!(amended.content_ids(), ["hn:4", "hn:3"]);

    // An old version read again brings nothing back, and a restart repeats nothing.
    drop(digester);
    let mut digester = desk.digester();
    desk.tick(&mut digester, decided + 60 * MINUTE_MS);
    assert_eq!(desk.outbox().len(), 4);
}

#[test]
fn deleted_items_are_never_shown_and_late_ones_are_in_the_next_digest() {
    let desk = Desk::new(DAILY);
    let log = desk.log.as_ref();
    tick(log, at("2026-05-03T09:00:00Z"));
    let mut gone = item(1, "2026-05-04T07:00:00Z", 100, 0.9);
    write(log, &gone);
    delete(log, &mut gone, at("2026-05-04T07:30:00Z"));
    write(log, &item(2, "2026-05-04T07:00:00Z", 1, 0.2));
    let mut digester = desk.digester();
    desk.tick(&mut digester, at("2026-05-04T08:02:00Z"));
    let mut late = item(3, "2026-05-04T07:59:00Z", 1, 0.2);
    late.ingested_at = Millis(at("2026-05-04T08:03:00Z"));
    write(log, &late);
    desk.tick(&mut digester, at("2026-05-05T08:02:00Z"));
    let shown: Vec<Vec<String>> = desk.digests().iter().map(Digest::content_ids).collect();
    let mut all: Vec<String> = shown.concat();
    all.sort();
    assert_eq!(all, ["hn:2", "hn:3"], "{shown:?}");
}

#[test]
fn a_preview_writes_nothing_and_says_why() {
    let desk = Desk::new(DAILY);
    let log = desk.log.as_ref();
    tick(log, at("2026-05-03T09:00:00Z"));
    some_content(log);
    write(log, &{
        let mut same = item(9, "2026-05-04T07:10:00Z", 1, 0.0);
        same.content.as_mut().expect("content").url = Some("https://news.example/5/".into());
        same
    });
    let mut digester = desk.digester();
    let previews = digester.preview(None).expect("a preview");
    let verdict = |id: &str| {
        previews[0].candidates.iter().find(|c| c.id == id).map(|c| c.verdict.clone()).unwrap_or_default()
    };
    assert_eq!(verdict("hn:5"), "shown");
    assert_eq!(verdict("hn:1"), "the 3 best are shown");
    assert_eq!(verdict("hn:9"), "same link or words as hn:5");
    assert!(digester.preview(Some("nope")).is_err());
    assert!(desk.digests().is_empty() && desk.outbox().is_empty());
    // Sent by hand, the same is written once, and the schedule is as before.
    assert!(digester.send_now(None).expect("sent")[0].sent);
    digester.send_now(None).expect("sent");
    assert_eq!((desk.digests().len(), desk.outbox().len()), (1, 1));
    desk.tick(&mut digester, at("2026-05-04T08:02:00Z"));
    assert_eq!(desk.digests().iter().filter(|d| !d.manual && d.skipped.is_none()).count(), 1);
}

#[test]
fn a_full_memory_is_counted_and_shown() {
    let desk = Desk::new(DAILY);
    some_content(desk.log.as_ref());
    let mut few = settings("http://127.0.0.1:1");
    few.digests.items_max = 2;
    let mut digester = desk.digester_with(few);
    drain(&mut digester);
    let report = desk.health.report(0);
    assert!(report.reasons.iter().any(|r| r.reason == "memory_full"), "{report:?}");
}

#[test]
fn a_second_digester_fences_the_first() {
    let desk = Desk::new(DAILY);
    let log = desk.log.as_ref();
    tick(log, at("2026-05-03T09:00:00Z"));
    some_content(log);
    let mut old = desk.digester();
    let mut new = desk.digester();
    tick(log, at("2026-05-04T08:02:00Z"));
    let failed = (0..20).find_map(|_| old.step(Duration::from_millis(20)).err());
    assert!(failed.is_some(), "the old one still writes");
    drain(&mut new);
    assert_eq!(desk.outbox().len(), 1);
}
