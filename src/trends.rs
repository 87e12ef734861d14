//! Trends: bursts of watched topics and of emergent terms.

use serde::Deserialize;

/// Table `[trends]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub terms_per_item_max: usize,
}
