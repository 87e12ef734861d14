//! EMBED and REMEMBER on a log. This file is long because both lines, and what they do to each
//! other, run on one site.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use dataflows::embed::Embedded;
use dataflows::faults::{DeadLetter, Reason};
use dataflows::record::{Headers, Positions, Record, topic};
use tidings::log::{Log, LogError};
use tidings::memory::health::Health;
use tidings::memory::models::Model;
use tidings::memory::{self, Memory, embed, remember};

use crate::fixtures::*;
use crate::qdrant_server::Faults;

/// A log in a folder, and a line that runs on it until it is dropped.
struct Site {
    folder: tempfile::TempDir,
    log: Arc<dyn Log>,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = open_log(folder.path());
        Self { folder, log }
    }

    fn append(&self, id: &str, revision: u64, text: Option<&str>) {
        self.log.append(vec![record(&enriched(id, revision, text))]).expect("appended");
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("embed.sqlite")
    }

    fn embed(&self, words: &Arc<Words>, change: impl FnOnce(&mut embed::Settings)) -> Line {
        let mut settings = shipped().embed;
        change(&mut settings);
        let (log, cache, model) = (self.log.clone(), self.cache(), Model::of(words.clone()));
        Line::start(move |stop, health| embed::run(log, &model, &cache, &settings, stop, health))
    }

    fn remember(&self, memory: &Arc<dyn Memory>) -> Line {
        self.remember_with(memory, |_| ())
    }

    fn remember_with(&self, memory: &Arc<dyn Memory>, change: impl FnOnce(&mut memory::Settings)) -> Line {
        let (log, memory, mut settings) = (self.log.clone(), memory.clone(), shipped().memory);
        change(&mut settings);
        Line::start(move |stop, health| remember::run(&*log, &*memory, &settings, &stop, &health))
    }

    /// Waits until EMBED has committed everything that there is.
    fn until_embedded(&self) {
        let info = self.log.topics().expect("topics").into_iter().find(|t| t.name == topic::ENRICHED);
        let ends: Vec<u64> = info.expect("the topic").ranges.iter().map(|(_, end)| *end).collect();
        until("embedding everything", || {
            let committed: Positions = self.log.committed(embed::GROUP).expect("positions");
            let reached = |(p, end): (usize, &u64)| {
                *end == 0 || committed.iter().any(|(at, next)| at.partition as usize == p && next >= end)
            };
            ends.iter().enumerate().all(reached)
        });
    }

    fn vectors(&self) -> Vec<(String, Embedded)> {
        compacted(&*self.log, topic::VECTORS)
            .into_iter()
            .map(|(key, value)| (key, serde_json::from_slice(&value).expect("an Embedded")))
            .collect()
    }

    fn dead_letters(&self) -> Vec<DeadLetter> {
        let all = read_all(&*self.log, topic::DEAD_LETTERS);
        all.into_iter()
            .map(|r| serde_json::from_slice(&r.value.expect("a value")).expect("a letter"))
            .collect()
    }
}

struct Line {
    stop: Arc<AtomicBool>,
    health: Arc<Health>,
    thread: Option<JoinHandle<Result<(), LogError>>>,
}

impl Line {
    fn start(
        run: impl FnOnce(Arc<AtomicBool>, Arc<Health>) -> Result<(), LogError> + Send + 'static,
    ) -> Self {
        let (stop, health) = (Arc::new(AtomicBool::new(false)), Health::new());
        let (stop_inside, health_inside) = (stop.clone(), health.clone());
        let thread = Some(std::thread::spawn(move || run(stop_inside, health_inside)));
        Self { stop, health, thread }
    }

    fn end(mut self) -> Result<(), LogError> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("runs").join().expect("no panic")
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_text_is_embedded_once_whatever_happens_to_the_process() {
    let site = Site::new();
    let words = Arc::new(Words::default());
    let line = site.embed(&words, |_| ());
    for id in ["rss:1", "rss:2", "rss:3"] {
        site.append(id, 1, Some("the same text"));
    }
    site.append("rss:4", 1, Some("another text"));
    site.until_embedded();
    site.append("rss:1", 2, Some("the same text"));
    site.append("rss:5", 1, Some("the same text"));
    site.until_embedded();
    line.end().expect("ends well");
    assert_eq!((words.asked("the same text"), words.asked("another text")), (1, 1));
    let vectors = site.vectors();
    assert_eq!(vectors.len(), 5);
    assert_eq!(vectors[0].1.version, version(2), "unchanged text, new version: the vector again");
    assert!(vectors.iter().all(|(key, e)| *key == format!("{}#0", e.id) && e.model == MODEL));

    // After a restart, and after a restart without the cache's file.
    for lose_cache in [false, true] {
        if lose_cache {
            std::fs::remove_file(site.cache()).expect("removed");
        }
        let words = Arc::new(Words::default());
        let line = site.embed(&words, |_| ());
        let id = format!("rss:again-{lose_cache}");
        site.append(&id, 1, Some("the same text"));
        site.until_embedded();
        line.end().expect("ends well");
        assert_eq!(words.total(), 0, "lose_cache {lose_cache}");
        assert_eq!(site.vectors().iter().filter(|(_, e)| e.id == id).count(), 1);
    }
    assert!(site.dead_letters().is_empty());
}

#[test]
fn edits_and_deletions_leave_exactly_the_chunks_of_the_last_version() {
    let site = Site::new();
    let words = Arc::new(Words::default());
    let long = (0..6).map(|n| format!("Sentence {n} is here. ")).collect::<String>();
    let shorter = "Sentence 0 is here. Sentence 1 is here.";
    let start = || site.embed(&words, |settings| settings.chunk_chars_max = 20);
    let line = start();
    site.append("rss:a", 1, Some(&long));
    site.append("rss:b", 1, Some("Sentence 5 is here."));
    site.until_embedded();
    let keys = |site: &Site| site.vectors().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(&site), ["rss:a#0", "rss:a#1", "rss:a#2", "rss:a#3", "rss:a#4", "rss:a#5", "rss:b#0"]);
    let asked = words.total();
    assert_eq!(asked, 6, "the sentence that both have is embedded once");

    site.append("rss:a", 2, Some(shorter));
    site.until_embedded();
    assert_eq!(keys(&site), ["rss:a#0", "rss:a#1", "rss:b#0"]);
    assert_eq!(words.total(), asked, "what stayed the same is not embedded again");
    line.end().expect("ends well");

    // The number of chunks is known after a restart without the cache too.
    std::fs::remove_file(site.cache()).expect("removed");
    let line = start();
    site.append("rss:a", 3, None);
    site.append("rss:b", 2, Some(""));
    site.until_embedded();
    line.end().expect("ends well");
    assert_eq!(keys(&site), Vec::<String>::new());
    // A vector of a text that nobody has any more is not kept.
    let line = start();
    site.append("rss:c", 1, Some("Sentence 5 is here."));
    site.until_embedded();
    line.end().expect("ends well");
    assert_eq!(words.total(), asked + 1);
}

#[test]
fn what_panics_fails_or_hangs_is_a_dead_letter_and_the_rest_goes_on() {
    let site = Site::new();
    let words = Arc::new(Words::default());
    let hanging = words.hang.lock();
    // Long enough to print the backtrace of a panic, which takes a loaded machine a while.
    let line = site.embed(&words, |settings| settings.timeout_s = 2.0);
    for (n, text) in ["good 1", "panic", "good 2", "fail", "hang", "good 3"].iter().enumerate() {
        site.append(&format!("rss:{n}"), 1, Some(text));
    }
    site.log
        .append(vec![Record { value: Some(b"no JSON".to_vec()), ..record(&enriched("rss:x", 1, None)) }])
        .expect("appended");
    site.until_embedded();
    site.append("rss:later", 1, Some("good 4"));
    site.until_embedded();
    drop(hanging);
    line.end().expect("ends well");
    let embedded: BTreeSet<String> = site.vectors().into_iter().map(|(_, e)| e.payload.text).collect();
    assert_eq!(embedded, BTreeSet::from(["good 1", "good 2", "good 3", "good 4"].map(String::from)));
    let mut letters: Vec<(String, Reason)> =
        site.dead_letters().into_iter().map(|l| (l.key, l.reason)).collect();
    letters.sort();
    let expected = [
        ("rss:1", Reason::Panicked),
        ("rss:3", Reason::Failed),
        ("rss:4", Reason::TimedOut),
        ("rss:x", Reason::Malformed),
    ];
    assert_eq!(letters, expected.map(|(key, reason)| (key.to_string(), reason)));
}

#[test]
fn a_second_embedder_fences_the_first() {
    let site = Site::new();
    let words = Arc::new(Words::default());
    let first = site.embed(&words, |_| ());
    site.append("rss:1", 1, Some("one"));
    site.until_embedded();
    let second = site.embed(&words, |_| ());
    site.append("rss:2", 1, Some("two"));
    site.until_embedded();
    site.append("rss:3", 1, Some("three"));
    site.until_embedded();
    second.end().expect("ends well");
    assert!(matches!(first.end(), Err(LogError::Fenced(_))));
    let records = read_all(&*site.log, topic::VECTORS);
    assert_eq!(records.len(), 3, "each vector once");
}

#[test]
fn a_named_budget_drops_and_nothing_else_does() {
    let site = Site::new();
    let words = Arc::new(Words::default());
    for n in 0..50 {
        site.append(&format!("rss:{n}"), 1, Some(&format!("text {n}")));
    }
    let line = site.embed(&words, |settings| settings.backlog_records_max = 10);
    site.until_embedded();
    line.end().expect("ends well");
    assert_eq!(words.total(), 0, "the backlog was over its budget");
    let line = site.embed(&words, |settings| settings.backlog_records_max = 10);
    site.append("rss:new", 1, Some("a new text"));
    site.until_embedded();
    line.end().expect("ends well");
    assert_eq!(words.total(), 1, "below the budget everything is embedded");
}

#[test]
fn without_a_model_the_line_waits_and_says_why() {
    let site = Site::new();
    let (log, cache, settings) = (site.log.clone(), site.cache(), shipped().embed);
    let model = Model::none("no model; `tidings models fetch` gets it");
    let line = Line::start(move |stop, health| embed::run(log, &model, &cache, &settings, stop, health));
    site.append("rss:1", 1, Some("one"));
    until("the reason", || line.health.troubles().iter().any(|t| t.reason.contains("tidings models fetch")));
    assert!(site.log.committed(embed::GROUP).expect("positions").is_empty());
    line.end().expect("ends well");
}

#[test]
fn what_is_published_is_found_and_what_is_deleted_is_not() {
    for deployment in [Deployment::sqlite(), Deployment::served()] {
        let site = Site::new();
        let words = Arc::new(Words::default());
        let memory = deployment.open();
        let search = deployment.search(&memory);
        let found = |text: &str| {
            let answer = search.answer(&query(text)).expect("answers");
            answer.hits.into_iter().map(|hit| hit.id).collect::<Vec<_>>()
        };
        let remember = site.remember(&memory);
        site.append("rss:1", 1, Some("the kitten sleeps"));
        // By words at once, without any embedding.
        until("found by words", || found("sleeps") == ["rss:1"]);
        assert_eq!(found("feline"), Vec::<String>::new());
        let embed = site.embed(&words, |_| ());
        until("found by meaning", || found("feline") == ["rss:1"]);
        site.append("rss:1", 2, Some("the automobile sleeps"));
        until("the edit", || {
            found("car") == ["rss:1"] && !found("kitten").contains(&"rss:1".to_string()) || {
                // Until the new vector is there the old one may still rank it.
                let answer = search.answer(&query("kitten")).expect("answers");
                answer.hits.iter().all(|hit| hit.why.lexical_rank.is_none()) && found("car") == ["rss:1"]
            }
        });
        site.append("rss:1", 3, None);
        until("the deletion", || found("car").is_empty() && found("sleeps").is_empty());
        site.until_embedded();
        until("no chunk is left", || memory.state().expect("state").chunks.values().sum::<u64>() == 0);
        embed.end().expect("ends well");
        remember.end().expect("ends well");
    }
}

#[test]
fn a_memory_that_is_down_is_waited_for_and_one_that_is_lost_is_filled_again() {
    let deployment = Deployment::served();
    let server = deployment.server.as_ref().expect("a server");
    let site = Site::new();
    let memory = deployment.open();
    for n in 0..20 {
        site.append(&format!("rss:{n}"), 1, Some("cat"));
    }
    let remember = site.remember(&memory);
    let items = || memory.state().map(|state| state.items).unwrap_or(0);
    until("the first items", || items() == 20);
    server.fail(Faults { unavailable: 25, ..Faults::default() });
    for n in 20..40 {
        site.append(&format!("rss:{n}"), 1, Some("cat"));
    }
    until("the trouble is shown", || remember.health.troubles().iter().any(|t| t.down));
    until("the recovery", || items() == 40);
    until("the trouble is over", || remember.health.troubles().is_empty());

    server.drop_collection("tidings");
    site.append("rss:last", 1, Some("cat"));
    until("everything again", || items() == 41);
    remember.end().expect("ends well");
}

#[test]
fn a_record_that_nobody_can_read_is_passed_as_a_dead_letter() {
    let deployment = Deployment::sqlite();
    let site = Site::new();
    let memory = deployment.open();
    let bad = |topic: &str, key: &str| Record {
        topic: topic.into(),
        partition: Some(0),
        key: key.into(),
        value: Some(b"{\"no\":\"such record\"}".to_vec()),
        timestamp_ms: 1,
        headers: Headers::new(),
    };
    site.log.append(vec![bad(topic::ENRICHED, "rss:x"), bad(topic::VECTORS, "rss:x#0")]).expect("appended");
    site.append("rss:1", 1, Some("cat"));
    let remember = site.remember(&memory);
    until("the good one", || memory.state().expect("state").items == 1);
    until("two dead letters", || site.dead_letters().len() == 2);
    remember.end().expect("ends well");
    assert!(site.dead_letters().iter().all(|l| l.stage == "remember" && l.reason == Reason::Malformed));
}

#[test]
fn a_memory_of_too_many_items_forgets_the_earliest() {
    let deployment = Deployment::sqlite();
    let (site, memory) = (Site::new(), deployment.open());
    for n in 1..=5 {
        // Taken in one after the other.
        site.append(&format!("rss:{n}"), n, Some("cat"));
    }
    let unlimited = site.remember_with(&memory, |settings| settings.items_max = 0);
    until("all of them", || memory.state().expect("state").items == 5);
    // Limits are looked at before what is read next.
    site.append("rss:6", 6, Some("cat"));
    until("one more, and none less", || memory.state().expect("state").items == 6);
    unlimited.end().expect("ends well");
    let remember = site.remember_with(&memory, |settings| settings.items_max = 2);
    site.append("rss:7", 7, Some("cat"));
    let search = deployment.search(&memory);
    until("the latest two", || {
        let answer = search.answer(&query("cat")).expect("answers");
        let mut found: Vec<String> = answer.hits.into_iter().map(|hit| hit.id).collect();
        found.sort_unstable();
        found == ["rss:6", "rss:7"]
    });
    remember.end().expect("ends well");
}

#[test]
fn the_api_answers_hits_and_problems() {
    let deployment = Deployment::sqlite();
    let memory = deployment.open();
    memory.apply(&batch(whole(item("rss:1", "A cat", "the kitten sleeps")))).expect("applied");
    let routes = axum::Router::from(tidings::memory::api::routes(Arc::new(deployment.search(&memory))));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}/v1/search", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let get = async |parameters: &str| {
            let response = reqwest::get(format!("{base}{parameters}")).await.expect("an answer");
            let status = response.status().as_u16();
            let kind = response.headers()["content-type"].to_str().expect("text").to_string();
            (status, kind, response.json::<serde_json::Value>().await.expect("JSON"))
        };
        let (status, _, answer) = get("?q=feline&platform=rss&since=1970-01-01T00:00:00Z&limit=5").await;
        assert_eq!((status, answer["mode"].as_str()), (200, Some("hybrid")));
        let hit = &answer["hits"][0];
        assert_eq!((hit["id"].as_str(), hit["why"]["dense_rank"].as_u64()), (Some("rss:1"), Some(1)));
        assert!(hit["why"]["lexical_rank"].is_null() && answer["as_of"].is_null());
        for bad in [
            "",
            "?q=",
            "?q=x&limit=0",
            "?q=x&limit=100000",
            "?q=x&cursor=zz",
            "?q=x&since=soon",
            "?q=x&wat=1",
        ] {
            let (status, kind, problem) = get(bad).await;
            assert_eq!((status, kind.as_str()), (400, "application/problem+json"), "{bad}");
            assert!(problem["detail"].as_str().is_some_and(|d| !d.is_empty()), "{bad}");
        }
    });
}
