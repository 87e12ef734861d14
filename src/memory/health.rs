//! What the memory says of itself under `/health/memory`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::ops::health::{Component, Status};

/// The reasons why a part of the memory is not whole, by part; empty: all is well.
/// Kept by the loops, read by `/health`: cheap.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeMap<&'static str, Trouble>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The memory cannot be used at all, rather than with something missing.
    pub down: bool,
    /// A sentence that says what to do. No secrets, no content.
    pub reason: String,
}

impl Health {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn well(&self, part: &'static str) {
        self.0.lock().remove(part);
    }

    pub fn degraded(&self, part: &'static str, reason: impl Into<String>) {
        self.0.lock().insert(part, Trouble { down: false, reason: reason.into() });
    }

    pub fn down(&self, part: &'static str, reason: impl Into<String>) {
        self.0.lock().insert(part, Trouble { down: true, reason: reason.into() });
    }

    /// For `/health/memory`.
    pub fn component(&self, backend: &str) -> Component {
        let status = |trouble: &Trouble| if trouble.down { Status::Down } else { Status::Degraded };
        self.troubles()
            .into_iter()
            .fold(Component::ok("memory"), |component, trouble| {
                component.because(status(&trouble), trouble.reason)
            })
            .details(serde_json::json!({ "backend": backend }))
    }

    pub fn troubles(&self) -> Vec<Trouble> {
        self.0.lock().values().cloned().collect()
    }
}
