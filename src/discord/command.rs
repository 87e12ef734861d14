//! `tidings discord test`, `digest preview|send`, `outbox list|resolve`.
//!
//! A command works on the log it was given, or asks the process that holds the data
//! folder; the output is the same.

use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Subcommand};
use serde::de::DeserializeOwned;

use super::api::Listed;
use super::deliver::{DeliverError, Deliverer};
use super::digester::{CANDIDATES_MAX, DigestError, Digester, Preview};
use super::health::Health;
use super::message::{check, preview, short_key, test_message};
use super::outbox::{State, Work};
use super::routes::Route;
use super::targets::{Suppression, Targets};
use super::transport::{Reply, Transport, TransportError};
use super::{Access, Secret, Settings};
use crate::log::{Log, LogError};

/// How long `digest send` waits for Discord when it delivers by itself.
const DELIVERY_WAIT: Duration = Duration::from_secs(60);
const REMOTE_TIMEOUT: Duration = Duration::from_secs(30);
const CANDIDATES_SHOWN: usize = 60;

mod outbox;

#[derive(Debug, Subcommand)]
pub enum DiscordCommand {
    /// Posts one marked message per route, or says why it cannot
    Test {
        /// Only this route
        #[arg(long)]
        route: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum DigestCommand {
    /// Prints what would be posted now, and why each item is in or out
    Preview {
        /// Only this route
        #[arg(long)]
        route: Option<String>,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Posts the digest now; the schedule stays as it is
    Send {
        /// Only this route
        #[arg(long)]
        route: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// What waits, what is uncertain, what was posted
    List {
        /// Only posts in this state
        #[arg(long, value_parser = parse_state)]
        state: Option<State>,
        /// JSON lines instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Settles an uncertain post
    #[command(group(ArgGroup::new("action").required(true)))]
    Resolve {
        key: String,
        /// It was posted: as this message
        #[arg(long, group = "action", value_name = "ID")]
        message_id: Option<String>,
        /// It was not posted: post it
        #[arg(long, group = "action")]
        resend: bool,
        /// Leave it
        #[arg(long, group = "action")]
        drop: bool,
    },
}

fn parse_state(text: &str) -> Result<State, String> {
    State::ALL
        .into_iter()
        .find(|s| s.name() == text)
        .ok_or_else(|| format!("one of {}", State::ALL.map(State::name).join(", ")))
}

/// What a command prints, and whether the answer is a no (exit code 1).
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub text: String,
    pub negative: bool,
}

impl Outcome {
    fn good(text: String) -> Self {
        Self { text, negative: false }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Digest(#[from] DigestError),
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The other process did not answer, or said no.
    #[error("{0}")]
    Remote(String),
    #[error("there is no route {name:?}; there are: {known}")]
    NoRoute { name: String, known: String },
    /// A rule of alerts.toml that there is not.
    #[error("{0}")]
    NoRule(String),
}

/// Where the command finds the data.
#[derive(Clone)]
pub enum Place {
    /// The folder is ours.
    Log(Arc<dyn Log>),
    /// Another process holds it.
    Process(Remote),
}

/// What a command works with.
#[derive(Clone)]
pub struct Context {
    pub settings: Settings,
    pub access: Access,
    pub routes: Vec<Route>,
    pub place: Place,
}

/// The HTTP side of a running process.
#[derive(Clone, Debug)]
pub struct Remote {
    pub base: String,
    pub token: Option<Secret>,
}

impl Remote {
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(u16, T), CommandError> {
        let failed = |e: reqwest::Error| {
            CommandError::Remote(format!("the running process did not answer: {}", e.without_url()))
        };
        let client = reqwest::Client::builder().no_proxy().timeout(REMOTE_TIMEOUT).build().map_err(failed)?;
        let mut request = client.request(method, format!("{}{path}", self.base.trim_end_matches('/')));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(failed)?;
        if !status.is_success() {
            let problem: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let detail = problem["detail"].as_str().unwrap_or("no details");
            return Err(CommandError::Remote(format!("{status}: {detail}")));
        }
        let answer = serde_json::from_slice(&bytes)
            .map_err(|e| CommandError::Remote(format!("the running process answered something else: {e}")))?;
        Ok((status.as_u16(), answer))
    }
}

/// Blocking work of the log, off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CommandError> + Send + 'static,
) -> Result<T, CommandError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| CommandError::Remote(format!("the work broke off: {e}")))?
}

impl DiscordCommand {
    pub async fn run(self, context: &Context) -> Result<Outcome, CommandError> {
        let Self::Test { route } = self;
        let targets = Targets::new(&context.access, &context.settings);
        let transport = Transport::new(&context.settings, &context.access)?;
        let mut lines = Vec::new();
        let mut negative = false;
        for chosen in chosen(&context.routes, route.as_deref())? {
            let line = match targets.of(chosen) {
                Err(why) => Err(advice(why)),
                Ok(target) => {
                    let key = format!("test~{}~{}", chosen.name, super::wall_clock_ms());
                    let message = test_message(&chosen.name, &key);
                    check(&message).map_err(CommandError::Remote)?;
                    answer_text(transport.post(&target, &message, &short_key(&key)).await, &transport)
                }
            };
            negative |= line.is_err();
            let text = line.unwrap_or_else(|why| format!("not posted: {why}"));
            lines.push(format!("{}: {text}\n", chosen.name));
        }
        Ok(Outcome { text: lines.concat(), negative })
    }
}

fn advice(why: Suppression) -> String {
    format!("{} ({})", why.advice(), why.name())
}

fn answer_text(reply: Reply, transport: &Transport) -> Result<String, String> {
    match reply {
        Reply::NotSent(why) => Err(why),
        Reply::Unknown(why) => Err(format!("{why}; whether it is there is uncertain")),
        Reply::Answered(answer) if answer.is_success() => match answer.message() {
            Some(message) => Ok(format!("posted message {} to channel {}", message.id, message.channel_id)),
            None => Err("Discord answered without a message".to_string()),
        },
        Reply::Answered(answer) => Err(answer.explain(&transport.masker)),
    }
}

fn chosen<'a>(routes: &'a [Route], name: Option<&str>) -> Result<Vec<&'a Route>, CommandError> {
    let chosen: Vec<&Route> = routes.iter().filter(|r| name.is_none_or(|n| n == r.name)).collect();
    if let (true, Some(name)) = (chosen.is_empty(), name) {
        let known: Vec<&str> = routes.iter().map(|r| r.name.as_str()).collect();
        return Err(CommandError::NoRoute { name: name.to_string(), known: known.join(", ") });
    }
    Ok(chosen)
}

impl DigestCommand {
    pub async fn run(self, context: &Context) -> Result<Outcome, CommandError> {
        let (Self::Preview { route, .. } | Self::Send { route }) = &self;
        chosen(&context.routes, route.as_deref())?;
        match self {
            Self::Preview { route, json } => {
                let previews = match &context.place {
                    Place::Process(remote) => previews(remote, route.as_deref()).await?,
                    Place::Log(log) => {
                        let (log, context) = (log.clone(), context.clone());
                        blocking(move || {
                            let health = Arc::new(Health::default());
                            let digester =
                                Digester::open(log.as_ref(), context.settings, context.routes, health, true)?;
                            Ok(digester.preview(route.as_deref())?)
                        })
                        .await?
                    }
                };
                Ok(preview_outcome(&previews, json))
            }
            Self::Send { route } => match &context.place {
                Place::Process(remote) => {
                    let path = path("/v1/digests/send", route.as_deref());
                    let previews: Vec<Preview> = remote.ask(reqwest::Method::POST, &path, None).await?.1;
                    Ok(sent_outcome(
                        &previews,
                        "written to the outbox; `tidings outbox list` says what became of it",
                    ))
                }
                Place::Log(log) => {
                    let (log, context) = (log.clone(), context.clone());
                    blocking(move || send_here(log.as_ref(), context, route.as_deref())).await
                }
            },
        }
    }
}

/// Every preview that the running process has.
async fn previews(remote: &Remote, route: Option<&str>) -> Result<Vec<Preview>, CommandError> {
    let path = path("/v1/digests/preview", route);
    let sign = if path.contains('?') { '&' } else { '?' };
    let first = format!("{path}{sign}candidates={CANDIDATES_MAX}");
    let (mut all, mut asked) = (Vec::new(), first.clone());
    loop {
        let page: Listed<Preview> = remote.ask(reqwest::Method::GET, &asked, None).await?.1;
        all.extend(page.items);
        let Some(cursor) = page.cursor else { return Ok(all) };
        asked = format!("{first}&cursor={cursor}");
    }
}

fn path(base: &str, route: Option<&str>) -> String {
    // Names of routes hold nothing that a URL would change; others match no route anyway.
    let safe = |name: &str| url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>();
    route.map_or_else(|| base.to_string(), |name| format!("{base}?route={}", safe(name)))
}

/// Decides, writes and delivers in this process.
fn send_here(log: &dyn Log, context: Context, route: Option<&str>) -> Result<Outcome, CommandError> {
    let health = Arc::new(Health::default());
    let mut digester =
        Digester::open(log, context.settings.clone(), context.routes.clone(), health.clone(), false)?;
    let previews = digester.send_now(route)?;
    let keys: Vec<&str> = previews.iter().filter(|p| p.sent).map(|p| p.digest.key.as_str()).collect();
    let mut deliverer = Deliverer::open(log, context.settings, &context.access, context.routes, health)?;
    let until = std::time::Instant::now() + DELIVERY_WAIT;
    let waits = |d: &Deliverer| keys.iter().any(|k| d.outbox().get(k).is_none_or(|e| e.work() == Work::Post));
    while waits(&deliverer) && std::time::Instant::now() < until {
        deliverer.step(Duration::from_millis(200))?;
    }
    let mut outcome = sent_outcome(&previews, "written to the outbox");
    for key in keys {
        if let Some(entry) = deliverer.outbox().get(key) {
            let reason = entry.sent.reason.as_deref().map(|r| format!(" ({r})")).unwrap_or_default();
            outcome.text.push_str(&format!("{key}: {}{reason}\n", entry.sent.state));
            outcome.negative |= entry.sent.state != State::Sent;
        }
    }
    Ok(outcome)
}

fn sent_outcome(previews: &[Preview], done: &str) -> Outcome {
    let line = |p: &Preview| match &p.digest.skipped {
        Some(reason) => format!("{}: not posted: {reason}\n", p.digest.route),
        None => format!("{}: {} {done}\n", p.digest.route, p.digest.key),
    };
    let negative = previews.iter().all(|p| p.digest.skipped.is_some());
    Outcome { text: previews.iter().map(line).collect(), negative }
}

fn preview_outcome(previews: &[Preview], json: bool) -> Outcome {
    if json {
        let text = serde_json::to_string_pretty(previews).expect("a preview serializes");
        return Outcome::good(format!("{text}\n"));
    }
    Outcome::good(previews.iter().map(preview_text).collect())
}

/// The message as it would be read, then each candidate with its verdict.
pub fn preview_text(shown: &Preview) -> String {
    let mut text = String::new();
    match &shown.digest.skipped {
        Some(reason) => {
            text.push_str(&format!("{}: nothing would be posted: {reason}\n\n", shown.digest.route));
        }
        None => text.push_str(&preview(&shown.message)),
    }
    let plain = |title: &str| title.chars().filter(|c| !c.is_control()).take(60).collect::<String>();
    for candidate in shown.candidates.iter().take(CANDIDATES_SHOWN) {
        let why = &candidate.why;
        text.push_str(&format!(
            "{:<8} score {:.2} (engagement {:.2}, mood {:.2}, burst {:.2})  {}  {}\n",
            if candidate.verdict == "shown" { "in" } else { "out" },
            why.score,
            why.engagement_percentile,
            why.mood,
            why.burst,
            candidate.id,
            plain(&candidate.title),
        ));
        if candidate.verdict != "shown" {
            text.push_str(&format!("         because {}\n", candidate.verdict));
        }
    }
    let told = shown.candidates.len().min(CANDIDATES_SHOWN);
    if shown.candidates_total > told {
        text.push_str(&format!("and {} more candidates\n", shown.candidates_total - told));
    }
    text
}
