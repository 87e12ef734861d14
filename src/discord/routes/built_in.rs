//! Where alerts can go without a route of routes.toml: straight to a webhook, without
//! digests and quiet hours.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use super::{Destination, Route};
use crate::discord::schedule::Schedule;

pub const WEBHOOK: &str = "webhook";
pub const PRIVATE: &str = "private";
pub const BUILT_IN: [&str; 2] = [WEBHOOK, PRIVATE];

/// The routes of routes.toml, and the built-in ones whose names they leave free.
pub fn with_built_in(mut routes: Vec<Route>) -> Vec<Route> {
    for (name, to) in [(WEBHOOK, Destination::Webhook), (PRIVATE, Destination::Private)] {
        if routes.iter().all(|route| route.name != name) {
            routes.push(Route {
                name: name.to_string(),
                to,
                timezone: "UTC".to_string(),
                zone: TimeZone::UTC,
                schedule: Schedule::Never,
                quiet: None,
                platforms: BTreeSet::new(),
                topics: BTreeSet::new(),
                items_max: 0,
                topics_max: 0,
            });
        }
    }
    routes
}
