//! Addresses and secrets of what Tidings talks to; they come from the environment.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Secret, optional};

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
    pub url: Option<url::Url>,
    #[serde(deserialize_with = "optional")]
    pub api_key: Option<Secret>,
}

/// Table `[log]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub topic_prefix: String,
    pub kafka: Kafka,
}

/// Table `[log.kafka]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    pub bootstrap_servers: String,
    pub security_protocol: String,
    pub sasl_mechanism: String,
    #[serde(deserialize_with = "optional")]
    pub sasl_username: Option<Secret>,
    #[serde(deserialize_with = "optional")]
    pub sasl_password: Option<Secret>,
    pub ssl_ca_location: String,
    pub properties: BTreeMap<String, String>,
}
