//! Starts the real binary, away from this process's environment.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Far longer than anything takes, for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary in this folder, with nothing in its environment.
pub fn tidings(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    command
}

pub fn output(command: &mut Command) -> Output {
    command.output().expect("the binary starts")
}

/// Standard output and standard error as text.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Asks again until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A `tidings run`; killed with its child when dropped.
pub struct Running {
    pub process: Child,
    data: PathBuf,
    /// Reads standard error all along: a full pipe would stop the process.
    reader: Option<std::thread::JoinHandle<()>>,
    log: Arc<Mutex<String>>,
}

impl Running {
    /// Starts `tidings run` with these further arguments on a free port.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::spawn(tidings(folder).args(["run", "--listen", "127.0.0.1:0"]).args(arguments), folder)
    }

    pub fn spawn(command: &mut Command, folder: &Path) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stderr = process.stderr.take().expect("piped");
        let log: Arc<Mutex<String>> = Arc::default();
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut kept = kept.lock().expect("not poisoned");
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        Self { process, data: folder.join("data"), reader: Some(reader), log }
    }

    /// The process that works, once it serves.
    pub fn worker(&self) -> u32 {
        until("a worker that serves", || {
            self.address()?;
            std::fs::read_to_string(self.data.join("lock")).ok()?.parse().ok()
        })
    }

    /// A worker other than this one, once it serves.
    pub fn worker_after(&self, old: u32) -> u32 {
        until("another worker", || Some(self.worker()).filter(|pid| *pid != old))
    }

    pub fn address(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.data.join("address")).ok()?;
        Some(text.trim().strip_prefix("http://")?.to_string())
    }

    pub fn signal(&self, signal: Signal) {
        send(self.process.id(), signal);
    }

    /// Waits for the end; the exit code and everything it logged.
    pub fn end(mut self) -> (Option<i32>, String) {
        let status = until("the end of the process", || self.process.try_wait().expect("waits"));
        self.reader.take().expect("taken once").join().expect("reads");
        (status.code(), self.logged())
    }

    /// What it has logged so far.
    pub fn logged(&self) -> String {
        self.log.lock().expect("not poisoned").clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("a process id");
    kill_process(pid, signal).expect("the process is there");
}

/// Whether the process runs: not gone, and not a zombie that nobody waited for.
pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| !rest.starts_with(['Z', 'X'])))
        .unwrap_or(false)
}

/// Sends these bytes and reads until the server closes.
pub fn raw(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("sends");
    let mut answer = Vec::new();
    // A server may close before it has read everything: what it said is here anyway.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// `GET path` with these further header lines.
pub fn get(address: &str, path: &str, headers: &str) -> String {
    raw(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n"))
}
