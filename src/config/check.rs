//! What types cannot say: values that are wrong only together.

use super::layers::Layers;
use super::origin::Mistake;
use super::{Address, Config, Secret};

/// Mistakes of a configuration whose every value is valid by itself.
pub(super) fn mistakes(config: &Config, layers: &Layers) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut wrong = |knob: &str, message: String| {
        let origin = layers.get(knob).map(|leaf| leaf.origin.clone());
        mistakes.push(Mistake { origin, message: format!("{knob}: {message}") });
    };
    if !config.listen.ip().is_loopback() && config.api_token.is_none() {
        let message = format!("{} is not a loopback address: TIDINGS_API_TOKEN is required", config.listen);
        wrong("listen", message);
    }
    if config.api_token.as_ref().is_some_and(|token| !is_sendable(token)) {
        wrong("api_token", format!("needs {TOKEN_CHARS_MIN} or more printable characters and no spaces"));
    }
    if let Err(message) = config.pii.kinds() {
        wrong("pii.types", message);
    }
    if let Err(message) = config.trends.graph() {
        wrong("trends", message);
    }
    // A restart rebuilds counts from the identities that are known.
    if config.trends.graph.retention_h > config.volume.identity_horizon_days * 24 {
        let message = "is longer than volume.identity_horizon_days".to_string();
        wrong("trends.graph.retention_h", message);
    }
    if let Err(message) = config.stories.graph.check() {
        wrong("stories.graph", message);
    }
    if config.redaction_key.as_ref().is_some_and(|key| key.expose().chars().count() < KEY_CHARS_MIN) {
        wrong("redaction_key", format!("needs {KEY_CHARS_MIN} or more characters"));
    }
    let discord = &config.discord_access;
    for (knob, webhook) in
        [("webhook_url", &discord.webhook_url), ("private_webhook", &discord.private_webhook)]
    {
        if webhook.as_ref().is_some_and(|webhook| webhook.expose().parse::<Address>().is_err()) {
            let message = "expected https://discord.com/api/webhooks/ID/TOKEN (the value is not shown)";
            wrong(&format!("discord_access.{knob}"), message.to_string());
        }
    }
    if !config.logging.filter.is_empty()
        && let Err(message) = crate::ops::logging::parse_filter(&config.logging.filter)
    {
        wrong("logging.filter", message);
    }
    if config.supervise.restart_delay_min_ms > config.supervise.restart_delay_max_ms {
        wrong("supervise.restart_delay_min_ms", "larger than supervise.restart_delay_max_ms".to_string());
    }
    for (knob, message) in config.poll.faults() {
        wrong(&format!("poll.{knob}"), message);
    }
    let sources = crate::poll::source::of_tables(&config.source);
    if let Err(faults) = &sources {
        faults.0.iter().for_each(|message| wrong("source", message.clone()));
    }
    match crate::discord::routes::of_tables(&config.route, &config.discord.route) {
        Err(faults) => faults.0.into_iter().for_each(|message| wrong("route", message)),
        Ok(routes) => {
            use crate::alerts::rule::{of_tables, unknown_names};
            let topics: Vec<&str> = config.topic.iter().map(|topic| topic.name.as_str()).collect();
            let found = match (of_tables(&config.alert, &config.alerts.rule, &routes), &sources) {
                (Err(faults), _) => faults.0,
                (Ok(rules), Ok(sources)) => {
                    let sources: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
                    unknown_names(&rules, &topics, &sources)
                }
                // Which sources there are is told by the list above once it can be read.
                (Ok(_), Err(_)) => Vec::new(),
            };
            found.into_iter().for_each(|message| wrong("alert", message));
        }
    }
    mistakes
}

/// Shorter tokens can be guessed, shorter keys tried out.
const TOKEN_CHARS_MIN: usize = 16;
const KEY_CHARS_MIN: usize = 16;

/// Whether a token can stand in an Authorization header.
fn is_sendable(token: &Secret) -> bool {
    let token = token.expose();
    token.len() >= TOKEN_CHARS_MIN && token.bytes().all(|b| b.is_ascii_graphic())
}
