//! The committer of one stage: transactions in, confirmations out, on a thread of
//! its own, because a commit blocks and a timely worker must not.
//!
//! One transaction is under way at a time. While it is, further epochs gather and
//! go together in the next: commits get larger under load by themselves.

use std::sync::Arc;
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use dataflows::Epoch;

use super::Failures;
use crate::log::{Committer, LogError, Transaction};

/// Pauses between tries of a commit that changed nothing.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The worker's end.
pub struct Commits {
    transactions: Option<Sender<(Epoch, Transaction)>>,
    confirmed: Receiver<Epoch>,
    under_way: bool,
    thread: Option<JoinHandle<()>>,
}

impl Commits {
    /// Starts the thread; `worker` is unparked at each confirmation.
    pub fn start(name: &str, committer: Box<dyn Committer>, worker: Thread, failures: Arc<Failures>) -> Self {
        let (transactions, received) = bounded::<(Epoch, Transaction)>(1);
        let (confirm, confirmed) = bounded(1);
        let run = move || {
            let mut committer = committer;
            for (through, transaction) in received {
                match commit(committer.as_mut(), &transaction, &failures) {
                    Ok(()) => {
                        if confirm.send(through).is_err() {
                            return;
                        }
                        worker.unpark();
                    }
                    Err(e) => {
                        failures.fail(e);
                        worker.unpark();
                        return;
                    }
                }
            }
        };
        let thread =
            thread::Builder::new().name(format!("commit-{name}")).spawn(run).expect("threads can be started");
        Self { transactions: Some(transactions), confirmed, under_way: false, thread: Some(thread) }
    }

    pub fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// Hands over everything up to `through`; only when none is under way.
    pub fn commit(&mut self, through: Epoch, transaction: Transaction) {
        assert!(!self.under_way, "one commit at a time");
        self.under_way = true;
        if let Some(transactions) = &self.transactions {
            // An error means that the thread failed, which it reported.
            let _ = transactions.send((through, transaction));
        }
    }

    /// The epoch through which everything is committed, once a commit is done.
    pub fn confirmed(&mut self) -> Option<Epoch> {
        let through = self.confirmed.try_recv().ok()?;
        self.under_way = false;
        Some(through)
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        self.transactions = None;
        if let Some(thread) = self.thread.take() {
            // A panic there is our bug and was printed.
            let _ = thread.join();
        }
    }
}

fn commit(
    committer: &mut dyn Committer,
    transaction: &Transaction,
    failures: &Failures,
) -> Result<(), LogError> {
    let mut pause = RETRY_MIN;
    loop {
        match committer.commit(transaction) {
            Err(e @ (LogError::Retry(_) | LogError::Full(_))) if !failures.stopping() => {
                tracing::warn!(error = %e, pause_ms = pause.as_millis() as u64, "a commit changed nothing and is tried again");
                thread::sleep(pause);
                pause = (pause * 2).min(RETRY_MAX);
            }
            done => return done,
        }
    }
}
