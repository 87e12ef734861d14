//! Writes what was decided, and counts it.

use std::time::Duration;

use super::posted;
use crate::discord::digest::Digest;
use crate::discord::metrics;
use crate::log::{Committer, LogError, Transaction};

const COMMIT_TRIES_MAX: u32 = 20;
const COMMIT_PAUSE: Duration = Duration::from_millis(250);

pub(super) fn count(digest: &Digest) {
    let (outcome, reason) = match &digest.skipped {
        Some(reason) => ("skipped", reason.as_str()),
        None if digest.sequence > 1 => ("amended", posted::reason(digest)),
        None if digest.manual => ("posted", "asked"),
        None => ("posted", "schedule"),
    };
    metrics::DIGESTS.with_label_values(&[outcome, reason]).inc();
}

pub(super) fn commit(committer: &mut dyn Committer, transaction: &Transaction) -> Result<(), LogError> {
    let mut tries = 0;
    loop {
        match committer.commit(transaction) {
            Err(LogError::Retry(reason)) if tries < COMMIT_TRIES_MAX => {
                tries += 1;
                tracing::warn!(reason, tries, "the log does not take a digest yet");
                std::thread::sleep(COMMIT_PAUSE);
            }
            result => return result,
        }
    }
}
