//! Stories as they can be asked for: a view of results.stories in memory.

use serde::Deserialize;

/// Table `[stories]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub enabled: bool,
    pub catch_up_records_max: u64,
    pub graph: dataflows::stories::Settings,
}
