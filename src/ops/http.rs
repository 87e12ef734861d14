//! HTTP: the server that every part's routes run in, and errors as every handler
//! answers them.
//!
//! Invariants, whatever the routes:
//! - Off loopback, or once a token is set, everything but health and metrics needs
//!   the token. A browser on a foreign page gets nothing: a `Host` that is not ours
//!   (on loopback) or an `Origin` that is not the `Host` is refused.
//! - Every error is a [`Problem`].
//! - Connections, requests at work, bodies and times have limits.
//! - Metrics are labelled by route template, never by path.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::{Router, middleware};
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::config::Secret;
use crate::ops::openapi::{self, Routes};
use crate::ops::shutdown::Shutdown;

mod connection;
mod guard;
mod limits;
mod list;
mod measure;
mod parameters;
mod problem;

pub use guard::{Authorized, COOKIE};
pub use list::{List, number, within};
pub use parameters::Parameters;
pub use problem::{CONTENT_TYPE as PROBLEM_CONTENT_TYPE, Problem};

/// Table `[http]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub body_bytes_max: usize,
    pub requests_max: usize,
    pub connections_max: usize,
    pub request_timeout_s: u64,
    pub idle_timeout_s: u64,
    pub drain_s: u64,
    pub retry_after_s: u64,
    pub allowed_hosts: Vec<String>,
}

/// Who may ask.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The token of clients elsewhere; without one only loopback may be served.
    pub api_token: Option<Secret>,
    /// The token in the data folder, for commands of the folder's owner.
    pub folder_token: Option<Secret>,
}

/// Serves the routes until `shutdown`, then lets open requests finish for a while.
pub async fn serve(
    listener: TcpListener,
    routes: Vec<Routes>,
    settings: Settings,
    access: Access,
    shutdown: Shutdown,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() && access.api_token.is_none() {
        let message = format!("{address} is not a loopback address and no API token is set");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let drain = Duration::from_secs(settings.drain_s);
    let app = app(routes, &settings, &access, address);
    let listener = connection::Limited::new(listener, &settings);
    let stop = shutdown.clone();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move { stop.wait().await });
    tokio::select! {
        result = server => result,
        () = async { shutdown.wait().await; tokio::time::sleep(drain).await } => Ok(()),
    }
}

/// The routes with everything around them; the first layer is the innermost.
fn app(routes: Vec<Routes>, settings: &Settings, access: &Access, address: SocketAddr) -> Router {
    let limits = limits::Limits::new(settings);
    let guard = guard::Guard::new(settings, access, address);
    openapi::with_document(routes)
        .fallback(|| async { Problem::not_found("no such resource") })
        .layer(DefaultBodyLimit::max(settings.body_bytes_max))
        .layer(middleware::from_fn_with_state(limits, limits::limit))
        .layer(middleware::from_fn_with_state(guard, guard::guard))
        .layer(middleware::map_response(problem::normalise))
        .layer(middleware::from_fn(measure::measure))
}
