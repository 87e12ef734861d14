//! Bluesky's Jetstream: what is published arrives once in the log, whatever breaks.

use std::collections::HashMap;

use super::jetstream::Jetstream;
use super::*;

/// 2026-11-24 10:00 UTC, the tests' clock, in microseconds.
const NOW_US: u64 = TestClock::START_MS as u64 * 1_000;

fn at(seconds: u64) -> u64 {
    NOW_US + seconds * 1_000_000
}

/// A poller that follows Jetstreams, until it is stopped.
struct Follower {
    log: Arc<LogDouble>,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), PollError>>,
}

/// What stays over restarts.
struct Account {
    folder: tempfile::TempDir,
    settings: Settings,
    sources: Vec<Source>,
    clock: Arc<TestClock>,
}

impl Account {
    fn new(hosts: &[&Jetstream], more: &str) -> Self {
        let hosts: Vec<String> = hosts.iter().map(|host| host.url()).collect();
        // A name of its own for each test: the key is made of it.
        let name = hosts.join(" ");
        let text = format!("[[source]]\ntype = \"bluesky\"\nname = {name:?}\nhosts = {hosts:?}\n{more}");
        let mut settings = settings();
        settings.stream.flush_interval_ms = 1;
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            settings,
            sources: poll::source::parse(&text).expect("valid"),
            clock: Arc::new(TestClock::new()),
        }
    }

    fn follow(&self) -> Follower {
        let log = Arc::new(LogDouble::default());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (settings, sources, clock) = (self.settings.clone(), self.sources.clone(), self.clock.clone());
        let (folder, to_log) = (self.folder.path().to_path_buf(), log.clone());
        let task = tokio::spawn(async move {
            let following = poll::Following { sources, overlay: None };
            let stopped = async { drop(stopped.await) };
            poll::run(settings, following, to_log, &folder, clock, stopped).await
        });
        Follower { log, stop, task }
    }

    fn status(&self) -> SourceStatus {
        let key = &self.sources[0].key;
        poll::status().into_iter().find(|s| s.key == *key).expect("followed")
    }
}

impl Follower {
    async fn stop(self) -> Vec<ContentEvent> {
        let _ = self.stop.send(());
        self.task.await.expect("no panic").expect("ends well");
        self.log.take()
    }

    fn records(&self) -> usize {
        self.log.records().len()
    }
}

/// Waits for what must come; a minute is long enough for any machine.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("{what} never came"));
}

fn rkey(event: &ContentEvent) -> &str {
    event.native_id.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn posts_edits_and_deletions_arrive_in_their_order() {
    let jetstream = Jetstream::start(false).await;
    let account = Account::new(&[&jetstream], "langs = [\"en\"]");
    let follower = account.follow();
    until("a connection", || jetstream.connections() == 1).await;
    let asked = jetstream.asked();
    assert_eq!(
        asked,
        ["wantedCollections=app.bsky.feed.post&maxMessageSizeBytes=1048576"],
        "live, without a cursor"
    );
    jetstream.publish(at(0), "create", "aaa", Some("Hello & <welcome>"));
    jetstream.say(at(1), r#""kind":"identity","identity":{"did":"did:plc:ann","seq":1,"time":"x"}"#);
    jetstream.say(at(1), r#""kind":"account","account":{"active":true,"did":"did:plc:ann","seq":2}"#);
    jetstream.say(at(1), r#""kind":"commit","commit":{"rev":"broken"}"#);
    jetstream.publish(at(2), "update", "aaa", Some("Hello again"));
    jetstream.publish(at(3), "delete", "aaa", None);
    jetstream.publish(at(3), "delete", "nobody heard of it", None);
    jetstream.publish(at(4), "create", "bbb", Some("Another"));
    until("four events", || follower.records() == 4).await;
    until("their count", || account.status().items_created == 2).await;
    let status = account.status();
    assert_eq!((status.condition, status.kind, status.next_due_at), (Condition::Ok, "bluesky", None));
    assert_eq!((status.items_created, status.items_updated, status.items_deleted), (2, 1, 1));
    assert_eq!(status.entries_broken, 1);
    let events = follower.stop().await;
    let told: Vec<(&str, Change)> = events.iter().map(|e| (rkey(e), e.change)).collect();
    let (c, u, d) = (Change::Created, Change::Updated, Change::Deleted);
    assert_eq!(told, [("aaa", c), ("aaa", u), ("aaa", d), ("bbb", c)]);
    assert_eq!(events[0].text.as_deref(), Some("Hello &amp; &lt;welcome&gt;"));
    assert!(events.iter().map(|e| e.revision).is_sorted());
    assert_eq!(events[2].content_id(), "bluesky:did:plc:ann/app.bsky.feed.post/aaa");
}

#[tokio::test]
async fn a_broken_connection_goes_on_a_little_before_where_it_was() {
    let jetstream = Jetstream::start(false).await;
    let account = Account::new(&[&jetstream], "");
    let follower = account.follow();
    until("a connection", || jetstream.connections() == 1).await;
    for n in 0..20 {
        jetstream.publish(at(n), "create", &format!("before{n}"), Some("x"));
    }
    until("20 posts", || follower.records() == 20).await;
    jetstream.asked();
    jetstream.break_off();
    for n in 20..30 {
        jetstream.publish(at(n), "create", &format!("meanwhile{n}"), Some("x"));
    }
    until("the rest", || follower.log.records().iter().any(|r| r.key.ends_with(b"meanwhile29"))).await;
    let asked = jetstream.asked();
    assert!(asked[0].ends_with(&format!("cursor={}", at(14))), "{asked:?}");
    until("no failure", || account.status().errors_in_row == 0).await;
    let events = follower.stop().await;
    let mut versions: HashMap<String, BTreeSet<Option<u64>>> = HashMap::new();
    for event in &events {
        versions.entry(event.native_id.clone()).or_default().insert(event.revision);
    }
    assert_eq!(versions.len(), 30, "nothing lost");
    assert!(versions.values().all(|revisions| revisions.len() == 1), "what came twice has the same revision");
    assert_eq!(events.len(), 30 + 6, "and twice came only the last seconds");
}

#[tokio::test]
async fn a_sequence_number_holds_on_its_host_and_a_time_on_the_next() {
    let (first, second) = (Jetstream::start(true).await, Jetstream::start(true).await);
    // The second host counts in its own way.
    for n in 0..50 {
        second.publish(at(0) - 60_000_000 + n, "create", &format!("old{n}"), Some("x"));
    }
    let account = Account::new(&[&first, &second], "");
    let follower = account.follow();
    until("a connection", || first.connections() == 1).await;
    for n in 0..10 {
        first.publish(at(n), "create", &n.to_string(), Some("x"));
        second.publish(at(n), "create", &n.to_string(), Some("x"));
    }
    until("ten posts", || follower.records() == 10).await;
    first.asked();
    first.break_off();
    until("the first again", || first.connections() == 1).await;
    assert!(first.asked()[0].ends_with("&cursor=10"), "its own number, which includes the last message");
    until("the last message again", || follower.records() == 11).await;
    // The first host is out of order: the next one gets a time.
    first.refuse(503, &[]);
    first.break_off();
    until("the second", || second.connections() == 1).await;
    assert!(second.asked()[0].ends_with(&format!("&cursor={}", at(4))));
    second.publish(at(10), "create", "10", Some("x"));
    until("a post of the second", || follower.log.records().iter().any(|r| r.key.ends_with(b"/10"))).await;
    let events = follower.stop().await;
    let ids: BTreeSet<&str> = events.iter().map(rkey).collect();
    assert_eq!(ids.len(), 11, "none of the old ones: {ids:?}");
}

#[tokio::test]
async fn after_a_crash_it_goes_on_from_what_the_log_has() {
    let jetstream = Jetstream::start(false).await;
    let account = Account::new(&[&jetstream], "keywords = [\"rust\"]");
    let follower = account.follow();
    until("a connection", || jetstream.connections() == 1).await;
    jetstream.publish(at(0), "create", "told", Some("rust"));
    until("a post", || follower.records() == 1).await;
    follower.log.script([Some(Fault::DieAfter)]);
    jetstream.publish(at(10), "create", "dying", Some("rust"));
    let Follower { log, task, stop } = follower;
    let ended = task.await.expect("no panic");
    assert!(matches!(ended, Err(PollError::Log(LogError::Fatal(_)))), "{ended:?}");
    assert_eq!(log.take().len(), 2);
    drop(stop);
    // While nobody listened.
    jetstream.publish(at(20), "create", "missed", Some("rust too"));
    jetstream.publish(at(21), "create", "other", Some("gold"));
    jetstream.publish(at(22), "delete", "told", None);
    jetstream.publish(at(23), "delete", "other", None);
    jetstream.asked();
    let follower = account.follow();
    until("the deletion", || follower.log.records().iter().any(|r| r.key.ends_with(b"/told"))).await;
    until("the rest", || follower.records() >= 3).await;
    let events = follower.stop().await;
    let deleted: Vec<&str> = events.iter().filter(|e| e.change == Change::Deleted).map(rkey).collect();
    assert_eq!(deleted, ["told"], "of what was told before the crash, and nothing else");
    let created: BTreeSet<&str> = events.iter().filter(|e| e.change == Change::Created).map(rkey).collect();
    assert!(created.contains("dying") && created.contains("missed"), "{created:?}");
}

#[tokio::test]
async fn a_cursor_that_is_refused_is_given_up_step_by_step() {
    let jetstream = Jetstream::start(true).await;
    let account = Account::new(&[&jetstream], "");
    let follower = account.follow();
    until("a connection", || jetstream.connections() == 1).await;
    jetstream.publish(at(0), "create", "a", Some("x"));
    until("a post", || follower.records() == 1).await;
    jetstream.asked();
    jetstream.refuse(400, &[]);
    jetstream.refuse(400, &[]);
    jetstream.break_off();
    until("three attempts", || jetstream.connections() == 3).await;
    let asked = jetstream.asked();
    let cursor = |query: &String| query.split_once("cursor=").map(|(_, c)| c.to_string());
    let cursors: Vec<Option<String>> = asked.iter().map(cursor).collect();
    assert_eq!(cursors, [Some("1".into()), Some((at(0) - 5_000_000).to_string()), None]);
    jetstream.publish(at(60), "create", "b", Some("x"));
    until("what comes now", || follower.records() == 2).await;
    until("a good end", || account.status().condition == Condition::Ok).await;
    follower.stop().await;
}

#[tokio::test]
async fn a_log_that_stands_still_does_not_hold_the_stream_back() {
    let jetstream = Jetstream::start(false).await;
    let mut account = Account::new(&[&jetstream], "");
    account.settings.append_records_max = 100;
    let follower = account.follow();
    until("a connection", || jetstream.connections() == 1).await;
    // The log is full for as long as the test says nothing else.
    let full = || Some(Fault::Refuse(LogError::Full("no space".into())));
    follower.log.script((0..1_000_000).map(|_| full()));
    for n in 0..5_000 {
        jetstream.publish(at(0) + n, "create", &n.to_string(), Some("x"));
    }
    until("all of it read", || jetstream.sent() == 5_000).await;
    until("an attempt", || follower.log.appends() > 0).await;
    assert_eq!(follower.records(), 0);
    assert!(account.status().last_error.unwrap().contains("waits for the log"));
    follower.log.mend();
    until("all of it in the log", || follower.records() == 5_000).await;
    let events = follower.stop().await;
    assert!(events.iter().map(|e| e.revision).is_sorted(), "in order");
}

#[tokio::test]
async fn what_is_no_stream_fails_and_the_next_host_is_asked() {
    let jetstream = Jetstream::start(false).await;
    let web = Server::start().await;
    web.on("/subscribe", |_| reply(200, &[], "hello"));
    let mut account = Account::new(&[&jetstream], "");
    let hosts = [web.url("/subscribe").replace("http:", "ws:"), jetstream.url()];
    let text = format!("[[source]]\ntype = \"bluesky\"\nname = \"{}\"\nhosts = {hosts:?}", hosts[0]);
    account.sources = poll::source::parse(&text).expect("valid");
    let follower = account.follow();
    until("the second host", || jetstream.connections() == 1).await;
    assert_eq!(web.asked(), ["/subscribe"]);
    jetstream.publish(at(0), "create", "a", Some("x"));
    until("a post", || follower.records() == 1).await;
    until("a good end", || account.status().condition == Condition::Ok).await;
    // A request for patience is heard.
    jetstream.asked();
    jetstream.refuse(429, &[("retry-after", "120")]);
    let before_ms = account.clock.now_ms();
    jetstream.break_off();
    until("a refusal and another try", || jetstream.connections() == 1 || web.asked().len() == 1).await;
    until("some patience", || account.clock.now_ms() - before_ms >= 120_000).await;
    follower.stop().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_dead() {
    let jetstream = Jetstream::start(false).await;
    let mut account = Account::new(&[&jetstream], "");
    account.settings.stream.idle_timeout_s = 1;
    let follower = account.follow();
    until("a connection", || jetstream.connections() == 1).await;
    until("its status", || account.status().condition == Condition::Ok).await;
    assert_eq!(account.status().next_due_at, None, "connected, though nothing came yet");
    until("another", || jetstream.connections() >= 2).await;
    until("a third", || jetstream.connections() >= 3).await;
    follower.stop().await;
}

#[tokio::test]
async fn the_guard_holds_for_streams_too() {
    let jetstream = Jetstream::start(false).await;
    let mut account = Account::new(&[&jetstream], "");
    account.settings.private_hosts.clear();
    let follower = account.follow();
    until("an error", || {
        poll::status().iter().any(|s| s.key == account.sources[0].key && s.errors_in_row > 0)
    })
    .await;
    assert!(account.status().last_error.unwrap().contains("not a public address"));
    assert_eq!(jetstream.connections(), 0);
    follower.stop().await;
}
