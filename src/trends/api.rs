//! `GET /v1/trends`.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use dataflows::time::Millis;
use dataflows::trends::{SubjectKind, Trend, TrendState};
use parking_lot::RwLock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Example, Place, View};
use crate::ops::http::Problem;

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 500;
/// Examples of one trend.
const EXAMPLES_MAX: usize = 3;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) state: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) since: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) cursor: Option<String>,
}

/// The answer: a page of trends, the newest first, and the pipeline clock they are of.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    pub trends: Vec<Told>,
    pub as_of: Millis,
    /// The `cursor` of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A trend with items that are examples of it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    #[serde(flatten)]
    pub trend: Trend,
    pub examples: Vec<Example>,
}

/// What was asked for, as it is compared.
struct Wanted {
    state: Option<TrendState>,
    kind: Option<SubjectKind>,
    since: Millis,
    before: Option<Place>,
}

impl Wanted {
    fn of(asked: &Asked) -> Result<Self, String> {
        let text = |value: &Option<String>| value.clone().filter(|v| !v.is_empty());
        let state =
            text(&asked.state).map(|s| TrendState::parse(&s).ok_or("state is rising or ended".to_string()));
        let kind =
            text(&asked.kind).map(|k| SubjectKind::parse(&k).ok_or("kind is topic or term".to_string()));
        let since = text(&asked.since).map(|text| match text.parse() {
            Ok(ms) => Ok(Millis(ms)),
            Err(_) => Millis::parse(&text).map_err(|e| format!("since: {e} or a number of milliseconds")),
        });
        let before = text(&asked.cursor).map(|cursor| {
            let place =
                cursor.split_once('~').and_then(|(at, key)| Some((Millis(at.parse().ok()?), key.into())));
            place.ok_or("cursor is none that this endpoint gave".to_string())
        });
        Ok(Self {
            state: state.transpose()?,
            kind: kind.transpose()?,
            since: since.transpose()?.unwrap_or(Millis(i64::MIN)),
            before: before.transpose()?,
        })
    }

    fn has(&self, trend: &Trend) -> bool {
        self.state.is_none_or(|state| state == trend.state)
            && self.kind.is_none_or(|kind| kind == trend.subject.kind)
            && trend.since >= self.since
    }
}

pub fn routes(view: Arc<RwLock<View>>) -> Router {
    Router::new().route("/v1/trends", get(trends)).with_state(view)
}

async fn trends(
    State(view): State<Arc<RwLock<View>>>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Answer>, Problem> {
    let Query(asked) = asked.map_err(|e| Problem::bad_request(e.body_text()))?;
    page(&view.read(), &asked).map(Json).map_err(Problem::bad_request)
}

pub(super) fn page(view: &View, asked: &Asked) -> Result<Answer, String> {
    let wanted = Wanted::of(asked)?;
    let limit = asked.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    let mut found = view
        .trends
        .iter()
        .rev()
        .filter(|(place, trend)| wanted.before.as_ref().is_none_or(|b| *place < b) && wanted.has(trend));
    let shown: Vec<_> = found.by_ref().take(limit).collect();
    let more = found.next().is_some();
    let cursor = shown
        .last()
        .filter(|_| more)
        .map(|((at, key), _)| format!("{}~{}", at.0, String::from_utf8_lossy(key)));
    let told = |trend: &Trend| Told { examples: view.examples_of(trend, EXAMPLES_MAX), trend: trend.clone() };
    Ok(Answer {
        trends: shown.into_iter().map(|(_, trend)| told(trend)).collect(),
        as_of: view.as_of(),
        cursor,
    })
}
