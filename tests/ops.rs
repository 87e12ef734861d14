//! Operating Tidings: configuration, commands, HTTP, supervision. Real files, real
//! processes, real sockets on loopback.

#[path = "ops/config.rs"]
mod config;
#[path = "ops/commands.rs"]
mod commands;
#[path = "ops/http.rs"]
mod http;
#[path = "ops/process.rs"]
mod process;
#[path = "ops/supervise.rs"]
mod supervise;
