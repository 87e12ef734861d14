//! Committing with patience: for consumers whose records can wait, and whose next step
//! needs them to be durable.

use std::time::Duration;

use super::{Committer, LogError, Transaction};

const TRIES_MAX: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// Commits; where the log says that it may succeed later, again for a few seconds.
pub fn commit(committer: &mut dyn Committer, transaction: &Transaction) -> Result<(), LogError> {
    let mut tries = 0;
    loop {
        match committer.commit(transaction) {
            Err(LogError::Retry(reason)) if tries < TRIES_MAX => {
                tries += 1;
                tracing::warn!(reason, tries, group = transaction.group, "the log does not take records yet");
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}
