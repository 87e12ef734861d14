//! Starts the Discord side: the digester, the deliverer, and what follows both for HTTP.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Thread, failure, spawn};
use crate::config::Config;
use crate::discord::{self, Access, api, deliver::Deliverer, digester::Digester, health, routes};
use crate::log::{Log, LogError};
use crate::ops::exit::{Exit, Failure};
use crate::ops::node::Node;
use crate::ops::openapi::Routes;

/// Questions to the digester that wait for an answer.
const ASKS_MAX: usize = 16;

/// Secrets and switches, from the configuration.
pub fn access(config: &Config) -> Access {
    Access {
        webhook: config.discord_access.webhook_url.clone(),
        private_webhook: config.discord_access.private_webhook.clone(),
        bot_token: config.discord_access.bot_token.clone(),
        publishing: !config.features.discord_publishing.is_off(),
        dry_run: config.discord_access.dry_run,
    }
}

/// The routes of routes.toml.
pub fn routes(config: &Config) -> Result<Vec<routes::Route>, Failure> {
    routes::of_tables(&config.route, &config.discord.route)
        .map_err(|e| Failure::new(Exit::Usage, e.to_string()))
}

/// The Discord side while it runs.
pub(super) struct Started {
    pub threads: Vec<Thread>,
    pub routes: Routes,
    pub health: Arc<health::Health>,
}

/// Starts the threads; the routes answer for them.
pub(super) fn start(node: &Node, log: &Arc<dyn Log>, stop: &Arc<AtomicBool>) -> Result<Started, Failure> {
    let config = &node.config;
    let (settings, routes, access) = (config.discord.clone(), routes(config)?, access(config));
    let health = Arc::new(health::Health::default());
    let (asks, mut asked) = tokio::sync::mpsc::channel(ASKS_MAX);
    let mut follower =
        api::Follower::open(log.as_ref(), settings.outbox_keys_max).map_err(|e| failure(&e))?;
    let view = follower.view();
    let digester = {
        let (log, stop, health) = (Arc::clone(log), Arc::clone(stop), Arc::clone(&health));
        let (settings, routes) = (settings.clone(), routes.clone());
        guarded(node, "digest", Arc::clone(&health), move || {
            let mut digester = Digester::open(log.as_ref(), settings, routes, health, false)?;
            Ok(digester.run(&mut asked, &stop)?)
        })?
    };
    let deliverer = {
        let (log, stop, health) = (Arc::clone(log), Arc::clone(stop), Arc::clone(&health));
        guarded(node, "deliver", Arc::clone(&health), move || {
            let routes = routes::with_built_in(routes);
            let mut deliverer = Deliverer::open(log.as_ref(), settings, &access, routes, health)?;
            Ok(deliverer.run(&stop)?)
        })?
    };
    let following = {
        let stop = Arc::clone(stop);
        spawn("outbox-view", move || follower.run(&stop))?
    };
    let shown = Arc::clone(&health);
    node.health.component("discord", move || shown.component(discord::wall_clock_ms()));
    let routes = api::routes(api::Api { view, log: Arc::clone(log), asks: Some(asks) });
    Ok(Started { threads: vec![digester, deliverer, following], routes, health })
}

/// A thread whose end by an error ends the process, which starts again from the
/// last commit.
pub(super) fn guarded(
    node: &Node,
    name: &'static str,
    health: Arc<health::Health>,
    run: impl FnOnce() -> Result<(), LogError> + Send + 'static,
) -> Result<Thread, Failure> {
    let shutdown = node.shutdown.clone();
    spawn(name, move || {
        run().inspect_err(|error| {
            health.stopped(name, &error.to_string());
            shutdown.trigger();
        })
    })
}
