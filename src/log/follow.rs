//! Following a topic from its beginning, for those who keep a view of it.

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
    mut apply: impl FnMut(Vec<Stored>),
    caught_up: impl FnOnce(),
    shutdown: &Shutdown,
) -> Result<(), LogError> {
    let ends = ends(log, topic)?;
    let from = ends.keys().map(|p: &TopicPartition| (p.clone(), 0)).collect();
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
