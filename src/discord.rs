//! Discord: digests, the outbox, delivery.
//!
//! ```text
//! content.enriched, results.volume, control.clock ──> digester ──> digests
//!                                                         └──────> discord.outbox ──> deliver ──> Discord
//!                                                                                        └──────> discord.sent
//! ```
//!
//! The digester decides (pure: `digest`, `message`), the deliverer sends; between them
//! is a committed topic, so neither can make the other lose or repeat anything.
//! The addresses of webhooks and the token are known to [`targets`] and [`transport`]
//! only, and are never part of a record, a log line or an error.

pub mod activity;
pub mod api;
pub mod command;
pub mod deliver;
pub mod digest;
pub mod digester;
pub mod escape;
pub mod health;
pub mod limits;
pub mod message;
pub mod metrics;
pub mod outbox;
pub mod routes;
pub mod schedule;
pub mod targets;
pub mod transport;

use serde::Deserialize;

pub use crate::config::Secret;

/// `[discord]` of the settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub api_base: String,
    pub request_timeout_s: u64,
    pub channel_requests_per_minute_max: usize,
    pub invalid_requests_max: usize,
    pub attempts_max: u32,
    pub backoff_min_s: u64,
    pub backoff_max_s: u64,
    pub post_age_max_h: u64,
    pub settle_after_s: u64,
    pub settle_pages_max: u32,
    pub outbox_keys_max: usize,
    pub digests: DigestSettings,
    pub route: routes::Defaults,
    pub choice: digest::Choice,
}

/// `[discord.digests]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestSettings {
    pub settle_s: u64,
    pub edit_interval_s: u64,
    pub edit_horizon_d: u64,
    pub items_max: usize,
    pub items_bytes_max: usize,
    pub stories_max: usize,
    pub cells_max: usize,
    pub tracked_max: usize,
    pub missed_records_max: usize,
    pub batch_bytes_max: usize,
}

/// What comes from the environment: secrets, and whether to publish.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// `DISCORD_WEBHOOK_URL`: digests and content alerts.
    pub webhook: Option<Secret>,
    /// `DISCORD_PRIVATE_WEBHOOK`: operational alerts.
    pub private_webhook: Option<Secret>,
    /// `DISCORD_BOT_TOKEN`, with or without "Bot ".
    pub bot_token: Option<Secret>,
    /// `ENABLE_DISCORD_PUBLISHING`.
    pub publishing: bool,
    /// `DISCORD_DRY_RUN`.
    pub dry_run: bool,
}

/// Now, for what the world outside needs: limits, ages, answers. The digester knows
/// the pipeline clock only.
pub fn wall_clock_ms() -> i64 {
    crate::run::now_ms()
}

#[cfg(test)]
pub(crate) fn default_settings() -> Settings {
    #[derive(Deserialize)]
    struct Table {
        discord: Settings,
    }
    toml::from_str::<Table>(include_str!("../config/default.toml")).expect("the defaults are whole").discord
}
