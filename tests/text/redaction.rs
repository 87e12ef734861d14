//! Through the real program: what producers wrote is in content.events alone; every topic
//! behind it, dead letters, logs and the search have masks, and equal values join.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);

/// Every value that must be gone, in the formats in which the events below have it.
const PERSONAL: &[&str] = &[
    "jane.doe@example.org",
    "JANE.DOE@example.org",
    "editor@paper.example",
    "202-555-0123",
    "2025550123",
    "4111 1111 1111 1111",
    "4111111111111111",
    "DE89 3704 0044 0532 0130 00",
    "DE89370400440532013000",
    "198.51.100.23",
    "2001:db8::8a2e:370:7334",
    "00:1a:2b:3c:4d:5e",
    "123-45-6789",
    "943 476 5919",
    "12345678Z",
    "44051401359",
    "2341 2341 2346",
];

struct Program {
    folder: tempfile::TempDir,
    child: Child,
    stderr: Option<std::thread::JoinHandle<String>>,
}

impl Program {
    fn start(set: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder"), set)
    }

    fn start_in(folder: tempfile::TempDir, set: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.env_clear().args(["run", "--no-supervise", "--no-env-file", "--roles", "serve"]);
        command.args(["--listen", "127.0.0.1:0", "--log-level", "trace", "--data-dir"]).arg(folder.path());
        command.args(["--set", "logging.files=true", "--set", "embed.enabled=false", "--set"]);
        command.arg(format!("logging.dir={}", folder.path().join("logs").display()));
        for set in set {
            command.args(["--set", set]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut pipe = BufReader::new(child.stderr.take().expect("piped"));
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            // What it could write until it was ended.
            let _ = pipe.read_to_string(&mut text);
            text
        });
        let program = Self { folder, child, stderr: Some(stderr) };
        program.eventually("readiness", || program.get("/readyz"));
        program
    }

    fn get(&self, path: &str) -> Option<String> {
        let base = std::fs::read_to_string(self.folder.path().join("address")).ok()?;
        let url = format!("{}{path}", base.trim().trim_end_matches('/'));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
        runtime.block_on(async {
            let answer = reqwest::Client::builder().no_proxy().build().ok()?.get(url).send().await.ok()?;
            answer.error_for_status().ok()?.text().await.ok()
        })
    }

    fn eventually<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + WITHIN;
        loop {
            if let Some(value) = found() {
                return value;
            }
            assert!(Instant::now() < until, "{what} did not happen");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn command(&self, args: &[&str], input: &str) -> String {
        let file = self.folder.path().join("input");
        std::fs::write(&file, input).expect("can be written");
        let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .env_clear()
            .args(args)
            .args(["--no-env-file", "--data-dir"])
            .arg(self.folder.path())
            .stdin(std::fs::File::open(file).expect("there"))
            .output()
            .expect("runs");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// The records of a topic.
    fn tail(&self, topic: &str) -> Vec<Value> {
        let text = self.command(&["topics", "tail", topic, "--json"], "");
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Ends it, and gives everything it logged.
    fn stop(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("can be signalled");
        assert!(self.child.wait().expect("ends").success());
        let mut logs = self.stderr.take().expect("once").join().expect("reads");
        for entry in std::fs::read_dir(self.folder.path().join("logs")).expect("logs are kept") {
            let file = std::fs::File::open(entry.expect("listed").path()).expect("readable");
            BufReader::new(file).lines().for_each(|line| logs.push_str(&line.expect("text")));
        }
        logs
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn event(native_id: &str, fields: &Value) -> Value {
    let mut event = json!({
        "platform": "rss", "native_id": native_id, "kind": "post", "change": "created",
        "published_at": "2026-01-01T00:00:00Z",
    });
    for (name, value) in fields.as_object().expect("an object") {
        event[name] = value.clone();
    }
    event
}

fn events() -> Vec<Value> {
    vec![
        event(
            "1",
            &json!({
                "title": "Great: jane.doe@example.org",
                "text": "<p>Call <b>202-555-0123</b>, pay 4111 1111 1111 1111 or DE89 3704 0044 0532 0130 00 from \
                    198.51.100.23 or 2001:db8::8a2e:370:7334 on 00:1a:2b:3c:4d:5e. SSN 123-45-6789, NHS 943 476 5919, \
                    DNI 12345678Z, PESEL 44051401359, Aadhaar 2341 2341 2346. What a wonderful day.</p>",
                "author": {"id": "editor@paper.example", "name": "editor@paper.example (Ed)"},
                "channel": {"id": "https://paper.example/feed", "name": "Paper"},
                "url": "https://paper.example/1?to=jane.doe%40example.org&id=12",
                "media": [{"url": "https://paper.example/a.mp3?u=JANE.DOE@example.org"}],
            }),
        ),
        event(
            "2",
            &json!({
                "text": "again JANE.DOE&#64;example.org, +1 (202) 555-0123, 4111-1111-1111-1111, DE89370400440532013000",
                "author": {"id": "editor@paper.example"},
            }),
        ),
        event(
            "3",
            &json!({"text": "a perfectly ordinary text, order 202-555-0123, at 10:15:30", "lang": "en"}),
        ),
    ]
}

fn content_of(records: &[Value]) -> BTreeMap<String, Value> {
    let content = |record: &Value| {
        let value = &record["value"];
        (value["id"].as_str().expect("an id").to_string(), value["content"].clone())
    };
    records.iter().map(content).collect()
}

fn masks(text: &str) -> BTreeMap<&str, &str> {
    let inner = text.split('[').skip(1).filter_map(|rest| rest.split(']').next());
    inner.filter_map(|mask| mask.split_once(':')).collect()
}

#[track_caller]
fn assert_clean(what: &str, text: &str) {
    for value in PERSONAL {
        assert!(!text.contains(value), "{what} has {value}: {text:.2000}");
    }
}

#[test]
fn nothing_behind_content_events_has_a_personal_value() {
    let program = Program::start(&[]);
    let lines: String = events().iter().map(|e| format!("{e}\n")).collect();
    let receipt = program.command(&["ingest", "-"], &lines);
    assert!(receipt.contains('3'), "{receipt}");
    let enriched = program.eventually("enriching", || {
        Some(program.tail("content.enriched")).filter(|records| records.len() == 3)
    });
    let content = content_of(&enriched);
    assert_clean(
        "content.enriched",
        &serde_json::to_string(&enriched).expect("JSON").replace("order 202-555-0123", ""),
    );

    let (first, second, third) = (&content["rss:1"], &content["rss:2"], &content["rss:3"]);
    let (title, text) = (first["title"].as_str().expect("there"), first["text"].as_str().expect("there"));
    let found = masks(text);
    let kinds = [
        "card",
        "es_nif",
        "iban",
        "in_aadhaar",
        "ipv4",
        "ipv6",
        "mac",
        "phone",
        "pl_pesel",
        "uk_nhs",
        "us_ssn",
    ];
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), kinds, "{text}");
    assert!(found.values().all(|hash| hash.len() == 10), "{text}");
    let again = masks(second["text"].as_str().expect("there"));
    for kind in ["phone", "card", "iban"] {
        assert_eq!(found[kind], again[kind], "{kind} joins in another format");
    }
    assert_eq!(masks(title)["email"], again["email"]);
    assert_eq!(first["author"]["id"], second["author"]["id"], "authors stay countable");
    assert_eq!(
        masks(first["author"]["name"].as_str().expect("there"))["email"],
        masks(first["author"]["id"].as_str().expect("there"))["email"]
    );
    let url = first["url"].as_str().expect("there");
    assert!(url.contains(&format!("to=%5Bemail:{}%5D&id=12", again["email"])), "{url}");
    assert_eq!(first["analyzers"]["redaction"], dataflows::pii::VERSION);
    assert!(first["sentiment"]["compound"].as_f64().expect("scored") > 0.5, "the text around is understood");
    assert_eq!(third["text"], "a perfectly ordinary text, order 202-555-0123, at 10:15:30");

    let kept = serde_json::to_string(&program.tail("content.events")).expect("JSON");
    assert!(kept.contains("jane.doe@example.org"), "content.events is what the producer said");
    let metrics = program.get("/metrics").expect("served");
    let count = |kind: &str| {
        metrics
            .lines()
            .find(|l| l.starts_with(&format!("tidings_pii_redactions_total{{type=\"{kind}\"}}")))
            .map(str::to_string)
    };
    assert_eq!(count("us_ssn").as_deref(), Some("tidings_pii_redactions_total{type=\"us_ssn\"} 1"));
    assert_eq!(count("card").as_deref(), Some("tidings_pii_redactions_total{type=\"card\"} 2"));
    let search = program.command(&["search", "wonderful", "--json"], "");
    assert_clean("the search", &search);
    let key = std::fs::read_to_string(program.folder.path().join("redaction-key")).expect("made");
    let logs = program.stop();
    assert!(logs.contains("serving"), "there are logs");
    assert_clean("the log", &logs);
    assert!(!logs.contains(key.trim()), "nor has it the key");
}

/// Appends to content.events as another producer on the same log would: past the checks of
/// the way in.
fn append(folder: &Path, records: &[(&str, &str)]) {
    #[derive(serde::Deserialize)]
    struct Defaults {
        log: tidings::log::Settings,
    }
    let defaults: Defaults =
        toml::from_str(include_str!("../../config/default.toml")).expect("config/default.toml");
    let log = tidings::log::open(&defaults.log, folder).expect("the log opens");
    let config = tidings::config::load(&tidings::config::Environment::of([]), &Default::default())
        .expect("valid")
        .config;
    log.create(&tidings::run::topics(&config)).expect("topics are made");
    let records = records.iter().map(|(key, value)| dataflows::record::Record {
        topic: dataflows::record::topic::EVENTS.into(),
        partition: None,
        key: key.as_bytes().to_vec(),
        value: Some(value.as_bytes().to_vec()),
        timestamp_ms: tidings::run::now_ms(),
        headers: dataflows::record::Headers::new(),
    });
    log.append(records.collect()).expect("can be appended");
}

#[test]
fn dead_letters_have_masks_in_value_detail_and_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wrong_key = event("4", &json!({"text": "jane.doe@example.org"})).to_string();
    append(
        folder.path(),
        &[
            ("jane.doe@example.org", wrong_key.as_str()),
            (
                "rss:5",
                r#"{"platform":"rss","native_id":"5","change":"jane.doe@example.org","text":"call\n202-555-0123"}"#,
            ),
            (
                "rss:6",
                r#"{"platform":"rss", "text":"4111\u00201111\u00201111\u00201111 jane.doe\u0040example.org", broken"#,
            ),
            ("rss:7", "plain text with SSN 123-45-6789"),
            ("rss:8", r#"{"platform":"rss","phone":2025550123}"#),
        ],
    );
    let program = Program::start_in(folder, &[]);
    let letters = program.eventually("dead letters", || {
        Some(program.tail("dead.letters")).filter(|records| records.len() == 5)
    });
    let text = serde_json::to_string(&letters).expect("JSON");
    assert_clean("dead.letters", &text);
    for kind in ["email", "phone", "card", "us_ssn"] {
        assert!(text.contains(&format!("[{kind}:")), "{kind}: {text}");
    }
    let letter =
        |key: &str| letters.iter().map(|l| &l["value"]).find(|l| l["key"] == key).expect("there").clone();
    assert!(letter("rss:5")["detail"].as_str().expect("there").contains("[email:"), "{}", letter("rss:5"));
    let wrong = letters.iter().map(|l| &l["value"]).find(|l| l["reason"] == "wrong_key").expect("there");
    assert!(wrong["key"].as_str().expect("there").starts_with("[email:"), "{wrong}");
    assert_clean("the log", &program.stop());
}

#[test]
fn what_is_switched_off_or_not_asked_for_stays() {
    let off = Program::start(&["features.pii_detection=false"]);
    off.command(&["ingest", "-"], &format!("{}\n", events()[0]));
    let records = off.eventually("enriching", || Some(off.tail("content.enriched")).filter(|r| r.len() == 1));
    assert_eq!(records[0]["value"]["content"]["title"], "Great: jane.doe@example.org");
    assert!(records[0]["value"]["content"]["analyzers"].get("redaction").is_none());
    assert!(!off.folder.path().join("redaction-key").exists(), "no key without a use");
    drop(off);
    let some = Program::start(&["pii.types=[\"us_ssn\"]"]);
    some.command(&["ingest", "-"], &format!("{}\n", events()[0]));
    let records =
        some.eventually("enriching", || Some(some.tail("content.enriched")).filter(|r| r.len() == 1));
    let text = records[0]["value"]["content"]["text"].as_str().expect("there");
    assert!(
        text.contains("202-555-0123") && text.contains("[us_ssn:") && !text.contains("123-45-6789"),
        "{text}"
    );
}
