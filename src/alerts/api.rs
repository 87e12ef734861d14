//! `GET /v1/alerts` and `GET /v1/alerts/test`: alerts as the log has them, and a trial.
//!
//! [`View`] follows the topic by itself, so it is right in whichever process the engine
//! runs. Retention: the newest [`ALERTS_MAX`] alerts; older ones are in the topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::extract::State as Extract;
use axum::http::StatusCode;
use axum::{Json, Router};
use parking_lot::{Mutex, RwLock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use dataflows::record::{Stored, topic};
use dataflows::time::Millis;

use super::Settings;
use super::engine::read_topic;
use super::record::{Alert, State};
use super::rule::{self, Rule};
use super::sample::Samples;
use super::trial::{self, Trial};
use crate::discord::routes::Route;
use crate::log::{Log, LogError};
use crate::ops::http::{List, Parameters, Problem, number};
use crate::ops::openapi::{Operation, Routes};

/// Alerts that are shown.
pub const ALERTS_MAX: usize = 5_000;
const LIST: List = List { name: "alerts", limit_default: 50, limit_max: 500 };
/// Trials at a time: each reads a day of the log.
const TRIALS_MAX: usize = 1;
const RETRY_AFTER_S: u64 = 5;
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The newest alerts.
#[derive(Debug, Default)]
pub struct View {
    alerts: BTreeMap<(Millis, String), Alert>,
}

impl View {
    /// Takes a record of the topic alerts; unreadable ones are not shown.
    pub fn apply(&mut self, stored: &Stored) {
        let Some(value) = &stored.value else {
            let key = String::from_utf8_lossy(&stored.key);
            self.alerts.retain(|(_, of), _| *of != key);
            return;
        };
        match serde_json::from_slice::<Alert>(value) {
            Ok(alert) => {
                self.alerts.insert((alert.since, alert.key.clone()), alert);
            }
            Err(error) => tracing::warn!(%error, offset = stored.offset, "an alert is not shown"),
        }
        while self.alerts.len() > ALERTS_MAX {
            self.alerts.pop_first();
        }
    }

    /// The newest first.
    pub fn page(&self, asked: &Asked) -> Result<AlertsPage, String> {
        let limit = LIST.limit(asked.limit)?;
        let before: Option<(i64, String)> = LIST.after(asked.cursor.as_deref())?;
        let before = before.map(|(at, key)| (Millis(at), key));
        let since = match asked.since.as_deref().filter(|since| !since.is_empty()) {
            None => Millis(i64::MIN),
            Some(text) => match text.parse() {
                Ok(ms) => Millis(ms),
                Err(_) => {
                    Millis::parse(text).map_err(|e| format!("since: {e} or a number of milliseconds"))?
                }
            },
        };
        let wanted = |alert: &Alert| {
            asked.state.is_none_or(|state| alert.state == state)
                && asked.rule.as_ref().is_none_or(|rule| *rule == alert.rule)
                && alert.since >= since
        };
        let newest_first = self.alerts.iter().rev();
        let found = newest_first
            .filter(|(at, alert)| before.as_ref().is_none_or(|before| *at < before) && wanted(alert));
        let (page, cursor) = LIST.page(found, limit, |((at, key), _)| (at.0, key.clone()));
        Ok(AlertsPage { items: page.into_iter().map(|(_, alert)| alert.clone()).collect(), cursor })
    }
}

/// What may be asked of `GET /v1/alerts`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    #[serde(default)]
    pub state: Option<State>,
    /// Alerts of this rule.
    #[serde(default)]
    pub rule: Option<String>,
    /// Opened at or after this.
    #[serde(default)]
    pub since: Option<String>,
    #[serde(default, deserialize_with = "number")]
    pub limit: Option<usize>,
    #[serde(default)]
    pub cursor: Option<String>,
}

/// The answer of `GET /v1/alerts`: a page, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertsPage {
    pub items: Vec<Alert>,
    /// The `cursor` of the next page; null on the last.
    pub cursor: Option<String>,
}

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    pub view: Arc<RwLock<View>>,
    pub log: Arc<dyn Log>,
    pub settings: Settings,
    pub rules: Arc<Vec<Rule>>,
    pub routes: Arc<Vec<Route>>,
    pub samples: Arc<Mutex<Samples>>,
    /// Interrupts trials.
    pub stop: Arc<AtomicBool>,
}

pub fn routes(api: Api) -> Routes {
    let trials = Arc::new(Semaphore::new(TRIALS_MAX));
    let tried = move |Extract(api): Extract<Api>, Parameters(asked): Parameters<OfRule>| {
        let trials = Arc::clone(&trials);
        async move { test(api, trials, asked).await }
    };
    let of_alerts = Operation::new("alerts", "Alerts, how they stand and what became of their messages.")
        .query::<Asked>()
        .list(&LIST)
        .answers_as::<AlertsPage>("The newest first.");
    let of_trial = Operation::new("alerts_test", "What a rule would have said of what the log still has.")
        .query::<OfRule>()
        .answers_as::<Trial>("Nothing is written or posted.")
        .fails(&[StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE]);
    Routes::default()
        .get("/v1/alerts", alerts, of_alerts)
        .get("/v1/alerts/test", tried, of_trial)
        .with_state(api)
}

/// The routes alone, for a server of one's own.
pub fn router(api: Api) -> Router {
    routes(api).into()
}

async fn alerts(
    Extract(api): Extract<Api>,
    Parameters(asked): Parameters<Asked>,
) -> Result<Json<AlertsPage>, Problem> {
    let page = api.view.read().page(&asked);
    page.map(Json).map_err(Problem::bad_request)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfRule {
    /// Its name in alerts.toml.
    rule: String,
}

async fn test(api: Api, trials: Arc<Semaphore>, asked: OfRule) -> Result<Json<Trial>, Problem> {
    let rule = rule::find(&api.rules, &asked.rule).map_err(Problem::not_found)?.clone();
    let permit = trials
        .try_acquire_owned()
        .map_err(|_| Problem::unavailable("another trial is running", RETRY_AFTER_S))?;
    let tried = tokio::task::spawn_blocking(move || {
        let samples = api.samples.lock().clone();
        let tried = trial::run(api.log.as_ref(), &api.settings, &rule, &api.routes, &samples, &api.stop);
        drop(permit);
        tried
    });
    match tried.await {
        Ok(Ok(Some(trial))) => Ok(Json(trial)),
        Ok(Ok(None)) => Err(Problem::unavailable("the process stops", RETRY_AFTER_S)),
        Ok(Err(error)) => Err(Problem::unavailable(error.to_string(), RETRY_AFTER_S)),
        Err(_) => Err(Problem::internal("the trial failed")),
    }
}

/// Every alert that the log has, for a command without a process.
pub fn read(log: &dyn Log) -> Result<View, LogError> {
    let mut view = View::default();
    read_topic(log, topic::ALERTS, READ_BYTES_MAX, |stored| view.apply(stored))?;
    Ok(view)
}
