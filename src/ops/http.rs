//! HTTP: errors as every handler answers them, and the server.

mod problem;

pub use problem::Problem;

use serde::Deserialize;

/// Table `[http]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub body_bytes_max: usize,
    pub requests_max: usize,
    pub connections_max: usize,
    pub request_timeout_s: u64,
    pub idle_timeout_s: u64,
    pub drain_s: u64,
    pub retry_after_s: u64,
    pub allowed_hosts: Vec<String>,
}
