//! A log that fails as it is told, and a clock that moves when it is told.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dataflows::event::ContentEvent;
use dataflows::record::{Positions, Record, TopicPartition, topic};
use tidings::log::{Committer, Log, LogError, Reader, TopicInfo, TopicSpec};
use tidings::poll::Clock;

/// What an append does instead of succeeding.
pub enum Fault {
    /// Nothing is appended.
    Refuse(LogError),
    /// The records are there, and the process ends before it hears of it.
    DieAfter,
}

#[derive(Default)]
pub struct LogDouble {
    records: Mutex<Vec<Record>>,
    faults: Mutex<VecDeque<Option<Fault>>>,
    /// Content that is refused for good.
    poison: Mutex<Option<String>>,
    appends: AtomicI64,
}

impl LogDouble {
    /// The next appends end so, in this order; `None` succeeds.
    pub fn script(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// Forgets what was scripted.
    pub fn mend(&self) {
        self.faults.lock().unwrap().clear();
    }

    pub fn poison(&self, content: &str) {
        *self.poison.lock().unwrap() = Some(content.to_string());
    }

    pub fn appends(&self) -> i64 {
        self.appends.load(Ordering::SeqCst)
    }

    pub fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }

    /// What was appended since the last call.
    pub fn take(&self) -> Vec<ContentEvent> {
        let records = std::mem::take(&mut *self.records.lock().unwrap());
        records.iter().map(|r| serde_json::from_slice(r.value.as_ref().unwrap()).unwrap()).collect()
    }
}

impl Log for LogDouble {
    fn create(&self, _: &[TopicSpec]) -> Result<(), LogError> {
        Ok(())
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        Ok(Vec::new())
    }

    fn append(&self, records: Vec<Record>) -> Result<Vec<(TopicPartition, u64)>, LogError> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        assert!(!records.is_empty() && records.iter().all(|r| &*r.topic == topic::EVENTS));
        let fault = self.faults.lock().unwrap().pop_front().flatten();
        if let Some(Fault::Refuse(error)) = fault {
            return Err(error);
        }
        if let Some(poison) = &*self.poison.lock().unwrap()
            && records.iter().any(|r| String::from_utf8_lossy(r.value.as_ref().unwrap()).contains(poison))
        {
            return Err(LogError::Rejected("too large".into()));
        }
        let mut all = self.records.lock().unwrap();
        let first = all.len() as u64;
        let places = (0..records.len() as u64).map(|n| (TopicPartition::new(topic::EVENTS, 0), first + n));
        let places = places.collect();
        all.extend(records);
        match fault {
            Some(Fault::DieAfter) => Err(LogError::Fatal("the process ended".into())),
            _ => Ok(places),
        }
    }

    fn committer(&self, _: &str) -> Result<Box<dyn Committer>, LogError> {
        Err(LogError::Misconfigured("pollers only append".into()))
    }

    fn committed(&self, _: &str) -> Result<Positions, LogError> {
        Ok(Positions::new())
    }

    fn reader(&self, _: &Positions) -> Result<Box<dyn Reader>, LogError> {
        Err(LogError::Misconfigured("pollers only append".into()))
    }

    fn position_at(&self, _: &TopicPartition, _: i64) -> Result<u64, LogError> {
        Ok(0)
    }

    fn maintain(&self, _: i64) -> Result<(), LogError> {
        Ok(())
    }
}

/// Stands still until it is set; a sleep sets it.
pub struct TestClock(AtomicI64);

impl TestClock {
    /// 2026-11-24 10:00 UTC, a Tuesday.
    pub const START_MS: i64 = 1_795_514_400_000;

    pub fn new() -> Self {
        Self(AtomicI64::new(Self::START_MS))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }

    pub fn set(&self, at_ms: i64) {
        self.0.fetch_max(at_ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn sleep_until(&self, at_ms: i64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.set(at_ms);
        Box::pin(tokio::task::yield_now())
    }
}
