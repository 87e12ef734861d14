//! `topics list` and `topics tail`, from the log itself and over HTTP: the same lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use dataflows::record::Record;
use tidings::log::command::{self, CommandError, From, RecordLine, TailArgs};
use tidings::log::{Log, api};

use crate::harness::*;

fn args(topic: &str) -> TailArgs {
    TailArgs { topic: topic.into(), json: true, ..TailArgs::default() }
}

fn tail(log: &dyn Log, args: &TailArgs) -> Vec<String> {
    let mut out = Vec::new();
    command::write_tail(log, args, &mut out, || false).expect("written");
    String::from_utf8(out).expect("text").lines().map(str::to_string).collect()
}

fn fill(log: &dyn Log) {
    let mut records: Vec<Record> =
        (0..5).map(|n| on(1, record(PLAIN, "a", &format!("{{\"n\":{n}}}")))).collect();
    records[0].headers.push("ce_id", b"x");
    records[0].timestamp_ms = 1_700_000_000_123;
    records.push(on(1, record(PLAIN, "b", "not json")));
    records.push(on(1, tombstone(PLAIN, "b")));
    log.append(records).expect("appended");
}

pub fn a_tail_prints_what_is_there_and_ends(deployment: &Deployment) {
    let log = deployment.start();
    fill(&*log);
    let lines = tail(&*log, &args(PLAIN));
    assert_eq!(lines.len(), 7);
    assert_eq!(
        lines[0],
        r#"{"topic":"test.plain","partition":1,"offset":0,"timestamp":"2023-11-14T22:13:20.123Z","key":"a","headers":{"ce_id":"x"},"value":{"n":0}}"#
    );
    let value = |line: &String| serde_json::from_str::<RecordLine>(line).expect("a line").value;
    assert_eq!(value(&lines[5]), "not json");
    assert_eq!(value(&lines[6]), serde_json::Value::Null);
    assert_eq!(tail(&*log, &TailArgs { limit: Some(2), ..args(PLAIN) }), lines[..2]);
    assert_eq!(tail(&*log, &TailArgs { limit: Some(0), ..args(PLAIN) }), lines[..0]);
    assert_eq!(tail(&*log, &TailArgs { from: From::End, ..args(PLAIN) }), lines[..0]);
    assert_eq!(tail(&*log, &args(OTHER)), lines[..0]);
    let error = command::write_tail(&*log, &args("no.such"), &mut Vec::new(), || false);
    assert!(matches!(&error, Err(CommandError::NoTopic { known, .. }) if known.contains(PLAIN)), "{error:?}");

    let mut plain = Vec::new();
    command::write_tail(&*log, &TailArgs { json: false, ..args(PLAIN) }, &mut plain, || false)
        .expect("written");
    let plain = String::from_utf8(plain).expect("text");
    assert!(plain.starts_with("test.plain/1@0  2023-11-14T22:13:20.123Z  a  {\"n\":0}\n"), "{plain}");
}

pub fn a_following_tail_prints_what_arrives_until_it_is_stopped(deployment: &Deployment) {
    struct StopAt(Vec<u8>, Arc<AtomicBool>);
    impl std::io::Write for StopAt {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.extend_from_slice(bytes);
            let lines = self.0.iter().filter(|b| **b == b'\n').count();
            self.1.store(lines >= 7, Ordering::Relaxed);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = deployment.start();
    let stop = Arc::new(AtomicBool::new(false));
    let mut out = StopAt(Vec::new(), stop.clone());
    let writer = std::thread::spawn({
        let log = log.clone();
        move || fill(&*log)
    });
    let follow = TailArgs { follow: true, ..args(PLAIN) };
    let deadline = Instant::now() + PATIENCE;
    command::write_tail(&*log, &follow, &mut out, || {
        stop.load(Ordering::Relaxed) || Instant::now() > deadline
    })
    .expect("written");
    writer.join().expect("filled");
    assert_eq!(out.0.iter().filter(|b| **b == b'\n').count(), 7);
}

pub fn http_gives_the_same_lines(deployment: &Deployment) {
    let log = deployment.start();
    fill(&*log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(axum::serve(listener, axum::Router::from(api::routes(log.clone()))).into_future());
        let get = |path: String| async move {
            reqwest::get(format!("http://{address}{path}")).await.expect("an answer")
        };

        for args in [
            args(PLAIN),
            TailArgs { limit: Some(3), ..args(PLAIN) },
            TailArgs { from: From::End, ..args(PLAIN) },
            // Following ends by its limit.
            TailArgs { follow: true, limit: Some(7), ..args(PLAIN) },
        ] {
            let body = get(args.path()).await.text().await.expect("a body");
            let own = TailArgs { follow: false, ..args.clone() };
            let log = log.clone();
            let own = tokio::task::spawn_blocking(move || tail(&*log, &own)).await.expect("tailed");
            assert_eq!(body.lines().collect::<Vec<_>>(), own, "{}", args.path());
        }
        let listed: serde_json::Value = get("/v1/topics".into()).await.json().await.expect("json");
        let own = tokio::task::spawn_blocking({
            let log = log.clone();
            move || command::list(&*log).expect("listed")
        });
        assert_eq!(listed["topics"], serde_json::to_value(own.await.expect("listed")).expect("json"));
        let missing = get(args("no.such").path()).await;
        assert_eq!(missing.status(), 404);
        assert_eq!(missing.headers()["content-type"], "application/problem+json");
        for wrong in ["form=end", "limit=0", "limit=-1", "cursor=x"] {
            assert_eq!(get(format!("/v1/topics/test.plain/records?{wrong}")).await.status(), 400, "{wrong}");
        }
        let others =
            [on(0, record(PLAIN, "c", "1")), on(0, record(PLAIN, "d", "2")), on(2, record(PLAIN, "e", "3"))];
        let filled = tokio::task::spawn_blocking(move || log.append(others.to_vec()).expect("appended"));
        filled.await.expect("filled");
        pages_are_the_same_records(&format!("http://{address}/v1/topics")).await;
    });
}

/// As JSON, page by page: the lines of NDJSON, each once, in order within a partition.
async fn pages_are_the_same_records(topics: &str) {
    let client = reqwest::Client::new();
    let page = async |limit: &str, cursor: &str| -> serde_json::Value {
        let url = format!("{topics}/{PLAIN}/records?limit={limit}&cursor={cursor}");
        let request = client.get(url).header("accept", "application/json");
        request.send().await.expect("an answer").json().await.expect("JSON")
    };
    let whole = page("1000", "").await;
    assert!(whole["cursor"].is_null());
    let whole = whole["records"].as_array().expect("records").clone();
    for limit in 1..=whole.len() {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = page(&limit.to_string(), &cursor).await;
            let records = page["records"].as_array().expect("records");
            assert!((1..=limit).contains(&records.len()), "{limit}: {page}");
            seen.extend(records.clone());
            let Some(next) = page["cursor"].as_str() else { break };
            cursor = next.to_string();
        }
        let of = |records: &[serde_json::Value], partition: u64| {
            records.iter().filter(|r| r["partition"] == partition).cloned().collect::<Vec<_>>()
        };
        for partition in 0..8 {
            assert_eq!(of(&seen, partition), of(&whole, partition), "limit {limit}, partition {partition}");
        }
        assert_eq!(seen.len(), whole.len());
    }
    for (limit, cursor) in [("1001", ""), ("0", ""), ("1", "x")] {
        assert_eq!(page(limit, cursor).await["status"], 400, "{limit} {cursor}");
    }
    let first = page("1", "").await;
    let cursor = first["cursor"].as_str().expect("there is more");
    let others = reqwest::get(format!("{topics}?cursor={cursor}")).await.expect("an answer");
    assert_eq!(others.status(), 400, "a cursor of another list");
}
