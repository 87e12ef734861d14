//! `/health`, `/health/{component}`, `/livez`, `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Json, Router};

use super::{Component, Health};
use crate::ops::http::{Authorized, Problem};
use crate::ops::metrics;

/// Components that have an address of their own even in a process without them.
const KNOWN: &[&str] = &["discord", "log", "memory", "sources"];

pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/health", get(report))
        .route("/health/{component}", get(component))
        .route("/livez", get(live))
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(text))
        .with_state(health)
}

/// Details may say more than reasons do: they need the token where there is one.
fn visible(component: Component, authorized: bool) -> Component {
    if authorized { component } else { component.details(serde_json::Value::Null) }
}

async fn report(
    State(health): State<Arc<Health>>,
    Extension(authorized): Extension<Authorized>,
) -> impl IntoResponse {
    let mut report = health.report();
    report.components = report.components.into_iter().map(|c| visible(c, authorized.0)).collect();
    Json(report)
}

async fn component(
    State(health): State<Arc<Health>>,
    Extension(authorized): Extension<Authorized>,
    Path(name): Path<String>,
) -> Result<Json<Component>, Problem> {
    if let Some(component) = health.report_of(&name) {
        return Ok(Json(visible(component, authorized.0)));
    }
    if KNOWN.contains(&name.as_str()) {
        return Ok(Json(Component::disabled(name, "not part of this process")));
    }
    Err(Problem::not_found(format!("no component of this name; there are {}", KNOWN.join(", "))))
}

async fn live(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let liveness = health.liveness();
    let status = if liveness.live { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(liveness))
}

async fn ready(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let readiness = health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

async fn text() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], metrics::encode())
}
