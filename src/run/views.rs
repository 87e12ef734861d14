//! What follows results for those who ask over HTTP: one view a topic, each on a thread
//! of its own, and the routes that answer from them.

use std::sync::Arc;

use dataflows::record::{Stored, topic};
use dataflows::time::HOUR_MS;
use parking_lot::RwLock;

use super::{Thread, now_ms, spawn};
use crate::log::{self, Log};
use crate::ops::exit::Failure;
use crate::ops::node::Node;
use crate::ops::openapi::Routes;
use crate::volume::View;
use crate::{dead_letters, stories, stream, trends, volume};

/// Starts the threads; the routes answer for them.
pub(super) fn start(
    node: &Node,
    log: &Arc<dyn Log>,
    groupings: Vec<dataflows::volume::By>,
) -> Result<(Vec<Thread>, Vec<Routes>), Failure> {
    let cells = Arc::new(RwLock::new(View::new(groupings)));
    let trends = Arc::new(RwLock::new(trends::View::new(&node.config.trends)));
    let stories = Arc::new(RwLock::new(stories::View::default()));
    let letters = Arc::new(RwLock::new(dead_letters::View::default()));
    let whole = |topic| (topic, i64::MIN);
    let trended_ms = node.config.trends.graph.retention_h.saturating_mul(HOUR_MS);
    let items = (topic::ENRICHED, now_ms().saturating_sub(trended_ms));
    let threads = vec![
        keep(node, log, whole(topic::VOLUME), &cells, View::apply, Some("volume view"))?,
        keep(node, log, whole(topic::TRENDS), &trends, trends::View::apply, Some("trends view"))?,
        keep(node, log, items, &trends, trends::View::apply, None)?,
        keep(node, log, whole(topic::STORIES), &stories, stories::View::apply, Some("stories view"))?,
        keep(node, log, whole(topic::DEAD_LETTERS), &letters, dead_letters::View::apply, None)?,
    ];
    let routes = vec![
        volume::api::routes(cells),
        trends::api::routes(trends),
        stories::api::routes(stories),
        dead_letters::routes(letters),
        stream::routes(Arc::clone(log), node.shutdown.clone()),
    ];
    Ok((threads, routes))
}

/// A thread that keeps a view current; readiness waits for it where it has a condition.
pub(super) fn keep<V: Send + Sync + 'static>(
    node: &Node,
    log: &Arc<dyn Log>,
    (topic, since_ms): (&'static str, i64),
    view: &Arc<RwLock<V>>,
    apply: fn(&mut V, &Stored),
    condition: Option<&'static str>,
) -> Result<Thread, Failure> {
    let condition = condition.map(|name| node.health.condition(name));
    let (log, view, shutdown) = (Arc::clone(log), Arc::clone(view), node.shutdown.clone());
    spawn(&format!("view-{topic}"), move || {
        let caught_up = move || condition.into_iter().for_each(|condition| condition.met());
        log::keep(log.as_ref(), topic, since_ms, &view, apply, caught_up, &shutdown)
    })
}
