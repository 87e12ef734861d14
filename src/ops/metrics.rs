//! Metrics: one registry, and how the parts declare what they count.
//!
//! A part declares its metrics as `LazyLock` statics through the functions here;
//! [`encode`] turns everything registered into the text that `/metrics` answers.
//!
//! Invariants:
//! - Every name starts with `tidings_` and is declared in one place only.
//! - Labels are bounded: stages, outcomes, reasons, routes, never content or ids.
//! - Values that belong to the process (memory, CPU, open files) are read when asked.

use std::path::PathBuf;
use std::sync::LazyLock;

use parking_lot::Mutex;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

mod process;

pub use process::{DiskSpace, disk_space, resident_bytes};

/// The registry of the process; every metric of Tidings is in it.
pub fn registry() -> &'static Registry {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);
    &REGISTRY
}

/// Buckets for what takes microseconds to seconds, in seconds.
pub const SECONDS_BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

const UNIQUE: &str = "a metric is declared once, with a valid name";

fn register<M: prometheus::core::Collector + Clone + 'static>(metric: M) -> M {
    registry().register(Box::new(metric.clone())).expect(UNIQUE);
    metric
}

pub fn counter(name: &str, help: &str) -> IntCounter {
    register(IntCounter::new(name, help).expect(UNIQUE))
}

pub fn counter_vec(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(IntCounterVec::new(Opts::new(name, help), labels).expect(UNIQUE))
}

pub fn gauge(name: &str, help: &str) -> Gauge {
    register(Gauge::new(name, help).expect(UNIQUE))
}

pub fn gauge_vec(name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    register(GaugeVec::new(Opts::new(name, help), labels).expect(UNIQUE))
}

pub fn int_gauge(name: &str, help: &str) -> IntGauge {
    register(IntGauge::new(name, help).expect(UNIQUE))
}

pub fn int_gauge_vec(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(IntGaugeVec::new(Opts::new(name, help), labels).expect(UNIQUE))
}

pub fn histogram(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    register(Histogram::with_opts(opts).expect(UNIQUE))
}

pub fn histogram_vec(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
    let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    register(HistogramVec::new(opts, labels).expect(UNIQUE))
}

/// Everything registered, in the text form of Prometheus (version 0.0.4).
pub fn encode() -> String {
    process::refresh(FOLDER.lock().as_deref());
    TextEncoder::new().encode_to_string(&registry().gather()).expect("gathered metrics are consistent")
}

static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Declares the metrics of the process itself: build, restarts, and the disk
/// under `data_dir`. Called once at start.
pub fn describe_process(data_dir: PathBuf, restarts: u32) {
    static BUILD: LazyLock<IntGaugeVec> = LazyLock::new(|| {
        int_gauge_vec("tidings_build_info", "Always 1; says what runs.", &["version", "commit"])
    });
    static RESTARTS: LazyLock<IntGauge> = LazyLock::new(|| {
        int_gauge("tidings_supervisor_restarts", "How often the supervisor had to start this process again.")
    });
    BUILD.with_label_values(&[crate::VERSION, crate::COMMIT]).set(1);
    RESTARTS.set(i64::from(restarts));
    *FOLDER.lock() = Some(data_dir);
}
