//! The running program that the demonstration talks to: this very binary, as a child
//! process with a folder and an address of its own, through nothing but its HTTP
//! interface. What the demonstration can see, any user can.
//!
//! Invariants: the child never outlives the [`Program`]; its folder is one that a
//! demonstration made.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

/// In every folder that a demonstration made: it may be emptied by the next.
const MARK: &str = "demonstration.txt";
const MARK_TEXT: &str =
    "Made by `tidings demo`, which empties this folder when it starts. Keep nothing here.\n";

const READY_WITHIN: Duration = Duration::from_secs(120);
const ASK_EVERY: Duration = Duration::from_millis(50);
const STOP_WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error(
        "{0} holds something that no demonstration made: name an empty folder, or a new one, with --folder"
    )]
    ForeignFolder(PathBuf),
    #[error("cannot prepare {path}: {error}")]
    Folder { path: PathBuf, error: io::Error },
    #[error("cannot start the program: {0}")]
    Start(io::Error),
    #[error("the program ended ({status}) before it was ready; its log is {log}")]
    Ended { status: String, log: PathBuf },
    #[error("the program was not ready within {} seconds; its log is {log}", READY_WITHIN.as_secs())]
    NotReady { log: PathBuf },
    #[error("{what}: {error}")]
    Http { what: String, error: reqwest::Error },
    #[error("{what} answered {status}: {body}")]
    Answer { what: String, status: u16, body: String },
}

/// A child process that answers at [`Program::url`].
pub struct Program {
    child: Child,
    client: reqwest::Client,
    pub address: SocketAddr,
    pub log: PathBuf,
}

/// Makes `folder` an empty folder of a demonstration. Refuses one that holds anything a
/// demonstration did not make.
pub fn prepare_folder(folder: &Path) -> Result<(), ProgramError> {
    let failed = |error| ProgramError::Folder { path: folder.to_path_buf(), error };
    fs::create_dir_all(folder).map_err(failed)?;
    let empty = fs::read_dir(folder).map_err(failed)?.next().is_none();
    if !empty && !folder.join(MARK).is_file() {
        return Err(ProgramError::ForeignFolder(folder.to_path_buf()));
    }
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // The mark goes last, so that an interrupted clearing can be resumed.
        if !path.ends_with(MARK) {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(failed)?;
        }
    }
    fs::write(folder.join(MARK), MARK_TEXT).map_err(failed)
}

/// The address if it is free, else one that the system chooses on the same host.
pub fn free_address(wanted: SocketAddr) -> io::Result<SocketAddr> {
    let listener =
        TcpListener::bind(wanted).or_else(|_| TcpListener::bind(SocketAddr::new(wanted.ip(), 0)))?;
    listener.local_addr()
}

/// A command without the environment of whoever shows the demonstration: their webhook,
/// their Kafka and their settings are not the demonstration's.
pub fn command(binary: &Path, cache: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().env("TIDINGS_CACHE", cache).stdin(Stdio::null());
    command
}

impl Program {
    /// Starts `binary` with these arguments; its messages go to `log`. Models are found
    /// in `cache`.
    pub async fn start(
        binary: &Path,
        arguments: &[OsString],
        cache: &Path,
        address: SocketAddr,
        log: PathBuf,
    ) -> Result<Self, ProgramError> {
        let file = File::create(&log).map_err(ProgramError::Start)?;
        let output = file.try_clone().map_err(ProgramError::Start)?;
        let child = command(binary, cache)
            .args(arguments)
            .stdout(output)
            .stderr(file)
            .spawn()
            .map_err(ProgramError::Start)?;
        let mut program = Self { child, client: reqwest::Client::new(), address, log };
        program.wait_until_ready().await?;
        Ok(program)
    }

    async fn wait_until_ready(&mut self) -> Result<(), ProgramError> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(ProgramError::Ended { status: status.to_string(), log: self.log.clone() });
            }
            let answer = self.client.get(self.url("/readyz")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(ProgramError::NotReady { log: self.log.clone() });
            }
            sleep(ASK_EVERY).await;
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The text that a path answers.
    pub async fn text(&self, path: &str) -> Result<String, ProgramError> {
        let answer = self.client.get(self.url(path)).send().await;
        read(path, answer).await.map(|(_, body)| body)
    }

    /// The JSON that a path answers.
    pub async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ProgramError> {
        parse(path, &self.text(path).await?)
    }

    /// Posts events, one a line, and returns the status with the answer, whatever it is.
    pub async fn post_events(&self, lines: Vec<u8>) -> Result<(u16, String), ProgramError> {
        const PATH: &str = "/v1/events";
        let request =
            self.client.post(self.url(PATH)).header("content-type", "application/x-ndjson").body(lines);
        let failed = |error| ProgramError::Http { what: PATH.to_string(), error };
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(failed)?))
    }

    /// Waits for the child to end by itself.
    pub async fn ended(&mut self) -> String {
        loop {
            match self.child.try_wait() {
                Ok(None) => sleep(ASK_EVERY).await,
                Ok(Some(status)) => return status.to_string(),
                Err(error) => return error.to_string(),
            }
        }
    }

    /// Asks the child to stop as a service manager would, and waits for it.
    pub async fn stop(mut self) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if id.is_some_and(|id| kill_process(id, Signal::TERM).is_ok()) {
            // What does not stop in time is killed when it is dropped.
            let _ = tokio::time::timeout(STOP_WITHIN, self.ended()).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails only where the child has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn read(
    what: &str,
    answer: Result<reqwest::Response, reqwest::Error>,
) -> Result<(u16, String), ProgramError> {
    let failed = |error| ProgramError::Http { what: what.to_string(), error };
    let answer = answer.map_err(failed)?;
    let status = answer.status();
    let body = answer.text().await.map_err(failed)?;
    if !status.is_success() {
        let body = super::report::shortened(&super::report::plain(&body), 300);
        return Err(ProgramError::Answer { what: what.to_string(), status: status.as_u16(), body });
    }
    Ok((status.as_u16(), body))
}

pub(super) fn parse<T: DeserializeOwned>(what: &str, body: &str) -> Result<T, ProgramError> {
    serde_json::from_str(body).map_err(|error| ProgramError::Answer {
        what: what.to_string(),
        status: 200,
        body: format!("{error} in {}", super::report::shortened(&super::report::plain(body), 200)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_somebodys_data_is_refused_and_untouched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("log"), "live").unwrap();
        let error = prepare_folder(folder.path()).expect_err("foreign");
        assert!(matches!(error, ProgramError::ForeignFolder(_)));
        assert_eq!(fs::read_to_string(folder.path().join("log")).unwrap(), "live");
    }

    #[test]
    fn a_demonstrations_folder_is_emptied_for_the_next() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("demo");
        prepare_folder(&folder).expect("a new one");
        fs::create_dir(folder.join("log")).unwrap();
        fs::write(folder.join("log/1"), "old").unwrap();
        prepare_folder(&folder).expect("our own");
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, [MARK]);
    }

    #[test]
    fn a_taken_address_gives_way() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free_address(taken.local_addr().unwrap()).unwrap();
        assert_ne!(address, taken.local_addr().unwrap());
        assert!(address.ip().is_loopback());
    }
}
