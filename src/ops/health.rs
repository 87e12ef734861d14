//! Health: what each part says of itself, whether the process is ready, and
//! whether its loops still turn.
//!
//! Parts register here; `routes` answers `/health`, `/livez` and `/readyz`.
//! - A **component** answers for what it talks to (`discord`, `log`, `memory`,
//!   `sources`, `disk`). Its check is cheap: it reads values kept elsewhere.
//! - A **condition** holds readiness back until it is met: replay, models.
//! - A **watchdog** belongs to one loop, which ticks it every time it comes round;
//!   a loop that stops ticking makes `/livez` fail, so that an orchestrator
//!   restarts the process. Dropping the watchdog ends the watch.
//!
//! Reasons are shown to anyone who can reach `/health`: no secrets, no content.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod disk;
mod routes;

pub use disk::disk;
pub use routes::routes;

/// Table `[health]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub loop_stalled_s: u64,
    pub disk_free_min_percent: f64,
}

/// Worst last, so that the worst of several is their maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// Switched off or not part of this process, on purpose.
    Disabled,
    /// Works with something missing.
    Degraded,
    Down,
}

/// What a part says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Component {
    pub name: String,
    pub status: Status,
    /// Why it is not `ok`, each a sentence that says what to do.
    pub reasons: Vec<String>,
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub details: serde_json::Value,
}

impl Component {
    pub fn ok(name: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Ok, reasons: Vec::new(), details: serde_json::Value::Null }
    }

    pub fn disabled(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { status: Status::Disabled, reasons: vec![reason.into()], ..Self::ok(name) }
    }

    /// Adds a reason; the status becomes the worse of its own and this.
    #[must_use]
    pub fn because(mut self, status: Status, reason: impl Into<String>) -> Self {
        self.status = self.status.max(status);
        self.reasons.push(reason.into());
        self
    }

    #[must_use]
    pub fn details(mut self, details: serde_json::Value) -> Self {
        self.details = details;
        self
    }
}

/// The answer of `/health`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The worst of the components; disabled ones do not count.
    pub status: Status,
    pub version: String,
    pub commit: String,
    pub uptime_s: u64,
    pub components: Vec<Component>,
}

/// The answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    pub ready: bool,
    pub conditions: Vec<ConditionState>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConditionState {
    pub name: String,
    pub met: bool,
    /// 0 to 100.
    pub progress_percent: f64,
}

/// The answer of `/livez`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Liveness {
    pub live: bool,
    /// Loops that have not come round in time, with the seconds since their last tick.
    pub stalled: BTreeMap<String, u64>,
}

type Check = Box<dyn Fn() -> Component + Send + Sync>;

/// Where parts register; shared by all of them.
pub struct Health {
    started: Instant,
    loop_stalled: Duration,
    components: Mutex<BTreeMap<String, Check>>,
    conditions: Mutex<Vec<Arc<ConditionCell>>>,
    loops: Mutex<Vec<Arc<LoopCell>>>,
}

struct ConditionCell {
    name: String,
    met: AtomicBool,
    progress_e2: AtomicU64,
}

struct LoopCell {
    name: String,
    ticked_ms: AtomicU64,
    dropped: AtomicBool,
}

impl Health {
    pub fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            loop_stalled: Duration::from_secs(settings.loop_stalled_s),
            components: Mutex::default(),
            conditions: Mutex::default(),
            loops: Mutex::default(),
        })
    }

    /// Registers, or replaces, the check of the component of this name.
    pub fn component(&self, name: &str, check: impl Fn() -> Component + Send + Sync + 'static) {
        self.components.lock().insert(name.to_string(), Box::new(check));
    }

    /// A condition that is not met yet.
    pub fn condition(&self, name: impl Into<String>) -> Condition {
        let cell = Arc::new(ConditionCell {
            name: name.into(),
            met: AtomicBool::new(false),
            progress_e2: AtomicU64::new(0),
        });
        self.conditions.lock().push(cell.clone());
        Condition(cell)
    }

    /// Watches a loop from now on.
    pub fn watchdog(self: &Arc<Self>, name: impl Into<String>) -> Watchdog {
        let cell = Arc::new(LoopCell {
            name: name.into(),
            ticked_ms: AtomicU64::new(self.elapsed_ms()),
            dropped: AtomicBool::new(false),
        });
        let mut loops = self.loops.lock();
        loops.retain(|cell| !cell.dropped.load(Ordering::Relaxed));
        loops.push(cell.clone());
        Watchdog { health: self.clone(), cell }
    }

    pub fn report(&self) -> Report {
        let components: Vec<Component> = self.components.lock().values().map(|check| check()).collect();
        let counted = components.iter().map(|c| c.status).filter(|s| *s != Status::Disabled);
        Report {
            status: counted.max().unwrap_or(Status::Ok),
            version: crate::VERSION.to_string(),
            commit: crate::COMMIT.to_string(),
            uptime_s: self.started.elapsed().as_secs(),
            components,
        }
    }

    /// What one component says; `None` if it is not registered.
    pub fn report_of(&self, name: &str) -> Option<Component> {
        self.components.lock().get(name).map(|check| check())
    }

    pub fn readiness(&self) -> Readiness {
        let state = |cell: &Arc<ConditionCell>| ConditionState {
            name: cell.name.clone(),
            met: cell.met.load(Ordering::Relaxed),
            progress_percent: cell.progress_e2.load(Ordering::Relaxed) as f64 / 100.0,
        };
        let conditions: Vec<ConditionState> = self.conditions.lock().iter().map(state).collect();
        Readiness { ready: conditions.iter().all(|c| c.met), conditions }
    }

    pub fn liveness(&self) -> Liveness {
        let now_ms = self.elapsed_ms();
        let late = |cell: &Arc<LoopCell>| {
            let since_ms = now_ms.saturating_sub(cell.ticked_ms.load(Ordering::Relaxed));
            let watched = !cell.dropped.load(Ordering::Relaxed);
            (watched && since_ms > self.loop_stalled.as_millis() as u64)
                .then(|| (cell.name.clone(), since_ms / 1000))
        };
        let stalled: BTreeMap<String, u64> = self.loops.lock().iter().filter_map(late).collect();
        Liveness { live: stalled.is_empty(), stalled }
    }

    fn elapsed_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

/// Holds readiness back until met.
pub struct Condition(Arc<ConditionCell>);

impl Condition {
    /// How far it is, 0 to 100.
    pub fn progress(&self, percent: f64) {
        self.0.progress_e2.store((percent.clamp(0.0, 100.0) * 100.0) as u64, Ordering::Relaxed);
    }

    pub fn met(&self) {
        self.progress(100.0);
        self.0.met.store(true, Ordering::Relaxed);
    }

    /// No longer met: not ready again.
    pub fn unmet(&self) {
        self.0.met.store(false, Ordering::Relaxed);
    }
}

/// Belongs to one loop; dropping it ends the watch.
pub struct Watchdog {
    health: Arc<Health>,
    cell: Arc<LoopCell>,
}

impl Watchdog {
    /// The loop came round. Costs one store.
    pub fn tick(&self) {
        self.cell.ticked_ms.store(self.health.elapsed_ms(), Ordering::Relaxed);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.cell.dropped.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(loop_stalled_s: u64) -> Arc<Health> {
        Health::new(&Settings { loop_stalled_s, disk_free_min_percent: 5.0 })
    }

    #[test]
    fn the_worst_component_decides_and_disabled_ones_do_not() {
        let health = health(60);
        assert_eq!(health.report().status, Status::Ok);
        health.component("discord", || Component::disabled("discord", "no webhook is set"));
        assert_eq!(health.report().status, Status::Ok);
        health.component("log", || Component::ok("log").because(Status::Degraded, "slow"));
        health.component("memory", || {
            Component::ok("memory").because(Status::Down, "gone").because(Status::Degraded, "and slow")
        });
        assert_eq!(health.report().status, Status::Down);
        assert_eq!(health.report_of("memory").expect("registered").reasons.len(), 2);
    }

    #[test]
    fn ready_once_every_condition_is_met() {
        let health = health(60);
        let (replay, models) = (health.condition("replay"), health.condition("models"));
        replay.progress(42.5);
        assert!(!health.readiness().ready);
        assert_eq!(health.readiness().conditions[0].progress_percent, 42.5);
        replay.met();
        models.met();
        assert!(health.readiness().ready);
        models.unmet();
        assert!(!health.readiness().ready);
    }

    #[test]
    fn a_loop_that_stops_ticking_is_named_and_a_finished_one_is_not() {
        let health = health(0);
        let hung = health.watchdog("analyse 0");
        let done = health.watchdog("poll");
        // Zero seconds are allowed, so anything older than a millisecond is late.
        while health.elapsed_ms() < 2 {
            std::thread::yield_now();
        }
        drop(done);
        let liveness = health.liveness();
        assert!(!liveness.live);
        assert_eq!(liveness.stalled.keys().collect::<Vec<_>>(), ["analyse 0"]);
        drop(hung);
        assert!(health.liveness().live);
    }
}
