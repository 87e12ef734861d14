//! The real program as a child process, on a folder and a log of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dataflows::event::Enriched;
use dataflows::record::{Stored, topic};
use serde_json::Value;
use tidings::worker::index::{ends, reached};

/// The log that the child runs on.
#[derive(Clone, Copy, Debug)]
pub enum Backend {
    Embedded { workers: usize },
    Kafka { workers: usize },
}

pub struct Tidings {
    folder: tempfile::TempDir,
    backend: Backend,
    prefix: String,
    child: Mutex<Child>,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

const READY_WITHIN: Duration = Duration::from_secs(60);
const ACCEPTED_WITHIN: Duration = Duration::from_secs(60);

impl Tidings {
    pub fn start(backend: Backend) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let name = folder.path().file_name().expect("named").to_string_lossy().replace('.', "");
        let prefix = format!("crash-{name}.");
        let child = Mutex::new(spawn(folder.path(), backend, &prefix, &[]));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("starts");
        let client =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().expect("builds");
        let tidings = Self { folder, backend, prefix, child, client, runtime };
        tidings.wait_until_ready();
        tidings
    }

    /// SIGKILL, no matter what it does.
    pub fn kill(&self) {
        let mut child = self.child.lock().expect("not poisoned");
        child.kill().expect("can be killed");
        child.wait().expect("ends");
    }

    /// The same, and a new process on the same folder.
    pub fn kill_and_restart(&self) {
        self.kill_and_restart_with(&[]);
    }

    /// The same, with further arguments.
    pub fn kill_and_restart_with(&self, arguments: &[&str]) {
        self.kill();
        *self.child.lock().expect("not poisoned") =
            spawn(self.folder.path(), self.backend, &self.prefix, arguments);
    }

    /// If it ended, how.
    pub fn ended(&self) -> Option<std::process::ExitStatus> {
        self.child.lock().expect("not poisoned").try_wait().expect("can be asked")
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    fn url(&self, path: &str) -> Option<String> {
        let address = std::fs::read_to_string(self.folder.path().join("address")).ok()?;
        Some(format!("{}{path}", address.trim().trim_end_matches('/')))
    }

    pub fn get(&self, path: &str) -> Result<Value, String> {
        let url = self.url(path).ok_or("no address yet")?;
        self.runtime.block_on(async {
            let answer = self.client.get(url).send().await.map_err(|e| e.to_string())?;
            let status = answer.status();
            let body = answer.text().await.map_err(|e| e.to_string())?;
            if !status.is_success() {
                return Err(format!("{status}: {body}"));
            }
            serde_json::from_str(&body).map_err(|e| e.to_string())
        })
    }

    fn wait_until_ready(&self) {
        let until = Instant::now() + READY_WITHIN;
        while let Err(error) = self.get("/readyz") {
            let ended = self.child.lock().expect("not poisoned").try_wait().expect("can be asked");
            assert!(ended.is_none(), "the program ended: {ended:?}");
            assert!(Instant::now() < until, "not ready in time: {error}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn post(&self, body: &str) -> Result<String, String> {
        let url = self.url("/v1/events").ok_or("no address".to_string())?;
        self.runtime.block_on(async {
            let request = self.client.post(url).header("content-type", "application/x-ndjson");
            let answer = request.body(body.to_string()).send().await.map_err(|e| e.to_string())?;
            let status = answer.status();
            let text = answer.text().await.map_err(|e| e.to_string())?;
            if status.as_u16() == 202 { Ok(text) } else { Err(format!("{status}: {text}")) }
        })
    }

    /// Sends the batch; whether it was acknowledged.
    pub fn post_once(&self, body: &str) -> bool {
        self.post(body).is_ok()
    }

    /// Sends the batch until it is acknowledged: the process may die at any time.
    pub fn post_until_accepted(&self, body: &str) {
        let until = Instant::now() + ACCEPTED_WITHIN;
        loop {
            match self.post(body) {
                Ok(receipt) => {
                    let receipt: Value = serde_json::from_str(&receipt).expect("a receipt");
                    assert_eq!(receipt["rejected"], 0, "{receipt}");
                    return;
                }
                Err(error) => assert!(Instant::now() < until, "not accepted in time: {error}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends the process in order.
    pub fn stop(&self) {
        let mut child = self.child.lock().expect("not poisoned");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("can be signalled");
        let status = child.wait().expect("ends");
        assert!(status.success(), "SIGTERM ends it in order: {status}");
    }

    /// The versions in content.enriched, as any consumer reads them, once it has stopped.
    pub fn versions(&self) -> Vec<(String, u64)> {
        self.read(topic::ENRICHED).iter().map(version).collect()
    }

    /// Everything in a topic, read committed, once the process has stopped.
    pub fn read(&self, topic: &str) -> Vec<Stored> {
        let mut settings = log_settings();
        if let Backend::Kafka { .. } = self.backend {
            settings.kafka.bootstrap_servers = crate::broker::bootstrap_servers();
            settings.topic_prefix = self.prefix.clone();
        }
        let log = tidings::log::open(&settings, self.folder.path()).expect("the log opens");
        let ends = ends(log.as_ref(), topic).expect("the topic is there");
        let mut reader = log.reader(&ends.keys().map(|p| (p.clone(), 0)).collect()).expect("can be read");
        let mut records = Vec::new();
        while !reached(&reader.positions(), &ends) {
            records.extend(reader.poll(Duration::from_millis(500), 4 << 20).expect("can be read"));
        }
        records
    }
}

/// Content id and revision of a record of content.enriched.
fn version(stored: &Stored) -> (String, u64) {
    let value = stored.value.as_ref().expect("no tombstones within a test");
    let enriched: Enriched = serde_json::from_slice(value).expect("an enriched record");
    (enriched.id, enriched.version.revision)
}

/// The log's settings as they are by default.
pub fn log_settings() -> tidings::log::Settings {
    #[derive(serde::Deserialize)]
    struct Default {
        log: tidings::log::Settings,
    }
    toml::from_str::<Default>(include_str!("../../config/default.toml")).expect("config/default.toml").log
}

fn spawn(folder: &std::path::Path, backend: Backend, prefix: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.env_clear().args([
        "run",
        "--no-supervise",
        "--no-env-file",
        "--roles",
        "serve",
        "--listen",
        "127.0.0.1:0",
    ]);
    command.arg("--data-dir").arg(folder).args(arguments);
    let (Backend::Embedded { workers } | Backend::Kafka { workers }) = backend;
    command.args(["--set", &format!("worker.workers={workers}")]);
    if let Backend::Kafka { .. } = backend {
        command
            .env("KAFKA_BOOTSTRAP_SERVERS", crate::broker::bootstrap_servers())
            .env("KAFKA_TOPIC_PREFIX", prefix);
    }
    // An address of the process before would be taken for this one's.
    let _ = std::fs::remove_file(folder.join("address"));
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok).filter(|l| {
            l.contains("WARN") || l.contains("ERROR") || l.contains("panic") || l.starts_with("tidings:")
        }) {
            eprintln!("  child: {line}");
        }
    });
    child
}
