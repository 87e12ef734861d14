//! Operating: metrics, health, HTTP, logging, supervision, the data folder.

pub mod exit;
pub mod failpoint;
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

/// Keeps the process on small pages. Transparent huge ones back every hole of the
/// allocator's segments: a sixth more memory under load, for no speed (docs/benchmarks.md).
/// Where the kernel refuses, nothing but memory is lost.
pub fn small_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
