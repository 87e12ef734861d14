//! A day of what the default sources bring, replayed into the real program on one core,
//! with the real model: how much memory it takes.
//!
//! The events are made, seeded: as many a minute as `config/sources.toml` lets through at
//! most, in their proportions, published over the last day in order. Texts are posts of 8 to
//! 40 words (articles: 60), those of the model's vocabulary with its long tail, each with a
//! word of a watched topic, as what its filter lets through has; one in thirty tells again
//! what another told, so that there are stories; one in five has a hashtag.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Items a minute, in tenths, by platform: the budget of the Bluesky source, and about what
/// the others publish.
const RATES: [(&str, u64); 5] =
    [("bluesky", 200), ("mastodon", 25), ("rss", 8), ("hackernews", 4), ("youtube", 1)];
/// Items of a whole day.
pub const ITEMS: usize = (200 + 25 + 8 + 4 + 1) * 24 * 60 / 10;
const AUTHORS: f64 = 60_000.0;
const HASHTAGS: f64 = 4_000.0;
const TOPIC_WORDS: [&str; 12] = [
    "election",
    "climate",
    "inflation",
    "open source",
    "linux",
    "earthquake",
    "parliament",
    "data breach",
    "vaccine",
    "world cup",
    "central bank",
    "wildfire",
];
const BATCH: usize = 200;
const QUIET_WITHIN: Duration = Duration::from_secs(3_600);
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// The first `count` events of the day, which ends at `now_ms`.
pub fn events(seed: u64, count: usize, now_ms: i64) -> impl Iterator<Item = Value> {
    let mut rng = StdRng::seed_from_u64(seed);
    let (words, mut told) = (vocabulary(), Vec::new());
    (0..count).map(move |n| {
        let mut at = rng.random_range(0..RATES.iter().map(|(_, rate)| rate).sum::<u64>());
        let (platform, _) = RATES
            .iter()
            .find(|(_, rate)| {
                let is_it = at < *rate;
                at = at.saturating_sub(*rate);
                is_it
            })
            .expect("below the sum");
        let text = text(&mut rng, platform, &words, &mut told);
        let author = format!("did:plc:{:024}", long_tail(&mut rng, AUTHORS));
        let channel = match *platform {
            "rss" => json!({ "id": format!("feed-{}", rng.random_range(0..8)) }),
            "hackernews" | "youtube" => json!({ "id": platform }),
            _ => Value::Null,
        };
        let published_at = now_ms - DAY_MS + DAY_MS * n as i64 / ITEMS as i64;
        json!({
            "platform": platform, "native_id": format!("{seed}-{n:08}-3kq7b2"), "kind": "post",
            "change": "created", "revision": 1, "author": { "id": author, "name": format!("Name {n}") },
            "channel": channel, "title": null, "text": text, "lang": "en",
            "url": format!("https://example.org/profile/{author}/post/{n}"),
            "published_at": published_at, "engagement": { "likes": rng.random_range(0..40) },
            "media": [], "reply_to": null,
        })
    })
}

fn text(rng: &mut StdRng, platform: &str, vocabulary: &[String], told: &mut Vec<String>) -> String {
    let word = |rng: &mut StdRng| {
        let rank = long_tail(rng, vocabulary.len() as f64) as usize;
        vocabulary[rank.min(vocabulary.len() - 1)].clone()
    };
    if !told.is_empty() && rng.random_range(0..30) == 0 {
        let again = told[rng.random_range(told.len().saturating_sub(300)..told.len())].clone();
        return format!("{again} {}", word(rng));
    }
    let words = if platform == "rss" { 60 } else { rng.random_range(8..40) };
    let mut words: Vec<String> = (0..words).map(|_| word(rng)).collect();
    let at = rng.random_range(0..words.len());
    words[at] = TOPIC_WORDS[rng.random_range(0..TOPIC_WORDS.len())].to_string();
    if rng.random_range(0..5) == 0 {
        words.push(format!("#tag{}", long_tail(rng, HASHTAGS)));
    }
    let text = words.join(" ");
    told.push(text.clone());
    text
}

/// Few get most, many get little.
fn long_tail(rng: &mut StdRng, n: f64) -> u64 {
    n.powf(rng.random_range(0.0..1.0)) as u64
}

/// English words, the most frequent first: those of the model's tokenizer, which must be here.
fn vocabulary() -> Vec<String> {
    let cache = tidings::config::Environment::of_process(None).cache_dir().expect("a home folder");
    let path = cache.join("models/all-MiniLM-L6-v2/tokenizer.json");
    let file = std::fs::read_to_string(&path).expect("`tidings models fetch` was run");
    let tokenizer: Value = serde_json::from_str(&file).expect("JSON");
    let tokens = tokenizer["model"]["vocab"].as_object().expect("tokens");
    let is_word = |token: &str| token.len() > 1 && token.bytes().all(|byte| byte.is_ascii_alphabetic());
    let mut words: Vec<(u64, &String)> = tokens
        .iter()
        .filter(|(token, _)| is_word(token))
        .map(|(token, rank)| (rank.as_u64().expect("a number"), token))
        .collect();
    words.sort_unstable();
    words.into_iter().map(|(_, word)| word.clone()).collect()
}

/// `tidings run` as installed, but for the sources that need the internet.
pub struct Program {
    child: Child,
    base: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

/// Memory of all processes together, in MB.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    pub now: f64,
    /// Of each process the most that it had.
    pub peak: f64,
}

impl Program {
    /// On one core.
    pub fn start(folder: &Path) -> Self {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", "0", env!("CARGO_BIN_EXE_tidings")]);
        command.args(["run", "--no-env-file", "--listen", "127.0.0.1:0", "--roles", "serve,deliver"]);
        command.arg("--data-dir").arg(folder).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(folder.join("stderr")).expect("can be written"));
        let child = command.spawn().expect("taskset of util-linux is there");
        let until = Instant::now() + ANSWERS_WITHIN;
        let base = loop {
            if let Ok(base) = std::fs::read_to_string(folder.join("address")) {
                break base.trim().trim_end_matches('/').to_string();
            }
            assert!(Instant::now() < until, "the program has no address");
            std::thread::sleep(Duration::from_millis(100));
        };
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWERS_WITHIN).build().expect("builds");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
        Self { child, base, client, runtime }
    }

    /// Feeds events; their number.
    pub fn feed(&self, events: impl Iterator<Item = Value>) -> usize {
        let mut events = events.peekable();
        let mut fed = 0;
        while events.peek().is_some() {
            let batch: Vec<String> = events.by_ref().take(BATCH).map(|event| event.to_string()).collect();
            self.post(&batch.join("\n"));
            fed += batch.len();
        }
        fed
    }

    fn post(&self, body: &str) {
        let until = Instant::now() + ANSWERS_WITHIN;
        loop {
            let request = self.client.post(format!("{}/v1/events", self.base));
            let request = request.header("content-type", "application/x-ndjson").body(body.to_string());
            match self.runtime.block_on(async { request.send().await }) {
                Ok(answer) if answer.status().as_u16() == 202 => return,
                other => assert!(Instant::now() < until, "not accepted: {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until nothing is behind: every stage, the embeddings among them.
    pub fn wait_until_quiet(&self) {
        let until = Instant::now() + QUIET_WITHIN;
        // The lag is looked at every few seconds.
        let mut quiet = 0;
        while quiet < 12 {
            std::thread::sleep(Duration::from_secs(1));
            let behind = self.behind();
            quiet = if behind == 0.0 { quiet + 1 } else { 0 };
            assert!(Instant::now() < until, "{behind} records are still behind");
        }
    }

    fn behind(&self) -> f64 {
        let request = self.client.get(format!("{}/metrics", self.base));
        let text = self.runtime.block_on(async { request.send().await?.text().await }).expect("answers");
        let lags = text.lines().filter(|line| line.starts_with("tidings_log_lag_records{"));
        lags.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Of what is supervised, and what the supervisor has beyond the same program's pages.
    pub fn resident(&self) -> Resident {
        let supervisor = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"));
        let child = children.expect("Linux").split_whitespace().next().expect("a child").to_string();
        let own = mb(&supervisor.to_string(), "RssAnon:");
        Resident { now: own + mb(&child, "VmRSS:"), peak: own + mb(&child, "VmHWM:") }
    }
}

fn mb(pid: &str, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(name)).expect("Linux");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("kB") / 1024.0
}

impl Drop for Program {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
