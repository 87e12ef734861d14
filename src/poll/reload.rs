//! `sources.toml` as it changes: the file in, the sources it names out, whenever it is
//! another one and valid.
//!
//! A file that is not valid changes nothing: the old sources are followed on, and
//! [`fault`] says what is wrong until it is mended. Without the file the built-in list
//! holds, and likewise with a file that names no list.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::source::{self, Source};

/// Bytes of a file that can be a list of sources.
const FILE_BYTES_MAX: u64 = 8 << 20;

static FAULT: LazyLock<Mutex<Option<String>>> = LazyLock::new(Mutex::default);

/// What is wrong with the file of sources that is followed; `None`: nothing.
pub fn fault() -> Option<String> {
    FAULT.lock().clone()
}

/// The file of sources of a running process.
pub struct Overlay {
    path: PathBuf,
    seen: Option<Stamp>,
}

/// What tells one state of the file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stamp {
    Absent,
    Unreadable(String),
    File { bytes: u64, changed: Option<SystemTime>, inode: u64 },
}

impl Overlay {
    /// Follows the file from how it is now, which the process has read already.
    pub fn new(path: PathBuf) -> Self {
        let seen = Some(stamp(&path));
        *FAULT.lock() = None;
        Self { path, seen }
    }

    /// The sources, if the file is another one than at the last call, and valid.
    pub fn changed(&mut self) -> Option<Vec<Source>> {
        let now = stamp(&self.path);
        if self.seen.as_ref() == Some(&now) {
            return None;
        }
        let read = match &now {
            Stamp::Absent => source::parse(source::DEFAULT).map_err(|e| e.to_string()),
            Stamp::Unreadable(error) => Err(format!("cannot be read: {error}")),
            Stamp::File { .. } => read(&self.path),
        };
        self.seen = Some(now);
        let path = self.path.display();
        match read {
            Ok(sources) => {
                tracing::info!(sources = sources.len(), "the sources have changed");
                *FAULT.lock() = None;
                Some(sources)
            }
            Err(error) => {
                tracing::error!(%path, error, "the sources are not valid, following the old ones");
                *FAULT.lock() = Some(format!("{path} is not valid, the old sources are followed: {error}"));
                None
            }
        }
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        *FAULT.lock() = None;
    }
}

fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata(path) {
        Ok(file) => Stamp::File { bytes: file.len(), changed: file.modified().ok(), inode: file.ino() },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Stamp::Absent,
        Err(error) => Stamp::Unreadable(error.to_string()),
    }
}

/// Reads the sources of a file, the built-in ones if it names no list.
pub fn read(path: &Path) -> Result<Vec<Source>, String> {
    let bytes = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("has {bytes} bytes, {FILE_BYTES_MAX} are allowed"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot be read: {e}"))?;
    of_text(&text)
}

/// The sources that a file of this text stands for.
pub fn of_text(text: &str) -> Result<Vec<Source>, String> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string().trim().to_string())?;
    let text = if table.is_empty() { source::DEFAULT } else { text };
    source::parse(text).map_err(|e| e.0.join("; "))
}
