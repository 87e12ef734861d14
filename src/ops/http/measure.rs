//! Counts requests by route template.

use std::sync::LazyLock;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use prometheus::{HistogramVec, IntCounterVec};

use crate::ops::metrics;

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Requests answered.";
    metrics::counter_vec("tidings_http_requests_total", help, &["method", "route", "status"])
});

static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    let help = "Time until the answer began.";
    metrics::histogram_vec(
        "tidings_http_request_duration_seconds",
        help,
        &["route"],
        metrics::SECONDS_BUCKETS,
    )
});

pub(super) async fn measure(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    REQUESTS.with_label_values(&[method, route, response.status().as_str()]).inc();
    DURATION.with_label_values(&[route]).observe(started.elapsed().as_secs_f64());
    response
}

/// Methods are free text in HTTP: a label must not be.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
