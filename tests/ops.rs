//! Operating Tidings: configuration, commands, HTTP, supervision. Real files, real
//! processes, real sockets on loopback.

#[path = "ops/config.rs"]
mod config;
#[path = "ops/commands.rs"]
mod commands;
#[path = "ops/deployment.rs"]
mod deployment;
#[path = "ops/filled.rs"]
mod filled;
#[path = "ops/http.rs"]
mod http;
#[path = "ops/openapi.rs"]
mod openapi;
#[path = "ops/process.rs"]
mod process;
#[expect(dead_code, reason = "shared with tests/end_to_end.rs, which uses all of it")]
#[path = "support/program.rs"]
mod program;
#[path = "ops/runbook.rs"]
mod runbook;
#[path = "ops/supervise.rs"]
mod supervise;
