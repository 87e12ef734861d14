//! A route's destination → the [`Target`] to send to, or why there is none.
//!
//! The only place that takes a webhook's URL apart. Either webhook serves both
//! purposes where the other is not set.

use std::fmt;

use super::routes::{Destination, Route};
use super::{Access, Settings};
use crate::config::{MASK, Secret};

/// Why nothing is posted; the label of the metric and the text of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suppression {
    PublishingOff,
    DryRun,
    NotConfigured,
    NoBotToken,
    RouteGone,
    BadAddress,
}

impl Suppression {
    pub fn name(self) -> &'static str {
        match self {
            Self::PublishingOff => "publishing_off",
            Self::DryRun => "dry_run",
            Self::NotConfigured => "not_configured",
            Self::NoBotToken => "no_bot_token",
            Self::RouteGone => "route_gone",
            Self::BadAddress => "bad_address",
        }
    }

    /// What a person can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::PublishingOff => {
                "ENABLE_DISCORD_PUBLISHING is false: posts are written to the outbox and not sent"
            }
            Self::DryRun => "DISCORD_DRY_RUN is on: posts are written to the outbox and not sent",
            Self::NotConfigured => {
                "no webhook is set: DISCORD_WEBHOOK_URL or DISCORD_PRIVATE_WEBHOOK would receive the posts"
            }
            Self::NoBotToken => "a route names a channel_id, and DISCORD_BOT_TOKEN is not set",
            Self::RouteGone => "the route is no longer in routes.toml",
            Self::BadAddress => {
                "the webhook's URL is not one of Discord's: https://discord.com/api/webhooks/ID/TOKEN"
            }
        }
    }
}

/// A webhook or a channel.
#[derive(Clone)]
pub struct Target {
    /// A hash of the address: the same in every run, and tells nothing.
    pub fingerprint: String,
    pub kind: TargetKind,
}

#[derive(Clone)]
pub enum TargetKind {
    Webhook { id: String, token: Secret },
    Channel { id: String },
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.fingerprint)
    }
}

impl Target {
    pub fn is_webhook(&self) -> bool {
        matches!(self.kind, TargetKind::Webhook { .. })
    }
}

/// Where each destination leads, by what is configured.
#[derive(Clone, Debug)]
pub struct Targets {
    content: Result<Target, Suppression>,
    private: Result<Target, Suppression>,
    has_bot: bool,
    /// Why nothing at all is sent.
    off: Option<Suppression>,
}

impl Targets {
    pub fn new(access: &Access, settings: &Settings) -> Self {
        let webhook = |first: &Option<Secret>, second: &Option<Secret>| {
            let url = first.as_ref().or(second.as_ref()).ok_or(Suppression::NotConfigured)?;
            webhook(url, &settings.api_base).ok_or(Suppression::BadAddress)
        };
        let off = match (access.publishing, access.dry_run) {
            (false, _) => Some(Suppression::PublishingOff),
            (true, true) => Some(Suppression::DryRun),
            (true, false) => None,
        };
        Self {
            content: webhook(&access.webhook, &access.private_webhook),
            private: webhook(&access.private_webhook, &access.webhook),
            has_bot: access.bot_token.is_some(),
            off,
        }
    }

    pub fn has_bot(&self) -> bool {
        self.has_bot
    }

    pub fn off(&self) -> Option<Suppression> {
        self.off
    }

    /// The target of a route, whether or not publishing is on.
    pub fn address(&self, route: &Route) -> Result<Target, Suppression> {
        match route.to {
            Destination::Webhook => self.content.clone(),
            Destination::Private => self.private.clone(),
            Destination::Channel(_) if !self.has_bot => Err(Suppression::NoBotToken),
            Destination::Channel(id) => Ok(Target {
                fingerprint: fingerprint(&format!("channel {id}")),
                kind: TargetKind::Channel { id: id.to_string() },
            }),
        }
    }

    /// Where to send now.
    pub fn of(&self, route: &Route) -> Result<Target, Suppression> {
        match self.off {
            // Not configured says more than off does.
            Some(off) => Err(self.address(route).err().unwrap_or(off)),
            None => self.address(route),
        }
    }
}

fn fingerprint(address: &str) -> String {
    blake3::hash(address.as_bytes()).to_hex()[..16].to_string()
}

/// `https://discord.com/api/webhooks/ID/TOKEN`, also of Discord's other hosts and
/// with a version, or of the host that the API's base names.
fn webhook(url: &Secret, api_base: &str) -> Option<Target> {
    const HOSTS: [&str; 4] = ["discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com"];
    let parsed = url::Url::parse(url.expose().trim()).ok()?;
    let known = parsed.scheme() == "https" && parsed.host_str().is_some_and(|host| HOSTS.contains(&host));
    let of_base = url::Url::parse(api_base).is_ok_and(|base| base.origin() == parsed.origin());
    if !known && !of_base {
        return None;
    }
    let mut segments =
        parsed.path_segments()?.filter(|s| !s.is_empty()).skip_while(|s| *s != "webhooks").skip(1);
    let id =
        segments.next().filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))?.to_string();
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let token = segments.next().filter(|t| t.len() >= 8 && t.chars().all(good))?;
    Some(Target {
        fingerprint: fingerprint(&format!("webhook {id} {token}")),
        kind: TargetKind::Webhook { id, token: Secret::new(token) },
    })
}

/// Takes every secret out of a text that came from outside.
#[derive(Clone, Debug, Default)]
pub struct Masker(Vec<Secret>);

impl Masker {
    pub fn new(access: &Access, settings: &Settings) -> Self {
        let mut secrets = Vec::new();
        for url in [&access.webhook, &access.private_webhook].into_iter().flatten() {
            secrets.push(url.clone());
            if let Some(TargetKind::Webhook { token, .. }) = webhook(url, &settings.api_base).map(|t| t.kind)
            {
                secrets.push(token);
            }
        }
        if let Some(token) = &access.bot_token {
            secrets.push(Secret::new(token.expose().trim().trim_start_matches("Bot ").trim()));
        }
        secrets.retain(|s| !s.expose().is_empty());
        Self(secrets)
    }

    pub fn mask(&self, text: &str) -> String {
        self.0.iter().fold(text.to_string(), |text, secret| text.replace(secret.expose(), MASK))
    }
}

#[cfg(test)]
mod tests {
    use super::super::default_settings;
    use super::super::routes::{DEFAULT_ROUTES, parse};
    use super::*;

    fn access(webhook: Option<&str>, private: Option<&str>) -> Access {
        Access {
            webhook: webhook.map(Secret::new),
            private_webhook: private.map(Secret::new),
            publishing: true,
            ..Access::default()
        }
    }

    #[test]
    fn takes_every_form_of_a_webhook_and_no_other_address() {
        for good in [
            "https://discord.com/api/webhooks/123/abcdefgh_-1",
            "https://discordapp.com/api/webhooks/123/abcdefgh",
            " https://ptb.discord.com/api/v10/webhooks/1/abcdefgh?wait=true ",
        ] {
            assert!(webhook(&Secret::new(good), "https://discord.com/api/v10").is_some(), "{good}");
        }
        for bad in [
            "https://evil.example/api/webhooks/123/abcdefgh",
            "http://discord.com/api/webhooks/123/abcdefgh",
            "https://discord.com/api/webhooks/123",
            "https://discord.com/api/webhooks/x/abcdefgh",
            "abc",
            "https://discord.com/api/webhooks/123/../../x",
        ] {
            assert!(webhook(&Secret::new(bad), "https://discord.com/api/v10").is_none(), "{bad}");
        }
    }

    #[test]
    fn either_webhook_serves_both_and_off_says_why() {
        let settings = default_settings();
        let route = parse(DEFAULT_ROUTES, &settings.route).expect("valid").remove(0);
        let url = "https://discord.com/api/webhooks/123/abcdefgh";
        let private_only = Targets::new(&access(None, Some(url)), &settings);
        assert!(private_only.of(&route).is_ok());
        let nothing = Targets::new(&access(None, None), &settings);
        assert_eq!(nothing.of(&route).err(), Some(Suppression::NotConfigured));
        let off = Targets::new(&Access { publishing: false, ..access(Some(url), None) }, &settings);
        assert_eq!(off.of(&route).err(), Some(Suppression::PublishingOff));
        let dry = Targets::new(&Access { dry_run: true, ..access(Some(url), None) }, &settings);
        assert_eq!(dry.of(&route).err(), Some(Suppression::DryRun));
    }

    #[test]
    fn secrets_do_not_show() {
        let url = "https://discord.com/api/webhooks/123/topsecrettoken";
        let access = Access { bot_token: Some(Secret::new("Bot bot.secret")), ..access(Some(url), None) };
        let settings = default_settings();
        let shown = format!("{access:?} {:?}", Targets::new(&access, &settings));
        assert!(!shown.contains("topsecret") && !shown.contains("bot.secret"), "{shown}");
        let masked = Masker::new(&access, &settings)
            .mask("failed at /webhooks/123/topsecrettoken with Bot bot.secret");
        assert!(!masked.contains("topsecret") && !masked.contains("bot.secret"), "{masked}");
    }
}
