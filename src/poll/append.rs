//! Records in, records in the log out: in batches within the limits, waiting as long
//! as the log does not take them. Shared by polls and streams.
//!
//! Whoever calls this remembers what it appended only afterwards.

use std::sync::Arc;

use dataflows::record::Record;
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};

use super::clock::Clock;
use super::settings::Settings;
use super::source::Source;
use super::status;
use crate::log::{Log, LogError};

/// What an append needs of the world.
pub(super) struct Appender<'a> {
    pub log: &'a Arc<dyn Log>,
    pub clock: &'a Arc<dyn Clock>,
    pub settings: &'a Settings,
    pub stop: &'a watch::Receiver<bool>,
}

/// Why an append ended without all of it.
#[derive(Debug)]
pub(super) enum Unfinished {
    Stopped,
    /// The log cannot be used any more.
    Log(LogError),
    Panic(JoinError),
}

impl Appender<'_> {
    /// Appends everything. Returns how many records the log refused for good.
    pub async fn append(&self, source: &Source, records: Vec<Record>) -> Result<usize, Unfinished> {
        let mut waiting = batches(records, self.settings);
        let mut rejected = 0;
        while let Some(batch) = waiting.pop() {
            let (log, to_append) = (self.log.clone(), batch.clone());
            let appended = spawn_blocking(move || log.append(to_append)).await.map_err(Unfinished::Panic)?;
            match appended {
                Ok(_) => {}
                Err(LogError::Rejected(reason)) if batch.len() == 1 => {
                    rejected += 1;
                    tracing::warn!(source = source.name, reason, "the log refused an item, it is dropped");
                }
                // One of them; the others must not suffer for it.
                Err(LogError::Rejected(_)) => {
                    waiting.extend(batch.into_iter().rev().map(|record| vec![record]));
                }
                Err(error @ (LogError::Retry(_) | LogError::Full(_))) => {
                    tracing::warn!(source = source.name, %error, "the log does not take what was polled, will wait");
                    status::publish_waiting(source, &error.to_string());
                    waiting.push(self.later(batch).await?);
                }
                Err(error) => return Err(Unfinished::Log(error)),
            }
        }
        Ok(rejected)
    }

    /// The same batch a while later, stamped with the time it is then.
    async fn later(&self, batch: Vec<Record>) -> Result<Vec<Record>, Unfinished> {
        let at_ms = self.clock.now_ms().saturating_add_unsigned(self.settings.append_retry_ms);
        tokio::select! {
            () = self.clock.sleep_until(at_ms) => {}
            () = stopped(self.stop.clone()) => return Err(Unfinished::Stopped),
        }
        let now_ms = self.clock.now_ms();
        Ok(batch.into_iter().map(|record| Record { timestamp_ms: now_ms, ..record }).collect())
    }
}

/// Resolves once the visit is told to stop.
pub(super) async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the poller is gone, which is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Batches within the limits, the last one first.
fn batches(records: Vec<Record>, settings: &Settings) -> Vec<Vec<Record>> {
    let mut batches: Vec<Vec<Record>> = Vec::new();
    let mut bytes = 0;
    for record in records {
        let size = record.key.len() + record.value.as_ref().map_or(0, Vec::len);
        match batches.last_mut() {
            Some(batch)
                if batch.len() < settings.append_records_max && bytes + size <= settings.append_bytes_max =>
            {
                bytes += size;
                batch.push(record);
            }
            _ => {
                bytes = size;
                batches.push(vec![record]);
            }
        }
    }
    batches.reverse();
    batches
}
