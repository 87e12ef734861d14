//! Following a topic, for those who keep a view of it.

use std::time::Duration;

use dataflows::record::{Stored, TopicPartition};
use parking_lot::RwLock;

use super::{Log, LogError};
use crate::ops::shutdown::Shutdown;
use crate::worker::index::{ends, reached};

const WAIT: Duration = Duration::from_millis(250);
const RETRY: Duration = Duration::from_secs(1);
const READ_BYTES_MAX: usize = 4 << 20;

/// Gives every committed record from `since_ms` on ([`i64::MIN`]: from the beginning) to
/// `apply`, under the view's lock, until shutdown; says once that everything there was at
/// the start is through. Blocks.
pub fn keep<V>(
    log: &dyn Log,
    topic: &str,
    since_ms: i64,
    view: &RwLock<V>,
    apply: impl Fn(&mut V, &Stored),
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
            Ok(records) if records.is_empty() => {}
            Ok(records) => {
                let mut view = view.write();
                records.iter().for_each(|stored| apply(&mut view, stored));
            }
            Err(LogError::Retry(error)) => {
                tracing::warn!(error, topic, "following the topic failed and is tried again");
                std::thread::sleep(RETRY);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
