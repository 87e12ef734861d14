//! Pollers against a server on loopback that replays what feeds and their servers
//! are known to do wrong. Time is a value that the tests set.

// Everything here is a test, also what clippy does not see as one.
#![allow(clippy::unwrap_used)]

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

#[path = "feeds/double.rs"]
mod double;
#[path = "feeds/server.rs"]
mod server;

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
        let server = Server::start().await;
        let sources = vec![source(&server, path, more)];
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
        poll::status().into_iter().find(|s| s.key == *key).expect("the source is known")
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
        record.headers.iter().map(|(k, v)| (k.as_str(), String::from_utf8_lossy(v).into_owned())).collect();
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

#[tokio::test]
async fn encodings_are_survived() {
    let bench = Bench::new().await;
    let body = |encoding: &str, title: &[u8]| {
        let mut body = format!("<?xml version=\"1.0\" encoding=\"{encoding}\"?><rss version=\"2.0\"><channel><item><guid>1</guid><title>").into_bytes();
        body.extend_from_slice(title);
        body.extend_from_slice(b"</title></item></channel></rss>");
        body
    };
    let mut marked = b"\xef\xbb\xbf".to_vec();
    marked.extend(body("utf-8", "caf\u{e9}".as_bytes()));
    let mut first = true;
    for bytes in [
        body("iso-8859-1", b"caf\xe9"),
        marked,
        body("utf-8", b"caf\xe9"),
        body("latin1", "caf\u{e9}".as_bytes()),
    ] {
        bench.server.feed("/feed", bytes);
        let events = bench.poll().await;
        // The same title every time: told once.
        assert_eq!(titles(&events), if first { vec!["caf\u{e9}"] } else { vec![] });
        assert_eq!(last().condition, Condition::Ok);
        first = false;
    }
}

#[tokio::test]
async fn broken_entries_are_skipped_and_counted() {
    let bench = Bench::new().await;
    let broken = "<item><guid>2</guid><title>Two</b></item>";
    bench
        .server
        .feed("/feed", rss(&format!("{}{broken}{}", item("1", "One", SUNDAY), item("3", "Three", MONDAY))));
    assert_eq!(titles(&bench.poll().await), ["One", "Three"]);
    assert_eq!((last().condition, last().entries_broken), (Condition::Ok, 1));
    bench.server.feed("/feed", rss(&format!("{}{}", item("2", "Two", SUNDAY), item("1", "One", SUNDAY))));
    assert_eq!(titles(&bench.poll().await), ["Two"]);
}

#[tokio::test]
async fn what_is_no_feed_says_what_it_is_and_loses_nothing() {
    let bench = Bench::new().await;
    bench.server.feed("/feed", rss(&item("1", "One", MONDAY)));
    bench.poll().await;
    bench.server.on("/feed", |_| {
        reply(
            200,
            &[("content-type", "text/html"), ("etag", "\"page\"")],
            "<!DOCTYPE html><html><body>down</body></html>",
        )
    });
    bench.poll().await;
    assert!(last().last_error.unwrap().contains("HTML page, not a feed"));
    bench.server.feed("/feed", rss(&format!("{}{}", item("2", "Two", MONDAY), item("1", "One", MONDAY))));
    bench.server.requests();
    assert_eq!(titles(&bench.poll().await), ["Two"]);
    assert!(
        bench.server.requests()[0].1.get("if-none-match").is_none(),
        "an error page's validator was kept"
    );
}

#[tokio::test]
async fn large_feeds_are_accepted_and_larger_ones_refused() {
    let bench = Bench::new().await;
    let filler = "x".repeat(1_000);
    let items =
        |count: usize| rss(&(0..count).map(|n| item(&n.to_string(), &filler, SUNDAY)).collect::<String>());
    let five_mb = items(2_400);
    assert!((5_000_000..6_000_000).contains(&five_mb.len()), "{}", five_mb.len());
    bench.server.feed("/feed", five_mb);
    assert_eq!(bench.poll().await.len(), 2_400);

    bench.server.feed("/feed", vec![b'x'; 20_000_000]);
    bench.poll().await;
    assert!(last().last_error.unwrap().contains("larger than 8388608 bytes"));
    // Without a length it is the stream that is cut.
    bench.server.on("/feed", |_| {
        let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 65_536]));
        reply(200, &[], Body::from_stream(chunks))
    });
    bench.poll().await;
    assert!(last().last_error.unwrap().contains("larger than 8388608 bytes"));
}

#[tokio::test]
async fn bombs_do_not_go_off() {
    let bench = Bench::new().await;
    // 1 GB of nothing in 1 MB.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..1_024 {
        gzip.write_all(&[b' '; 1_048_576]).expect("memory");
    }
    let bomb = gzip.finish().expect("memory");
    assert!(bomb.len() < 1_100_000);
    bench.server.on("/feed", move |_| reply(200, &[("content-encoding", "gzip")], bomb.clone()));
    bench.poll().await;
    assert!(last().last_error.unwrap().contains("larger than 8388608 bytes"));

    // Ten to the ninth, if it were expanded.
    let mut entities = String::from("<?xml version=\"1.0\"?><!DOCTYPE rss [<!ENTITY l0 \"lol\">");
    for level in 1..10 {
        entities.push_str(&format!("<!ENTITY l{level} \"{}\">", format!("&l{};", level - 1).repeat(10)));
    }
    entities.push_str("]>");
    let items = item("1", "&l9;", MONDAY);
    bench.server.feed("/feed", entities + rss(&items).trim_start_matches("<?xml version=\"1.0\"?>"));
    let events = bench.poll().await;
    assert_eq!(titles(&events), ["&l9;"]);

    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    compressed.write_all(rss(&item("2", "Two", MONDAY)).as_bytes()).expect("memory");
    let compressed = compressed.finish().expect("memory");
    bench.server.on("/feed", move |_| reply(200, &[("content-encoding", "gzip")], compressed.clone()));
    assert_eq!(titles(&bench.poll().await), ["Two"]);
}

#[tokio::test]
async fn a_server_that_drips_or_hangs_is_left() {
    let mut bench = Bench::new().await;
    bench.settings.total_timeout_ms = 300;
    bench.server.on("/feed", |_| {
        let drops = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, std::io::Error>("<"), ()))
        });
        reply(200, &[], Body::from_stream(drops))
    });
    bench.poll().await;
    assert!(last().last_error.unwrap().contains("time limit (in all)"));
    bench.settings.total_timeout_ms = 60_000;
    bench.settings.read_timeout_ms = 100;
    bench.server.on("/feed", |_| {
        let silence = futures_util::stream::pending::<Result<&str, std::io::Error>>();
        reply(200, &[], Body::from_stream(silence))
    });
    bench.poll().await;
    assert!(last().last_error.unwrap().contains("between two reads"));
    assert_eq!(bench.due_in_s(), 120);
}

#[tokio::test]
async fn a_refused_connection_is_an_error_like_others() {
    let bench = Bench::new().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let url = format!("http://{}/feed", closed.local_addr().expect("bound"));
    drop(closed);
    let text = format!("[[source]]\ntype = \"feed\"\nurl = {url:?}\n");
    let bench = Bench { sources: poll::source::parse(&text).expect("valid"), ..bench };
    bench.poll().await;
    assert!(last().last_error.unwrap().starts_with("no connection"));
}

/// What a consumer holds that knows items by identity: content equal to the
/// current one is a duplicate.
fn folded(events: &[ContentEvent]) -> BTreeMap<String, Vec<ContentEvent>> {
    let mut items: BTreeMap<String, Vec<ContentEvent>> = BTreeMap::new();
    for event in events {
        let versions = items.entry(event.content_id()).or_default();
        if versions.last() != Some(event) {
            versions.push(event.clone());
        }
    }
    items
}

#[tokio::test]
async fn a_crash_after_the_append_repeats_equal_content_and_loses_nothing() {
    let mut bench = Bench::new().await;
    bench.settings.append_records_max = 3;
    // Dated, undated, and from the future: none may change by being sent again.
    let items: String = (0..4)
        .map(|n| item(&format!("d{n}"), &format!("Dated {n}"), SUNDAY))
        .chain((0..4).map(|n| format!("<item><guid>u{n}</guid><title>Undated {n}</title></item>")))
        .chain((0..2).map(|n| item(&format!("f{n}"), "Future", "Tue, 24 Nov 2037 10:00:00 GMT")))
        .collect();
    bench.server.feed("/feed", rss(&items));
    // Ten records are four batches: die after each of them in turn.
    for batch in 0..4 {
        bench.log.script((0..batch).map(|_| None).chain([Some(Fault::DieAfter)]));
        let ended = bench.try_poll().await;
        assert!(matches!(ended, Err(PollError::Log(LogError::Fatal(_)))), "{ended:?}");
        bench.clock.advance(Duration::from_secs(600));
    }
    bench.try_poll().await.expect("polls");
    let all = bench.log.take();
    assert_eq!(all.len(), 3 + 6 + 9 + 10 + 10);
    let items = folded(&all);
    assert_eq!(items.len(), 10, "nothing lost");
    assert!(items.values().all(|versions| versions.len() == 1), "repeated with other content: {items:#?}");
    assert!(bench.poll().await.is_empty(), "remembered after the append");
}

#[tokio::test]
async fn a_full_log_is_waited_for_without_losing_the_poll() {
    let mut bench = Bench::new().await;
    bench.settings.append_records_max = 2;
    let items: String = (0..5).map(|n| item(&n.to_string(), &format!("Item {n}"), SUNDAY)).collect();
    bench.server.feed("/feed", rss(&items));
    let full = || Some(Fault::Refuse(LogError::Full("no space".into())));
    let retry = || Some(Fault::Refuse(LogError::Retry("no broker".into())));
    bench.log.script([full(), full(), None, retry(), None, full()]);
    let events = bench.poll().await;
    assert_eq!(events.len(), 5);
    assert_eq!(folded(&events).len(), 5);
    assert_eq!(bench.log.appends(), 3 + 4);
    assert_eq!(bench.server.asked().len(), 1, "fetched once");
    assert_eq!(last().condition, Condition::Ok);
    assert!(bench.poll().await.is_empty());
}

#[tokio::test]
async fn a_poll_that_waits_for_a_full_log_can_be_stopped_and_is_done_again() {
    let bench = Bench::new().await;
    bench.server.feed("/feed", rss(&item("1", "One", MONDAY)));
    bench.log.script((0..1_000_000).map(|_| Some(Fault::Refuse(LogError::Full("no space".into())))));
    let (log, clock) = (bench.log.clone(), Arc::new(SystemClock));
    let asked = async {
        while bench.log.appends() == 0 {
            tokio::task::yield_now().await;
        }
    };
    let folder = bench.folder.path();
    poll::run(bench.settings.clone(), bench.sources.clone(), log, folder, clock, asked).await.expect("ends");
    assert!(bench.log.take().is_empty());

    let log = Arc::new(LogDouble::default());
    let arrived = async {
        while log.records().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let clock = Arc::new(SystemClock);
    poll::run(bench.settings.clone(), bench.sources.clone(), log.clone(), folder, clock, arrived)
        .await
        .expect("ends");
    assert_eq!(titles(&log.take()), ["One"]);
    assert!(poll::status().iter().all(|s| s.key != bench.sources[0].key), "no status of what does not run");
}

#[tokio::test]
async fn a_refused_record_does_not_take_others_with_it() {
    let bench = Bench::new().await;
    let items: String = ["One", "poison", "Three"].iter().map(|t| item(t, t, SUNDAY)).collect();
    bench.server.feed("/feed", rss(&items));
    bench.log.poison("poison");
    let events = bench.poll().await;
    assert_eq!(titles(&events), ["Three", "One"]);
    assert!(bench.poll().await.is_empty());
}

#[tokio::test]
async fn polls_are_counted_by_outcome() {
    let bench = Bench::new().await;
    let name = bench.sources[0].name.clone();
    bench.server.feed("/feed", rss(&item("1", "One", MONDAY)));
    bench.poll().await;
    bench.server.status("/feed", 500, &[]);
    bench.poll().await;
    bench.server.feed("/feed", "<html>");
    bench.poll().await;
    let families = tidings::ops::metrics::registry().gather();
    let value = |family: &str, label: &str| {
        let family = families.iter().find(|f| f.name() == family).expect(family);
        let has = |m: &&prometheus::proto::Metric, v: &str| m.get_label().iter().any(|l| l.value() == v);
        let metric =
            family.get_metric().iter().find(|m| has(m, &name) && (label.is_empty() || has(m, label)));
        let metric = metric.unwrap_or_else(|| panic!("{label}"));
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    };
    for outcome in ["ok", "http_5xx", "parse"] {
        assert_eq!(value("tidings_poll_requests_total", outcome), 1.0, "{outcome}");
    }
    assert_eq!(value("tidings_poll_items_total", "created"), 1.0);
    let success = value("tidings_source_last_success_timestamp_seconds", "");
    assert_eq!(success, TestClock::START_MS as f64 / 1_000.0);
    assert!(value("tidings_poll_next_due_seconds", "") > success);
}

#[tokio::test]
async fn the_commands_and_the_endpoint_show_the_sources() {
    let mut bench = Bench::new().await;
    bench.sources.push(source(&bench.server, "/broken", ""));
    bench.server.feed("/feed", rss(&item("1", "One", MONDAY)));
    let mut poller = bench.open();
    while bench.server.asked().len() < 2 && bench.log.appends() == 0 {
        let next_ms = poller.turn().await.expect("polls").expect("scheduled");
        bench.clock.set(next_ms);
    }

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let api = tokio::spawn(async move { axum::serve(listener, poll::api::routes()).await });
    let get = |query: &str| reqwest::get(format!("http://{address}/v1/sources{query}"));
    let page: serde_json::Value = get("?limit=1000").await.unwrap().json().await.unwrap();
    let ours = |s: &&serde_json::Value| s["key"] == bench.sources[0].key.as_str();
    let shown = page["sources"].as_array().unwrap().iter().find(ours).expect("listed");
    assert_eq!((shown["condition"].as_str(), shown["items_created"].as_u64()), (Some("ok"), Some(1)));
    let refused = get("?limit=0").await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), refused.headers()["content-type"].to_str().unwrap()),
        (400, "application/problem+json")
    );
    let first: serde_json::Value = get("?limit=1").await.unwrap().json().await.unwrap();
    let cursor = first["next_cursor"].as_str().expect("there is more").to_string();
    let second: serde_json::Value =
        get(&format!("?limit=1&cursor={cursor}")).await.unwrap().json().await.unwrap();
    assert_ne!(first["sources"][0]["key"], second["sources"][0]["key"]);
    api.abort();

    use poll::command::{SourcesCommand, run};
    let mut out = Vec::new();
    let folder = bench.folder.path();
    let command = SourcesCommand::List { json: true };
    run(command, &bench.settings, &bench.sources, folder, &mut out)
        .await
        .expect("lists beside a running poller");
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(text.lines().next().unwrap().contains("\"condition\":\"ok\""), "{text}");
    let mut out = Vec::new();
    let command = SourcesCommand::Check { names: vec![] };
    let well = run(command, &bench.settings, &bench.sources, folder, &mut out).await.expect("checks");
    let text = String::from_utf8(out).unwrap();
    assert!(
        !well && text.contains("\"A feed\", 1 entries, told apart by guid") && text.contains("answered 404"),
        "{text}"
    );
    assert_eq!(bench.log.records().len(), 1, "a check stores nothing");
    poller.close().await;
}

#[tokio::test]
async fn the_embedded_log_holds_what_was_polled() {
    use dataflows::record::{TopicPartition, topic};
    use tidings::log::{Settings as LogSettings, TopicSpec};
    let bench = Bench::new().await;
    let file: toml::Table = include_str!("../config/default.toml").parse().expect("TOML");
    let mut log_settings: LogSettings = file["log"].clone().try_into().expect("every knob");
    log_settings.record_bytes_max = 10_000;
    let folder = tempfile::tempdir().expect("a folder");
    let spec = TopicSpec { name: topic::EVENTS, partitions: 4, compact: true, retention_ms: None };
    let poll = async |body: String| {
        bench.server.feed("/feed", body);
        let log = tidings::log::open(&log_settings, folder.path()).expect("opens");
        log.create(std::slice::from_ref(&spec)).expect("creates");
        let (settings, sources) = (bench.settings.clone(), bench.sources.clone());
        let mut poller =
            poll::Poller::open(settings, sources, log.clone(), bench.folder.path(), bench.clock.clone())
                .expect("opens");
        bench.clock.set(bench.status().next_due_at.expect("scheduled").0);
        poller.turn().await.expect("polls");
        poller.close().await;
        let start = (0..4).map(|p| (TopicPartition::new(topic::EVENTS, p), 0)).collect();
        let mut reader = log.reader(&start).expect("reads");
        let mut records = Vec::new();
        loop {
            let more = reader.poll(Duration::ZERO, 1 << 20).expect("reads");
            if more.is_empty() {
                return records;
            }
            records.extend(more);
        }
    };
    let huge = item("huge", &"x".repeat(20_000), SUNDAY);
    let items: String = (0..20).map(|n| item(&n.to_string(), &format!("Item {n}"), SUNDAY)).collect();
    let records = poll(rss(&format!("{huge}{items}"))).await;
    assert_eq!(records.len(), 20, "all but the one over the limit");
    assert!(records.iter().map(|r| r.partition).collect::<BTreeSet<_>>().len() > 1, "spread by key");
    let records = poll(rss(&format!("{huge}{}", items.replace("about Item 7<", "about item seven<")))).await;
    assert_eq!(records.len(), 21);
    let of_7: Vec<_> = records.iter().filter(|r| r.key.ends_with(b"/g:7")).collect();
    assert_eq!((of_7.len(), of_7[0].partition), (2, of_7[1].partition));
}

/// A feed that edits, drops, returns and reorders at random: every version of
/// every item is told exactly once, in order.
#[tokio::test]
async fn a_random_feed_is_told_exactly_once() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let bench = Bench::new().await;
    let mut versions: BTreeMap<u32, u32> = BTreeMap::new();
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut expected: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for _ in 0..40 {
        let mut shown = Vec::new();
        for n in 0..30 {
            if random.random_bool(0.4) {
                let version = versions.entry(n).or_insert(0);
                *version += u32::from(random.random_bool(0.2));
                let title = format!("{n} v{version}");
                let seen = expected.entry(n).or_default();
                if seen.last() != Some(&title) {
                    seen.push(title.clone());
                }
                shown.push(item(&format!("id{n}"), &title, SUNDAY));
                if random.random_bool(0.1) {
                    shown.push(item(&format!("id{n}"), &title, MONDAY));
                }
            }
        }
        if random.random_bool(0.5) {
            shown.reverse();
        }
        bench.server.feed("/feed", rss(&shown.concat()));
        for event in bench.poll().await {
            told.entry(event.native_id).or_default().push(event.title.unwrap());
        }
    }
    let expected: BTreeMap<String, Vec<String>> =
        expected.into_iter().map(|(n, v)| (format!("{}/g:id{n}", bench.sources[0].key), v)).collect();
    assert_eq!(told, expected, "seed {seed}");
}
