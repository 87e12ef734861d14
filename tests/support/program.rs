//! The real program as a child process with a folder of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(60);

pub struct Program {
    folder: tempfile::TempDir,
    command: Command,
    child: Child,
}

impl Program {
    /// Starts it on a free port; `change` adds to the command, and to the overlay folder.
    pub fn start(change: impl FnOnce(&mut Command, &Path)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("config");
        std::fs::create_dir(&config).expect("can be made");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command
            .env_clear()
            .args(["run", "--no-env-file", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        change(&mut command, &config);
        let child = command.spawn().expect("starts");
        Self { folder, command, child }
    }

    /// Kills it and starts it again on the same folder.
    pub fn restart(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is our child");
        // The next one has another address.
        let _ = std::fs::remove_file(self.folder.path().join("address"));
        self.child = self.command.spawn().expect("starts");
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn base(&self) -> Result<String, String> {
        let base = std::fs::read_to_string(self.folder.path().join("address")).map_err(|e| e.to_string())?;
        Ok(base.trim().trim_end_matches('/').to_string())
    }

    /// The address of a path, once the program has one.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", eventually("an address", || self.base()))
    }

    pub fn get(&self, path: &str) -> Result<Value, String> {
        let url = format!("{}{path}", self.base()?);
        runtime().block_on(async {
            let answer = reqwest::get(url).await.map_err(|e| e.to_string())?;
            answer.error_for_status().map_err(|e| e.to_string())?.json().await.map_err(|e| e.to_string())
        })
    }

    /// Sends events; whatever the verdicts are.
    pub fn post(&self, events: &[Value]) {
        let body: String = events.iter().map(|event| format!("{event}\n")).collect();
        let request = reqwest::Client::new()
            .post(self.url("/v1/events"))
            .header("content-type", "application/x-ndjson")
            .body(body);
        let status = runtime().block_on(request.send()).expect("answers").status();
        assert!(status.as_u16() == 202 || status.as_u16() == 400, "{status}");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts")
}

impl Drop for Program {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `found` gives something; says what was last seen when it never does.
pub fn eventually<T>(what: &str, mut found: impl FnMut() -> Result<T, String>) -> T {
    let until = Instant::now() + WITHIN;
    loop {
        match found() {
            Ok(value) => return value,
            Err(last) => assert!(Instant::now() < until, "{what} did not happen: {last}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
