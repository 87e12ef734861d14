//! One request to Discord → one [`Reply`]: answered, certainly not sent, or unknown.
//!
//! Bodies are made by serenity's builders. The requests are made by our own client:
//! serenity's rate limiter ignores the base address it is given, its errors lose the
//! headers and `retry_after` that say how long to wait, and carry the webhook's URL;
//! and it sends the bot's token along to webhooks. A lost connection is never retried
//! below this module: each call makes one request at most.
//!
//! Invariant: no error or log line of this module contains a URL.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client, Method};
use serde::Deserialize;
use serenity::builder::{
    CreateAllowedMentions, CreateEmbed, CreateEmbedFooter, CreateMessage, EditWebhookMessage, ExecuteWebhook,
};
use serenity::model::channel::{MessageFlags, Nonce};

use super::limits::Hints;
use super::message::Message;
use super::targets::{Masker, Target, TargetKind};
use super::{Access, Settings};
use crate::config::Secret;

/// Bytes of an answer that are read; a page of history is the largest.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Characters of Discord's error that are kept.
const ERROR_CHARS_MAX: usize = 1_000;
pub const HISTORY_PAGE: usize = 100;

/// What became of a request.
#[derive(Debug)]
pub enum Reply {
    Answered(Answer),
    /// It never reached Discord.
    NotSent(String),
    /// It may have reached Discord.
    Unknown(String),
}

#[derive(Debug)]
pub struct Answer {
    pub hints: Hints,
    pub body: Vec<u8>,
}

/// What is read of a message.
#[derive(Debug, Clone, Deserialize)]
pub struct Posted {
    pub id: String,
    pub channel_id: String,
    #[serde(default)]
    embeds: Vec<PostedEmbed>,
}

#[derive(Debug, Clone, Deserialize)]
struct PostedEmbed {
    #[serde(default)]
    footer: Option<PostedFooter>,
}

#[derive(Debug, Clone, Deserialize)]
struct PostedFooter {
    #[serde(default)]
    text: String,
}

impl Posted {
    pub fn has_footer(&self, text: &str) -> bool {
        self.embeds.iter().any(|e| e.footer.as_ref().is_some_and(|f| f.text == text))
    }
}

/// Discord's error body.
#[derive(Debug, Default, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    retry_after: Option<f64>,
    #[serde(default)]
    global: bool,
    #[serde(default)]
    errors: Option<serde_json::Value>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.hints.status
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.hints.status)
    }

    pub fn message(&self) -> Option<Posted> {
        serde_json::from_slice(&self.body).ok()
    }

    pub fn messages(&self) -> Option<Vec<Posted>> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The channel that a webhook posts to.
    pub fn webhook_channel(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Webhook {
            channel_id: String,
        }
        serde_json::from_slice::<Webhook>(&self.body).ok().map(|w| w.channel_id)
    }

    /// Discord's error code, 0 where it gave none.
    pub fn code(&self) -> i64 {
        self.error().code
    }

    fn error(&self) -> ErrorBody {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Discord's own words, without secrets.
    pub fn explain(&self, masker: &Masker) -> String {
        let error = self.error();
        let details = error.errors.map(|e| format!(" {e}")).unwrap_or_default();
        let text = format!("status {}, code {}: {}{details}", self.status(), error.code, error.message);
        masker.mask(&text).chars().take(ERROR_CHARS_MAX).collect()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("the HTTP client cannot be made: {0}")]
    Client(String),
    #[error("discord.api_base {0:?} is not an http address")]
    Base(String),
}

/// The client. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Transport {
    client: Client,
    base: String,
    token: Option<Secret>,
    pub masker: Masker,
}

impl Transport {
    pub fn new(settings: &Settings, access: &Access) -> Result<Self, TransportError> {
        let base = settings.api_base.trim_end_matches('/').to_string();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(TransportError::Base(base));
        }
        let client = Client::builder()
            .user_agent(concat!("DiscordBot (https://tidings.invalid, ", env!("CARGO_PKG_VERSION"), ")"))
            .timeout(Duration::from_secs(settings.request_timeout_s))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            // An idle connection that Discord just closed looks like a lost reply.
            .pool_max_idle_per_host(0)
            .http1_only()
            .no_proxy_if_loopback(&base)
            .build()
            .map_err(|e| TransportError::Client(e.without_url().to_string()))?;
        let bare = |token: &Secret| Secret::new(token.expose().trim().trim_start_matches("Bot ").trim());
        let token = access.bot_token.as_ref().map(bare);
        Ok(Self { client, base, token, masker: Masker::new(access, settings) })
    }

    /// Posts the message; `nonce` makes a repeated post of a bot the same one.
    pub async fn post(&self, target: &Target, message: &Message, nonce: &str) -> Reply {
        match &target.kind {
            TargetKind::Webhook { id, token } => {
                let path = format!("/webhooks/{id}/{}?wait=true", token.expose());
                self.call(Method::POST, &path, Some(webhook_body(message)), false).await
            }
            TargetKind::Channel { id } => {
                let body = channel_body(message, nonce);
                self.call(Method::POST, &format!("/channels/{id}/messages"), Some(body), true).await
            }
        }
    }

    pub async fn edit(&self, target: &Target, message_id: &str, message: &Message) -> Reply {
        let body = Some(edit_body(message));
        match &target.kind {
            TargetKind::Webhook { id, token } => {
                let path = format!("/webhooks/{id}/{}/messages/{message_id}", token.expose());
                self.call(Method::PATCH, &path, body, false).await
            }
            TargetKind::Channel { id } => {
                self.call(Method::PATCH, &format!("/channels/{id}/messages/{message_id}"), body, true).await
            }
        }
    }

    /// Whether the webhook or channel is there; asks, changes nothing.
    pub async fn look_up(&self, target: &Target) -> Reply {
        match &target.kind {
            TargetKind::Webhook { id, token } => {
                self.call(Method::GET, &format!("/webhooks/{id}/{}", token.expose()), None, false).await
            }
            TargetKind::Channel { id } => {
                self.call(Method::GET, &format!("/channels/{id}"), None, true).await
            }
        }
    }

    /// The page of a channel's messages that follows `after` (a message id).
    pub async fn history(&self, channel_id: &str, after: u64) -> Reply {
        let path = format!("/channels/{channel_id}/messages?after={after}&limit={HISTORY_PAGE}");
        self.call(Method::GET, &path, None, true).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Vec<u8>>, as_bot: bool) -> Reply {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        if as_bot && let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bot {}", token.expose()));
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => {
                return Reply::NotSent(self.describe(error));
            }
            Err(error) => return Reply::Unknown(self.describe(error)),
        };
        let mut hints = hints(response.status().as_u16(), response.headers());
        let body = match read_bounded(response).await {
            Ok(body) => body,
            Err(error) => return Reply::Unknown(error),
        };
        let mut answer = Answer { hints: Hints::default(), body };
        let error = answer.error();
        if hints.status == 429 {
            let body_ms =
                error.retry_after.filter(|s| s.is_finite() && *s >= 0.0).map(|s| (s * 1_000.0).ceil() as i64);
            hints.retry_after_ms = body_ms.or(hints.retry_after_ms);
            hints.global |= error.global;
        }
        answer.hints = hints;
        Reply::Answered(answer)
    }

    fn describe(&self, error: reqwest::Error) -> String {
        let kind = if error.is_timeout() {
            "timed out"
        } else if error.is_connect() {
            "no connection"
        } else {
            "broke off"
        };
        let error = error.without_url();
        let cause = std::error::Error::source(&error).map(|s| format!(": {s}")).unwrap_or_default();
        self.masker.mask(&format!("the request {kind}{cause}"))
    }
}

/// A proxy of the environment must not stand between us and a loopback address.
trait NoProxyIfLoopback {
    fn no_proxy_if_loopback(self, base: &str) -> Self;
}

impl NoProxyIfLoopback for reqwest::ClientBuilder {
    fn no_proxy_if_loopback(self, base: &str) -> Self {
        let loopback = ["//127.0.0.1", "//localhost", "//[::1]"].iter().any(|host| base.contains(host));
        if loopback { self.no_proxy() } else { self }
    }
}

async fn read_bounded(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_BYTES_MAX => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(format!("the answer exceeds {ANSWER_BYTES_MAX} bytes")),
            Ok(None) => return Ok(body),
            Err(_) => return Err("the answer broke off".to_string()),
        }
    }
}

fn hints(status: u16, headers: &HeaderMap) -> Hints {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let ms = |name: &str| {
        let seconds = text(name)?.trim().parse::<f64>().ok().filter(|s| s.is_finite() && *s >= 0.0)?;
        Some((seconds * 1_000.0).ceil() as i64)
    };
    Hints {
        status,
        bucket: text("x-ratelimit-bucket").map(str::to_string),
        remaining: text("x-ratelimit-remaining").and_then(|v| v.trim().parse().ok()),
        reset_after_ms: ms("x-ratelimit-reset-after"),
        retry_after_ms: ms("retry-after"),
        global: text("x-ratelimit-global").is_some_and(|v| v == "true")
            || text("x-ratelimit-scope") == Some("global"),
        shared: text("x-ratelimit-scope") == Some("shared"),
    }
}

fn embeds(message: &Message) -> Vec<CreateEmbed> {
    message
        .embeds
        .iter()
        .map(|embed| {
            let mut made = CreateEmbed::new();
            if let Some(title) = &embed.title {
                made = made.title(title);
            }
            if let Some(url) = &embed.url {
                made = made.url(url);
            }
            if let Some(description) = &embed.description {
                made = made.description(description);
            }
            if let Some(colour) = embed.colour {
                made = made.colour(colour);
            }
            if let Some(footer) = &embed.footer {
                made = made.footer(CreateEmbedFooter::new(footer));
            }
            made.fields(embed.fields.iter().map(|f| (f.name.clone(), f.value.clone(), false)))
        })
        .collect()
}

fn flags(message: &Message) -> MessageFlags {
    if message.silent { MessageFlags::SUPPRESS_NOTIFICATIONS } else { MessageFlags::empty() }
}

/// Nobody is ever pinged, whatever the text says.
fn nobody() -> CreateAllowedMentions {
    CreateAllowedMentions::new()
}

fn bytes(body: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("a message of texts and numbers serializes")
}

fn webhook_body(message: &Message) -> Vec<u8> {
    let mut made =
        ExecuteWebhook::new().embeds(embeds(message)).allowed_mentions(nobody()).flags(flags(message));
    if let Some(content) = &message.content {
        made = made.content(content);
    }
    bytes(&made)
}

fn channel_body(message: &Message, nonce: &str) -> Vec<u8> {
    let mut made = CreateMessage::new()
        .embeds(embeds(message))
        .allowed_mentions(nobody())
        .flags(flags(message))
        .nonce(Nonce::String(nonce.to_string()))
        .enforce_nonce(true);
    if let Some(content) = &message.content {
        made = made.content(content);
    }
    bytes(&made)
}

/// The same fields for a webhook's message and a bot's.
fn edit_body(message: &Message) -> Vec<u8> {
    let mut made = EditWebhookMessage::new().embeds(embeds(message)).allowed_mentions(nobody());
    if let Some(content) = &message.content {
        made = made.content(content);
    }
    bytes(&made)
}
