//! `GET /v1/sources`: every source and its health, by key.

use axum::Json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::{self, SourceStatus};
use crate::ops::http::{List, Parameters, Problem, number};
use crate::ops::openapi::{Operation, Routes};

const SOURCES: List = List { name: "sources", limit_default: 100, limit_max: 1_000 };

pub fn routes() -> Routes {
    let operation = Operation::new("sources", "Every source and its health.")
        .query::<Asked>()
        .list(&SOURCES)
        .answers_as::<SourcesPage>("By key.");
    Routes::default().get("/v1/sources", sources, operation)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default, deserialize_with = "number")]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// One page of sources.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SourcesPage {
    pub sources: Vec<SourceStatus>,
    /// The `cursor` of the next page; null on the last.
    pub cursor: Option<String>,
}

async fn sources(Parameters(asked): Parameters<Asked>) -> Result<Json<SourcesPage>, Problem> {
    page(&asked).map(Json).map_err(Problem::bad_request)
}

fn page(asked: &Asked) -> Result<SourcesPage, String> {
    let limit = SOURCES.limit(asked.limit)?;
    let after: Option<String> = SOURCES.after(asked.cursor.as_deref())?;
    let rest = status::status().into_iter().filter(|s| after.as_ref().is_none_or(|after| s.key > *after));
    let (sources, cursor) = SOURCES.page(rest, limit, |source| source.key.clone());
    Ok(SourcesPage { sources, cursor })
}
