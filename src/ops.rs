//! Operating: metrics, health, HTTP, logging, supervision, the data folder.

pub mod metrics;
pub mod health;
pub mod http;
pub mod logging;
pub mod supervise;
