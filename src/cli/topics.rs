//! `tidings topics list|tail`: from the log, or from whoever holds the folder. Both
//! ways print the same lines.

use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;

use super::TopicsCommand;
use crate::config::Config;
use crate::log::api::TopicsPage;
use crate::log::command::{self, CommandError, RecordLine, TopicLine};
use crate::ops::client::{Client, Reach, reach};
use crate::ops::exit::{Exit, Failure};
use crate::run::{failure, open_log};

pub(super) fn run(config: &Config, command: TopicsCommand) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    match (command, reach(config)?) {
        (TopicsCommand::List { json }, reach) => {
            let lines: Vec<TopicLine> = match reach {
                Reach::Server(client) => all(&client)?,
                Reach::Folder(folder) => {
                    command::list(open_log(config, folder.path())?.as_ref()).map_err(|e| failure(&e))?
                }
            };
            command::write_list(&lines, json, &mut out).map_err(|e| refused(CommandError::Output(e)))?;
        }
        (TopicsCommand::Tail(args), Reach::Folder(folder)) => {
            let log = open_log(config, folder.path())?;
            command::write_tail(log.as_ref(), &args, &mut out, || false).map_err(refused)?;
        }
        (TopicsCommand::Tail(args), Reach::Server(client)) => {
            tail(&client, &args.path(), args.json, &mut out)?;
        }
    }
    Ok(Exit::Ok.into())
}

/// Every page of the topics.
fn all(client: &Client) -> Result<Vec<TopicLine>, Failure> {
    let (mut lines, mut cursor) = (Vec::new(), String::new());
    loop {
        let page: TopicsPage = client.get("/v1/topics", &[("cursor", &cursor)])?;
        lines.extend(page.topics);
        let Some(next) = page.cursor else { return Ok(lines) };
        cursor = next;
    }
}

fn tail(client: &Client, path: &str, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    for line in BufReader::new(client.stream(path)?).lines() {
        let line = line.map_err(|e| Failure::failed(format!("the answer broke off: {e}")))?;
        let written = match json {
            true => writeln!(out, "{line}"),
            false => {
                let record: RecordLine = serde_json::from_str(&line)
                    .map_err(|e| Failure::failed(format!("the answer cannot be read: {e}")))?;
                writeln!(out, "{}", record.line(false))
            }
        };
        match written.and_then(|()| out.flush()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            outcome => outcome.map_err(|e| refused(CommandError::Output(e)))?,
        }
    }
    Ok(())
}

fn refused(error: CommandError) -> Failure {
    match error {
        CommandError::Log(error) => failure(&error),
        CommandError::NoTopic { .. } => Failure::new(Exit::Usage, error.to_string()),
        CommandError::Output(_) => Failure::failed(error.to_string()),
    }
}
