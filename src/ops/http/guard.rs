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

/// Open without a token: probes and scrapers have none.
pub(super) fn is_open(path: &str) -> bool {
    matches!(path, "/livez" | "/healthz" | "/readyz" | "/metrics" | "/health") || path.starts_with("/health/")
}

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
        let detail = "a token is needed: Authorization: Bearer <TIDINGS_API_TOKEN>";
        return refuse("token", Problem::new(StatusCode::UNAUTHORIZED, detail));
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
        let Some((scheme, token)) = value.and_then(|value| value.split_once(' ')) else { return false };
        // Hashes are compared in constant time, and hide the lengths.
        let given = blake3::hash(token.trim().as_bytes());
        scheme.eq_ignore_ascii_case("bearer") && self.tokens.contains(&given)
    }
}
