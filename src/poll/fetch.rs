//! A URL and what is known of it in, a response or the reason for none out. One
//! conditional GET, with its redirects followed by hand: every hop is checked
//! against the [`guard`](super::guard), and only an unbroken chain of permanent
//! ones moves a source.
//!
//! Limits: redirects, bytes of the body after decompression (counted while it
//! streams, so a bomb costs no more than the limit), time to connect, between two
//! reads, and in all. There is no proxy: it would resolve names for us.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{self, HeaderMap};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use url::Url;

use super::guard::{Blocked, Guard};
use super::schedule::{self, Outcome};
use super::settings::Settings;

/// What a request says that it understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Feed,
    Json,
}

const ACCEPT_JSON: &str = "application/json";
const ACCEPT: &str = "application/atom+xml, application/rss+xml, application/feed+json;q=0.9, \
     application/xml;q=0.9, text/xml;q=0.9, */*;q=0.1";

/// What the last response gave to ask "has it changed" with; only for its own URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct Validators {
    pub url: String,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
}

/// A response that has an answer in it.
#[derive(Debug)]
pub struct Response {
    /// `None`: not modified.
    pub body: Option<Vec<u8>>,
    pub content_type: Option<String>,
    /// Where the answer came from.
    pub url: Url,
    /// Where to ask from now on, if that changed for good.
    pub moved_to: Option<Url>,
    pub validators: Validators,
    pub max_age_s: Option<u64>,
    /// Requests left to us and the seconds until there are more, where the server says so.
    pub quota: Option<Quota>,
}

/// What `X-RateLimit-Remaining` and `X-RateLimit-Reset` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub remaining: u64,
    pub reset_s: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the server answered {status}")]
    Status { status: u16, retry_after_s: Option<u64> },
    #[error("no answer within the time limit ({0})")]
    Timeout(&'static str),
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Redirect(String),
    #[error("{0}")]
    Blocked(#[from] Blocked),
    #[error("no connection: {0}")]
    Unreachable(String),
}

impl FetchError {
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Status { status: 410, .. } => Outcome::Gone,
            Self::Status { status: 429 | 503, .. } => Outcome::RateLimited,
            Self::Status { status: 500.., .. } => Outcome::Http5xx,
            Self::Status { .. } => Outcome::Http4xx,
            Self::Timeout(_) => Outcome::Timeout,
            Self::TooLarge(_) => Outcome::TooLarge,
            Self::Redirect(_) => Outcome::Redirect,
            Self::Blocked(_) => Outcome::Blocked,
            Self::Unreachable(_) => Outcome::Unreachable,
        }
    }

    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Status { retry_after_s, .. } => *retry_after_s,
            _ => None,
        }
    }
}

/// The client that all fetches share.
pub struct Fetcher {
    client: Client,
    /// For connections that change over to another protocol, which HTTP/2 has no word for.
    upgrading: Client,
    guard: Guard,
    settings: Settings,
}

impl Fetcher {
    pub fn new(settings: &Settings) -> Result<Self, reqwest::Error> {
        let version = env!("CARGO_PKG_VERSION");
        let contact = settings.contact.trim();
        let agent = match contact {
            "" => format!("Tidings/{version}"),
            contact => format!("Tidings/{version} (+{contact})"),
        };
        let guard = Guard {
            allow_private: settings.allow_private_addresses,
            private_hosts: settings.private_hosts.clone().into(),
        };
        let builder = || {
            Client::builder()
                .user_agent(agent.clone())
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .dns_resolver(guard.clone())
                .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
        };
        let client = builder()
            .read_timeout(Duration::from_millis(settings.read_timeout_ms))
            .pool_max_idle_per_host(1)
            .build()?;
        let upgrading = builder().http1_only().pool_max_idle_per_host(0).build()?;
        Ok(Self { client, upgrading, guard, settings: settings.clone() })
    }

    /// Asks for another protocol on the connection, without following redirects.
    pub async fn upgrade(&self, url: &Url, headers: HeaderMap) -> Result<reqwest::Response, FetchError> {
        self.guard.check(url)?;
        let limit = Duration::from_millis(self.settings.connect_timeout_ms);
        let asked = self.upgrading.get(url.clone()).headers(headers).send();
        let response = tokio::time::timeout(limit, asked).await;
        let response = response.map_err(|_| FetchError::Timeout("to connect"))?.map_err(|e| failure(&e))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let now_ms = super::clock::Clock::now_ms(&super::clock::SystemClock);
        let retry_after_s =
            text(response.headers(), header::RETRY_AFTER).and_then(|v| schedule::retry_after_s(&v, now_ms));
        Err(FetchError::Status { status: response.status().as_u16(), retry_after_s })
    }

    /// Fetches `url`; `now_ms` turns a date in Retry-After into seconds.
    pub async fn get(&self, url: &Url, known: &Validators, now_ms: i64) -> Result<Response, FetchError> {
        self.get_as(Wanted::Feed, url, known, now_ms).await
    }

    /// The same, of an API that answers in JSON.
    pub async fn get_json(&self, url: &Url, now_ms: i64) -> Result<Response, FetchError> {
        self.get_as(Wanted::Json, url, &Validators::default(), now_ms).await
    }

    async fn get_as(
        &self,
        wanted: Wanted,
        url: &Url,
        known: &Validators,
        now_ms: i64,
    ) -> Result<Response, FetchError> {
        let total = Duration::from_millis(self.settings.total_timeout_ms);
        tokio::time::timeout(total, self.follow(wanted, url, known, now_ms))
            .await
            .unwrap_or(Err(FetchError::Timeout("in all")))
    }

    async fn follow(
        &self,
        wanted: Wanted,
        start: &Url,
        known: &Validators,
        now_ms: i64,
    ) -> Result<Response, FetchError> {
        let mut url = start.clone();
        let mut moved_to = None;
        let mut permanent_so_far = true;
        for _ in 0..=self.settings.redirects_max {
            let response = self.request(wanted, &url, known).await?;
            let status = response.status();
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return self.answer(response, url, moved_to, known, now_ms).await;
            }
            let next = target(&url, response.headers())?;
            permanent_so_far &= matches!(status.as_u16(), 301 | 308);
            // A chain that leaves https is followed but not kept.
            let downgrade = url.scheme() == "https" && next.scheme() == "http";
            permanent_so_far &= !downgrade;
            if permanent_so_far {
                moved_to = Some(next.clone());
            }
            url = next;
        }
        Err(FetchError::Redirect(format!("more than {} redirects", self.settings.redirects_max)))
    }

    async fn request(
        &self,
        wanted: Wanted,
        url: &Url,
        known: &Validators,
    ) -> Result<reqwest::Response, FetchError> {
        self.guard.check(url)?;
        let accept = if wanted == Wanted::Json { ACCEPT_JSON } else { ACCEPT };
        let mut request = self.client.get(url.clone()).header(header::ACCEPT, accept);
        if known.url == url.as_str() {
            if let Some(etag) = &known.etag {
                request = request.header(header::IF_NONE_MATCH, etag);
            }
            if let Some(date) = &known.last_modified {
                request = request.header(header::IF_MODIFIED_SINCE, date);
            }
        }
        request.send().await.map_err(|e| failure(&e))
    }

    async fn answer(
        &self,
        response: reqwest::Response,
        url: Url,
        moved_to: Option<Url>,
        known: &Validators,
        now_ms: i64,
    ) -> Result<Response, FetchError> {
        let status = response.status();
        let headers = response.headers().clone();
        let max_age_s = text(&headers, header::CACHE_CONTROL)
            .and_then(|value| schedule::max_age_s(&value, text(&headers, header::AGE).as_deref()));
        let content_type = text(&headers, header::CONTENT_TYPE);
        let quota = quota(&headers, now_ms);
        if status == StatusCode::NOT_MODIFIED && known.url == url.as_str() {
            let validators = known.clone();
            return Ok(Response { body: None, content_type, url, moved_to, validators, max_age_s, quota });
        }
        if status != StatusCode::OK {
            let asked = text(&headers, header::RETRY_AFTER).and_then(|v| schedule::retry_after_s(&v, now_ms));
            let exhausted = quota.filter(|q| status == StatusCode::TOO_MANY_REQUESTS && q.remaining == 0);
            let retry_after_s = asked.or(exhausted.map(|q| q.reset_s));
            return Err(FetchError::Status { status: status.as_u16(), retry_after_s });
        }
        let body = self.body(response).await?;
        let validators = Validators {
            url: url.to_string(),
            etag: text(&headers, header::ETAG),
            last_modified: text(&headers, header::LAST_MODIFIED),
        };
        Ok(Response { body: Some(body), content_type, url, moved_to, validators, max_age_s, quota })
    }

    async fn body(&self, mut response: reqwest::Response) -> Result<Vec<u8>, FetchError> {
        let max = self.settings.body_bytes_max;
        // Absent or of no meaning when the body is compressed; the stream decides.
        if response.content_length().is_some_and(|length| length > max as u64) {
            return Err(FetchError::TooLarge(max));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| failure(&e))? {
            if body.len() + chunk.len() > max {
                return Err(FetchError::TooLarge(max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// The reset is an RFC 3339 time (Mastodon) or seconds.
fn quota(headers: &HeaderMap, now_ms: i64) -> Option<Quota> {
    let named = |name| text(headers, header::HeaderName::from_static(name));
    let remaining = named("x-ratelimit-remaining")?.trim().parse().ok()?;
    let reset = named("x-ratelimit-reset")?;
    let reset_s = match dataflows::time::Millis::parse(reset.trim()) {
        Ok(at) => u64::try_from(at.0 - now_ms).unwrap_or(0).div_ceil(1_000),
        Err(_) => schedule::retry_after_s(&reset, now_ms)?,
    };
    Some(Quota { remaining, reset_s })
}

fn target(from: &Url, headers: &HeaderMap) -> Result<Url, FetchError> {
    let location = headers.get(header::LOCATION).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let location = location.ok_or_else(|| FetchError::Redirect("a redirect without Location".into()))?;
    let mut to = from.join(&location).map_err(|_| FetchError::Redirect("a redirect to no URL".into()))?;
    to.set_fragment(None);
    // Names and passwords would end in state, logs and lists.
    if !to.username().is_empty() || to.password().is_some() {
        return Err(FetchError::Redirect("a redirect to a URL with a user name".into()));
    }
    Ok(to)
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    const HEADER_BYTES_MAX: usize = 1024;
    let value = headers.get(name)?.to_str().ok()?;
    (value.len() <= HEADER_BYTES_MAX).then(|| value.to_string())
}

fn failure(error: &reqwest::Error) -> FetchError {
    let mut cause = error.source();
    let mut last = error.to_string();
    while let Some(inner) = cause {
        if let Some(blocked) = inner.downcast_ref::<Blocked>() {
            return FetchError::Blocked(blocked.clone());
        }
        last = inner.to_string();
        cause = inner.source();
    }
    match error {
        e if e.is_timeout() && e.is_connect() => FetchError::Timeout("to connect"),
        e if e.is_timeout() => FetchError::Timeout("between two reads"),
        e if e.is_decode() || e.is_body() => FetchError::Unreachable(format!("the body broke off: {last}")),
        _ => FetchError::Unreachable(last),
    }
}
