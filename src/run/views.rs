//! What follows results for those who ask over HTTP: one view a topic, each on a thread
//! of its own, and the routes that answer from them.

use std::sync::Arc;

use axum::Router;
use parking_lot::RwLock;

use super::{Thread, now_ms, spawn};
use crate::log::Log;
use crate::ops::exit::Failure;
use crate::ops::node::Node;
use crate::volume::View;
use crate::{dead_letters, stories, stream, trends, volume};

/// Starts the threads; the routers answer for them.
pub(super) fn start(
    node: &Node,
    log: &Arc<dyn Log>,
    groupings: Vec<dataflows::volume::By>,
) -> Result<(Vec<Thread>, Vec<Router>), Failure> {
    let cells = Arc::new(RwLock::new(View::new(groupings)));
    let trends = Arc::new(RwLock::new(trends::View::new(&node.config.trends)));
    let stories = Arc::new(RwLock::new(stories::View::default()));
    let letters = Arc::new(RwLock::new(dead_letters::View::default()));
    let threads = vec![
        follow_volume(node, log, &cells)?,
        follow_trends(node, log, &trends)?,
        follow_trend_items(node, log, &trends)?,
        follow_stories(node, log, &stories)?,
        follow_dead_letters(node, log, &letters)?,
    ];
    let routers = vec![
        volume::api::routes(cells),
        trends::api::routes(trends),
        stories::api::routes(stories),
        dead_letters::routes(letters),
        stream::routes(Arc::clone(log), node.shutdown.clone()),
    ];
    Ok((threads, routers))
}

fn follow_volume(node: &Node, log: &Arc<dyn Log>, view: &Arc<RwLock<View>>) -> Result<Thread, Failure> {
    let condition = node.health.condition("volume view");
    let (log, view, shutdown) = (Arc::clone(log), Arc::clone(view), node.shutdown.clone());
    spawn("volume-view", move || volume::follow(log.as_ref(), &view, move || condition.met(), &shutdown))
}

fn follow_trends(
    node: &Node,
    log: &Arc<dyn Log>,
    view: &Arc<RwLock<trends::View>>,
) -> Result<Thread, Failure> {
    let condition = node.health.condition("trends view");
    let (log, view, shutdown) = (Arc::clone(log), Arc::clone(view), node.shutdown.clone());
    spawn("trends-view", move || {
        trends::follow_trends(log.as_ref(), &view, move || condition.met(), &shutdown)
    })
}

fn follow_trend_items(
    node: &Node,
    log: &Arc<dyn Log>,
    view: &Arc<RwLock<trends::View>>,
) -> Result<Thread, Failure> {
    let (log, view, shutdown) = (Arc::clone(log), Arc::clone(view), node.shutdown.clone());
    let settings = node.config.trends.clone();
    spawn("trend-items", move || trends::follow_items(log.as_ref(), &view, &settings, now_ms(), &shutdown))
}

fn follow_stories(
    node: &Node,
    log: &Arc<dyn Log>,
    view: &Arc<RwLock<stories::View>>,
) -> Result<Thread, Failure> {
    let condition = node.health.condition("stories view");
    let (log, view, shutdown) = (Arc::clone(log), Arc::clone(view), node.shutdown.clone());
    spawn("stories-view", move || stories::follow(log.as_ref(), &view, move || condition.met(), &shutdown))
}

fn follow_dead_letters(
    node: &Node,
    log: &Arc<dyn Log>,
    letters: &Arc<RwLock<dead_letters::View>>,
) -> Result<Thread, Failure> {
    let (log, letters, shutdown) = (Arc::clone(log), Arc::clone(letters), node.shutdown.clone());
    spawn("dead-letter-view", move || dead_letters::follow_letters(log.as_ref(), &letters, &shutdown))
}
