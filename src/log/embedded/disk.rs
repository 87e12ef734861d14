//! Refuses writes while the disk is nearly full, before the store itself fails, and while
//! the log is as large as it may become.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::log::LogError;
use crate::log::settings::Embedded;
use crate::ops::metrics::disk_space;

/// The answer is asked for again this often: at most a second of writes late.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Disk {
    folder: PathBuf,
    free_min_percent: f64,
    bytes_max: u64,
    checked: Option<Instant>,
    full: Option<String>,
}

impl Disk {
    pub fn new(folder: &Path, settings: &Embedded) -> Self {
        Self {
            folder: folder.to_path_buf(),
            free_min_percent: settings.disk_free_min_percent,
            bytes_max: settings.bytes_max,
            checked: None,
            full: None,
        }
    }

    /// `bytes` is what the log takes on the disk now.
    pub fn check(&mut self, bytes: impl FnOnce() -> u64) -> Result<(), LogError> {
        if self.checked.is_none_or(|at| at.elapsed() >= CHECK_INTERVAL) {
            self.checked = Some(Instant::now());
            self.full = self.measure(bytes());
        }
        match &self.full {
            Some(why) => Err(LogError::Full(why.clone())),
            None => Ok(()),
        }
    }

    fn measure(&self, bytes: u64) -> Option<String> {
        if self.bytes_max > 0 && bytes >= self.bytes_max {
            return Some(format!(
                "the log in {} has {bytes} bytes, {} are allowed (log.embedded.bytes_max)",
                self.folder.display(),
                self.bytes_max
            ));
        }
        // A file system that cannot say is not taken for a full one.
        let free_percent = disk_space(&self.folder).ok()?.free_percent();
        (free_percent < self.free_min_percent).then(|| {
            format!(
                "{free_percent:.1} % of the disk of {} is free, {} % must stay free (log.embedded.disk_free_min_percent)",
                self.folder.display(),
                self.free_min_percent
            )
        })
    }
}
