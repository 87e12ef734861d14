//! A program with something in every list, one with nothing to do, and what they are asked with.

use std::path::Path;

use dataflows::record::{Headers, Record, topic};
use serde_json::{Value, json};
use tidings::config::{self, Environment, Overrides};

use super::program::{Program, eventually};

const SOURCES: &str = r#"
    [[source]]
    type = "feed"
    name = "one"
    platform = "rss"
    url = "http://127.0.0.1:1/one"
    [[source]]
    type = "feed"
    name = "two"
    platform = "rss"
    url = "http://127.0.0.1:1/two"
"#;
const ROUTES: &str = r#"
    [[route]]
    name = "daily"
    to = "webhook"
    at = ["08:00"]
    [[route]]
    name = "hourly"
    to = "webhook"
    every = "1h"
"#;
const ALERTS: &str = r#"
    [[alert]]
    name = "bread"
    kind = "keyword"
    any = ["bread"]
    [[alert]]
    name = "whales"
    kind = "keyword"
    any = ["whale"]
"#;

/// A program with something in every list, once it is there.
pub fn filled() -> Program {
    let program = Program::start(|command, config| {
        for (name, text) in [("sources", SOURCES), ("routes", ROUTES), ("alerts", ALERTS)] {
            std::fs::write(config.join(format!("{name}.toml")), text).expect("can be written");
        }
        append_broken_events(config.parent().expect("the data folder"));
        command.args(["--set", "embed.enabled=false", "--set", "poll.allow_private_addresses=true"]);
    });
    eventually("readiness", || program.get("/readyz"));
    let quiet = (0..240).map(|n| event("forum", n, 45 + 3 * n, &format!("Thoughts of day {n} about bread.")));
    let burst =
        (0..40).map(|n| event("mastodon", n, 12 + n % 20, &format!("Number {n}! #whalewatch #lighthouse")));
    let stories = [
        "A humpback whale swam past the old lighthouse this morning and stayed for an hour, say fishermen.",
        "The bridge over the river Sarne collapsed in the morning rush hour, four cars are in the water.",
    ];
    let told = (0..6).map(|n| event(["news", "blog", "radio"][n % 3], 1_000 + n, 30, stories[n / 3]));
    program.post(&quiet.chain(burst).chain(told).collect::<Vec<_>>());
    ask(&program, "GET", "/v1/digests/preview", "").expect_status(200);
    ask(&program, "POST", "/v1/digests/send", "").expect_status(200);
    program
}

/// A program with nothing to do that asks nobody, once it serves.
pub fn idle() -> Program {
    let program = Program::start(|command, config| {
        std::fs::write(config.join("sources.toml"), SOURCES).expect("can be written");
        command.args(["--set", "embed.enabled=false"]);
    });
    eventually("readiness", || program.get("/readyz"));
    program
}

/// What another producer might write: there is no kind in it.
fn append_broken_events(folder: &Path) {
    let environment = Environment::of([] as [(&str, &str); 0]);
    let loaded = config::load(&environment, &Overrides::default()).expect("the defaults are valid");
    let log = tidings::run::open_log(&loaded.config, folder).expect("opens");
    let broken = |n: usize| {
        let value = json!({ "platform": "forum", "native_id": format!("x{n}"), "change": "created" });
        Record {
            topic: topic::EVENTS.into(),
            partition: None,
            key: format!("forum:x{n}").into_bytes(),
            value: Some(value.to_string().into_bytes()),
            timestamp_ms: tidings::run::now_ms(),
            headers: Headers::new(),
        }
    };
    log.append((0..3).map(broken).collect()).expect("appended");
}

pub fn event(platform: &str, n: usize, minutes: usize, text: &str) -> Value {
    let at = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes as i64);
    json!({
        "platform": platform, "native_id": n.to_string(), "kind": "post", "change": "created",
        "published_at": at.to_string(), "text": text, "url": format!("https://{platform}.example/{n}"),
        "author": { "id": format!("author-{n}") }, "channel": { "id": format!("c{}", n % 2) },
    })
}

pub struct Answered {
    pub status: u16,
    pub kind: String,
    pub body: Value,
}

impl Answered {
    pub fn expect_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }
}

/// The body is null where it is no JSON; of a stream only the head is read.
pub fn ask(program: &Program, method: &str, path: &str, body: &str) -> Answered {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
    runtime.block_on(async {
        let method = method.parse().expect("a method");
        let request = reqwest::Client::new().request(method, program.url(path));
        let request = request.header("accept", "application/json").header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.expect("an answer");
        let status = answer.status().as_u16();
        let kind = answer.headers()["content-type"].to_str().expect("text").to_string();
        let body = if kind.contains("json") { answer.json().await.expect("JSON") } else { Value::Null };
        Answered { status, kind, body }
    })
}
