//! Where a value came from, and what is wrong with one.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where an effective value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file compiled in: default.toml, a profile, a built-in list.
    BuiltIn { file: &'static str, line: usize },
    /// An overlay file.
    File { path: Arc<PathBuf>, line: usize },
    /// An environment variable.
    Variable { name: String },
    /// A variable in an env file.
    EnvFile { name: String, path: Arc<PathBuf>, line: usize },
    /// The content of the file that `<NAME>_FILE` names.
    SecretFile { name: String, path: PathBuf },
    /// A command-line flag.
    Flag { name: &'static str },
}

impl Origin {
    /// Whether the value is the default of default.toml or a built-in list.
    pub fn is_built_in(&self) -> bool {
        matches!(self, Self::BuiltIn { .. })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn { file, line } => write!(f, "{file}:{line}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable { name } => write!(f, "environment variable {name}"),
            Self::EnvFile { name, path, line } => write!(f, "{name} in {}:{line}", path.display()),
            Self::SecretFile { name, path } => write!(f, "file {} named by {name}", path.display()),
            Self::Flag { name } => write!(f, "flag {name}"),
        }
    }
}

/// One thing that is wrong with the configuration, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub origin: Option<Origin>,
    pub message: String,
}

impl Mistake {
    pub fn at(origin: Origin, message: impl Into<String>) -> Self {
        Self { origin: Some(origin), message: message.into() }
    }

    pub fn of_the_whole(message: impl Into<String>) -> Self {
        Self { origin: None, message: message.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Everything that is wrong with the configuration, at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "mistake" } else { "mistakes" };
        write!(f, "{} {plural} in the configuration:", self.0.len())?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

/// The known name most like `name`, if one is like it at all.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this similarity (Jaro-Winkler) a suggestion misleads more than it helps.
    const SIMILARITY_MIN: f64 = 0.75;
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// "; did you mean …?", or nothing.
pub fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map(|found| format!("; did you mean {found}?")).unwrap_or_default()
}
