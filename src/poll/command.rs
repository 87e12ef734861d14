//! `tidings sources list|check|add|remove`.
//!
//! `add` and `remove` change the user's sources.toml; a running process sees that within
//! seconds, and so does the next start.

use std::io::{self, Write};
use std::path::Path;

use dataflows::time::Millis;
use futures_util::StreamExt;

use super::clock::{Clock, SystemClock};
use super::discover::discover;
use super::fetch::Fetcher;
use super::look;
use super::overlay::{OverlayError, OverlayFile};
use super::settings::Settings;
use super::source::{Backfill, Source};
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
    /// Find the feed behind an address and follow it
    Add {
        /// A page, a feed, a channel, @handle (YouTube), @name.domain (Bluesky),
        /// @user@instance or #hashtag@instance (Mastodon)
        what: String,
        /// How it is called in lists; by default as it calls itself
        #[arg(long)]
        name: Option<String>,
        /// What the first poll emits: none, last:N or since:TIME
        #[arg(long, value_name = "WHAT", default_value = "last:3")]
        backfill: Backfill,
        /// Seconds between polls
        #[arg(long, value_name = "SECONDS")]
        interval_s: Option<u64>,
        /// Show what would be followed and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Follow a source no longer
    Remove {
        /// As `sources list` has it
        name: String,
    },
}

/// What a command works on.
pub struct Place<'a> {
    pub settings: &'a Settings,
    /// The sources of the configuration.
    pub sources: &'a [Source],
    /// The data folder; may be in use.
    pub folder: &'a Path,
    /// The user's sources.toml.
    pub overlay: OverlayFile,
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
    #[error(transparent)]
    Overlay(#[from] OverlayError),
}

/// Runs the command. `false` is a negative result: a source that failed its check, or
/// was not found. Reads the state of a running poller too.
pub async fn run(
    command: SourcesCommand,
    place: &Place<'_>,
    out: &mut (dyn Write + Send),
) -> Result<bool, CommandError> {
    let Place { settings, sources, folder, overlay } = place;
    match command {
        SourcesCommand::List { json } => list(settings, sources, folder, json, out).map(|()| true),
        SourcesCommand::Check { names } => {
            if let Some(unknown) = names.iter().find(|n| sources.iter().all(|s| s.name != **n)) {
                return Err(CommandError::Unknown(unknown.clone()));
            }
            let chosen = sources.iter().filter(|s| names.is_empty() || names.contains(&s.name));
            check(settings, chosen, out).await
        }
        SourcesCommand::Add { what, name, backfill, interval_s, dry_run } => {
            let mut wished = toml::Table::new();
            wished.extend(name.map(|name| ("name".to_string(), name.into())));
            let interval = interval_s.and_then(|s| i64::try_from(s).ok());
            wished.extend(interval.map(|s| ("interval_s".to_string(), s.into())));
            wished.insert("backfill".into(), backfill.to_string().into());
            add(settings, overlay, &what, wished, dry_run, out).await
        }
        SourcesCommand::Remove { name } => {
            let removed = overlay.remove(&name)?;
            writeln!(out, "{} is followed no longer ({})", removed.name, overlay.0.display())?;
            Ok(true)
        }
    }
}

async fn add(
    settings: &Settings,
    overlay: &OverlayFile,
    what: &str,
    wished: toml::Table,
    dry_run: bool,
    out: &mut (dyn Write + Send),
) -> Result<bool, CommandError> {
    let fetcher = Fetcher::new(settings)?;
    let mut found = match discover(&fetcher, settings, what).await {
        Ok(found) => found,
        Err(reason) => {
            writeln!(out, "nothing to follow: {reason}")?;
            return Ok(false);
        }
    };
    // Nothing of a stream is old enough to be taken in at first.
    let stream = found.source.kind.is_stream();
    found.table.extend(wished.into_iter().filter(|(key, _)| !(stream && key == "backfill")));
    writeln!(out, "{} ({}) at {}", found.source.name, found.source.kind.label(), found.source.url)?;
    for item in &found.items {
        writeln!(out, "  {item}")?;
    }
    if found.items.is_empty() {
        writeln!(out, "  (it shows nothing now)")?;
    }
    if dry_run {
        writeln!(out, "\n[[source]]\n{}", found.table)?;
        return Ok(true);
    }
    match overlay.add(&found.table) {
        Ok(added) => writeln!(out, "followed as {:?} ({})", added.name, overlay.0.display())?,
        Err(error @ OverlayError::Followed(_)) => {
            writeln!(out, "{error}")?;
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(true)
}

fn list(
    settings: &Settings,
    sources: &[Source],
    folder: &Path,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Result<(), CommandError> {
    let states = Store::read_states(folder)?;
    let none = Default::default();
    let width = sources.iter().map(|s| s.name.chars().count()).max().unwrap_or(0);
    for source in sources {
        let state = states.get(&source.key).unwrap_or(&none);
        let status = SourceStatus::at(source, state, settings, SystemClock.now_ms());
        if json {
            serde_json::to_writer(&mut *out, &status).map_err(io::Error::from)?;
            writeln!(out)?;
            continue;
        }
        let time =
            |at: Option<Millis>| at.map_or_else(|| "never".to_string(), |at| at.floor(1_000).to_string());
        let condition = format!("{:?}", status.condition).to_lowercase();
        let name = &source.name;
        write!(out, "{condition:<8} {:<10} {name:<width$}  {} items", status.kind, status.items_created)?;
        write!(out, "  last success {}", time(status.last_success_at))?;
        if let Some(due) = status.next_due_at {
            write!(out, "  next {}", time(Some(due)))?;
        }
        if let Some(since) = status.silent_since {
            let last = time(status.last_item_at);
            write!(out, "  silent since {}, last item {last}", time(Some(since)))?;
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
    let looks = sources.map(|source| check_one(&fetcher, settings, source));
    let mut looks = futures_util::stream::iter(looks).buffered(settings.in_flight_max.max(1));
    let mut all_well = true;
    while let Some((well, line)) = looks.next().await {
        all_well &= well;
        writeln!(out, "{} {line}", if well { "ok    " } else { "failed" })?;
    }
    Ok(all_well)
}

async fn check_one(fetcher: &Fetcher, settings: &Settings, source: &Source) -> (bool, String) {
    match look::describe(fetcher, settings, source).await {
        Ok(found) => (true, format!("{}: {found}", source.name)),
        Err(reason) => (false, format!("{}: {reason}", source.name)),
    }
}
