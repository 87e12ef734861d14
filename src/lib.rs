//! The runtime of Tidings, in the order the data travels.

pub mod config;
pub mod poll;
pub mod log;
pub mod ingest;
pub mod worker;
pub mod memory;
pub mod discord;
pub mod eval;
pub mod ops;
pub mod cli;
