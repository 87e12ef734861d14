//! Operating: metrics, health, HTTP, logging, supervision.

pub mod metrics;
