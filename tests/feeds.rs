//! Pollers against a server on loopback that replays what feeds and their servers
//! are known to do wrong. Time is a value that the tests set. This file is long because
//! each fault is a test of its own.

// Everything here is a test, also what clippy does not see as one.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use dataflows::event::{Change, ContentEvent, Kind};
use dataflows::time::Millis;
use tidings::log::LogError;
use tidings::poll::status::Condition;
use tidings::poll::{self, Clock, PollError, Settings, Source, SourceStatus, SystemClock};

#[path = "feeds/bluesky.rs"]
mod bluesky;
#[path = "feeds/double.rs"]
mod double;
#[path = "feeds/formats.rs"]
mod formats;
#[path = "feeds/hackernews.rs"]
mod hackernews;
#[path = "feeds/hostile.rs"]
mod hostile;
#[path = "feeds/jetstream.rs"]
mod jetstream;
#[path = "feeds/mastodon.rs"]
mod mastodon;
#[path = "feeds/server.rs"]
mod server;
#[path = "feeds/sources.rs"]
mod sources;

use double::{Fault, LogDouble, TestClock};
use server::{Server, reply};

fn settings() -> Settings {
    let file: toml::Table = include_str!("../config/default.toml").parse().expect("TOML");
    let mut settings: Settings = file["poll"].clone().try_into().expect("every knob");
    settings.private_hosts = vec!["127.0.0.1".into()];
    settings.host_requests_per_minute = 60_000;
    settings.jitter_ratio = 0.0;
    settings.start_spread_s = 0;
    settings
}

fn source(server: &Server, path: &str, more: &str) -> Source {
    let url = server.url(path);
    let text = format!("[[source]]\ntype = \"feed\"\nname = {url:?}\nurl = {url:?}\n{more}");
    poll::source::parse(&text).expect("a valid source").remove(0)
}

/// A server, a log, a clock and a folder; the poller comes and goes.
struct Bench {
    server: Server,
    log: Arc<LogDouble>,
    clock: Arc<TestClock>,
    folder: tempfile::TempDir,
    settings: Settings,
    sources: Vec<Source>,
}

impl Bench {
    /// One source at /feed that emits everything from the start.
    async fn new() -> Self {
        Self::with("/feed", "backfill = \"last:1000000\"").await
    }

    async fn with(path: &str, more: &str) -> Self {
        Self::of(async |server| vec![source(server, path, more)]).await
    }

    /// The sources of this text, in which SERVER stands for the server.
    async fn following(text: &str) -> Self {
        Self::of(async |server| {
            let text = text.replace("SERVER", &server.url(""));
            poll::source::parse(&text).expect("valid sources")
        })
        .await
    }

    async fn of(sources: impl AsyncFnOnce(&Server) -> Vec<Source>) -> Self {
        let server = Server::start().await;
        let sources = sources(&server).await;
        Self {
            server,
            log: Arc::new(LogDouble::default()),
            clock: Arc::new(TestClock::new()),
            folder: tempfile::tempdir().expect("a folder"),
            settings: settings(),
            sources,
        }
    }

    fn open(&self) -> poll::Poller {
        let (log, clock) = (self.log.clone(), self.clock.clone());
        poll::Poller::open(self.settings.clone(), self.sources.clone(), log, self.folder.path(), clock)
            .expect("opens")
    }

    /// Moves the clock to when the next source is due, polls, and starts anew:
    /// every poll of these tests is one after a restart.
    async fn poll(&self) -> Vec<ContentEvent> {
        self.try_poll().await.expect("polls");
        self.log.take()
    }

    async fn try_poll(&self) -> Result<(), PollError> {
        let mut poller = self.open();
        let due_ms = self.status().next_due_at.expect("scheduled").0;
        self.clock.set(due_ms);
        let ended = poller.turn().await.map(|_| ());
        let status = self.status();
        poller.close().await;
        LAST.with_borrow_mut(|last| *last = Some(status));
        ended
    }

    fn status(&self) -> SourceStatus {
        let key = &self.sources[0].key;
        poll::status::status_at(self.clock.now_ms())
            .into_iter()
            .find(|s| s.key == *key)
            .expect("the source is known")
    }

    /// Seconds from now until the source is due, as the last poll left it.
    fn due_in_s(&self) -> i64 {
        (last().next_due_at.expect("scheduled").0 - self.clock.now_ms()) / 1_000
    }
}

thread_local! {
    static LAST: std::cell::RefCell<Option<SourceStatus>> = const { std::cell::RefCell::new(None) };
}

/// The status after the last poll of this test.
fn last() -> SourceStatus {
    LAST.with_borrow(|last| last.clone().expect("polled"))
}

fn rss(items: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><rss version=\"2.0\" xmlns:media=\"http://search.yahoo.com/mrss/\">\
         <channel><title>A feed</title><language>en-GB</language>{items}</channel></rss>"
    )
}

fn item(guid: &str, title: &str, date: &str) -> String {
    format!(
        "<item><guid>{guid}</guid><title>{title}</title><link>https://example.org/{guid}</link>\
         <description>about {title}</description><pubDate>{date}</pubDate></item>"
    )
}

const MONDAY: &str = "Mon, 23 Nov 2026 10:00:00 GMT";
const SUNDAY: &str = "Sun, 22 Nov 2026 10:00:00 GMT";

fn titles(events: &[ContentEvent]) -> Vec<&str> {
    events.iter().map(|e| e.title.as_deref().unwrap_or_default()).collect()
}

#[tokio::test]
async fn an_entry_becomes_an_event() {
    let bench = Bench::new().await;
    let podcast = "<item><guid isPermaLink=\"false\">p 1</guid><title>Episode</title>\
        <dc:creator xmlns:dc=\"http://purl.org/dc/elements/1.1/\">Ann</dc:creator>\
        <description>&lt;p&gt;notes&lt;/p&gt;</description>\
        <enclosure url=\"https://example.org/e.mp3\" type=\"audio/mpeg\" length=\"9\"/>\
        <pubDate>Mon, 23 Nov 2026 12:00:00 +0200</pubDate></item>";
    bench.server.feed("/feed", rss(&format!("{}{podcast}", item("1", "One", MONDAY))));
    bench.try_poll().await.expect("polls");
    let record = bench.log.records().remove(0);
    let events = bench.log.take();
    let [first, second] = &events[..] else { panic!("two events: {events:?}") };
    let key = &bench.sources[0].key;
    let (article, audio) = if first.kind == Some(Kind::Audio) { (second, first) } else { (first, second) };
    assert_eq!(article.native_id, format!("{key}/g:1"));
    assert_eq!(
        (article.change, article.kind, article.revision),
        (Change::Created, Some(Kind::Article), None)
    );
    assert_eq!(article.published_at, Some(Millis::parse("2026-11-23T10:00:00Z").unwrap()));
    assert_eq!(article.url.as_deref(), Some("https://example.org/1"));
    assert_eq!(article.lang.as_deref(), Some("en-gb"));
    let channel = article.channel.as_ref().expect("a channel");
    assert_eq!(
        (channel.id.as_str(), channel.name.as_deref()),
        (bench.server.url("/feed").as_str(), Some("A feed"))
    );
    assert_eq!(audio.kind, Some(Kind::Audio));
    assert!(audio.native_id.starts_with(&format!("{key}/g=")), "{}", audio.native_id);
    assert_eq!(audio.text.as_deref(), Some("<p>notes</p>"));
    assert_eq!(audio.published_at, Some(Millis::parse("2026-11-23T10:00:00Z").unwrap()));
    assert_eq!(audio.author.as_ref().map(|a| a.id.as_str()), Some("Ann"));
    assert_eq!(audio.media[0].mime.as_deref(), Some("audio/mpeg"));

    let headers: BTreeMap<_, _> =
        record.headers.iter().map(|(k, v)| (k, String::from_utf8_lossy(v).into_owned())).collect();
    assert_eq!(record.key, format!("rss:{}", events[0].native_id).into_bytes());
    assert_eq!(record.timestamp_ms, TestClock::START_MS);
    assert_eq!(headers["ce_type"], "tidings.content.event.v1");
    assert_eq!(headers["fetched_at"], "2026-11-24T10:00:00Z");
    assert!(headers["ce_id"].starts_with("rss:") && headers["ce_source"].contains(key));
    let request = bench.server.requests().remove(0).1;
    assert!(request["user-agent"].to_str().unwrap().starts_with("Tidings/"));
    assert!(request["accept-encoding"].to_str().unwrap().contains("gzip"));
}

#[tokio::test]
async fn not_modified_is_honoured_with_both_validators() {
    let bench = Bench::new().await;
    let body = rss(&item("1", "One", MONDAY));
    bench.server.on("/feed", move |asked| {
        let known = asked.get("if-none-match").is_some_and(|v| v == "\"v1\"")
            && asked.get("if-modified-since").is_some_and(|v| v == MONDAY);
        if known {
            return reply(304, &[("cache-control", "max-age=7200")], "");
        }
        reply(200, &[("etag", "\"v1\""), ("last-modified", MONDAY)], body.clone())
    });
    assert_eq!(bench.poll().await.len(), 1);
    assert_eq!(bench.due_in_s(), 900);
    assert!(bench.poll().await.is_empty());
    assert_eq!((last().condition, last().errors_in_row), (Condition::Ok, 0));
    assert_eq!(last().last_success_at, last().last_attempt_at);
    assert_eq!(bench.due_in_s(), 7_200);
    let requests = bench.server.requests();
    assert!(requests[0].1.get("if-none-match").is_none());
    assert_eq!(requests[1].1["if-none-match"], "\"v1\"");
}

#[tokio::test]
async fn the_feeds_own_wishes_lengthen_the_interval() {
    let bench = Bench::new().await;
    bench.server.feed("/feed", rss("<ttl>60</ttl><skipHours><hour>11</hour></skipHours>"));
    bench.poll().await;
    // 10:00 + 1 h is in the hour to skip; 12:00 is not.
    assert_eq!(bench.due_in_s(), 7_200);
}

#[tokio::test]
async fn a_permanent_move_is_kept_and_a_temporary_one_is_not() {
    let bench = Bench::new().await;
    bench.server.feed("/new", rss(&item("1", "One", MONDAY)));
    bench.server.redirect("/feed", 302, "/new");
    assert_eq!(bench.poll().await.len(), 1);
    bench.poll().await;
    assert_eq!(bench.server.asked(), ["/feed", "/new", "/feed", "/new"]);
    assert_eq!(last().moved_to, None);

    bench.server.redirect("/feed", 301, "/next");
    bench.server.redirect("/next", 308, "/new");
    assert!(bench.poll().await.is_empty(), "a move is no news");
    assert!(bench.poll().await.is_empty());
    assert_eq!(bench.server.asked(), ["/feed", "/next", "/new", "/new"]);
    assert_eq!(last().moved_to, Some(bench.server.url("/new")));

    // What is new there has the id that it would have had at the old address.
    bench.server.feed("/new", rss(&item("2", "Two", MONDAY)));
    assert!(bench.poll().await[0].native_id.starts_with(&bench.sources[0].key));

    // The new place fails: the configured one is asked again.
    bench.server.asked();
    bench.server.status("/new", 410, &[]);
    bench.server.feed("/feed", rss(&item("3", "Three", MONDAY)));
    bench.poll().await;
    assert_eq!((last().condition, last().moved_to.clone()), (Condition::Failing, None));
    assert_eq!(titles(&bench.poll().await), ["Three"]);
    assert_eq!(bench.server.asked(), ["/new", "/feed"]);
}

#[tokio::test]
async fn only_an_unbroken_chain_of_permanent_redirects_moves() {
    let bench = Bench::new().await;
    bench.server.redirect("/feed", 301, "/a");
    bench.server.redirect("/a", 307, "/b");
    bench.server.redirect("/b", 301, "/c");
    bench.server.feed("/c", rss(""));
    bench.poll().await;
    assert_eq!(last().moved_to, Some(bench.server.url("/a")));
}

#[tokio::test]
async fn redirects_end() {
    let bench = Bench::new().await;
    bench.server.redirect("/feed", 301, "/feed");
    bench.poll().await;
    assert!(last().last_error.unwrap().contains("more than 5 redirects"));
    assert_eq!(bench.server.asked().len(), 6);
    bench.server.status("/feed", 302, &[]);
    bench.poll().await;
    assert!(last().last_error.unwrap().contains("without Location"));
}

#[tokio::test]
async fn private_addresses_are_not_reached_by_any_way() {
    let mut bench = Bench::new().await;
    let port = bench.server.address.port();
    bench.server.feed("/secret", rss(&item("1", "Secret", MONDAY)));
    for to in [
        // By a name that resolves to loopback, by other spellings, by other schemes.
        format!("http://localhost:{port}/secret"),
        format!("http://127.0.0.2:{port}/secret"),
        format!("http://[::1]:{port}/secret"),
        format!("http://[::ffff:127.0.0.1]:{port}/secret"),
        format!("http://0.0.0.0:{port}/secret"),
        "http://169.254.169.254/latest/meta-data".to_string(),
        "file:///etc/passwd".to_string(),
        "gopher://example.org/".to_string(),
    ] {
        bench.server.redirect("/feed", 302, &to);
        assert!(bench.poll().await.is_empty());
        let error = last().last_error.expect("blocked");
        assert!(
            error.contains("not a public address")
                || error.contains("no public address")
                || error.contains("only http"),
            "{to}: {error}"
        );
    }
    assert!(bench.server.asked().iter().all(|path| path == "/feed"));
    // Without the exception not even the first request is made.
    bench.settings.private_hosts.clear();
    bench.server.feed("/feed", rss(""));
    bench.poll().await;
    assert!(last().last_error.unwrap().contains("not a public address"));
    assert!(bench.server.asked().is_empty());
    bench.settings.allow_private_addresses = true;
    bench.poll().await;
    assert_eq!(last().condition, Condition::Ok);
}

#[tokio::test]
async fn gone_stops_visibly_and_is_looked_at_rarely() {
    let bench = Bench::new().await;
    bench.server.status("/feed", 410, &[]);
    bench.poll().await;
    assert_eq!(last().condition, Condition::Gone);
    assert_eq!(bench.due_in_s(), 7 * 86_400);
    bench.server.feed("/feed", rss(&item("1", "Back", MONDAY)));
    assert_eq!(titles(&bench.poll().await), ["Back"]);
    assert_eq!(last().condition, Condition::Ok);
}

#[tokio::test]
async fn a_404_is_transient_and_backs_off() {
    let bench = Bench::new().await;
    let mut delays = Vec::new();
    for _ in 0..12 {
        bench.poll().await;
        delays.push(bench.due_in_s());
    }
    assert_eq!(delays[..4], [60, 120, 240, 480]);
    assert_eq!(delays[11], 21_600);
    assert_eq!((last().condition, last().errors_in_row), (Condition::Failing, 12));
    bench.server.feed("/feed", rss(&item("1", "One", MONDAY)));
    assert_eq!(titles(&bench.poll().await), ["One"]);
    assert_eq!((last().last_error.clone(), bench.due_in_s()), (None, 900));
}

#[tokio::test]
async fn retry_after_is_honoured_for_the_whole_host() {
    let mut bench = Bench::new().await;
    bench.sources.push(source(&bench.server, "/other", ""));
    bench.server.feed("/other", rss(""));
    bench.server.status("/feed", 429, &[("retry-after", "3000")]);
    let mut poller = bench.open();
    poller.turn().await.expect("polls");
    let limited_first = bench.server.asked() == ["/feed"];
    bench.clock.advance(Duration::from_secs(2_990));
    poller.turn().await.expect("polls");
    let asked = bench.server.asked();
    if limited_first {
        assert!(asked.is_empty(), "asked too early: {asked:?}");
    } else {
        assert!(!asked.contains(&"/feed".to_string()), "asked too early: {asked:?}");
    }
    bench.server.status("/feed", 503, &[("retry-after", "Tue, 24 Nov 2026 12:00:00 GMT")]);
    bench.clock.advance(Duration::from_secs(10));
    poller.turn().await.expect("polls");
    assert!(bench.server.asked().contains(&"/feed".to_string()));
    let due = bench.status().next_due_at.expect("scheduled");
    assert_eq!(due, Millis::parse("2026-11-24T12:00:00Z").unwrap());
    poller.close().await;
}

#[tokio::test]
async fn one_host_is_asked_once_at_a_time_and_within_its_rate() {
    let mut bench = Bench::with("/0", "").await;
    bench.settings.host_requests_per_minute = 20;
    bench.server.feed("/0", rss(""));
    for n in 1..6 {
        bench.sources.push(source(&bench.server, &format!("/{n}"), ""));
        bench.server.feed(&format!("/{n}"), rss(""));
    }
    let mut poller = bench.open();
    let started_ms = bench.clock.now_ms();
    let mut asked = BTreeSet::new();
    while asked.len() < 6 {
        let next_ms = poller.turn().await.expect("polls").expect("scheduled");
        let new = bench.server.asked();
        assert!(new.len() <= 1, "{new:?} at once");
        asked.extend(new);
        bench.clock.set(next_ms);
    }
    // Six requests at 20 a minute: five gaps of three seconds.
    let took_ms = bench.clock.now_ms() - started_ms;
    assert!(took_ms >= 15_000, "{took_ms}");
    poller.close().await;

    bench.settings.host_requests_per_minute = 60_000;
    bench.clock.advance(Duration::from_secs(3_600));
    let mut poller = bench.open();
    loop {
        let next_ms = poller.turn().await.expect("polls").expect("scheduled");
        if next_ms > bench.clock.now_ms() + 60_000 {
            break;
        }
        bench.clock.set(next_ms);
    }
    assert_eq!(bench.server.asked().len(), 6);
    assert_eq!(bench.server.at_once_max(), 1);
    poller.close().await;
}

#[tokio::test]
async fn the_first_poll_seeds() {
    let old = format!("{}{}", item("1", "One", MONDAY), item("2", "Two", SUNDAY));
    for (more, expected) in [
        ("", vec![]),
        ("backfill = \"last:1\"", vec!["One"]),
        ("backfill = \"since:2026-11-23\"", vec!["One"]),
        ("backfill = \"since:2026-11-22T10:00:00Z\"", vec!["Two", "One"]),
        ("backfill = \"last:9\"", vec!["Two", "One"]),
    ] {
        let bench = Bench::with("/feed", more).await;
        bench.server.feed("/feed", rss(&old));
        assert_eq!(titles(&bench.poll().await), expected, "{more}");
        let new = item("3", "Three", SUNDAY);
        bench.server.feed("/feed", rss(&format!("{new}{old}")));
        assert_eq!(titles(&bench.poll().await), ["Three"], "older than the newest, and still new");
        // An edit of what nobody was told of is not told either.
        bench.server.feed("/feed", rss(&format!("{new}{}", old.replace("about Two", "about two"))));
        let told = expected.contains(&"Two");
        assert_eq!(bench.poll().await.len(), usize::from(told), "{more}");
    }
}

#[tokio::test]
async fn changed_content_is_an_update_and_a_changed_date_is_not() {
    let bench = Bench::new().await;
    bench.server.feed("/feed", rss(&item("1", "One", SUNDAY)));
    bench.poll().await;
    bench.server.feed("/feed", rss(&item("1", "One", MONDAY)));
    assert!(bench.poll().await.is_empty());
    bench.server.feed("/feed", rss(&item("1", "One, corrected", MONDAY)));
    let events = bench.poll().await;
    assert_eq!(events[0].change, Change::Updated);
    assert_eq!(events[0].published_at, Some(Millis::parse("2026-11-22T10:00:00Z").unwrap()));
    // A link that only gained tracking is the same link.
    let tracked = item("1", "One, corrected", MONDAY).replace("org/1<", "org/1/?utm_source=rss&amp;utm_x=2<");
    bench.server.feed("/feed", rss(&tracked));
    assert!(bench.poll().await.is_empty());
    assert_eq!((last().items_created, last().items_updated), (1, 1));
}

#[tokio::test]
async fn an_item_that_leaves_is_neither_deleted_nor_new_when_it_returns() {
    let bench = Bench::new().await;
    let (one, two) = (item("1", "One", SUNDAY), item("2", "Two", MONDAY));
    bench.server.feed("/feed", rss(&one));
    bench.poll().await;
    bench.server.feed("/feed", rss(&two));
    assert_eq!(titles(&bench.poll().await), ["Two"]);
    bench.clock.advance(Duration::from_secs(80 * 86_400));
    bench.server.feed("/feed", rss(&format!("{two}{one}")));
    assert!(bench.poll().await.is_empty());
}

#[tokio::test]
async fn the_seen_set_is_bounded_and_keeps_what_the_feed_shows() {
    let mut bench = Bench::new().await;
    bench.settings.seen_max = 50;
    let store_count =
        |folder: &Path, key: &str| poll::store::Store::open(folder).unwrap().count(key).unwrap();
    let window =
        |from: usize| rss(&(from..from + 20).map(|n| item(&n.to_string(), "t", SUNDAY)).collect::<String>());
    for from in (0..200).step_by(20) {
        bench.server.feed("/feed", window(from));
        assert_eq!(bench.poll().await.len(), 20);
        assert!(store_count(bench.folder.path(), &bench.sources[0].key) <= 50);
    }
    // More than the limit, all of it shown: nothing is told twice.
    bench
        .server
        .feed("/feed", rss(&(500..600).map(|n| item(&n.to_string(), "t", SUNDAY)).collect::<String>()));
    assert_eq!(bench.poll().await.len(), 100);
    assert_eq!(bench.poll().await.len(), 0);
}

#[tokio::test]
async fn a_clashing_guid_gives_way_to_the_link_without_repeating_what_was_told() {
    let bench = Bench::new().await;
    let entry = |guid: &str, n: u32| {
        item(guid, &format!("Title {n}"), SUNDAY).replace(&format!("org/{guid}<"), &format!("org/page{n}<"))
    };
    bench.server.feed("/feed", rss(&entry("post", 1)));
    let first = bench.poll().await;
    assert_eq!((first.len(), last().identity), (1, "guid"));
    bench.server.feed("/feed", rss(&format!("{}{}{}", entry("post", 3), entry("post", 2), entry("post", 1))));
    let second = bench.poll().await;
    assert_eq!(titles(&second), ["Title 2", "Title 3"]);
    assert_eq!(last().identity, "link");
    assert!(bench.poll().await.is_empty());
    // The rung is given up for good: alone again, they stay who they are.
    bench.server.feed("/feed", rss(&entry("post", 2).replace("about", "more about")));
    let edited = bench.poll().await;
    assert_eq!((edited[0].change, &edited[0].native_id), (Change::Updated, &second[0].native_id));
    bench.server.feed("/feed", rss(&entry("post", 1).replace("about", "more about")));
    assert_eq!(bench.poll().await[0].native_id, first[0].native_id);
}

#[tokio::test]
async fn one_page_for_many_entries_is_told_apart_by_title() {
    let bench = Bench::new().await;
    let entry = |title: &str| item("same", title, SUNDAY);
    bench.server.feed("/feed", rss(&format!("{}{}", entry("1.1"), entry("1.0"))));
    assert_eq!(bench.poll().await.len(), 2);
    bench.server.feed("/feed", rss(&format!("{}{}{}", entry("1.2"), entry("1.1"), entry("1.0"))));
    assert_eq!(titles(&bench.poll().await), ["1.2"]);
    assert_eq!(last().identity, "title");
}

#[tokio::test]
async fn missing_guids_are_replaced_and_may_come_later() {
    let bench = Bench::new().await;
    let without = |n: u32| {
        item("x", &format!("T{n}"), SUNDAY)
            .replace("<guid>x</guid>", "")
            .replace("org/x", &format!("org/{n}"))
    };
    bench.server.feed("/feed", rss(&format!("{}{}", without(2), without(1))));
    let first = bench.poll().await;
    assert_eq!(first.len(), 2);
    assert!(first.iter().all(|e| e.native_id.contains("/l:")), "{first:?}");
    let with = |n: u32| without(n).replace("<item>", &format!("<item><guid>id-{n}</guid>"));
    bench.server.feed("/feed", rss(&format!("{}{}{}", with(3), with(2), with(1))));
    assert_eq!(titles(&bench.poll().await), ["T3"]);
    // From now on the guid holds, even if the link moves.
    bench.server.feed("/feed", rss(&with(1).replace("org/1", "org/one")));
    let moved = bench.poll().await;
    assert_eq!(moved.len(), 1);
    assert_eq!(moved[0].change, Change::Updated);
    assert!(first.iter().any(|e| e.native_id == moved[0].native_id));
    // Neither guid nor link.
    bench.server.feed("/feed", rss("<item><title>Bare</title></item><item><title>Bare</title></item>"));
    let bare = bench.poll().await;
    assert!(bare.len() == 1 && bare[0].native_id.contains("/t="), "{bare:?}");
}

#[tokio::test]
async fn an_entry_without_a_date_was_published_when_it_was_first_seen() {
    let bench = Bench::new().await;
    let undated = "<item><guid>1</guid><title>Undated</title></item>";
    let future = item("2", "Future", "Tue, 24 Nov 2037 10:00:00 GMT");
    bench.server.feed("/feed", rss(&format!("{undated}{future}")));
    let events = bench.poll().await;
    assert!(events.iter().all(|e| e.published_at == Some(Millis(TestClock::START_MS))), "{events:?}");
    bench.server.feed("/feed", rss(&undated.replace("Undated", "Edited")));
    let edited = bench.poll().await;
    assert_eq!(edited[0].published_at, Some(Millis(TestClock::START_MS)));
}
