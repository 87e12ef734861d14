//! The wish to stop, as a value that every part holds.

use tokio::sync::watch;

/// Clones share one wish: once triggered it stays.
#[derive(Clone, Debug)]
pub struct Shutdown {
    sender: std::sync::Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { sender: std::sync::Arc::new(watch::Sender::new(false)) }
    }
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every holder to finish.
    pub fn trigger(&self) {
        self.sender.send_replace(true);
    }

    /// For loops that are not asynchronous.
    pub fn is_triggered(&self) -> bool {
        *self.sender.borrow()
    }

    /// Returns once triggered.
    pub async fn wait(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives in self: waiting cannot fail.
        let _ = receiver.wait_for(|triggered| *triggered).await;
    }
}
