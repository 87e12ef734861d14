//! Health.

use serde::Deserialize;

/// Table `[health]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub loop_stalled_s: u64,
    pub disk_free_min_percent: f64,
}
