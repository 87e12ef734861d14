//! Feeds and servers that mean no good or do not know better, crashes, and what is shown.
//! This file is long because each fault is a test of its own.

use super::*;

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
    let following = poll::Following { sources: bench.sources.clone(), overlay: None };
    poll::run(bench.settings.clone(), following, log, folder, clock, asked).await.expect("ends");
    assert!(bench.log.take().is_empty());

    let log = Arc::new(LogDouble::default());
    let arrived = async {
        while log.records().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let clock = Arc::new(SystemClock);
    let following = poll::Following { sources: bench.sources.clone(), overlay: None };
    poll::run(bench.settings.clone(), following, log.clone(), folder, clock, arrived).await.expect("ends");
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
    let api =
        tokio::spawn(async move { axum::serve(listener, axum::Router::from(poll::api::routes())).await });
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
    let cursor = first["cursor"].as_str().expect("there is more").to_string();
    let second: serde_json::Value =
        get(&format!("?limit=1&cursor={cursor}")).await.unwrap().json().await.unwrap();
    assert_ne!(first["sources"][0]["key"], second["sources"][0]["key"]);
    api.abort();

    use poll::command::{Place, SourcesCommand, run};
    let mut out = Vec::new();
    let folder = bench.folder.path();
    let overlay = poll::overlay::OverlayFile(folder.join("sources.toml"));
    let place = Place { settings: &bench.settings, sources: &bench.sources, folder, overlay };
    let command = SourcesCommand::List { json: true };
    run(command, &place, &mut out).await.expect("lists beside a running poller");
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(text.lines().next().unwrap().contains("\"condition\":\"ok\""), "{text}");
    let mut out = Vec::new();
    let command = SourcesCommand::Check { names: vec![] };
    let well = run(command, &place, &mut out).await.expect("checks");
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
    let file: toml::Table = include_str!("../../config/default.toml").parse().expect("TOML");
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
