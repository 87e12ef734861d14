//! Logging: to standard error always, to files of each concern by choice.
//!
//! The filter is `RUST_LOG` where it is set, else the level for our own code and
//! warnings of everything else. Standard output belongs to data.
//!
//! No line is written for its content, but an error of others, or a panic, may quote
//! some: once [`mask_with`] was called, personal values in lines are masked.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use serde::Deserialize;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

mod masked;
mod rotating;

pub use masked::mask_with;

use masked::Masked;
use rotating::RotatingFile;

/// Table `[logging]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub level: Level,
    pub filter: String,
    pub format: Format,
    pub color: Color,
    pub files: bool,
    pub dir: PathBuf,
    pub file_bytes_max: u64,
    pub rotated_files_max: usize,
    pub waiting_lines_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    #[serde(alias = "ERROR", alias = "CRITICAL", alias = "critical")]
    Error,
    #[serde(alias = "WARN", alias = "warning", alias = "WARNING")]
    Warn,
    #[serde(alias = "INFO")]
    Info,
    #[serde(alias = "DEBUG")]
    Debug,
    #[serde(alias = "TRACE")]
    Trace,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// On a terminal.
    Auto,
    Always,
    Never,
}

/// Files under the log folder: the name, and the module whose lines go there too.
/// `application` has every line.
const CONCERNS: &[(&str, Option<&str>)] = &[
    ("application", None),
    ("sources", Some("tidings::poll")),
    ("log", Some("tidings::log")),
    ("memory", Some("tidings::memory")),
    ("discord", Some("tidings::discord")),
];

/// Writes what is still waiting when dropped: keep it until the end of main.
#[must_use]
pub struct Guard {
    _files: Vec<WorkerGuard>,
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging for the whole process. Called once.
pub fn start(settings: &Settings) -> io::Result<Guard> {
    let color = match settings.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => io::stderr().is_terminal(),
    };
    let mut layers = vec![layer(settings.format, color, io::stderr).with_filter(filter(settings)?).boxed()];
    let mut guards = Vec::new();
    if settings.files {
        for (concern, module) in CONCERNS {
            let path = settings.dir.join(format!("{concern}.log"));
            let file = RotatingFile::open(path, settings.file_bytes_max, settings.rotated_files_max)?;
            let (writer, guard) = NonBlockingBuilder::default()
                .buffered_lines_limit(settings.waiting_lines_max)
                .lossy(true)
                .thread_name("log-files")
                .finish(file);
            guards.push(guard);
            let targets = match module {
                Some(module) => Targets::new().with_target(*module, LevelFilter::TRACE),
                None => Targets::new().with_default(LevelFilter::TRACE),
            };
            let filter = filter(settings)?.and(targets);
            layers.push(layer(settings.format, false, writer).with_filter(filter).boxed());
        }
    }
    tracing_subscriber::registry().with(layers).try_init().map_err(io::Error::other)?;
    Ok(Guard { _files: guards })
}

fn layer<W>(format: Format, color: bool, writer: W) -> BoxedLayer
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(Masked(writer)).with_ansi(color);
    match format {
        Format::Text => layer.boxed(),
        Format::Json => layer.json().flatten_event(true).boxed(),
    }
}

fn filter(settings: &Settings) -> io::Result<EnvFilter> {
    let level = settings.level.name();
    let default = format!("warn,tidings={level},dataflows={level}");
    let text = if settings.filter.is_empty() { &default } else { &settings.filter };
    parse_filter(text).map_err(|message| io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// Reads a filter as `RUST_LOG` has it.
pub fn parse_filter(text: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(text).map_err(|error| format!("{text:?} is not a log filter: {error}"))
}
