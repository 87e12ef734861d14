//! `/health`, `/health/{component}`, `/livez`, `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};

use super::{Component, Health, Liveness, Readiness, Report};
use crate::ops::http::{Authorized, Problem};
use crate::ops::metrics;
use crate::ops::openapi::{Operation, Routes};

/// Components that have an address of their own even in a process without them.
const KNOWN: &[&str] = &["discord", "log", "memory", "sources"];

pub fn routes(health: Arc<Health>) -> Routes {
    let of_health = Operation::new("health", "Every component and how it is; details need the token.")
        .open()
        .answers_as::<Report>("Always 200; `status` is the worst of the components.");
    let of_component = Operation::new("component", "One component and how it is.")
        .open()
        .path("component", "discord, log, memory, sources, or another that `/health` names.")
        .answers_as::<Component>("Always 200 where there is one of this name.")
        .fails(&[StatusCode::NOT_FOUND]);
    let of_metrics = Operation::new("metrics", "Metrics for Prometheus.").open().answers::<String>(
        StatusCode::OK,
        prometheus::TEXT_FORMAT,
        "The text format.",
    );
    Routes::default()
        .get("/health", report, of_health)
        .get("/health/{component}", component, of_component)
        .get("/livez", live, liveness("livez"))
        .get("/healthz", live, liveness("healthz"))
        .get("/readyz", ready, readiness())
        .get("/metrics", text, of_metrics)
        .with_state(health)
}

fn liveness(id: &'static str) -> Operation {
    let stuck = "A loop has not come round in time: restart it.";
    Operation::new(id, "Whether its loops turn.")
        .open()
        .answers_as::<Liveness>("They do.")
        .answers::<Liveness>(StatusCode::SERVICE_UNAVAILABLE, "application/json", stuck)
}

fn readiness() -> Operation {
    Operation::new("readyz", "Whether it has caught up and answers from everything.")
        .open()
        .answers_as::<Readiness>("It has.")
        .answers::<Readiness>(StatusCode::SERVICE_UNAVAILABLE, "application/json", "Not yet.")
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
