//! The configuration: default.toml, overlays, environment, flags; the only reader
//! of the environment.
//!
//! Produces one [`Config`], in which every part finds its `Settings`, and says
//! where each value came from. Later layers win:
//! 1. default.toml and the built-in lists, compiled in;
//! 2. the profile that `TIDINGS_ENV` names, compiled in;
//! 3. files of the overlay directory (`TIDINGS_CONFIG_DIR`, else `config/` in the
//!    data folder): tidings.toml, and a list's file in place of the built-in list;
//! 4. `TIDINGS__SECTION__KEY`;
//! 5. variables with names of their own (`KAFKA_BOOTSTRAP_SERVERS` …);
//! 6. command-line flags.
//!
//! Invariants: every mistake is reported, not only the first; no message, log or
//! listing shows a secret; code has no defaults of its own.
//!
//! To add a part: its table in default.toml, and its field in [`Config`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

mod access;
mod check;
mod document;
mod environment;
mod layers;
mod load;
mod named;
mod origin;
mod rollout;
mod secret;
mod show;

pub use access::{Discord as DiscordAccess, Qdrant};
pub use environment::Environment;
pub use load::{Loaded, Notice, Overrides, Profile, load};
pub use named::{CONFIG_DIR, NAMED, Named, PROFILE, RECOGNISED};
pub use origin::{Mistake, Mistakes, Origin, nearest};
pub use rollout::Rollout;
pub use secret::{Address, MASK, Secret};

/// Every knob, by part.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    #[serde(deserialize_with = "optional")]
    pub url: Option<Address>,
    #[serde(deserialize_with = "optional")]
    pub api_token: Option<Secret>,
    #[serde(deserialize_with = "optional")]
    pub redaction_key: Option<Secret>,
    pub features: Features,
    pub discord_access: DiscordAccess,
    pub qdrant: Qdrant,
    pub logging: crate::ops::logging::Settings,
    pub http: crate::ops::http::Settings,
    pub health: crate::ops::health::Settings,
    pub supervise: crate::ops::supervise::Settings,
    pub log: crate::log::Settings,
    pub worker: crate::worker::Settings,
    pub volume: crate::worker::VolumeSettings,
    pub trends: crate::trends::Settings,
    pub stories: crate::stories::Settings,
    pub ingest: crate::ingest::Settings,
    pub pii: crate::pii::Settings,
    pub models: crate::memory::models::Settings,
    pub embed: crate::memory::embed::Settings,
    pub memory: crate::memory::Settings,
    /// The watched topics, `[[topic]]` of topics.toml.
    pub topic: Vec<dataflows::text::topics::Topic>,
    pub poll: crate::poll::Settings,
    /// The sources, `[[source]]` of sources.toml.
    pub source: Vec<toml::Table>,
    pub discord: crate::discord::Settings,
    pub alerts: crate::alerts::Settings,
    /// What is worth an alert, `[[alert]]` of alerts.toml.
    pub alert: Vec<toml::Table>,
    /// Where digests go, `[[route]]` of routes.toml.
    pub route: Vec<toml::Table>,
}

impl std::fmt::Debug for Config {
    /// Not the knobs: `config show` lists them, with the secrets masked.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

/// What can be switched off for all content or a part of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Features {
    pub sentiment_analysis: Rollout,
    pub pii_detection: Rollout,
    pub discord_publishing: Rollout,
    pub youtube_integration: Rollout,
    pub alerts: Rollout,
}

/// The files compiled in that name every knob.
const DEFAULTS: &[(&str, &str)] = &[
    ("default.toml", include_str!("../config/default.toml")),
    ("topics.toml", include_str!("../config/topics.toml")),
    ("sources.toml", include_str!("../config/sources.toml")),
    ("routes.toml", include_str!("../config/routes.toml")),
    ("alerts.toml", include_str!("../config/alerts.toml")),
];

/// Files of the overlay directory besides tidings.toml: each takes the place of a
/// built-in list, holds only its own kind of entry, and is read by the part that
/// owns the list, which also follows its changes.
pub const LISTS: &[(&str, &str)] = &[
    ("sources.toml", "source"),
    ("topics.toml", "topic"),
    ("routes.toml", "route"),
    ("alerts.toml", "alert"),
];

/// Reads an empty text as `None`, anything else by its type's `FromStr`.
pub fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(de::Error::custom) }
}
