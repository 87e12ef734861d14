//! `tidings alerts`: on the folder, or through whoever holds it.

use std::process::ExitCode;

use super::print;
use crate::alerts::command::{AlertsCommand, Context};
use crate::config::Config;
use crate::discord::command::{CommandError, Place, Remote};
use crate::ops::client::{Reach, reach};
use crate::ops::exit::{Exit, Failure};
use crate::run::{alerts, failure, open_log};

pub(super) fn run(config: &Config, command: AlertsCommand) -> Result<ExitCode, Failure> {
    let (rules, routes) = alerts::rules(config)?;
    let reach = reach(config)?;
    let place = match &reach {
        Reach::Folder(folder) => Place::Log(open_log(config, folder.path())?),
        Reach::Server(client) => {
            Place::Process(Remote { base: client.base().to_string(), token: client.token().cloned() })
        }
    };
    let context = Context { settings: config.alerts.clone(), rules, routes, place };
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(command.run(context)).map_err(|error| match error {
        CommandError::Log(error) => failure(&error),
        error @ CommandError::NoRule(_) => Failure::new(Exit::Usage, error.to_string()),
        error => Failure::new(Exit::Negative, error.to_string()),
    })?;
    print(&outcome.text)?;
    Ok(if outcome.negative { Exit::Negative } else { Exit::Ok }.into())
}
