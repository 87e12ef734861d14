//! A local Discord: enforces the documented limits and rules strictly, limits rates
//! by header and in the hidden way, and fails as scripted. Counts what it takes. It is
//! long because one server plays every address that is used.

#![expect(clippy::result_large_err, reason = "an error here is the response itself")]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

#[path = "discord_rules.rs"]
pub mod rules;

const DISCORD_EPOCH_MS: i64 = 1_420_070_400_000;

/// What happens to the next request of a kind.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Takes the post, then the connection breaks before an answer.
    LostReply,
    /// Takes the post, answers its head, breaks within the body.
    TornReply,
    /// The connection breaks; nothing is taken.
    LostRequest,
    /// Takes the post and never answers.
    Silence,
    /// Answers with this status and takes nothing.
    Status(u16, Value),
    /// Takes the post and answers with this status.
    TakenThenStatus(u16),
    /// Answers after so many milliseconds.
    Slow(u64),
    /// 429 for so many milliseconds.
    Limited { ms: u64, global: bool },
}

#[derive(Clone, Debug)]
pub struct Taken {
    pub id: u64,
    pub channel: String,
    pub body: Value,
    pub nonce: Option<String>,
    pub edits: u32,
    at: Instant,
}

impl Taken {
    /// The key in the footer.
    pub fn footer(&self) -> Option<String> {
        let embeds = self.body["embeds"].as_array()?;
        embeds.iter().rev().find_map(|e| e["footer"]["text"].as_str().map(str::to_string))
    }
}

/// How strict and how unreliable it is.
#[derive(Clone, Debug, Default)]
pub struct Conduct {
    /// Requests per 2 s and address that the headers tell of; 0 is no limit.
    pub per_two_seconds: usize,
    /// Posts per minute and channel that no header tells of; 0 is no limit.
    pub hidden_per_minute: usize,
    /// One in so many posts fails at random, half of them after it was taken; 0 is none.
    pub one_in_fails: u32,
}

#[derive(Default)]
pub struct Inner {
    pub conduct: Conduct,
    pub messages: Vec<Taken>,
    pub faults: HashMap<&'static str, VecDeque<Fault>>,
    /// Webhook id -> token and channel.
    pub webhooks: BTreeMap<String, (String, String)>,
    pub bot_token: String,
    pub requests: BTreeMap<&'static str, u64>,
    pub limited: u64,
    /// What a correct client would never do.
    pub violations: Vec<String>,
    pub forbidden: bool,
    buckets: HashMap<String, VecDeque<Instant>>,
    hidden: HashMap<String, VecDeque<Instant>>,
    global_until: Option<Instant>,
    sequence: u64,
    random: Option<StdRng>,
}

#[derive(Clone)]
pub struct DiscordServer {
    pub inner: Arc<Mutex<Inner>>,
    pub address: SocketAddr,
    _runtime: Arc<tokio::runtime::Runtime>,
}

pub const WEBHOOK_ID: &str = "4455";
pub const WEBHOOK_TOKEN: &str = "webhook-secret-f00dfeed";
pub const BOT_TOKEN: &str = "bot.secret.c0ffee";
pub const WEBHOOK_CHANNEL: &str = "777";

impl DiscordServer {
    pub fn start(conduct: Conduct, seed: u64) -> Self {
        let mut inner = Inner { conduct, bot_token: BOT_TOKEN.into(), ..Inner::default() };
        inner.webhooks.insert(WEBHOOK_ID.into(), (WEBHOOK_TOKEN.into(), WEBHOOK_CHANNEL.into()));
        inner.random = Some(StdRng::seed_from_u64(seed));
        let inner = Arc::new(Mutex::new(inner));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let app = Router::new()
            .route("/api/v10/webhooks/{id}/{token}", get(webhook).post(execute))
            .route("/api/v10/webhooks/{id}/{token}/messages/{message}", patch(edit_webhook))
            .route("/api/v10/channels/{id}", get(channel))
            .route("/api/v10/channels/{id}/messages", post(create).get(history))
            .route("/api/v10/channels/{id}/messages/{message}", patch(edit_channel))
            .with_state(inner.clone());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { inner, address, _runtime: Arc::new(runtime) }
    }

    pub fn base(&self) -> String {
        format!("http://{}/api/v10", self.address)
    }

    pub fn webhook_url(&self) -> String {
        format!("http://{}/api/webhooks/{WEBHOOK_ID}/{WEBHOOK_TOKEN}", self.address)
    }

    pub fn fail(&self, kind: &'static str, fault: Fault) {
        self.inner.lock().faults.entry(kind).or_default().push_back(fault);
    }

    pub fn messages(&self) -> Vec<Taken> {
        self.inner.lock().messages.clone()
    }

    pub fn requests(&self, kind: &str) -> u64 {
        self.inner.lock().requests.get(kind).copied().unwrap_or(0)
    }

    /// How often each footer was posted.
    pub fn posts_by_footer(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for message in self.inner.lock().messages.iter() {
            *counts.entry(message.footer().unwrap_or_default()).or_default() += 1;
        }
        counts
    }

    pub fn assert_no_violations(&self) {
        let inner = self.inner.lock();
        assert!(inner.violations.is_empty(), "{:#?}", inner.violations);
    }
}

type Shared = State<Arc<Mutex<Inner>>>;

fn problem(status: u16, code: i64, message: &str) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    (status, Json(json!({"message": message, "code": code}))).into_response()
}

/// Breaks the connection without an answer.
fn hang_up() -> Response {
    std::panic::resume_unwind(Box::new("the connection breaks"))
}

fn torn(body: &Value) -> Response {
    let text = body.to_string();
    let half = Bytes::from(text.as_bytes()[..text.len() / 2].to_vec());
    let stream = futures_util::stream::iter([Ok(half), Err(std::io::Error::other("torn"))]);
    Response::builder()
        .status(200)
        .header("content-length", text.len())
        .body(Body::from_stream(stream))
        .expect("valid")
}

impl Inner {
    fn limit(&mut self, kind: &'static str, address: &str) -> Option<Response> {
        let now = Instant::now();
        if let Some(until) = self.global_until.filter(|until| *until > now) {
            self.limited += 1;
            return Some(limited(until - now, true));
        }
        let limit = self.conduct.per_two_seconds;
        let window = self.buckets.entry(format!("{kind} {address}")).or_default();
        window.retain(|at| now - *at < Duration::from_secs(2));
        if limit > 0 && window.len() >= limit {
            let wait = Duration::from_secs(2) - (now - window[0]);
            self.limited += 1;
            return Some(limited(wait, false));
        }
        window.push_back(now);
        None
    }

    /// The headers of an accepted request.
    fn limit_headers(&self, kind: &str, address: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let limit = self.conduct.per_two_seconds;
        if let (true, Some(window)) = (limit > 0, self.buckets.get(&format!("{kind} {address}"))) {
            let reset = window.front().map_or(2.0, |first| 2.0 - first.elapsed().as_secs_f64()).max(0.0);
            let mut put =
                |name: &'static str, value: String| headers.insert(name, value.parse().expect("a header"));
            put("x-ratelimit-limit", limit.to_string());
            put("x-ratelimit-remaining", (limit - window.len().min(limit)).to_string());
            put("x-ratelimit-reset-after", format!("{reset:.3}"));
            put("x-ratelimit-bucket", format!("bucket-of-{kind}"));
        }
        headers
    }

    fn hidden_limit(&mut self, channel: &str) -> Option<Response> {
        let limit = self.conduct.hidden_per_minute;
        let now = Instant::now();
        let window = self.hidden.entry(channel.to_string()).or_default();
        window.retain(|at| now - *at < Duration::from_secs(60));
        if limit > 0 && window.len() >= limit {
            self.limited += 1;
            return Some(limited(Duration::from_secs(60) - (now - window[0]), false));
        }
        window.push_back(now);
        None
    }

    fn fault(&mut self, kind: &'static str) -> Option<Fault> {
        if let Some(fault) = self.faults.get_mut(kind).and_then(VecDeque::pop_front) {
            return Some(fault);
        }
        let one_in = self.conduct.one_in_fails;
        let random = self.random.as_mut()?;
        if one_in == 0 || !random.random_ratio(1, one_in) {
            return None;
        }
        Some(match random.random_range(0..7) {
            0 => Fault::LostReply,
            1 => Fault::TornReply,
            2 => Fault::LostRequest,
            3 => Fault::Status(502, json!({})),
            4 => Fault::TakenThenStatus(504),
            5 => Fault::Slow(random.random_range(0..150)),
            _ => Fault::Limited { ms: 150, global: random.random_bool(0.3) },
        })
    }

    fn take(&mut self, channel: &str, body: Value) -> Value {
        let nonce = body["nonce"].as_str().map(str::to_string);
        let enforced = body["enforce_nonce"] == json!(true);
        let earlier = self.messages.iter().find(|m| {
            enforced && m.channel == channel && m.nonce == nonce && m.at.elapsed() < Duration::from_secs(120)
        });
        if let Some(earlier) = earlier {
            return shown(earlier);
        }
        let now_ms = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_millis();
        self.sequence += 1;
        let id = ((now_ms as i64 - DISCORD_EPOCH_MS) as u64) << 22 | (self.sequence & 0x3f_ffff);
        let taken = Taken { id, channel: channel.to_string(), body, nonce, edits: 0, at: Instant::now() };
        self.messages.push(taken.clone());
        shown(&taken)
    }
}

fn shown(message: &Taken) -> Value {
    json!({"id": message.id.to_string(), "channel_id": message.channel, "embeds": message.body["embeds"], "nonce": message.nonce})
}

fn limited(wait: Duration, global: bool) -> Response {
    let seconds = wait.as_secs_f64();
    let headers = [
        ("retry-after", format!("{seconds:.3}")),
        ("x-ratelimit-scope", if global { "global" } else { "user" }.to_string()),
    ];
    let body = json!({"message": "You are being rate limited.", "retry_after": seconds, "global": global});
    (StatusCode::TOO_MANY_REQUESTS, headers, Json(body)).into_response()
}

/// Authorisation, limits, faults, rules; then the body is taken.
async fn posting(
    inner: &Mutex<Inner>,
    kind: &'static str,
    address: String,
    channel: String,
    headers: HeaderMap,
    bytes: Bytes,
    take: impl FnOnce(&mut Inner, Value) -> Result<Value, Response>,
) -> Response {
    let fault = {
        let mut inner = inner.lock();
        *inner.requests.entry(kind).or_default() += 1;
        if let Some(response) = inner.limit(kind, &address) {
            return response;
        }
        if let Some(response) = inner.hidden_limit(&channel) {
            return response;
        }
        if headers
            .get("user-agent")
            .and_then(|v| v.to_str().ok())
            .is_none_or(|v| !v.starts_with("DiscordBot ("))
        {
            inner.violations.push("the user agent is not of the form that Discord asks for".into());
        }
        inner.fault(kind)
    };
    match &fault {
        Some(Fault::LostRequest) => return hang_up(),
        Some(Fault::Status(status, body)) => {
            return (StatusCode::from_u16(*status).expect("a status"), Json(body.clone())).into_response();
        }
        Some(Fault::Limited { ms, global }) => {
            let wait = Duration::from_millis(*ms);
            let mut inner = inner.lock();
            inner.limited += 1;
            if *global {
                inner.global_until = Some(Instant::now() + wait);
            }
            return limited(wait, *global);
        }
        Some(Fault::Slow(ms)) => tokio::time::sleep(Duration::from_millis(*ms)).await,
        _ => {}
    }
    let taken = {
        let mut inner = inner.lock();
        let body: Value = match serde_json::from_slice(&bytes) {
            Ok(body) => body,
            Err(_) => return problem(400, 50_109, "The request body contains invalid JSON."),
        };
        inner.violations.extend(rules::misdeeds(&body, kind));
        if let Err(error) = rules::validate(&body, kind) {
            let errors = json!({"message": "Invalid Form Body", "code": 50_035, "errors": {"embeds": {"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": error}]}}});
            return (StatusCode::BAD_REQUEST, Json(errors)).into_response();
        }
        match take(&mut inner, body) {
            Ok(answer) => answer,
            Err(response) => return response,
        }
    };
    match fault {
        Some(Fault::LostReply) => hang_up(),
        Some(Fault::TornReply) => torn(&taken),
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::TakenThenStatus(status)) => problem(status, 0, "Bad gateway"),
        _ => (inner.lock().limit_headers(kind, &address), Json(taken)).into_response(),
    }
}

fn hook(inner: &mut Inner, id: &str, token: &str, headers: &HeaderMap) -> Result<String, Response> {
    if headers.contains_key("authorization") {
        inner.violations.push("a token was sent along to a webhook".into());
    }
    match inner.webhooks.get(id) {
        Some((right, channel)) if right == token => Ok(channel.clone()),
        Some(_) => Err(problem(401, 50_027, "Invalid Webhook Token")),
        None => Err(problem(404, 10_015, "Unknown Webhook")),
    }
}

fn bot(inner: &Inner, headers: &HeaderMap) -> Result<(), Response> {
    let given = headers.get("authorization").and_then(|v| v.to_str().ok());
    if given != Some(&format!("Bot {}", inner.bot_token)) {
        return Err(problem(401, 0, "401: Unauthorized"));
    }
    if inner.forbidden {
        return Err(problem(403, 50_001, "Missing Access"));
    }
    Ok(())
}

async fn webhook(
    State(inner): Shared,
    Path((id, token)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let fault = {
        let mut inner = inner.lock();
        *inner.requests.entry("look").or_default() += 1;
        inner.faults.get_mut("look").and_then(VecDeque::pop_front)
    };
    match fault {
        Some(Fault::Status(status, body)) => {
            return (StatusCode::from_u16(status).expect("a status"), Json(body)).into_response();
        }
        Some(_) => return hang_up(),
        None => {}
    }
    match hook(&mut inner.lock(), &id, &token, &headers) {
        Ok(channel) => Json(json!({"id": id, "channel_id": channel, "type": 1})).into_response(),
        Err(response) => response,
    }
}

async fn execute(
    State(inner): Shared,
    Path((id, token)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let channel = match hook(&mut inner.lock(), &id, &token, &headers) {
        Ok(channel) => channel,
        Err(response) => return response,
    };
    if query.get("wait").map(String::as_str) != Some("true") {
        inner.lock().violations.push("a webhook was executed without wait=true".into());
    }
    let to = channel.clone();
    posting(&inner, "post", id, channel, headers, bytes, move |inner, body| Ok(inner.take(&to, body))).await
}

async fn create(State(inner): Shared, Path(id): Path<String>, headers: HeaderMap, bytes: Bytes) -> Response {
    if let Err(response) = bot(&inner.lock(), &headers) {
        return response;
    }
    let to = id.clone();
    posting(&inner, "create", id.clone(), id, headers, bytes, move |inner, body| Ok(inner.take(&to, body)))
        .await
}

fn change(inner: &mut Inner, channel: &str, message: &str, body: &Value) -> Result<Value, Response> {
    let found = inner.messages.iter_mut().find(|m| m.channel == channel && m.id.to_string() == message);
    let Some(found) = found else { return Err(problem(404, 10_008, "Unknown Message")) };
    found.edits += 1;
    for (field, value) in body.as_object().expect("validated") {
        found.body[field] = value.clone();
    }
    Ok(shown(found))
}

async fn edit_webhook(
    State(inner): Shared,
    Path((id, token, message)): Path<(String, String, String)>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let channel = match hook(&mut inner.lock(), &id, &token, &headers) {
        Ok(channel) => channel,
        Err(response) => return response,
    };
    let of = channel.clone();
    posting(&inner, "edit", id, channel, headers, bytes, move |inner, body| {
        change(inner, &of, &message, &body)
    })
    .await
}

async fn edit_channel(
    State(inner): Shared,
    Path((id, message)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    if let Err(response) = bot(&inner.lock(), &headers) {
        return response;
    }
    let of = id.clone();
    posting(&inner, "edit", id.clone(), id, headers, bytes, move |inner, body| {
        change(inner, &of, &message, &body)
    })
    .await
}

async fn channel(State(inner): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    match bot(&inner.lock(), &headers) {
        Ok(()) => Json(json!({"id": id, "type": 0})).into_response(),
        Err(response) => response,
    }
}

async fn history(
    State(inner): Shared,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let mut inner = inner.lock();
    *inner.requests.entry("history").or_default() += 1;
    if let Err(response) = bot(&inner, &headers) {
        return response;
    }
    let after: u64 = query.get("after").and_then(|a| a.parse().ok()).unwrap_or(0);
    let limit: usize = query.get("limit").and_then(|l| l.parse().ok()).unwrap_or(50).min(100);
    let mut found: Vec<&Taken> = inner.messages.iter().filter(|m| m.channel == id && m.id > after).collect();
    found.sort_by_key(|m| m.id);
    found.truncate(limit);
    Json(found.into_iter().rev().map(shown).collect::<Vec<_>>()).into_response()
}
