//! Limits of requests: how many at once, how large, how long.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::{Problem, Settings, guard};

#[derive(Clone)]
pub(super) struct Limits {
    permits: Arc<Semaphore>,
    body_bytes_max: usize,
    timeout: Duration,
    retry_after_s: u64,
}

impl Limits {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(settings.requests_max)),
            body_bytes_max: settings.body_bytes_max,
            timeout: Duration::from_secs(settings.request_timeout_s),
            retry_after_s: settings.retry_after_s,
        }
    }
}

/// Refuses what is too large before reading it and what is too much before
/// starting it. Probes are answered even under load.
pub(super) async fn limit(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limits.body_bytes_max as u64) {
        let detail = format!("the body is larger than {} bytes", limits.body_bytes_max);
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response();
    }
    let permit = limits.permits.try_acquire();
    if permit.is_err() && !guard::is_open(request.uri().path()) {
        let detail = "too many requests are being worked on";
        return Problem::unavailable(detail, limits.retry_after_s).into_response();
    }
    match tokio::time::timeout(limits.timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the request took too long and was given up";
            Problem::unavailable(detail, limits.retry_after_s).into_response()
        }
    }
}
