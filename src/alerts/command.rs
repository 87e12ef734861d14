//! `tidings alerts list|test`: on the log, or through the process that holds it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Subcommand;

use super::Settings;
use super::api::{AlertsPage, Asked, read};
use super::record::{Alert, State};
use super::rule::{self, Rule};
use super::sample::Samples;
use super::trial::{self, Trial};
use crate::discord::command::{CommandError, Outcome, Place, blocking};
use crate::discord::routes::Route;

/// Rows of `alerts list` asked for at once.
const LIST_LIMIT: usize = 500;
/// Characters of a label in a table.
const LABEL_CHARS_MAX: usize = 60;

#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// Alerts that are open or were, the newest first
    List {
        /// Only firing or resolved ones
        #[arg(long, value_parser = parse_state)]
        state: Option<State>,
        /// Only of this rule of alerts.toml
        #[arg(long)]
        rule: Option<String>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// What a rule would have fired in the last day, and for the rest why it did not
    Test {
        /// Name of a rule of alerts.toml
        rule: String,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
}

fn parse_state(text: &str) -> Result<State, String> {
    let states = [State::Firing, State::Resolved];
    states.into_iter().find(|state| state.name() == text).ok_or_else(|| "firing or resolved".to_string())
}

/// What a command works on.
pub struct Context {
    pub settings: Settings,
    pub rules: Vec<Rule>,
    /// Those of routes.toml and the built-in ones.
    pub routes: Vec<Route>,
    pub place: Place,
}

impl AlertsCommand {
    pub async fn run(self, context: Context) -> Result<Outcome, CommandError> {
        match self {
            Self::List { state, rule, json } => {
                let alerts = list(&context, state, rule).await?;
                let lines = |alert: &Alert| serde_json::to_string(alert).expect("an alert serializes") + "\n";
                let text = if json { alerts.iter().map(lines).collect() } else { table(&alerts) };
                Ok(Outcome { text, negative: false })
            }
            Self::Test { rule, json } => {
                let trial = tried(context, rule).await?;
                let text = if json {
                    serde_json::to_string_pretty(&trial).expect("a trial serializes") + "\n"
                } else {
                    trial_text(&trial)
                };
                Ok(Outcome { text, negative: false })
            }
        }
    }
}

async fn list(
    context: &Context,
    state: Option<State>,
    rule: Option<String>,
) -> Result<Vec<Alert>, CommandError> {
    let mut asked = Asked { state, rule, limit: Some(LIST_LIMIT), ..Asked::default() };
    let mut alerts = Vec::new();
    let view = match &context.place {
        Place::Process(_) => None,
        Place::Log(log) => {
            let log = Arc::clone(log);
            Some(blocking(move || Ok(read(log.as_ref())?)).await?)
        }
    };
    loop {
        let page: AlertsPage = match (&view, &context.place) {
            (None, Place::Process(remote)) => {
                let encode =
                    |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let mut path = format!("/v1/alerts?limit={LIST_LIMIT}");
                if let Some(state) = state {
                    path.push_str(&format!("&state={}", state.name()));
                }
                for (name, value) in [("rule", &asked.rule), ("cursor", &asked.cursor)] {
                    if let Some(value) = value {
                        path.push_str(&format!("&{name}={}", encode(value)));
                    }
                }
                remote.ask(reqwest::Method::GET, &path, None).await?.1
            }
            (Some(view), _) => view.page(&asked).map_err(CommandError::Remote)?,
            (None, Place::Log(_)) => break,
        };
        alerts.extend(page.items);
        asked.cursor = page.cursor;
        if asked.cursor.is_none() {
            break;
        }
    }
    Ok(alerts)
}

async fn tried(context: Context, name: String) -> Result<Trial, CommandError> {
    let rule = rule::find(&context.rules, &name).map_err(CommandError::NoRule)?.clone();
    match context.place {
        Place::Process(remote) => Ok(remote
            .ask(reqwest::Method::GET, &format!("/v1/alerts/test?rule={}", rule.name), None)
            .await?
            .1),
        Place::Log(log) => {
            let (settings, routes) = (context.settings, context.routes);
            let trial = move || {
                // A signal ends the command.
                let never = AtomicBool::new(false);
                let tried = trial::run(log.as_ref(), &settings, &rule, &routes, &Samples::default(), &never)?;
                Ok(tried.expect("nobody asks it to stop"))
            };
            blocking(trial).await
        }
    }
}

/// Text of others on one line of a terminal.
fn plain(text: &str, chars_max: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(chars_max).collect()
}

fn table(alerts: &[Alert]) -> String {
    if alerts.is_empty() {
        return "there were no alerts\n".to_string();
    }
    let mut text = format!("{:<9} {:<9} {:<21} {:<20} about\n", "state", "severity", "since", "rule");
    for alert in alerts {
        text.push_str(&format!(
            "{:<9} {:<9} {:<21} {:<20} {}\n",
            alert.state.name(),
            alert.severity.name(),
            alert.since.to_string(),
            alert.rule,
            plain(&alert.label, LABEL_CHARS_MAX)
        ));
        text.push_str(&format!("          {}\n", plain(&alert.why, 400)));
        text.extend(standing(alert).map(|standing| format!("          {standing}\n")));
    }
    text
}

/// Why an alert is not a post of its own.
fn standing(alert: &Alert) -> Option<String> {
    match (alert.suppressed, alert.queued) {
        (Some(why), _) => Some(format!("not posted: {why}")),
        (None, true) => Some("not posted: quiet hours; the next digest of its route shows it".to_string()),
        (None, false) => None,
    }
}

fn trial_text(trial: &Trial) -> String {
    let mut text = format!("{} ({}), from {} to {}\n", trial.rule, trial.kind.name(), trial.from, trial.to);
    text.extend(trial.notes.iter().map(|note| format!("note: {note}\n")));
    if trial.fired.is_empty() {
        text.push_str("it would not have fired\n");
    }
    for alert in &trial.fired {
        let end = alert.resolved.map_or("still firing".to_string(), |at| format!("over at {at}"));
        text.push_str(&format!("fired {}  {}; {end}\n", alert.since, plain(&alert.label, LABEL_CHARS_MAX)));
        text.push_str(&format!("      {}\n", plain(&alert.why, 400)));
        text.extend(standing(alert).map(|standing| format!("      {standing}\n")));
    }
    if !trial.misses.is_empty() {
        text.push_str("the nearest misses:\n");
    }
    for miss in &trial.misses {
        let label = plain(&miss.label, LABEL_CHARS_MAX);
        text.push_str(&format!("  {}  {label}: {}\n", miss.at, plain(&miss.why_not, 200)));
    }
    text
}
