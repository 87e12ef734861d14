//! The reader of one stage on one worker: committed records in, batches out, on a
//! thread of its own. A full queue stops it from reading, and the log's own
//! bounded queue then stops fetching.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use dataflows::record::Stored;

use super::Failures;
use crate::log::{LogError, Reader};

/// Batches read ahead of the worker, together an epoch of the largest size.
pub const BATCHES_AHEAD_MAX: usize = 4;
/// How long a wait lasts before the thread looks whether it should stop.
const WAIT: Duration = Duration::from_millis(250);
const RETRY: Duration = Duration::from_millis(200);

/// The worker's end. Dropping it ends the thread.
pub struct Batches {
    batches: Option<Receiver<Vec<Stored>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Batches {
    pub fn start(
        name: &str,
        reader: Box<dyn Reader>,
        batch_bytes_max: usize,
        worker: Thread,
        failures: Arc<Failures>,
    ) -> Self {
        let (send, batches) = bounded(BATCHES_AHEAD_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || {
            if let Err(e) = read(reader, batch_bytes_max, &send, &worker, &failures, &stopped) {
                failures.fail(e);
                worker.unpark();
            }
        };
        let thread =
            thread::Builder::new().name(format!("read-{name}")).spawn(run).expect("threads can be started");
        Self { batches: Some(batches), stop, thread: Some(thread) }
    }

    /// Nothing to read, after a failure that is reported elsewhere.
    pub fn none() -> Self {
        Self { batches: None, stop: Arc::default(), thread: None }
    }

    pub fn next(&self) -> Option<Vec<Stored>> {
        self.batches.as_ref()?.try_recv().ok()
    }

    pub fn len(&self) -> usize {
        self.batches.as_ref().map_or(0, Receiver::len)
    }

    pub fn is_empty(&self) -> bool {
        self.batches.as_ref().is_none_or(Receiver::is_empty)
    }

    /// Reads no further; what was read ahead is dropped, since no position covers it.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic there is our bug and was printed.
            let _ = thread.join();
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.stop();
    }
}

fn read(
    mut reader: Box<dyn Reader>,
    batch_bytes_max: usize,
    send: &Sender<Vec<Stored>>,
    worker: &Thread,
    failures: &Failures,
    stop: &AtomicBool,
) -> Result<(), LogError> {
    while !failures.stopping() && !stop.load(Ordering::Relaxed) {
        let mut batch = match reader.poll(WAIT, batch_bytes_max) {
            Ok(batch) if batch.is_empty() => continue,
            Ok(batch) => batch,
            Err(LogError::Retry(e)) => {
                tracing::warn!(error = %e, "reading the log failed and is tried again");
                thread::sleep(RETRY);
                continue;
            }
            Err(e) => return Err(e),
        };
        loop {
            match send.send_timeout(batch, WAIT) {
                Ok(()) => break,
                Err(SendTimeoutError::Disconnected(_)) => return Ok(()),
                Err(SendTimeoutError::Timeout(_)) if failures.stopping() => return Ok(()),
                Err(SendTimeoutError::Timeout(back)) => batch = back,
            }
        }
        worker.unpark();
    }
    Ok(())
}
