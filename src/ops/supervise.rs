//! Supervision.

use serde::Deserialize;

/// Table `[supervise]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub restart_delay_min_ms: u64,
    pub restart_delay_max_ms: u64,
    pub fenced_delay_ms: u64,
    pub healthy_after_s: u64,
    pub grace_s: u64,
}
