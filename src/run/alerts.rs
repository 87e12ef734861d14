//! Starts the engine of alerts, and what follows them for HTTP; samples the process.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dataflows::record::topic;
use dataflows::time::Millis;
use parking_lot::{Mutex, RwLock};

use super::Thread;
use super::discord::{access, guarded, routes};
use super::views::keep;
use crate::alerts::api::{self, Api, View};
use crate::alerts::engine::Engine;
use crate::alerts::rule::{self, Condition, Rule};
use crate::alerts::sample::{DeliverySample, DiskSample, Sample, Samples, SourceSample};
use crate::config::Config;
use crate::discord::health::Health;
use crate::discord::routes::{Route, with_built_in};
use crate::discord::targets::Targets;
use crate::discord::wall_clock_ms;
use crate::log::Log;
use crate::ops::exit::{Exit, Failure};
use crate::ops::health::Component;
use crate::ops::metrics::disk_space;
use crate::ops::node::Node;
use crate::ops::openapi::Routes;
use crate::poll;

/// The rules of alerts.toml, all off where alerts are, and the routes they may name.
pub fn rules(config: &Config) -> Result<(Vec<Rule>, Vec<Route>), Failure> {
    let routes = routes(config)?;
    let mut rules = rule::of_tables(&config.alert, &config.alerts.rule, &routes)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    if config.features.alerts.is_off() {
        rules.iter_mut().for_each(|rule| rule.enabled = false);
    }
    Ok((rules, with_built_in(routes)))
}

/// Names of the rules that name this source.
pub fn naming_source(config: &Config, name: &str) -> Result<Vec<String>, Failure> {
    let (rules, _) = rules(config)?;
    let names = |rule: &Rule| match &rule.condition {
        Condition::SourceSilent { sources, .. } => sources.contains(name),
        _ => false,
    };
    Ok(rules.into_iter().filter(names).map(|rule| rule.name).collect())
}

/// Starts the threads; the routes answer for them.
pub(super) fn start(
    node: &Node,
    log: &Arc<dyn Log>,
    discord: Arc<Health>,
    stop: &Arc<AtomicBool>,
) -> Result<(Vec<Thread>, Routes), Failure> {
    let config = &node.config;
    let (rules, routes) = rules(config)?;
    let settings = config.alerts.clone();
    let samples = Arc::new(Mutex::new(Samples::default()));
    let view = Arc::new(RwLock::new(View::default()));
    let targets = Targets::new(&access(config), &config.discord);
    let component = component(&rules, &routes, &targets);
    node.health.component("alerts", move || component.clone());
    let sampler = {
        let (folder, health) = (node.folder.path().to_path_buf(), Arc::clone(&discord));
        let poll = config.poll.clone();
        let in_use = routes.iter().filter_map(|route| targets.address(route).ok());
        let in_use: BTreeSet<String> = in_use.map(|target| target.fingerprint).collect();
        move |at| sample(at, &folder, &poll, &health, &in_use)
    };
    let engine = {
        let (log, stop, samples) = (Arc::clone(log), Arc::clone(stop), Arc::clone(&samples));
        let (settings, rules, routes) = (settings.clone(), rules.clone(), routes.clone());
        guarded(node, "alert", discord, move || {
            let sampler = Box::new(sampler);
            Engine::open(log.as_ref(), settings, rules, &routes, samples, sampler, stop)?.run()
        })?
    };
    let following = keep(node, log, (topic::ALERTS, i64::MIN), &view, View::apply, Some("alerts view"))?;
    let (rules, routes) = (Arc::new(rules), Arc::new(routes));
    let of_alerts = api::routes(Api {
        view,
        log: Arc::clone(log),
        settings,
        rules,
        routes,
        samples,
        stop: Arc::clone(stop),
    });
    Ok((vec![engine, following], of_alerts))
}

/// Where the alerts of the rules lead; they are written and shown in any case.
fn component(rules: &[Rule], routes: &[Route], targets: &Targets) -> Component {
    const NAME: &str = "alerts";
    let enabled: Vec<&Rule> = rules.iter().filter(|rule| rule.enabled).collect();
    if enabled.is_empty() {
        return Component::disabled(
            NAME,
            "no rule is on: alerts.toml names them, ENABLE_ALERTS switches them",
        );
    }
    let used: BTreeSet<&str> = enabled.iter().map(|rule| rule.route.as_str()).collect();
    let used = routes.iter().filter(|route| used.contains(route.name.as_str()));
    let nowhere: Vec<String> = used
        .clone()
        .filter_map(|route| {
            let why = targets.of(route).err()?;
            Some(format!(
                "route {}: {}; its alerts are written and shown, not posted",
                route.name,
                why.advice()
            ))
        })
        .collect();
    let details = serde_json::json!({ "rules": enabled.len() });
    if nowhere.is_empty() {
        return Component::ok(NAME).details(details);
    }
    Component { reasons: nowhere, ..Component::disabled(NAME, "") }.details(details)
}

/// What the process knows of itself now.
fn sample(
    at: Millis,
    folder: &Path,
    settings: &poll::Settings,
    discord: &Health,
    in_use: &BTreeSet<String>,
) -> Sample {
    let sources = poll::status_at(at.0).into_iter().map(|status| source(status, settings)).collect();
    let disk = disk_space(folder).ok();
    let report = discord.report(wall_clock_ms());
    let retired = report.retired_webhooks.iter().filter(|target| in_use.contains(*target)).count();
    let delivery = DeliverySample {
        oldest_waiting_s: report.oldest_waiting_s.map(|s| s as u64),
        retired_webhooks: retired as u64,
        uncertain: report.uncertain,
        last_error: report.last_error,
    };
    Sample {
        at,
        sources,
        disk: disk.map(|disk| DiskSample { free_bytes: disk.free_bytes, size_bytes: disk.usable_bytes }),
        delivery: report.publishing.then_some(delivery),
    }
}

fn source(status: poll::SourceStatus, settings: &poll::Settings) -> SourceSample {
    SourceSample {
        silent_after_ms: status.usual_gap_s.map(|s| poll::silent_after_ms(s.saturating_mul(1_000), settings)),
        gone: status.condition == poll::Condition::Gone,
        condition: format!("{:?}", status.condition).to_lowercase(),
        key: status.key,
        name: status.name,
        url: status.url,
        last_success_at: status.last_success_at,
        last_item_at: status.last_item_at,
        last_error: status.last_error,
        errors_in_row: status.errors_in_row,
        usual_gap_s: status.usual_gap_s,
        failing_since: None,
    }
}
