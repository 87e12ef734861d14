//! `GET /v1/stream`: results as they are committed, as server-sent events.
//!
//! Consumes committed records of the topics asked for, produces one event each: `event` is
//! the topic, `data` the line that `topics tail --json` gives, `id` the positions after
//! it. A client that comes back with `Last-Event-ID` goes on there, so nothing comes twice
//! and nothing is missed that the topics still keep; one without begins at the end, or at
//! the beginning with `from=beginning`. An id without data comes first, so that a client
//! that lost its connection before the first event goes on as well. Comments keep an idle
//! connection open.
//!
//! Limits: `STREAMS_MAX` at a time, `EVENTS_WAITING_MAX` events that wait for a slow
//! client; then reading waits, and the log keeps what is not read.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use dataflows::record::{Positions, TopicPartition, topic};
use futures_util::{Stream, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};

use crate::log::command::{From as Begin, RecordLine};
use crate::log::{Log, LogError, Reader};
use crate::ops::http::{Parameters, Problem};
use crate::ops::openapi::{Operation, Routes};
use crate::ops::shutdown::Shutdown;

/// What can be followed; without `topics` all of these but the cells of volume, which
/// change with every item.
const TOPICS: [&str; 6] =
    [topic::ALERTS, topic::STORIES, topic::TRENDS, topic::DIGESTS, topic::DEAD_LETTERS, topic::VOLUME];
const BY_DEFAULT: usize = 5;

/// Streams at a time: each holds a thread and a reader.
const STREAMS_MAX: usize = 32;
const RETRY_AFTER_S: u64 = 10;
const EVENTS_WAITING_MAX: usize = 256;
/// Well below what proxies and [`crate::ops::http::Settings::idle_timeout_s`] allow.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a read waits before it looks whether the client has gone.
const WAIT: Duration = Duration::from_millis(500);
const READ_BYTES_MAX: usize = 1 << 20;

#[derive(Clone)]
struct Shared {
    log: Arc<dyn Log>,
    streams: Arc<Semaphore>,
    shutdown: Shutdown,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Names with commas between them, of alerts, results.stories, results.trends, digests,
    /// dead.letters and results.volume; without it all of these but the last.
    topics: Option<String>,
    /// Where to begin without a Last-Event-ID: at the end where this does not say.
    from: Option<Begin>,
}

pub fn routes(log: Arc<dyn Log>, shutdown: Shutdown) -> Routes {
    let operation = Operation::new("stream", "Results as they are committed, as server-sent events.")
        .query::<Asked>()
        .header("Last-Event-ID", "The `id` of the last event that was seen: goes on after it.")
        .answers::<String>(
            StatusCode::OK,
            "text/event-stream",
            "`event` is the topic, `data` a RecordLine as JSON, `id` the place after it.",
        )
        .fails(&[StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE]);
    let shared = Shared { log, streams: Arc::new(Semaphore::new(STREAMS_MAX)), shutdown };
    Routes::default().get("/v1/stream", follow, operation).with_state(shared)
}

async fn follow(
    State(Shared { log, streams, shutdown }): State<Shared>,
    headers: HeaderMap,
    Parameters(asked): Parameters<Asked>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let topics = topics(asked.topics.as_deref()).map_err(Problem::bad_request)?;
    let last = headers.get("last-event-id").map(|id| {
        let id = id.to_str().ok().and_then(parse_id);
        id.ok_or_else(|| Problem::bad_request("Last-Event-ID is not the id of one of our events"))
    });
    let last = last.transpose()?;
    let Ok(permit) = streams.try_acquire_owned() else {
        let detail = format!("{STREAMS_MAX} streams are open already");
        return Err(Problem::too_many(detail, RETRY_AFTER_S));
    };
    let opened = tokio::task::spawn_blocking(move || {
        let from = start(&*log, &topics, asked.from.unwrap_or(Begin::End), last.as_ref())?;
        Ok::<_, LogError>((log.reader(&from)?, from))
    });
    let (reader, from) = opened.await.map_err(|stopped| Problem::internal(stopped.to_string()))?.map_err(
        |error| match error {
            LogError::Rejected(_) => Problem::bad_request(format!("Last-Event-ID: {error}")),
            LogError::Retry(_) => Problem::unavailable(error.to_string(), RETRY_AFTER_S),
            error => Problem::internal(error.to_string()),
        },
    )?;
    let (events, waiting) = mpsc::channel(EVENTS_WAITING_MAX);
    let stopping = shutdown.clone();
    tokio::task::spawn_blocking(move || {
        feed(reader, from, &events, &stopping);
        drop(permit);
    });
    // A shutdown ends the stream, so that it does not hold the server up.
    let events = stream::unfold((waiting, shutdown), |(mut waiting, shutdown)| async move {
        let event: Event = tokio::select! {
            event = waiting.recv() => event?,
            () = shutdown.wait() => return None,
        };
        Some((Ok(event), (waiting, shutdown)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn topics(asked: Option<&str>) -> Result<Vec<&'static str>, String> {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
        return Ok(TOPICS[..BY_DEFAULT].to_vec());
    };
    let known = |name: &str| TOPICS.into_iter().find(|topic| *topic == name);
    let named = asked.split(',').map(str::trim);
    named
        .map(|name| known(name).ok_or_else(|| format!("{name:?} is none of {}", TOPICS.join(", "))))
        .collect()
}

/// Where to begin: at the client's positions where it has some, else at an end.
fn start(
    log: &dyn Log,
    topics: &[&str],
    from: Begin,
    last: Option<&BTreeMap<TopicPartition, u64>>,
) -> Result<Positions, LogError> {
    let mut positions = Positions::new();
    for info in log.topics()?.into_iter().filter(|info| topics.contains(&info.name.as_str())) {
        for (partition, (first, end)) in info.ranges.iter().enumerate() {
            let partition = TopicPartition::new(info.name.as_str(), partition as u32);
            let known = last.and_then(|last| last.get(&partition)).copied();
            let position = known.unwrap_or(match from {
                Begin::Beginning => *first,
                Begin::End => *end,
            });
            positions.insert(partition, position);
        }
    }
    Ok(positions)
}

/// Reads until the client has gone, the program stops, or the log fails, which ends the
/// stream: the client comes back with the last id it saw.
fn feed(
    mut reader: Box<dyn Reader>,
    mut positions: Positions,
    events: &mpsc::Sender<Event>,
    shutdown: &Shutdown,
) {
    if events.blocking_send(Event::default().id(id(&positions))).is_err() {
        return;
    }
    while !events.is_closed() && !shutdown.is_triggered() {
        let batch = match reader.poll(WAIT, READ_BYTES_MAX) {
            Ok(batch) => batch,
            Err(LogError::Retry(error)) => {
                tracing::warn!(error, "a stream's read failed and is tried again");
                std::thread::sleep(WAIT);
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "a stream ends because the log cannot be read");
                return;
            }
        };
        for stored in batch {
            let partition = TopicPartition { topic: Arc::clone(&stored.topic), partition: stored.partition };
            positions.insert(partition, stored.offset + 1);
            let event = Event::default()
                .event(&*stored.topic)
                .id(id(&positions))
                .data(RecordLine::from(&stored).line(true));
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    }
}

/// `alerts/0:12,results.trends/0:7`: the next position of each partition.
fn id(positions: &Positions) -> String {
    let parts: Vec<String> =
        positions.iter().map(|(partition, next)| format!("{partition}:{next}")).collect();
    parts.join(",")
}

fn parse_id(id: &str) -> Option<BTreeMap<TopicPartition, u64>> {
    id.split(',')
        .map(|part| {
            let (partition, next) = part.rsplit_once(':')?;
            let (topic, number) = partition.rsplit_once('/')?;
            Some((TopicPartition::new(topic, number.parse().ok()?), next.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_nonsense_does_not() {
        let positions: Positions =
            [(TopicPartition::new("alerts", 0), 12), (TopicPartition::new("results.trends", 3), 0)].into();
        assert_eq!(id(&positions), "alerts/0:12,results.trends/3:0");
        assert_eq!(parse_id(&id(&positions)), Some(positions));
        for wrong in ["", "alerts", "alerts/0", "alerts/x:1", "alerts/0:-1", "alerts/0:1,"] {
            assert_eq!(parse_id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn topics_are_named_or_refused_by_name() {
        assert_eq!(topics(None).expect("the default"), TOPICS[..BY_DEFAULT]);
        assert_eq!(topics(Some("alerts, digests")).expect("known"), [topic::ALERTS, topic::DIGESTS]);
        let refused = topics(Some("alerts,content.events")).expect_err("not a result");
        assert!(refused.contains("\"content.events\""), "{refused}");
    }
}
