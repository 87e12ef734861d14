//! The process killed by itself at each fail point, on both logs, while it works: as if a
//! `kill -9` from outside had hit just there.
//!
//! One stream is fed to one folder over all deaths. At the end every cell equals the
//! recomputation, as asked for over HTTP and as a consumer folds results.volume, and
//! content.enriched has every version once.

use std::os::unix::process::ExitStatusExt;

use dataflows::record::topic;
use tidings::ops::failpoint::POINTS;

use super::*;

/// Where it dies: twice in the steady state, so that the second time finds a state that was
/// rebuilt after the first. `enrich-0` and the others are committers.
const DEATHS: [&str; 24] = [
    "append.done:2",
    "append.done:1",
    "commit.produced@enrich-0:2",
    "commit.produced@enrich-0:1",
    "commit.positioned@enrich-0:2",
    "commit.positioned@enrich-0:1",
    "commit.done@enrich-0:2",
    "commit.done@enrich-0:1",
    "index.behind:2",
    "index.behind:1",
    "index.written:2",
    "index.written:1",
    "commit.produced@analyse-0:2",
    "commit.produced@analyse-0:1",
    "commit.positioned@analyse-0:2",
    "commit.positioned@analyse-0:1",
    "commit.done@analyse-0:2",
    "commit.done@analyse-0:1",
    "commit.produced@stories-0:1",
    "commit.positioned@stories-0:1",
    "commit.done@stories-0:1",
    "hydrate.fed@published:1",
    "hydrate.fed@contributions:1",
    "index.caught_up:1",
];
/// Events of each life.
const EVENTS: usize = 400;
const DIES_WITHIN: Duration = Duration::from_secs(120);
const SIGKILL: i32 = 9;

fn matrix(backend: Backend, seed: u64) {
    let covered = |point: &&str| DEATHS.iter().any(|death| death.split(['@', ':']).next() == Some(*point));
    assert_eq!(POINTS.iter().find(|point| !covered(point)), None, "a point at which nobody dies");
    let stream = Stream::new(seed, EVENTS * (DEATHS.len() + 1), dataflows_now());
    let expected = stream.expected(&topics());
    let tidings = Tidings::start(backend);
    let mut lives = stream.lines.chunks(EVENTS);
    for death in DEATHS {
        if death.starts_with("index.caught_up") {
            // Built anew, from the beginning of the topic.
            tidings.kill();
            std::fs::remove_dir_all(tidings.folder().join("index")).expect("there is an index");
        }
        tidings.kill_and_restart_with(&["--die-at", death]);
        live_until_dead(&tidings, death, lives.next().expect("a life for each death"));
    }
    tidings.post_until_accepted(&lives.next().expect("one more").join("\n"));
    settle(&tidings, &expected);
    tidings.stop();
    once_each(&stream, tidings.versions());
    let mut folded: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    for stored in tidings.read(topic::VOLUME) {
        folded.insert(stored.key, stored.value);
    }
    let cells: BTreeMap<String, Value> = folded
        .into_values()
        .flatten()
        .map(|cell| serde_json::from_slice::<Value>(&cell).expect("a cell"))
        .map(|cell| {
            let by: Vec<&str> =
                cell["by"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
            let by = if by.is_empty() { "none".to_string() } else { by.join(",") };
            shown(&by, &cell)
        })
        .collect();
    assert_eq!(cells, expected, "what a consumer of results.volume holds");
}

/// Feeds events until it dies, starts it again, and feeds what was not acknowledged.
fn live_until_dead(tidings: &Tidings, death: &str, events: &[String]) {
    let until = Instant::now() + DIES_WITHIN;
    let mut batches = events.chunks(EVENTS / 40);
    let mut unsure: Option<&[String]> = None;
    let status = loop {
        if let Some(status) = tidings.ended() {
            break status;
        }
        assert!(Instant::now() < until, "{death}: it was never there");
        // What follows an answer that did not come would overtake it.
        if unsure.is_none()
            && tidings.get("/readyz").is_ok()
            && let Some(batch) = batches.next()
        {
            unsure = (!tidings.post_once(&batch.join("\n"))).then_some(batch);
        }
        // A busy machine commits many batches at once: the later ones leave it time for more.
        let is_late = batches.len() < 20;
        std::thread::sleep(Duration::from_millis(if is_late { 500 } else { 40 }));
    };
    assert_eq!(status.signal(), Some(SIGKILL), "{death}: {status}");
    tidings.kill_and_restart();
    for batch in unsure.into_iter().chain(batches) {
        tidings.post_until_accepted(&batch.join("\n"));
    }
}

#[test]
fn embedded_survives_a_death_at_every_point() {
    matrix(Backend::Embedded { workers: 1 }, 5);
}

#[test]
fn kafka_survives_a_death_at_every_point() {
    matrix(Backend::Kafka { workers: 1 }, 6);
}
