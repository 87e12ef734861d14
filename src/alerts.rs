//! Alerts: what should not wait for the next digest.
//!
//! ```text
//! content.enriched, results.volume, dead.letters,      ┌──> alerts
//! control.clock ───────────────────────> engine ───────┤
//! samples of the process itself ────────────^          └──> discord.outbox ──> deliver
//! ```
//!
//! A rule's condition is looked at every few seconds of the pipeline clock ([`watch`]);
//! [`board`] makes of what it finds alerts that open, develop and end; [`engine`] writes
//! them. All but the samples is a function of committed topics.

pub mod api;
pub mod board;
pub mod command;
pub mod engine;
pub mod metrics;
pub mod record;
pub mod rule;
pub mod sample;
pub mod trial;
pub mod watch;

use serde::Deserialize;

use dataflows::time::{MINUTE_MS, SECOND_MS};

/// `[alerts]` of the settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub interval_s: u64,
    pub settle_s: u64,
    pub edit_interval_s: u64,
    pub edit_horizon_d: u64,
    pub live_per_rule_max: usize,
    pub subjects_per_rule_max: usize,
    pub records_per_minute_max: usize,
    pub examples_max: usize,
    pub hits_per_rule_max: usize,
    pub item_age_max_h: u64,
    pub cells_max: usize,
    pub tracked_max: usize,
    pub catch_up_max_h: u64,
    pub batch_bytes_max: usize,
    pub rule: rule::Defaults,
}

impl Settings {
    pub fn interval_ms(&self) -> i64 {
        ms(self.interval_s.max(1), SECOND_MS)
    }

    pub fn settle_ms(&self) -> i64 {
        ms(self.settle_s, SECOND_MS)
    }

    /// What is kept beyond windows and hold times: delays, and published up to an hour ahead.
    fn margin_ms(&self) -> i64 {
        90 * MINUTE_MS + self.settle_ms()
    }
}

fn ms(n: u64, unit_ms: i64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX).saturating_mul(unit_ms)
}

/// The settings as shipped.
#[cfg(test)]
pub(crate) fn default_settings() -> Settings {
    #[derive(Deserialize)]
    struct Table {
        alerts: Settings,
    }
    toml::from_str::<Table>(include_str!("../config/default.toml")).expect("the defaults are whole").alerts
}
