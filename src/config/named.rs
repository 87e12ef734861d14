//! Variables that have names of their own: the ones that set a knob, and those of
//! the original bot's runbook that this version recognises without using them.

/// A variable that sets one knob.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    pub name: &'static str,
    /// Other names, in falling precedence.
    pub aliases: &'static [&'static str],
    /// The knob, as a path into default.toml.
    pub knob: &'static str,
    /// One sentence for `.env.example`; `None` keeps it out of there: neither an
    /// address nor a secret.
    pub shown: Option<&'static str>,
    /// `<NAME>_FILE` may name a file that holds the value, and it is never printed.
    pub secret: bool,
}

const fn address(name: &'static str, knob: &'static str, shown: &'static str) -> Named {
    Named { name, aliases: &[], knob, shown: Some(shown), secret: false }
}

const fn secret(name: &'static str, knob: &'static str, shown: &'static str) -> Named {
    Named { name, aliases: &[], knob, shown: Some(shown), secret: true }
}

const fn knob(name: &'static str, knob: &'static str) -> Named {
    Named { name, aliases: &[], knob, shown: None, secret: false }
}

/// Chooses the profile before anything else is read.
pub const PROFILE: &[&str] = &["TIDINGS_ENV", "ENVIRONMENT"];
/// Names the overlay directory before anything else is read.
pub const CONFIG_DIR: &str = "TIDINGS_CONFIG_DIR";
/// Switches colours off with any value (no-color.org).
pub const NO_COLOR: &str = "NO_COLOR";

/// Every variable that sets a knob.
pub const NAMED: &[Named] = &[
    knob("TIDINGS_DATA_DIR", "data_dir"),
    address("TIDINGS_LISTEN", "listen", "Where HTTP listens. Anything but loopback needs TIDINGS_API_TOKEN."),
    address("TIDINGS_URL", "url", "A running Tidings that commands talk to, instead of the data folder's."),
    secret("TIDINGS_API_TOKEN", "api_token", "Bearer token of the HTTP interface."),
    secret(
        "TIDINGS_REDACTION_KEY",
        "redaction_key",
        "Key of the masks of personal values. Unset: made once and kept in the data folder.",
    ),
    knob("LOG_LEVEL", "logging.level"),
    knob("RUST_LOG", "logging.filter"),
    knob("ENABLE_SENTIMENT_ANALYSIS", "features.sentiment_analysis"),
    knob("ENABLE_PII_DETECTION", "features.pii_detection"),
    knob("ENABLE_DISCORD_PUBLISHING", "features.discord_publishing"),
    knob("ENABLE_YOUTUBE_INTEGRATION", "features.youtube_integration"),
    knob("ENABLE_ALERTS", "features.alerts"),
    address(
        "KAFKA_BOOTSTRAP_SERVERS",
        "log.kafka.bootstrap_servers",
        "host:port,… of a Kafka cluster. Unset: the embedded log.",
    ),
    knob("KAFKA_SECURITY_PROTOCOL", "log.kafka.security_protocol"),
    knob("KAFKA_SASL_MECHANISM", "log.kafka.sasl_mechanism"),
    secret("KAFKA_SASL_USERNAME", "log.kafka.sasl_username", "Who Tidings is on that cluster."),
    secret("KAFKA_SASL_PASSWORD", "log.kafka.sasl_password", "And its password."),
    knob("KAFKA_SSL_CA_LOCATION", "log.kafka.ssl_ca_location"),
    knob("KAFKA_TOPIC_PREFIX", "log.topic_prefix"),
    address("QDRANT_URL", "qdrant.url", "A Qdrant server. Unset: the embedded memory."),
    secret("QDRANT_API_KEY", "qdrant.api_key", "Its key."),
    Named {
        aliases: &["DISCORD_WEBHOOK"],
        ..secret(
            "DISCORD_WEBHOOK_URL",
            "discord_access.webhook_url",
            "Webhook of digests and content alerts; serves operational alerts too if it is alone.",
        )
    },
    secret(
        "DISCORD_PRIVATE_WEBHOOK",
        "discord_access.private_webhook",
        "Webhook of operational alerts; serves digests too if it is alone.",
    ),
    secret(
        "DISCORD_BOT_TOKEN",
        "discord_access.bot_token",
        "Token of a bot, for routes that name a channel_id.",
    ),
    knob("DISCORD_DRY_RUN", "discord_access.dry_run"),
];

/// Flags and variables of the original runbook that have no effect here, by why.
pub const RECOGNISED: &[(&str, &[&str])] = &[
    ("what is detected is always masked: ENABLE_PII_DETECTION is both", &["ENABLE_PII_REDACTION"]),
    (
        "this version has no producer or consumer for it yet",
        &[
            "ENABLE_TIKTOK_INTEGRATION",
            "ENABLE_INGEST_YOUTUBE",
            "ENABLE_INGEST_TWITCH",
            "ENABLE_INGEST_TIKTOK",
            "ENABLE_DEBATE_ANALYSIS",
            "ENABLE_FACT_CHECKING",
            "ENABLE_CONTENT_ROUTING",
            "ENABLE_EARLY_EXIT",
            "ENABLE_QUALITY_FILTERING",
            "ENABLE_CONTENT_MODERATION",
            "ENABLE_GROUNDING",
            "ENABLE_RAG_CONTEXT",
            "ENABLE_AUTO_FOLLOW_UPLOADER",
            "ENABLE_UPLOADER_BACKFILL",
            "ENABLE_YOUTUBE_CHANNEL_BACKFILL_AFTER_INGEST",
            "OPENAI_API_KEY",
            "OPENAI_BASE_URL",
            "OPENROUTER_API_KEY",
            "OPENROUTER_GENERAL_MODEL",
            "OPENROUTER_ANALYSIS_MODEL",
            "SERPLY_API_KEY",
            "EXA_API_KEY",
            "PERPLEXITY_API_KEY",
            "WOLFRAM_ALPHA_APP_ID",
            "REDDIT_CLIENT_ID",
            "REDDIT_CLIENT_SECRET",
            "REDDIT_USER_AGENT",
            "TWITTER_BEARER_TOKEN",
            "MAX_COST_PER_REQUEST",
            "LLM_PROVIDER_ALLOWLIST",
            "ROUTER_POLICY",
            "QUALITY_FIRST_TASKS",
            "QUALITY_MIN_OVERALL",
            "QUALITY_MIN_COHERENCE",
            "QUALITY_MIN_COMPLETENESS",
            "QUALITY_MIN_INFORMATIVENESS",
            "DEFAULT_DOWNLOAD_QUALITY",
            "WEBHOOK_SECRET_DEFAULT",
            "ARCHIVE_API_TOKEN",
        ],
    ),
    (
        "there is no Discord gateway connection yet, so there are no commands and nothing listens to messages",
        &[
            "ENABLE_DISCORD_INTEGRATION",
            "ENABLE_DISCORD_COMMANDS",
            "ENABLE_DISCORD_USER_COMMANDS",
            "ENABLE_DISCORD_GATEWAY",
            "ENABLE_AUTO_URL_ANALYSIS",
            "ENABLE_DISCORD_ARCHIVER",
        ],
    ),
    (
        "always on here: there is nothing to switch",
        &[
            "ENABLE_INGEST_WORKER",
            "ENABLE_INGEST_STRICT",
            "ENABLE_INGEST_CONCURRENT",
            "ENABLE_PROMETHEUS_ENDPOINT",
            "ENABLE_HTTP_METRICS",
            "ENABLE_HTTP_RETRY",
            "ENABLE_RATE_LIMITING",
            "ENABLE_HYBRID_RETRIEVAL",
            "ENABLE_MEMORY_TTL",
            "ENABLE_MEMORY_COMPACTION",
            "PROMETHEUS_ENDPOINT_PATH",
        ],
    ),
    ("operational alerts go to DISCORD_PRIVATE_WEBHOOK", &["DISCORD_ALERT_WEBHOOK"]),
    (
        "replaced by knobs of its part, see `tidings config show`",
        &[
            "SERVICE_NAME",
            "QDRANT_PREFER_GRPC",
            "RATE_LIMIT_RPS",
            "RATE_LIMIT_BURST",
            "HTTP_TIMEOUT",
            "RETRY_MAX_ATTEMPTS",
            "MEMORY_TTL_SECONDS",
            "INGEST_WORKER_CONCURRENCY",
            "INGEST_WORKER_IDLE_SLEEP",
            "INGEST_WORKER_TICK_SECONDS",
            "INGEST_DB_PATH",
        ],
    ),
    (
        "it belongs to the original's architecture, which this program does not share",
        &[
            "ENABLE_AUDIT_LOGGING",
            "ENABLE_TENANCY_STRICT",
            "ENABLE_CACHING",
            "ENABLE_CACHE_TRANSCRIPT",
            "ENABLE_SEMANTIC_CACHE",
            "ENABLE_BANDIT_ROUTING",
            "ENABLE_EXPERIMENT_HARNESS",
            "ENABLE_PIPELINE_RUN_API",
            "ENABLE_INSTRUCTOR",
            "ENABLE_FASTER_WHISPER",
            "ENABLE_FAST_WHISPER",
            "ENABLE_OPTIMIZATION",
            "ENABLE_LAZY_LOADING",
            "ENABLE_SMART_CACHING",
            "ENABLE_MEMORY_POOLING",
            "ENABLE_CACHE_OPTIMIZATION",
            "ENABLE_MEMORY_OPTIMIZATION",
            "ENABLE_LEGACY_CREW",
            "ENABLE_CREW_MODULAR",
            "ENABLE_CREW_REFACTORED",
            "ENABLE_CREW_NEW",
        ],
    ),
];

/// Why a variable of the original has no effect, if it is one.
pub fn recognised(name: &str) -> Option<&'static str> {
    RECOGNISED.iter().find(|(_, names)| names.contains(&name)).map(|(why, _)| *why)
}

/// Every `ENABLE_…` name that is not a mistake.
pub fn flags() -> impl Iterator<Item = &'static str> {
    let effective = NAMED.iter().map(|named| named.name);
    let without_effect = RECOGNISED.iter().flat_map(|(_, names)| names.iter().copied());
    effective.chain(without_effect).filter(|name| name.starts_with("ENABLE_"))
}

/// Every variable that has an effect.
pub fn effective() -> impl Iterator<Item = &'static str> {
    let named = NAMED.iter().flat_map(|named| std::iter::once(&named.name).chain(named.aliases));
    PROFILE.iter().chain([&CONFIG_DIR, &NO_COLOR]).chain(named).copied()
}

/// Whether the value of this knob must not be shown: a named secret, or a name
/// that says so (properties of librdkafka, knobs added later).
pub fn is_secret(path: &str) -> bool {
    const TELLING: &[&str] = &["password", "secret", "token", "webhook", "api_key", "redaction_key"];
    NAMED.iter().any(|named| named.secret && named.knob == path)
        || path.rsplit('.').take(2).any(|part| TELLING.iter().any(|word| part.contains(word)))
        || path.ends_with("sasl.jaas.config")
        || path.ends_with("pem")
}
