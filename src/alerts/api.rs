//! `GET /v1/alerts` and `GET /v1/alerts/test`: alerts as the log has them, and a trial.
//!
//! [`View`] follows the topic by itself, so it is right in whichever process the engine
//! runs. Retention: the newest [`ALERTS_MAX`] alerts; older ones are in the topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::extract::{Query, State as Extract};
use axum::routing::get;
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
use crate::ops::http::Problem;

/// Alerts that are shown.
pub const ALERTS_MAX: usize = 5_000;
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 500;
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
        let limit = asked.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(format!("limit must be between 1 and {LIMIT_MAX}"));
        }
        let before = match asked.cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
            None => None,
            Some(cursor) => Some(place(cursor).ok_or("cursor is not one of an answer before")?),
        };
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
        let mut found = newest_first
            .filter(|(at, alert)| before.as_ref().is_none_or(|before| *at < before) && wanted(alert));
        let page: Vec<_> = found.by_ref().take(limit).collect();
        let more = found.next().is_some();
        let cursor = page.last().filter(|_| more).map(|((at, key), _)| format!("{}~{key}", at.0));
        Ok(AlertsPage { items: page.into_iter().map(|(_, alert)| alert.clone()).collect(), cursor })
    }
}

fn place(cursor: &str) -> Option<(Millis, String)> {
    let (at, key) = cursor.split_once('~')?;
    Some((Millis(at.parse().ok()?), key.to_string()))
}

/// What may be asked of `GET /v1/alerts`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    #[serde(default)]
    pub state: Option<State>,
    #[serde(default)]
    pub rule: Option<String>,
    /// Opened at or after this.
    #[serde(default)]
    pub since: Option<String>,
    #[serde(default)]
    pub limit: Option<usize>,
    #[serde(default)]
    pub cursor: Option<String>,
}

/// The answer of `GET /v1/alerts`: a page, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertsPage {
    pub items: Vec<Alert>,
    /// The `cursor` of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

pub fn router(api: Api) -> Router {
    let trials = Arc::new(Semaphore::new(TRIALS_MAX));
    let tried = move |Extract(api): Extract<Api>, asked: Parameters<OfRule>| {
        let trials = Arc::clone(&trials);
        async move { test(api, trials, asked).await }
    };
    Router::new().route("/v1/alerts", get(alerts)).route("/v1/alerts/test", get(tried)).with_state(api)
}

type Parameters<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

async fn alerts(Extract(api): Extract<Api>, asked: Parameters<Asked>) -> Result<Json<AlertsPage>, Problem> {
    let Query(asked) = asked.map_err(|e| Problem::bad_request(e.body_text()))?;
    let page = api.view.read().page(&asked);
    page.map(Json).map_err(Problem::bad_request)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfRule {
    rule: String,
}

async fn test(api: Api, trials: Arc<Semaphore>, asked: Parameters<OfRule>) -> Result<Json<Trial>, Problem> {
    let Query(asked) = asked.map_err(|e| Problem::bad_request(e.body_text()))?;
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
