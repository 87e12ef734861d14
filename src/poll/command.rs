//! `tidings sources list|check`.

use std::io::{self, Write};
use std::path::Path;

use dataflows::time::Millis;
use futures_util::StreamExt;

use super::clock::{Clock, SystemClock};
use super::event;
use super::feed;
use super::fetch::{FetchError, Fetcher, Validators};
use super::identity::Ladder;
use super::settings::Settings;
use super::source::Source;
use super::status::SourceStatus;
use super::store::Store;

#[derive(Debug, clap::Subcommand)]
pub enum SourcesCommand {
    /// Every configured source and how it is
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Fetch now and say what was found; nothing is stored
    Check {
        /// Only these; all when none is named
        names: Vec<String>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Store(#[from] super::store::StoreError),
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    #[error("no source is named {0:?}")]
    Unknown(String),
}

/// Runs the command. `false` is a negative result: a source that failed its check.
/// Reads the state of a running poller too: `folder` may be in use.
pub async fn run(
    command: SourcesCommand,
    settings: &Settings,
    sources: &[Source],
    folder: &Path,
    out: &mut (dyn Write + Send),
) -> Result<bool, CommandError> {
    match command {
        SourcesCommand::List { json } => list(sources, folder, json, out).map(|()| true),
        SourcesCommand::Check { names } => {
            if let Some(unknown) = names.iter().find(|n| sources.iter().all(|s| s.name != **n)) {
                return Err(CommandError::Unknown(unknown.clone()));
            }
            let chosen = sources.iter().filter(|s| names.is_empty() || names.contains(&s.name));
            check(settings, chosen, out).await
        }
    }
}

fn list(
    sources: &[Source],
    folder: &Path,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Result<(), CommandError> {
    let states = Store::read_states(folder)?;
    let none = Default::default();
    let width = sources.iter().map(|s| s.name.chars().count()).max().unwrap_or(0);
    for source in sources {
        let status = SourceStatus::new(source, states.get(&source.key).unwrap_or(&none));
        if json {
            serde_json::to_writer(&mut *out, &status).map_err(io::Error::from)?;
            writeln!(out)?;
            continue;
        }
        let time =
            |at: Option<Millis>| at.map_or_else(|| "never".to_string(), |at| at.floor(1_000).to_string());
        let condition = format!("{:?}", status.condition).to_lowercase();
        let name = &source.name;
        write!(out, "{condition:<8} {name:<width$}  {} items", status.items_created)?;
        write!(out, "  last success {}", time(status.last_success_at))?;
        if let Some(due) = status.next_due_at {
            write!(out, "  next {}", time(Some(due)))?;
        }
        if let Some(error) = &status.last_error {
            write!(out, "  {} errors, last: {error}", status.errors_in_row)?;
        }
        writeln!(out, "  {}", status.moved_to.as_ref().unwrap_or(&status.url))?;
    }
    if sources.is_empty() && !json {
        writeln!(out, "no source is configured")?;
    }
    Ok(())
}

async fn check<'a>(
    settings: &Settings,
    sources: impl Iterator<Item = &'a Source>,
    out: &mut (dyn Write + Send),
) -> Result<bool, CommandError> {
    let fetcher = Fetcher::new(settings)?;
    let looks = sources.map(|source| look(&fetcher, source));
    let mut looks = futures_util::stream::iter(looks).buffered(settings.in_flight_max.max(1));
    let mut all_well = true;
    while let Some((well, line)) = looks.next().await {
        all_well &= well;
        writeln!(out, "{} {line}", if well { "ok    " } else { "failed" })?;
    }
    Ok(all_well)
}

async fn look(fetcher: &Fetcher, source: &Source) -> (bool, String) {
    match describe(fetcher, source).await {
        Ok(found) => (true, format!("{}: {found}", source.name)),
        Err(reason) => (false, format!("{}: {reason}", source.name)),
    }
}

async fn describe(fetcher: &Fetcher, source: &Source) -> Result<String, String> {
    let now_ms = SystemClock.now_ms();
    let fetched = fetcher.get(&source.url, &Validators::default(), now_ms).await;
    let response = fetched.map_err(|e: FetchError| e.to_string())?;
    let (moved, url, content_type) = (response.moved_to, response.url, response.content_type);
    let body = response.body.ok_or("the server answered 304 to a question without conditions")?;
    let bytes = body.len();
    let read = tokio::task::spawn_blocking(move || feed::read(&body, content_type.as_deref(), url.as_str()));
    let feed = read.await.map_err(|_| "the parser cannot bear it".to_string())?.map_err(|e| e.to_string())?;
    let (title, broken) = (feed.title.clone().unwrap_or_default(), feed.skipped);
    let drafts = event::drafts(source, feed);
    let mut ladder = Ladder::default();
    ladder.learn(drafts.iter().map(|d| &d.aliases));
    let identity = match (ladder.guid && drafts.iter().any(|d| d.aliases.has_guid()), ladder.link) {
        (true, _) => "guid",
        (false, true) => "link",
        (false, false) => "title and date",
    };
    let newest = drafts.iter().filter_map(|d| d.event.published_at).max();
    let mut text = format!("{title:?}, {} entries, told apart by {identity}, {bytes} bytes", drafts.len());
    if let Some(newest) = newest {
        text.push_str(&format!(", newest {newest}"));
    }
    if broken > 0 {
        text.push_str(&format!(", {broken} entries not readable"));
    }
    if let Some(moved) = moved {
        text.push_str(&format!(", moved for good to {moved}"));
    }
    for draft in drafts.iter().take(3) {
        let title = draft.event.title.as_deref().unwrap_or("(no title)");
        let shown: String = title.chars().filter(|c| !c.is_control()).take(100).collect();
        text.push_str(&format!("\n         {shown}"));
    }
    Ok(text)
}
