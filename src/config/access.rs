//! Addresses and secrets of what Tidings talks to; they come from the environment.

use serde::Deserialize;

use super::{Address, Secret, optional};

/// Table `[discord_access]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discord {
    #[serde(deserialize_with = "optional")]
    pub webhook_url: Option<Secret>,
    #[serde(deserialize_with = "optional")]
    pub private_webhook: Option<Secret>,
    #[serde(deserialize_with = "optional")]
    pub bot_token: Option<Secret>,
    pub dry_run: bool,
}

/// Table `[qdrant]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Qdrant {
    #[serde(deserialize_with = "optional")]
    pub url: Option<Address>,
    #[serde(deserialize_with = "optional")]
    pub api_key: Option<Secret>,
}
