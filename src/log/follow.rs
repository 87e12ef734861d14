//! Following a topic, for those who keep a view of it.

use std::time::Duration;

use dataflows::record::{Stored, TopicPartition};

use super::{Log, LogError};
use crate::ops::shutdown::Shutdown;
use crate::worker::index::{ends, reached};

const WAIT: Duration = Duration::from_millis(250);
const RETRY: Duration = Duration::from_secs(1);
const READ_BYTES_MAX: usize = 4 << 20;

/// Gives every batch of committed records to `apply` until shutdown; says once that
/// everything there was at the start is through. Blocks.
pub fn follow(
    log: &dyn Log,
    topic: &str,
    apply: impl FnMut(Vec<Stored>),
    caught_up: impl FnOnce(),
    shutdown: &Shutdown,
) -> Result<(), LogError> {
    follow_since(log, topic, i64::MIN, apply, caught_up, shutdown)
}

/// As [`follow`], from the first record of `since_ms` or later.
pub fn follow_since(
    log: &dyn Log,
    topic: &str,
    since_ms: i64,
    mut apply: impl FnMut(Vec<Stored>),
    caught_up: impl FnOnce(),
    shutdown: &Shutdown,
) -> Result<(), LogError> {
    let ends = ends(log, topic)?;
    let position = |p: &TopicPartition| match since_ms {
        i64::MIN => Ok(0),
        since_ms => log.position_at(p, since_ms),
    };
    let from = ends.keys().map(|p| Ok((p.clone(), position(p)?))).collect::<Result<_, LogError>>()?;
    let mut reader = log.reader(&from)?;
    let mut caught_up = Some(caught_up);
    while !shutdown.is_triggered() {
        if caught_up.is_some() && reached(&reader.positions(), &ends) {
            (caught_up.take().expect("just seen"))();
        }
        match reader.poll(WAIT, READ_BYTES_MAX) {
            Ok(records) => apply(records),
            Err(LogError::Retry(error)) => {
                tracing::warn!(error, topic, "following the topic failed and is tried again");
                std::thread::sleep(RETRY);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
