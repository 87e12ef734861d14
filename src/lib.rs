//! The runtime of Tidings, in the order the data travels.

pub mod config;
pub mod poll;
pub mod log;
pub mod ingest;
pub mod pii;
pub mod worker;
pub mod volume;
pub mod trends;
pub mod stories;
pub mod dead_letters;
pub mod stream;
pub mod run;
pub mod memory;
pub mod alerts;
pub mod discord;
pub mod page;
pub mod eval;
pub mod ops;
pub mod demo;
pub mod cli;

/// The version of this build, from Cargo.toml.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit of this build, or `unknown`.
pub const COMMIT: &str = env!("TIDINGS_COMMIT");
