//! What every part of a running process shares.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Config;
use crate::ops::data_dir::DataDir;
use crate::ops::health::Health;
use crate::ops::shutdown::Shutdown;

/// A part of Tidings that can run in a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Follows the sources
    Poll,
    /// Decides digests and posts them to Discord
    Deliver,
    /// HTTP: ingest and queries
    Serve,
}

/// One running process.
pub struct Node {
    pub config: Arc<Config>,
    /// Where the user's own files are; need not exist.
    pub config_dir: PathBuf,
    pub folder: DataDir,
    pub health: Arc<Health>,
    pub shutdown: Shutdown,
    /// The parts that run here.
    pub roles: Vec<Role>,
    /// Whether to replace a live set on the same log.
    pub takeover: bool,
}
