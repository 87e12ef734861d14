//! `POST /v1/events`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use dataflows::event::ContentEvent;

use super::{Ingest, Receipt, lines};
use crate::log::LogError;
use crate::ops::http::Problem;
use crate::ops::openapi::{Operation, Routes};

/// Seconds after which a producer may try again when the log is busy or full.
const RETRY_AFTER_S: u64 = 5;

/// One event or an array of them.
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the body is taken apart by hand, so that each event has its verdict")]
enum OneOrMore {
    One(Box<ContentEvent>),
    More(Vec<ContentEvent>),
}

pub fn routes(ingest: Arc<Ingest>) -> Routes {
    let operation = Operation::new("ingest", "Takes content events in, durably.")
        .takes::<OneOrMore>("application/json")
        .takes::<String>("application/x-ndjson")
        .answers::<Receipt>(
            StatusCode::ACCEPTED,
            "application/json",
            "Some were taken; `lines` has every verdict.",
        )
        .fails(&[
            StatusCode::BAD_REQUEST,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::INSUFFICIENT_STORAGE,
        ]);
    Routes::default().post("/v1/events", events, operation).with_state(ingest)
}

async fn events(
    State(ingest): State<Arc<Ingest>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let whole = match kind.as_str() {
        "application/json" => true,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => false,
        other => {
            let detail =
                format!("content type {other:?} is neither application/json nor application/x-ndjson");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    let receipt = tokio::task::spawn_blocking(move || accept(&ingest, &body, whole))
        .await
        .map_err(|_| Problem::internal("taking the events in failed"))??;
    if receipt.accepted + receipt.duplicates == 0 {
        return Err(Problem::bad_request("no event was accepted; each line says why").with(receipt));
    }
    Ok((StatusCode::ACCEPTED, Json(receipt)).into_response())
}

/// A JSON body is one event or an array of them; NDJSON is an event a line.
fn accept(ingest: &Ingest, body: &[u8], whole: bool) -> Result<Receipt, Problem> {
    let limit = |n: usize| {
        let max = ingest.settings().batch_records_max;
        if n > max {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a request may hold {max} events, this one has {n}"),
            ));
        }
        Ok(())
    };
    let receipt = if !whole {
        limit(lines(body).count())?;
        ingest.accept(lines(body))
    } else if body.trim_ascii_start().first() == Some(&b'[') {
        let parts: Vec<&serde_json::value::RawValue> = serde_json::from_slice(body)
            .map_err(|e| Problem::bad_request(format!("the body is not a JSON array: {e}")))?;
        limit(parts.len())?;
        ingest.accept(parts.iter().map(|part| part.get().as_bytes()))
    } else {
        ingest.accept(std::iter::once(body.trim_ascii()))
    };
    receipt.map_err(problem)
}

/// What a producer should do about an error of the log.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
pub fn problem(error: LogError) -> Problem {
    match error {
        LogError::Retry(_) => Problem::unavailable(error.to_string(), RETRY_AFTER_S),
        LogError::Full(_) => Problem::full(error.to_string()),
        LogError::Rejected(_) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        _ => Problem::internal(error.to_string()),
    }
}
