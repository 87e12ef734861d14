//! Who is let in: hosts, origins, tokens.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus::IntCounterVec;

use super::{Access, Problem, Settings};
use crate::ops::metrics;

static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec("tidings_http_refused_total", "Requests refused before their handler.", &["reason"])
});

/// Whether the request carried a valid token, or none is needed. In every
/// request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorized(pub bool);

#[derive(Clone)]
pub(super) struct Guard(Arc<Rules>);

struct Rules {
    /// Hashes of the tokens that open the door; empty on loopback without a token.
    tokens: Vec<blake3::Hash>,
    loopback: bool,
    allowed_hosts: Vec<String>,
}

impl Guard {
    pub(super) fn new(settings: &Settings, access: &Access, address: SocketAddr) -> Self {
        let tokens = match &access.api_token {
            Some(token) => std::iter::once(token).chain(&access.folder_token).collect(),
            None => Vec::new(),
        };
        Self(Arc::new(Rules {
            tokens: tokens.into_iter().map(|token| blake3::hash(token.expose().as_bytes())).collect(),
            loopback: address.ip().is_loopback(),
            allowed_hosts: settings.allowed_hosts.clone(),
        }))
    }
}

/// Open without a token: probes and scrapers have none, and `/login` takes one.
pub(super) fn is_open(path: &str) -> bool {
    matches!(path, "/livez" | "/healthz" | "/readyz" | "/metrics" | "/health" | LOGIN)
        || path.starts_with("/health/")
}

/// Exchanges a token for a cookie, so that a browser can show the page.
const LOGIN: &str = "/login";
pub const COOKIE: &str = "tidings_token";
/// Seconds for which a browser keeps the cookie: a month.
const COOKIE_S: u32 = 30 * 24 * 3600;

pub(super) async fn guard(State(Guard(rules)): State<Guard>, mut request: Request, next: Next) -> Response {
    let refuse = |reason: &str, problem: Problem| {
        REFUSED.with_label_values(&[reason]).inc();
        problem.into_response()
    };
    let host = match host(&request) {
        Ok(host) => host,
        Err(message) => return refuse("host", Problem::bad_request(message)),
    };
    if rules.loopback && !rules.is_ours(&host) {
        let detail = "this Host is not served here; [http] allowed_hosts can add it";
        return refuse("host", Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    if !origin_matches(request.headers(), &host) {
        let detail = "requests from other origins are not allowed";
        return refuse("origin", Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let authorized = rules.tokens.is_empty() || rules.has_token(request.headers());
    if !authorized && !is_open(request.uri().path()) {
        let detail =
            "a token is needed: Authorization: Bearer <TIDINGS_API_TOKEN>, or in a browser /login?token=…";
        return refuse("token", Problem::new(StatusCode::UNAUTHORIZED, detail));
    }
    if request.uri().path() == LOGIN {
        return rules.login(&request);
    }
    request.extensions_mut().insert(Authorized(authorized));
    next.run(request).await
}

/// The host and port that the client thinks it talks to.
fn host(request: &Request) -> Result<Authority, &'static str> {
    if let Some(authority) = request.uri().authority() {
        return Ok(authority.clone());
    }
    let mut values = request.headers().get_all(header::HOST).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| "the Host header is not text")?;
            text.parse().map_err(|_| "the Host header is not a host")
        }
        (None, _) => Err("the Host header is missing"),
        (Some(_), Some(_)) => Err("there is more than one Host header"),
    }
}

/// No `Origin` (not a browser, or a plain navigation), or the page is ours.
fn origin_matches(headers: &HeaderMap, host: &Authority) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => true,
        (Some(origin), None) => origin
            .to_str()
            .ok()
            .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")))
            .is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_str())),
        (Some(_), Some(_)) => false,
    }
}

impl Rules {
    fn is_ours(&self, host: &Authority) -> bool {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            || self.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match value.and_then(|value| value.split_once(' ')) {
            Some((scheme, token)) => scheme.eq_ignore_ascii_case("bearer") && self.is_token(token.trim()),
            None => self.has_cookie(headers),
        }
    }

    fn is_token(&self, token: &str) -> bool {
        // Hashes are compared in constant time, and hide the lengths.
        self.tokens.contains(&blake3::hash(token.as_bytes()))
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(name, value)| {
            name == COOKIE && unescaped(value).is_some_and(|token| self.is_token(&token))
        })
    }

    /// To the page with a cookie for a valid token. Other sites cannot make a browser
    /// send it along: it is `SameSite=Strict`, and the `Origin` is checked besides.
    fn login(&self, request: &Request) -> Response {
        let given = request.uri().query().and_then(|query| {
            url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token")
        });
        let Some((_, token)) = given.filter(|(_, token)| self.tokens.is_empty() || self.is_token(token))
        else {
            REFUSED.with_label_values(&["token"]).inc();
            let detail = "the login link is /login?token=<TIDINGS_API_TOKEN>";
            return Problem::new(StatusCode::UNAUTHORIZED, detail).into_response();
        };
        let value: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
        let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={COOKIE_S}; HttpOnly; SameSite=Strict");
        let headers = [(header::SET_COOKIE, cookie), (header::LOCATION, "/".to_string())];
        (StatusCode::SEE_OTHER, headers).into_response()
    }
}

/// Reads what the form encoding wrote.
fn unescaped(value: &str) -> Option<String> {
    let pair = format!("v={value}");
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    pairs.next().map(|(_, value)| value.into_owned())
}
