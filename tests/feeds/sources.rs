//! Finding, adding and removing sources; a running poller that notices; silence.

use poll::command::{Place, SourcesCommand, run};
use poll::overlay::OverlayFile;
use poll::reload;
use serde_json::json;

use super::*;

/// A user with a configuration folder, and a small internet.
struct User {
    server: Server,
    folder: tempfile::TempDir,
    settings: Settings,
}

impl User {
    async fn new() -> Self {
        let server = Server::start().await;
        let mut settings = settings();
        let base = server.url("");
        settings.endpoints.youtube = base.clone() + "/youtube";
        settings.endpoints.bluesky = base.clone() + "/bluesky";
        settings.endpoints.mastodon = base;
        Self { server, folder: tempfile::tempdir().expect("a folder"), settings }
    }

    fn overlay(&self) -> OverlayFile {
        OverlayFile(self.folder.path().join("config/sources.toml"))
    }

    fn write(&self, text: &str) {
        let path = self.overlay().0;
        std::fs::create_dir_all(path.parent().unwrap()).expect("made");
        std::fs::write(path, text).expect("written");
    }

    async fn run(&self, command: SourcesCommand) -> (bool, String) {
        let mut out = Vec::new();
        let sources = self.overlay().sources().expect("valid");
        let place = Place {
            settings: &self.settings,
            sources: &sources,
            folder: self.folder.path(),
            overlay: self.overlay(),
        };
        let ended = run(command, &place, &mut out).await;
        let text = String::from_utf8(out).unwrap();
        match ended {
            Ok(good) => (good, text),
            Err(error) => (false, format!("{text}error: {error}")),
        }
    }

    async fn add(&self, what: &str) -> (bool, String) {
        let backfill = "last:3".parse().unwrap();
        let what = what.replace("SERVER", &self.server.url(""));
        self.run(SourcesCommand::Add { what, name: None, backfill, interval_s: None, dry_run: false }).await
    }

    /// The source that was added last.
    fn added(&self) -> Source {
        self.overlay().sources().expect("valid").pop().expect("one")
    }
}

fn feed_of(title: &str) -> String {
    let items: String =
        (1..=4).map(|n| item(&n.to_string(), &format!("{title} &amp; {n}"), MONDAY)).collect();
    rss(&items).replace("A feed", title)
}

fn page(user: &User, path: &str, body: &str) {
    let body = format!("<!DOCTYPE html><html><head>{body}</head><body>Hello</body></html>");
    user.server.on(path, move |_| reply(200, &[("content-type", "text/html")], body.clone()));
}

#[tokio::test]
async fn the_feed_behind_a_page_is_found_and_followed() {
    let user = User::new().await;
    user.write("source = []\n");
    user.server.feed("/direct.xml", feed_of("Direct"));
    let (good, text) = user.add("SERVER/direct.xml").await;
    assert!(good, "{text}");
    let shown: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(shown, ["  Direct & 1", "  Direct & 2", "  Direct & 3"], "three of four");
    assert_eq!(
        (user.added().name.as_str(), user.added().backfill),
        ("Direct", poll::source::Backfill::Last(3))
    );

    page(
        &user,
        "/blog",
        "<link rel=\"alternate\" type=\"application/rss+xml\" title=\"Blog Comments\" href=\"/comments\">\
         <link rel=alternate type=\"application/atom+xml\" href=\"gone.xml\">\
         <link href='/linked.xml' type='application/rss+xml' rel='alternate'>",
    );
    user.server.feed("/linked.xml", feed_of("Linked"));
    user.server.feed("/comments", feed_of("Comments"));
    let (good, text) = user.add("SERVER/blog").await;
    assert!(good && text.contains("followed as \"Linked\""), "{text}");
    assert_eq!(user.added().url.as_str(), user.server.url("/linked.xml"));

    page(&user, "/silent", "<title>Nothing here</title>");
    user.server.feed("/silent/feed", feed_of("Well known"));
    assert!(user.add("SERVER/silent").await.0);
    assert_eq!(user.added().url.as_str(), user.server.url("/silent/feed"));
    assert_eq!(user.overlay().sources().unwrap().len(), 3);

    let (good, text) = user.add("SERVER/silent/feed").await;
    assert!(!good && text.contains("followed already, as \"Well known\""), "{text}");
}

#[tokio::test]
async fn what_leads_nowhere_is_said_and_changes_nothing() {
    let mut user = User::new().await;
    page(&user, "/none", "");
    user.server.asked();
    let (good, text) = user.add("SERVER/none").await;
    assert!(!good && text.contains("no feed was found"), "{text}");
    assert!(user.server.asked().len() <= user.settings.discover_fetches_max);
    for (what, part) in [
        ("what is this", "neither an address"),
        ("ftp://example.org/", "neither an address"),
        ("http://127.0.0.9:9/feed", "not a public address"),
        ("SERVER/missing", "no feed was found"),
        ("@nobody", "answered 404"),
        ("@../../etc", "neither an address nor"),
    ] {
        let (good, text) = user.add(what).await;
        assert!(!good && text.contains(part), "{what}: {text}");
    }
    user.settings.discover_fetches_max = 2;
    user.server.asked();
    user.add("SERVER/none").await;
    assert_eq!(user.server.asked().len(), 2);
    assert!(!user.overlay().0.exists(), "nothing was written");
}

#[tokio::test]
async fn handles_and_channels_are_found_on_their_platforms() {
    let user = User::new().await;
    user.write("source = []\n");
    let channel = "UCxxxxxxxxxxxxxxxxxxxxxx";
    page(
        &user,
        "/youtube/@somebody",
        &format!("<link rel=\"canonical\" href=\"https://www.youtube.com/channel/{channel}\">"),
    );
    // The feed fails, as it does; the channel is known all the same.
    let (good, text) = user.add("@somebody").await;
    assert!(good && text.contains("shows nothing now"), "{text}");
    let source = user.added();
    assert_eq!((source.kind.label(), source.platform.as_str()), ("youtube", "youtube"));
    assert!(source.url.as_str().ends_with(&format!("/youtube/feeds/videos.xml?channel_id={channel}")));

    user.server.json("/bluesky/xrpc/com.atproto.identity.resolveHandle", &json!({"did": "did:plc:ann"}));
    let posts = json!({"feed": [{"post": {"record": {"text": "First\nline"}}}]});
    user.server.json("/bluesky/xrpc/app.bsky.feed.getAuthorFeed", &posts);
    let (good, text) = user.add("@ann.example").await;
    assert!(good && text.contains("\n  First line\n"), "{text}");
    let source = user.added();
    let poll::source::Kind::Bluesky(bluesky) = &source.kind else { panic!("{source:?}") };
    assert_eq!(
        (&bluesky.authors[..], source.name.as_str()),
        (&["did:plc:ann".to_string()][..], "@ann.example on Bluesky")
    );
    assert_eq!(bluesky.hosts.len(), 4);

    let statuses = json!([{"content": "<p>Toot &amp; more</p>"}]);
    user.server.json("/api/v1/accounts/lookup", &json!({"id": "77", "acct": "bob"}));
    user.server.json("/api/v1/accounts/77/statuses", &statuses);
    let (good, text) = user.add("SERVER/@bob").await;
    assert!(good && text.contains("  Toot & more"), "{text}");
    assert!(user.added().url.path().ends_with("/api/v1/accounts/77/statuses"));
    user.server.json("/api/v1/timelines/tag/rust", &statuses);
    for what in ["#rust", "SERVER/tags/rust"] {
        let (good, text) = user.add(what).await;
        assert_eq!(good, what == "#rust", "the second time it is known: {text}");
        assert!(text.contains("Toot"));
    }
    assert_eq!(user.added().name, "#rust on 127.0.0.1");
}

#[tokio::test]
async fn a_source_is_added_under_a_name_listed_checked_and_removed() {
    let user = User::new().await;
    user.write("source = []\n");
    user.server.feed("/a.xml", feed_of("A"));
    let command = |dry_run| SourcesCommand::Add {
        what: user.server.url("/a.xml"),
        name: Some("Mine".into()),
        backfill: "since:2026-11-01".parse().unwrap(),
        interval_s: Some(3_600),
        dry_run,
    };
    let (good, text) = user.run(command(true)).await;
    assert!(
        good && text.contains("[[source]]") && text.contains("backfill = \"since:2026-11-01T00:00:00Z\""),
        "{text}"
    );
    assert_eq!(user.overlay().sources().unwrap(), []);
    assert!(user.run(command(false)).await.0);
    assert_eq!((user.added().name.as_str(), user.added().interval_s), ("Mine", Some(3_600)));
    let (_, text) = user.run(SourcesCommand::List { json: false }).await;
    assert!(text.contains("new      feed       Mine") && text.contains("last success never"), "{text}");
    let (good, text) = user.run(SourcesCommand::Check { names: vec!["Mine".into()] }).await;
    assert!(good && text.contains("\"A\", 4 entries") && text.contains("A & 1"), "{text}");
    let (good, text) = user.run(SourcesCommand::Remove { name: "mine".into() }).await;
    assert!(!good && text.contains("no source is named"), "{text}");
    assert!(user.run(SourcesCommand::Remove { name: "Mine".into() }).await.0);
    assert_eq!(user.overlay().sources().unwrap(), []);
}

#[tokio::test]
async fn every_type_of_source_can_be_checked() {
    let jetstream = jetstream::Jetstream::start(false).await;
    let user = User::new().await;
    user.server.json("/v0/topstories.json", &json!([1]));
    let story = json!({"id": 1, "type": "story", "title": "A story", "time": 1_795_500_000});
    user.server.json("/v0/item/1.json", &story);
    user.server.json("/api/v1/timelines/tag/rust", &json!([]));
    let base = user.server.url("");
    user.write(&format!(
        "[[source]]\ntype = \"hackernews\"\nname = \"h\"\nurl = \"{base}/v0\"\n\
         [[source]]\ntype = \"mastodon\"\nname = \"m\"\ninstance = \"{base}\"\ntag = \"rust\"\n\
         [[source]]\ntype = \"bluesky\"\nname = \"b\"\nhosts = [\"{}\"]\n\
         [[source]]\ntype = \"youtube\"\nname = \"y\"\nchannel = \"UCxxxxxxxxxx\"\nurl = \"{base}/missing\"\n",
        jetstream.url()
    ));
    let (good, text) = user.run(SourcesCommand::Check { names: vec![] }).await;
    assert!(!good, "one of four fails");
    for part in [
        "ok     h: 1 items\n         A story",
        "ok     m: 0 items",
        "ok     b: 127.0.0.1 is open",
        "failed y: the server answered 404",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}

/// Waits for what must come.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("{what} never came"));
}

#[tokio::test]
async fn a_running_poller_notices_changes_and_outlives_bad_files() {
    let mut user = User::new().await;
    user.settings.reload_interval_s = 1;
    let of = |name: &str| {
        let url = user.server.url(&format!("/{name}"));
        format!(
            "[[source]]\ntype = \"feed\"\nname = \"{name} at {url}\"\nurl = \"{url}\"\nbackfill = \"last:9\"\n"
        )
    };
    let known = |name: &str| {
        let url = user.server.url(&format!("/{name}"));
        poll::status().into_iter().find(|s| s.url == url)
    };
    for name in ["one", "two"] {
        user.server.feed(&format!("/{name}"), rss(&item(name, name, MONDAY)));
    }
    user.write(&of("one"));
    let log = Arc::new(LogDouble::default());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let overlay = poll::Overlay::new(user.overlay().0);
    let following = poll::Following { sources: user.overlay().sources().unwrap(), overlay: Some(overlay) };
    let (settings, to_log) = (user.settings.clone(), log.clone());
    let folder = user.folder.path().to_path_buf();
    let task = tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        poll::run(settings, following, to_log, &folder, Arc::new(SystemClock), stopped).await
    });
    until("one", || log.records().len() == 1).await;
    user.write(&(of("one") + &of("two")));
    until("two", || log.records().len() == 2).await;
    assert_eq!(known("one").expect("still there").polls, 1, "what stays is not disturbed");

    // Half a file, a name that is none: the old list holds, and health says why.
    user.write(&(of("one") + "[[source]\n"));
    until("a fault", || reload::fault().is_some()).await;
    let component = poll::health::component();
    assert_eq!(component.status, tidings::ops::health::Status::Degraded);
    assert!(component.reasons[0].contains("sources.toml is not valid, the old sources are followed"));
    assert!(known("one").is_some() && known("two").is_some());
    user.write(&of("two"));
    until("one to be gone", || known("one").is_none()).await;
    assert_eq!(reload::fault(), None);
    assert_eq!(known("two").expect("followed").polls, 1);

    // A changed source starts from what is known of it.
    user.server.feed("/two", rss(&(item("three", "three", MONDAY) + &item("two", "two", MONDAY))));
    user.write(&(of("one") + &of("two").replace("last:9", "none")));
    until("one again", || known("one").is_some()).await;
    let _ = stop.send(());
    task.await.expect("no panic").expect("ends well");
    assert_eq!(titles(&log.take()), ["one", "two"], "one is not told again");
}

#[tokio::test]
async fn a_change_reaches_a_poll_and_a_stream_that_are_under_way() {
    let jetstream = jetstream::Jetstream::start(false).await;
    let bench = Bench::with("/slow", "").await;
    let text =
        format!("[[source]]\ntype = \"bluesky\"\nname = \"{0}\"\nhosts = [\"{0}\"]\n", jetstream.url());
    let stream = poll::source::parse(&text).expect("valid").remove(0);
    bench.server.on("/slow", |_| {
        let silence = futures_util::stream::pending::<Result<&str, std::io::Error>>();
        reply(200, &[], Body::from_stream(silence))
    });
    let log: Arc<LogDouble> = bench.log.clone();
    let mut poller = poll::Poller::open(
        bench.settings.clone(),
        vec![bench.sources[0].clone(), stream.clone()],
        log,
        bench.folder.path(),
        bench.clock.clone(),
    )
    .expect("opens");
    // One host: the second may start a moment later.
    while let Some(next_ms) = poller.start_due() {
        bench.clock.set(next_ms);
    }
    until("both", || bench.server.at_once_max() > 0 && jetstream.connections() == 1).await;
    poller.replace(vec![]).expect("replaced");
    // Both end at once, although neither has an answer.
    let ended = tokio::time::timeout(Duration::from_secs(10), poller.turn()).await.expect("broken off");
    assert_eq!(ended.expect("no error"), None, "nothing is followed any more");
    let keys = [&bench.sources[0].key, &stream.key];
    assert!(poll::status().iter().all(|s| !keys.contains(&&s.key)));
    poller.close().await;
}

#[tokio::test]
async fn a_source_that_answers_and_brings_nothing_is_silent_by_its_own_rhythm() {
    let mut bench = Bench::new().await;
    bench.settings.interval_s = 3_600;
    let mut shown = String::new();
    // An item an hour for two days.
    for hour in 0..48 {
        shown = item(&format!("h{hour}"), "x", MONDAY) + &shown;
        bench.server.feed("/feed", rss(&shown));
        bench.poll().await;
    }
    let status = last();
    assert_eq!((status.usual_gap_s, status.silent_since), (Some(3_600), None));
    let last_item = status.last_item_at.expect("items came").0;
    let poller = bench.open();
    let of = |now_ms: i64| {
        let key = &bench.sources[0].key;
        poll::status::status_at(now_ms).into_iter().find(|s| s.key == *key).expect("known").silent_since
    };
    assert_eq!(of(last_item + 7_199_000), None);
    assert_eq!(of(last_item + 7_200_000), Some(Millis(last_item + 7_200_000)), "twice the usual");
    poller.close().await;
    // It answers on, without anything new; then it speaks again.
    for _ in 0..3 {
        bench.poll().await;
    }
    let poller = bench.open();
    assert!(of(bench.clock.now_ms()).is_some());
    poller.close().await;
    bench.server.feed("/feed", rss(&(item("again", "x", MONDAY) + &shown)));
    bench.poll().await;
    let poller = bench.open();
    assert_eq!(of(bench.clock.now_ms()), None);
    poller.close().await;
}
