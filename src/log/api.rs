//! The log over HTTP: topics, and committed records as NDJSON or as pages of JSON.
//!
//! `GET /v1/topics` and `GET /v1/topics/{topic}/records?from&limit&follow` give the
//! lines of `tidings topics list --json` and `topics tail --json`. Who accepts only
//! `application/json` gets the same records by pages: `{"records":[…],"cursor":…}`.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

use super::command::{self, CommandError, From, RecordLine, Tail, TailArgs, TopicLine};
use super::{Log, LogError};
use crate::ops::http::{List, Parameters, Problem, number, within};
use crate::ops::openapi::{Operation, Routes};

const TOPICS: List = List { name: "topics", limit_default: 100, limit_max: 1_000 };
const RECORDS: List = List { name: "records", limit_default: 100, limit_max: 1_000 };
/// Records of a stream, where a client wants an end; it holds none of them, so that this is
/// only to have a limit.
const STREAMED_MAX: usize = u32::MAX as usize;
/// A page ends before its limit once its records are this long.
const PAGE_BYTES_MAX: usize = 16 << 20;
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
/// Seconds after which a log that could not be read is worth a retry.
const RETRY_AFTER_S: u64 = 5;

/// Batches of lines that wait for a slow client; then reading waits.
const BATCHES_WAITING_MAX: usize = 4;

/// Tails at a time: each holds a thread and a reader.
const TAILS_MAX: usize = 32;

#[derive(Clone)]
struct Shared {
    log: Arc<dyn Log>,
    tails: Arc<Semaphore>,
}

pub fn routes(log: Arc<dyn Log>) -> Routes {
    let of_topics = Operation::new("topics", "The topics of the log.")
        .query::<TopicsAsked>()
        .list(&TOPICS)
        .answers_as::<TopicsPage>("By name.");
    let of_records =
        Operation::new("records", "Committed records of a topic, the oldest first in a partition.")
            .path("topic", "The name of a topic, without the deployment's prefix.")
            .query::<Range>()
            .list(&RECORDS)
            .answers::<RecordsPage>(
                StatusCode::OK,
                JSON,
                "NDJSON, a RecordLine on each line; for `Accept: application/json` a page of them.",
            )
            .answers::<String>(StatusCode::OK, LINES, "")
            .fails(&[StatusCode::NOT_FOUND, StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE]);
    Routes::default()
        .get("/v1/topics", topics, of_topics)
        .get("/v1/topics/{topic}/records", records, of_records)
        .with_state(Shared { log, tails: Arc::new(Semaphore::new(TAILS_MAX)) })
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TopicsAsked {
    #[serde(default, deserialize_with = "number")]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// One page of topics.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct TopicsPage {
    pub topics: Vec<TopicLine>,
    /// The `cursor` of the next page; null on the last.
    pub cursor: Option<String>,
}

async fn topics(
    State(Shared { log, .. }): State<Shared>,
    Parameters(asked): Parameters<TopicsAsked>,
) -> Result<Json<TopicsPage>, Problem> {
    let limit = TOPICS.limit(asked.limit).map_err(Problem::bad_request)?;
    let after: Option<String> = TOPICS.after(asked.cursor.as_deref()).map_err(Problem::bad_request)?;
    let mut lines = apart(move || Ok(command::list(&*log)?)).await?;
    lines.sort_by(|a, b| a.topic.cmp(&b.topic));
    let rest = lines.into_iter().filter(|line| after.as_ref().is_none_or(|after| line.topic > *after));
    let (topics, cursor) = TOPICS.page(rest, limit, |line| line.topic.clone());
    Ok(Json(TopicsPage { topics, cursor }))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Range {
    /// Where to begin without a cursor.
    #[serde(default)]
    from: From,
    /// As NDJSON as many as one likes, and all of them by default.
    #[serde(default, deserialize_with = "number")]
    limit: Option<usize>,
    cursor: Option<String>,
    /// Stay and give what arrives; as NDJSON only.
    #[serde(default)]
    follow: bool,
}

/// One page of records.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RecordsPage {
    pub records: Vec<RecordLine>,
    /// The `cursor` of the next page; null at the end of the topic as it was seen.
    pub cursor: Option<String>,
}

/// The topic, and the next offset of each of its partitions.
type Place = (String, Vec<u64>);

async fn records(
    State(Shared { log, tails }): State<Shared>,
    Path(topic): Path<String>,
    headers: HeaderMap,
    Parameters(Range { from, limit, cursor, follow }): Parameters<Range>,
) -> Result<Response, Problem> {
    let after = RECORDS.after::<Place>(cursor.as_deref()).map_err(Problem::bad_request)?;
    let start = match after {
        None => None,
        Some((of, next)) if of == topic => Some(next),
        Some(_) => return Err(Problem::bad_request("cursor is one of another topic")),
    };
    let permit = tails
        .try_acquire_owned()
        .map_err(|_| Problem::too_many(format!("{TAILS_MAX} tails are open already"), RETRY_AFTER_S))?;
    let by_pages = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes() == JSON.as_bytes());
    if by_pages {
        if follow {
            return Err(Problem::bad_request("follow has no pages: it comes as application/x-ndjson"));
        }
        let limit = RECORDS.limit(limit).map_err(Problem::bad_request)?;
        let args = TailArgs { topic, from, limit: None, json: true, follow: false };
        let page = apart(move || page(&*log, &args, limit, start.as_deref())).await?;
        drop(permit);
        return Ok(Json(page).into_response());
    }
    let limit = limit.map(|limit| within("limit", limit, STREAMED_MAX)).transpose();
    let limit = limit.map_err(Problem::bad_request)?;
    let args = TailArgs { topic, from, limit, json: true, follow };
    let tail = apart(move || Tail::open_at(&*log, &args, start.as_deref())).await?;
    let (lines, waiting) = mpsc::channel(BATCHES_WAITING_MAX);
    tokio::task::spawn_blocking(move || {
        feed(tail, &lines);
        drop(permit);
    });
    let body = stream::unfold(waiting, |mut waiting| async move {
        let batch: Result<Bytes, LogError> = waiting.recv().await?;
        Some((batch, waiting))
    });
    Ok(([(header::CONTENT_TYPE, LINES)], Body::from_stream(body)).into_response())
}

/// Reads until there is one record more than a page holds: from there the next one goes on.
fn page(
    log: &dyn Log,
    args: &TailArgs,
    limit: usize,
    start: Option<&[u64]>,
) -> Result<RecordsPage, CommandError> {
    let mut tail = Tail::open_at(log, args, start)?;
    let mut next: Vec<u64> = tail.positions().into_values().collect();
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some(lines) = tail.next_batch()? {
        for line in lines {
            if records.len() == limit || bytes > PAGE_BYTES_MAX {
                return Ok(RecordsPage { records, cursor: Some(RECORDS.cursor(&(&args.topic, next))) });
            }
            next[line.partition as usize] = line.offset + 1;
            bytes += line.line(true).len();
            records.push(line);
        }
    }
    Ok(RecordsPage { records, cursor: None })
}

/// Runs what blocks away from the threads that serve.
async fn apart<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, CommandError> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(run).await {
        Ok(result) => result.map_err(|error| failure(&error)),
        Err(stopped) => Err(Problem::internal(stopped.to_string())),
    }
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

fn failure(error: &CommandError) -> Problem {
    let detail = error.to_string();
    match error {
        CommandError::NoTopic { .. } => Problem::not_found(detail),
        CommandError::Log(LogError::Rejected(_)) => Problem::bad_request(detail),
        CommandError::Log(LogError::Retry(_)) => Problem::unavailable(detail, RETRY_AFTER_S),
        CommandError::Log(LogError::Full(_)) => Problem::full(detail),
        _ => Problem::internal(detail),
    }
}
