//! The whole text pipeline without embeddings: a backlog of events through ENRICH and
//! ANALYSE into results.volume, exactly once, on the embedded log or a given Kafka.
//!
//! Stories are looked for beside it, unless asked for without; nothing waits for them.
//!
//! Measures events a second from the start of the workers to the commit of the last
//! result, CPU seconds and peak memory of a process that does nothing else (the embedded
//! log is in it), and compares every cell with an independent recomputation: a wrong
//! answer fails.
//!
//! ```sh
//! cargo bench --bench throughput -- [EVENTS] [WORKERS] [REPEATS] [KNOB=VALUE]…
//! KAFKA_BOOTSTRAP_SERVERS=… cargo bench --bench throughput
//! ```

#[path = "../tests/support/generate.rs"]
mod generate;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataflows::event::ContentEvent;
use dataflows::pii::{Kinds, Redactor};
use dataflows::record::topic;
use dataflows::text::topics::{Topics, TopicsFile};
use generate::{Stream, shown};
use serde_json::Value;
use tidings::config::{Config, Environment, Overrides, load};
use tidings::ingest;
use tidings::log::Log;
use tidings::log::cluster::{Cluster, Instance};
use tidings::run::{now_ms, open_index, open_log};
use tidings::worker::index::{ends, reached};
use tidings::worker::{self, ANALYSE, Committers, ENRICH, Pipeline};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const APPEND: usize = 1_000;
/// The first argument of the process that is measured.
const PIPELINE: &str = "pipeline";

struct Measured {
    events_per_s: f64,
    cpu_s: f64,
    peak_mb: f64,
}

fn main() {
    tidings::ops::small_pages();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, folder, knobs @ ..] = arguments.as_slice()
        && command == PIPELINE
    {
        println!("{}", pipeline_process(Path::new(folder), knobs));
        return;
    }
    // Cargo adds --bench.
    let numbers: Vec<usize> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    let events = numbers.first().copied().unwrap_or(200_000);
    let workers = numbers.get(1).copied().unwrap_or(1);
    let repeats = numbers.get(2).copied().unwrap_or(3);
    let knobs: Vec<String> = arguments.into_iter().filter(|a| a.contains('=')).collect();
    let mut measured: Vec<Measured> = (0..repeats).map(|i| run(i as u64, events, workers, &knobs)).collect();
    measured.sort_by(|a, b| a.events_per_s.total_cmp(&b.events_per_s));
    let (slowest, median, fastest) = (&measured[0], &measured[repeats / 2], &measured[repeats - 1]);
    println!(
        "{events} events, {workers} workers, {repeats} repeats: median {:.0} events/s (from {:.0} to {:.0}), \
         {:.0} events per CPU second, peak memory {:.0} MB",
        median.events_per_s,
        slowest.events_per_s,
        fastest.events_per_s,
        events as f64 / median.cpu_s,
        measured.iter().map(|m| m.peak_mb).fold(0.0, f64::max),
    );
}

fn run(seed: u64, events: usize, workers: usize, knobs: &[String]) -> Measured {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let prefix = format!("log.topic_prefix=throughput-{}-{seed}.", std::process::id());
    let knobs = [&[prefix, format!("worker.workers={workers}")], knobs].concat();
    let stream = Stream::new(seed, events, now_ms());
    let open = || open_log(&config(folder.path(), &knobs), folder.path()).expect("the log opens");
    append(open().as_ref(), &stream);
    let output = Command::new(std::env::current_exe().expect("a path"))
        .args([PIPELINE, &folder.path().display().to_string()])
        .args(&knobs)
        .stderr(Stdio::inherit())
        .output()
        .expect("starts");
    assert!(output.status.success(), "the pipeline ended with {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [elapsed_s, cpu_s, peak_mb] = numbers[..] else { panic!("not three numbers: {text}") };
    check(open().as_ref(), &stream);
    let measured = Measured { events_per_s: events as f64 / elapsed_s, cpu_s, peak_mb };
    println!(
        "  seed {seed}: {:.0} events/s in {elapsed_s:.2} s, {cpu_s:.2} CPU s, {peak_mb:.0} MB, every cell as recomputed",
        measured.events_per_s,
    );
    measured
}

/// The pipeline alone, so that its memory is its own: seconds, CPU seconds, peak MB.
fn pipeline_process(folder: &Path, knobs: &[String]) -> String {
    let config = config(folder, knobs);
    let log = open_log(&config, folder).expect("the log opens");
    let pipeline = pipeline(&config, &log, folder);
    let instance = Instance::of_folder(folder).expect("the folder can be written");
    let wanted = Committers::wanted(config.worker.workers);
    let joined =
        Cluster::join(&log, &config.log, instance, &wanted, true, now_ms()).expect("nobody else runs");
    let stop = Arc::new(AtomicBool::new(false));
    let (started, cpu) = (Instant::now(), cpu_s());
    let stopped = Arc::clone(&stop);
    let thread =
        std::thread::spawn(move || worker::run(pipeline, Committers::new(joined.committers), stopped));
    wait_until_done(log.as_ref(), &thread);
    let (elapsed, cpu) = (started.elapsed(), cpu_s() - cpu);
    stop.store(true, Ordering::SeqCst);
    thread.join().expect("the workers do not panic").expect("the workers end in order");
    format!("{} {cpu} {}", elapsed.as_secs_f64(), peak_mb())
}

#[expect(clippy::disallowed_methods, reason = "which log is measured is chosen by the environment")]
fn config(folder: &Path, knobs: &[String]) -> Config {
    let overrides =
        Overrides { data_dir: Some(folder.to_path_buf()), set: knobs.to_vec(), ..Overrides::default() };
    let kafka = std::env::var("KAFKA_BOOTSTRAP_SERVERS").unwrap_or_default();
    load(&Environment::of([("KAFKA_BOOTSTRAP_SERVERS", &kafka)]), &overrides)
        .expect("a valid configuration")
        .config
}

fn topics() -> Topics {
    let file: TopicsFile = toml::from_str(include_str!("../config/topics.toml")).expect("config/topics.toml");
    Topics::new(file.topics).expect("valid topics")
}

fn append(log: &dyn Log, stream: &Stream) {
    for batch in stream.lines.chunks(APPEND) {
        let records = batch.iter().map(|line| {
            let event: ContentEvent = serde_json::from_str(line).expect("a valid event");
            let id = event.content_id();
            ingest::record(&event, &id, line.clone().into_bytes(), dataflows::time::Millis(now_ms()))
        });
        log.append(records.collect()).expect("appended");
    }
}

fn pipeline(config: &Config, log: &Arc<dyn Log>, folder: &Path) -> Pipeline {
    Pipeline {
        log: Arc::clone(log),
        settings: config.worker.clone(),
        limits: config.ingest.limits(),
        volume: config.volume.parse().expect("valid groupings"),
        trends: config.trends.graph().expect("valid knobs"),
        topics: Arc::new(topics()),
        terms_max: config.trends.terms_per_item_max,
        sentiment: Arc::new(|_| true),
        redactor: Arc::new(Redactor::new(b"a key", Kinds::ALL, config.pii.account_platforms.clone())),
        redaction: Arc::new(|_| true),
        stories: config.stories.enabled.then(|| config.stories.clone()),
        index: open_index(folder).expect("the index opens"),
        alive: Arc::new(|_| {}),
        ready: Arc::new(|| {}),
        now_ms: Arc::new(now_ms),
    }
}

/// Until the positions of both stages are at the ends of their inputs.
fn wait_until_done(log: &dyn Log, thread: &std::thread::JoinHandle<Result<(), tidings::log::LogError>>) {
    let events = ends(log, topic::EVENTS).expect("the topic is there");
    let mut enriched = None;
    loop {
        assert!(!thread.is_finished(), "the workers ended early");
        if enriched.is_none() && reached(&log.committed(ENRICH).expect("positions"), &events) {
            enriched = Some(ends(log, topic::ENRICHED).expect("the topic is there"));
        }
        if let Some(enriched) = &enriched
            && reached(&log.committed(ANALYSE).expect("positions"), enriched)
        {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn check(log: &dyn Log, stream: &Stream) {
    let ends = ends(log, topic::VOLUME).expect("the topic is there");
    let mut reader = log.reader(&ends.keys().map(|p| (p.clone(), 0)).collect()).expect("can be read");
    let mut cells: BTreeMap<Vec<u8>, Value> = BTreeMap::new();
    while !reached(&reader.positions(), &ends) {
        for stored in reader.poll(Duration::from_millis(500), 4 << 20).expect("can be read") {
            match stored.value {
                Some(value) => cells.insert(stored.key, serde_json::from_slice(&value).expect("a cell")),
                None => cells.remove(&stored.key),
            };
        }
    }
    let by = |cell: &Value| {
        let names: Vec<&str> =
            cell["by"].as_array().expect("dimensions").iter().filter_map(Value::as_str).collect();
        if names.is_empty() { "none".to_string() } else { names.join(",") }
    };
    let found: BTreeMap<String, Value> = cells.values().map(|cell| shown(&by(cell), cell)).collect();
    let expected = stream.expected(&topics());
    let wrong = expected.iter().find(|(key, value)| found.get(*key) != Some(value));
    assert!(wrong.is_none() && found.len() == expected.len(), "a wrong answer: {wrong:?}");
}

/// User and system time of this process.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> =
        stat.rsplit(')').next().expect("a name in parentheses").split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime");
    ticks / 100.0
}

fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).expect("peak memory");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("kilobytes") / 1024.0
}
