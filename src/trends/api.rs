//! `GET /v1/trends`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dataflows::time::Millis;
use dataflows::trends::{SubjectKind, Trend, TrendState};
use parking_lot::RwLock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Example, Place, View};
use crate::ops::http::{List, Parameters, Problem, number};
use crate::ops::openapi::{Operation, Routes};

const TRENDS: List = List { name: "trends", limit_default: 50, limit_max: 500 };
/// Examples of one trend.
const EXAMPLES_MAX: usize = 3;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[schemars(extend("enum" = ["rising", "ended"]))]
    pub(super) state: Option<String>,
    #[schemars(extend("enum" = ["topic", "term"]))]
    pub(super) kind: Option<String>,
    /// Trends that began at or after this.
    pub(super) since: Option<String>,
    #[serde(default, deserialize_with = "number")]
    pub(super) limit: Option<usize>,
    pub(super) cursor: Option<String>,
}

/// The answer: a page of trends, the newest first, and the pipeline clock they are of.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TrendsPage")]
pub struct Answer {
    pub trends: Vec<Told>,
    pub as_of: Millis,
    /// The `cursor` of the next page; null on the last.
    pub cursor: Option<String>,
}

/// A trend with items that are examples of it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TrendTold")]
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
        let before: Option<(i64, String)> = TRENDS.after(asked.cursor.as_deref())?;
        Ok(Self {
            state: state.transpose()?,
            kind: kind.transpose()?,
            since: since.transpose()?.unwrap_or(Millis(i64::MIN)),
            before: before.map(|(at, key)| (Millis(at), key.into_bytes())),
        })
    }

    fn has(&self, trend: &Trend) -> bool {
        self.state.is_none_or(|state| state == trend.state)
            && self.kind.is_none_or(|kind| kind == trend.subject.kind)
            && trend.since >= self.since
    }
}

pub fn routes(view: Arc<RwLock<View>>) -> Routes {
    let operation = Operation::new("trends", "Bursts of watched topics and of terms, with example items.")
        .query::<Asked>()
        .list(&TRENDS)
        .answers_as::<Answer>("The newest first.");
    Routes::default().get("/v1/trends", trends, operation).with_state(view)
}

async fn trends(
    State(view): State<Arc<RwLock<View>>>,
    Parameters(asked): Parameters<Asked>,
) -> Result<Json<Answer>, Problem> {
    page(&view.read(), &asked).map(Json).map_err(Problem::bad_request)
}

pub(super) fn page(view: &View, asked: &Asked) -> Result<Answer, String> {
    let wanted = Wanted::of(asked)?;
    let limit = TRENDS.limit(asked.limit)?;
    let found = view
        .trends
        .iter()
        .rev()
        .filter(|(place, trend)| wanted.before.as_ref().is_none_or(|b| *place < b) && wanted.has(trend));
    let place = |((at, key), _): &(&Place, &Trend)| (at.0, String::from_utf8_lossy(key).into_owned());
    let (shown, cursor) = TRENDS.page(found, limit, place);
    let told = |trend: &Trend| Told { examples: view.examples_of(trend, EXAMPLES_MAX), trend: trend.clone() };
    Ok(Answer {
        trends: shown.into_iter().map(|(_, trend)| told(trend)).collect(),
        as_of: view.as_of(),
        cursor,
    })
}
