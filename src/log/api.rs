//! The log over HTTP: topics, and committed records as NDJSON.
//!
//! `GET /v1/topics` and `GET /v1/topics/{topic}/records?from&limit&follow` give the
//! lines of `tidings topics list --json` and `topics tail --json`.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};

use super::command::{self, CommandError, From, Tail, TailArgs};
use super::{Log, LogError};

/// Batches of lines that wait for a slow client; then reading waits.
const BATCHES_WAITING_MAX: usize = 4;

/// Tails at a time: each holds a thread and a reader.
const TAILS_MAX: usize = 32;

#[derive(Clone)]
struct Shared {
    log: Arc<dyn Log>,
    tails: Arc<Semaphore>,
}

pub fn routes(log: Arc<dyn Log>) -> Router {
    Router::new()
        .route("/v1/topics", get(topics))
        .route("/v1/topics/{topic}/records", get(records))
        .with_state(Shared { log, tails: Arc::new(Semaphore::new(TAILS_MAX)) })
}

async fn topics(State(Shared { log, .. }): State<Shared>) -> Response {
    match tokio::task::spawn_blocking(move || command::list(&*log)).await {
        Ok(Ok(lines)) => Json(serde_json::json!({ "topics": lines })).into_response(),
        Ok(Err(error)) => failure(&CommandError::Log(error)),
        Err(stopped) => failure(&CommandError::Log(LogError::Fatal(stopped.to_string()))),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    #[serde(default)]
    from: From,
    limit: Option<usize>,
    #[serde(default)]
    follow: bool,
}

async fn records(
    State(Shared { log, tails }): State<Shared>,
    Path(topic): Path<String>,
    Query(Range { from, limit, follow }): Query<Range>,
) -> Response {
    let Ok(permit) = tails.try_acquire_owned() else {
        return problem(StatusCode::TOO_MANY_REQUESTS, &format!("{TAILS_MAX} tails are open already"));
    };
    let args = TailArgs { topic, from, limit, json: true, follow };
    let opened = tokio::task::spawn_blocking(move || Tail::open(&*log, &args)).await;
    let tail = match opened {
        Ok(Ok(tail)) => tail,
        Ok(Err(error)) => return failure(&error),
        Err(stopped) => return failure(&CommandError::Log(LogError::Fatal(stopped.to_string()))),
    };
    let (lines, waiting) = mpsc::channel(BATCHES_WAITING_MAX);
    tokio::task::spawn_blocking(move || {
        feed(tail, &lines);
        drop(permit);
    });
    let body = stream::unfold(waiting, |mut waiting| async move {
        let batch: Result<Bytes, LogError> = waiting.recv().await?;
        Some((batch, waiting))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(body)).into_response()
}

/// Reads until the end or until the client has gone. A failure on the way breaks the
/// connection: a body that ends in order is complete.
fn feed(mut tail: Tail, lines: &mpsc::Sender<Result<Bytes, LogError>>) {
    loop {
        let batch = match tail.next_batch() {
            Ok(None) => return,
            Ok(Some(batch)) if batch.is_empty() => {
                if lines.is_closed() {
                    return;
                }
                continue;
            }
            Ok(Some(batch)) => Ok(batch.iter().map(|line| line.line(true) + "\n").collect::<String>().into()),
            Err(error) => Err(error),
        };
        if lines.blocking_send(batch).is_err() {
            return;
        }
    }
}

fn failure(error: &CommandError) -> Response {
    let status = match error {
        CommandError::NoTopic { .. } => StatusCode::NOT_FOUND,
        CommandError::Log(LogError::Rejected(_)) => StatusCode::BAD_REQUEST,
        CommandError::Log(LogError::Retry(_)) => StatusCode::SERVICE_UNAVAILABLE,
        CommandError::Log(LogError::Full(_)) => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    problem(status, &error.to_string())
}

/// RFC 9457.
fn problem(status: StatusCode, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}
