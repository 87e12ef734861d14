//! The real program, killed with SIGKILL while an alert develops: one post, edited, and
//! every alert that was due.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::rig::PATIENCE;
use crate::server::{Conduct, DiscordServer};

const KILLS: u64 = 6;
const RULES: &str =
    "[[alert]]\nname = \"fire\"\nkind = \"keyword\"\nany = [\"fire\"]\nitems_min = 3\nwindow_min = 60\n";

struct Program<'a> {
    folder: &'a Path,
    discord: &'a DiscordServer,
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
}

impl Program<'_> {
    fn start(&self) -> Child {
        // An address of the process before would be taken for this one's.
        let _ = std::fs::remove_file(self.folder.join("address"));
        Command::new(env!("CARGO_BIN_EXE_tidings"))
            .env_clear()
            .args(["run", "--no-supervise", "--no-env-file", "--listen", "127.0.0.1:0"])
            .args(["--roles", "deliver,serve", "--data-dir"])
            .arg(self.folder)
            .args(["--set", "alerts.interval_s=1", "--set", "alerts.settle_s=0"])
            .args(["--set", "alerts.edit_interval_s=1", "--set", "ingest.tick_interval_s=1"])
            .args(["--set", "discord.channel_requests_per_minute_max=10000"])
            .args(["--set", &format!("discord.api_base={}", self.discord.base())])
            .env("DISCORD_WEBHOOK_URL", self.discord.webhook_url())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts")
    }

    fn ask(&self, path: &str, body: Option<String>) -> Result<Value, String> {
        let base = std::fs::read_to_string(self.folder.join("address")).map_err(|e| e.to_string())?;
        let url = format!("{}{path}", base.trim().trim_end_matches('/'));
        let request = match body {
            None => self.client.get(url),
            Some(body) => self.client.post(url).header("content-type", "application/x-ndjson").body(body),
        };
        self.runtime.block_on(async {
            let answer = request.send().await.map_err(|e| e.to_string())?;
            answer.error_for_status().map_err(|e| e.to_string())?.json().await.map_err(|e| e.to_string())
        })
    }

    fn eventually<T>(&self, what: &str, mut found: impl FnMut() -> Result<T, String>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            match found() {
                Ok(value) => return value,
                Err(last) => assert!(Instant::now() < until, "{what} did not happen: {last}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One item with the word, accepted whatever dies meanwhile.
    fn post(&self, n: u64) {
        let event = json!({
            "platform": "test", "native_id": n.to_string(), "kind": "post", "change": "created", "revision": 1,
            "title": format!("fire number {n}"), "published_at": jiff::Timestamp::now().to_string(),
        });
        self.eventually("acceptance", || self.ask("/v1/events", Some(event.to_string())));
    }

    fn alerts(&self) -> Result<Vec<Value>, String> {
        let answer = self.ask("/v1/alerts?limit=500", None)?;
        Ok(answer["items"].as_array().cloned().unwrap_or_default())
    }
}

#[test]
fn killed_while_an_alert_develops_it_is_one_post() {
    let seed: u64 = rand::random();
    println!("seed of the kills {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let discord = DiscordServer::start(Conduct::default(), seed);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("config")).expect("can be made");
    std::fs::write(folder.path().join("config/alerts.toml"), RULES).expect("can be written");
    let program = Program {
        folder: folder.path(),
        discord: &discord,
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts"),
        client: reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .expect("builds"),
    };
    let mut child = program.start();
    program.eventually("readiness", || program.ask("/readyz", None));
    for n in 1..=3 {
        program.post(n);
    }
    // The post is there and recorded before anything is killed: a post that is cut off is
    // uncertain, and that is another test's.
    program.eventually("the post", || {
        let listed = program.ask("/v1/outbox?state=sent", None)?;
        if listed["items"].as_array().is_some_and(|items| items.len() == 1) {
            Ok(())
        } else {
            Err(listed.to_string())
        }
    });
    for round in 0..KILLS {
        program.post(10 + round);
        std::thread::sleep(Duration::from_millis(random.random_range(0..2_500)));
        child.kill().expect("can be killed");
        child.wait().expect("ends");
        child = program.start();
    }
    let wanted = 3 + KILLS;
    let alert = program.eventually("every item in the alert", || {
        let alerts = program.alerts()?;
        match alerts.as_slice() {
            [alert] if alert["value"] == json!(wanted as f64) => Ok(alert.clone()),
            _ => Err(format!("{alerts:?}")),
        }
    });
    program.eventually("the last edit", || {
        let messages = discord.messages();
        let text = messages[0].body.to_string();
        if text.contains(&format!("{wanted} new items")) { Ok(()) } else { Err(text) }
    });
    child.kill().expect("can be killed");
    child.wait().expect("ends");
    let messages = discord.messages();
    assert_eq!(messages.len(), 1, "seed {seed}: {messages:#?}");
    assert!(messages[0].edits >= 1 && alert["edits"].as_u64() >= Some(1), "{alert}");
    assert_eq!(alert["suppressed"], Value::Null);
    discord.assert_no_violations();
}
