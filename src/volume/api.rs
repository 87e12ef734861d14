//! `GET /v1/volume`.

use std::sync::Arc;

use axum::extract::{Query as Parameters, State};
use axum::routing::get;
use axum::{Json, Router};
use dataflows::time::Millis;
use dataflows::volume::{By, VolumeCell, Window};
use parking_lot::RwLock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Query, View};
use crate::ops::http::Problem;

/// Cells of one answer, unless `limit` asks for fewer.
const CELLS_MAX: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    window: Option<String>,
    from: Option<String>,
    to: Option<String>,
    platform: Option<String>,
    topic: Option<String>,
    channel: Option<String>,
    by: Option<String>,
    limit: Option<usize>,
    cursor: Option<usize>,
}

/// The answer: cells, and the pipeline clock they are of.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    pub cells: Vec<VolumeCell>,
    pub as_of: Millis,
    /// The `cursor` of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<usize>,
}

pub fn routes(view: Arc<RwLock<View>>) -> Router {
    Router::new().route("/v1/volume", get(volume)).with_state(view)
}

async fn volume(
    State(view): State<Arc<RwLock<View>>>,
    asked: Result<Parameters<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Answer>, Problem> {
    let Parameters(asked) = asked.map_err(|e| Problem::bad_request(e.body_text()))?;
    let limit = asked.limit.unwrap_or(CELLS_MAX).clamp(1, CELLS_MAX);
    let start = asked.cursor.unwrap_or(0);
    let query = query(asked).map_err(Problem::bad_request)?;
    let view = view.read();
    let found = view.query(&query).map_err(|e| Problem::bad_request(e.to_string()))?;
    let more = found.len() > start.saturating_add(limit);
    Ok(Json(Answer {
        cells: found.into_iter().skip(start).take(limit).collect(),
        as_of: view.as_of(),
        cursor: more.then(|| start + limit),
    }))
}

fn query(asked: Asked) -> Result<Query, String> {
    let window = asked.window.unwrap_or_else(|| "1h".into());
    let time = |name: &str, value: Option<String>, default| match value.filter(|v| !v.is_empty()) {
        None => Ok(Millis(default)),
        Some(text) => match text.parse() {
            Ok(ms) => Ok(Millis(ms)),
            Err(_) => Millis::parse(&text).map_err(|e| format!("{name}: {e} or a number of milliseconds")),
        },
    };
    let text = |value: Option<String>| value.filter(|v| !v.is_empty());
    Ok(Query {
        window: Window::parse(&window).ok_or_else(|| format!("window {window:?} is none of 1m, 1h, 1d"))?,
        from: time("from", asked.from, i64::MIN)?,
        to: time("to", asked.to, i64::MAX)?,
        platform: text(asked.platform),
        topic: text(asked.topic),
        channel: text(asked.channel),
        by: By::parse(asked.by.as_deref().unwrap_or_default()).map_err(|e| format!("by: {e}"))?,
    })
}
