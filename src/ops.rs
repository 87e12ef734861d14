//! Operating: metrics, health, HTTP, logging, supervision, the data folder.

pub mod exit;
pub mod metrics;
pub mod health;
pub mod http;
pub mod client;
pub mod data_dir;
pub mod doctor;
pub mod logging;
pub mod node;
pub mod openapi;
pub mod shutdown;
pub mod supervise;
