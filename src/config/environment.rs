//! The environment as a value: what the process was given, over what a `.env`
//! file in the working directory says. An empty value is unset.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::origin::{Mistake, Origin};

/// Every variable that is set, by name.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, Variable>,
    /// Lines of the env file that could not be read.
    pub(super) mistakes: Vec<Mistake>,
}

#[derive(Clone)]
pub(super) struct Variable {
    pub value: String,
    pub origin: Origin,
}

impl std::fmt::Debug for Variable {
    /// Without the value: many are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "set by {}", self.origin)
    }
}

impl Environment {
    /// The environment of the process, over the variables of `env_file` if there
    /// is one. The only place where Tidings reads its environment.
    pub fn of_process(env_file: Option<&Path>) -> Self {
        let mut environment = Self::default();
        if let Some(path) = env_file {
            environment.read_env_file(path);
        }
        for (name, value) in std::env::vars_os() {
            // Names and values that are not text belong to somebody else.
            if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
                environment.set(name, value);
            }
        }
        environment
    }

    /// An environment of these variables alone.
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            environment.set(name.to_string(), value.to_string());
        }
        environment
    }

    fn set(&mut self, name: String, value: String) {
        if !value.is_empty() {
            let origin = Origin::Variable { name: name.clone() };
            self.variables.insert(name, Variable { value, origin });
        }
    }

    /// Takes the variables of an env file; a missing file has none.
    pub fn read_env_file(&mut self, path: &Path) {
        match std::fs::read_to_string(path) {
            Ok(text) => self.read_env_text(path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                self.mistakes.push(Mistake::of_the_whole(message));
            }
        }
    }

    fn read_env_text(&mut self, path: &Path, text: &str) {
        let path = Arc::new(PathBuf::from(path));
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            match parse_line(line) {
                Ok(None) => {}
                Ok(Some((name, value))) if value.is_empty() => drop(name),
                Ok(Some((name, value))) => {
                    let origin =
                        Origin::EnvFile { name: name.clone(), path: path.clone(), line: line_number };
                    self.variables.insert(name, Variable { value, origin });
                }
                Err(message) => self
                    .mistakes
                    .push(Mistake::at(Origin::File { path: path.clone(), line: line_number }, message)),
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|v| v.value.as_str())
    }

    /// The folder in which the scripts leave what they fetched: `TIDINGS_CACHE`, else
    /// `tidings` in the user's cache folder.
    pub fn cache_dir(&self) -> Option<PathBuf> {
        let path = |name| self.get(name).map(PathBuf::from);
        path("TIDINGS_CACHE")
            .or_else(|| Some(path("XDG_CACHE_HOME")?.join("tidings")))
            .or_else(|| Some(path("HOME")?.join(".cache/tidings")))
    }

    pub(super) fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Variable)> {
        self.variables.iter().map(|(name, variable)| (name.as_str(), variable))
    }
}

/// `NAME=value`, `export NAME=value`, quotes, comments; `None` for an empty line.
/// The messages never show the value.
fn parse_line(line: &str) -> Result<Option<(String, String)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("expected NAME=value")?;
    let name = name.trim();
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(valid) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("expected NAME=value with a name of letters, digits and underscores".to_string());
    }
    let value = value.trim();
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let inner = &value[1..];
            let end = inner.find(quote).ok_or(format!("the value of {name} has no closing quote"))?;
            inner[..end].to_string()
        }
        // A comment begins after white space: # may be part of a value.
        _ => match value.find(" #").or_else(|| value.find("\t#")) {
            Some(end) => value[..end].trim_end().to_string(),
            None if value.starts_with('#') => String::new(),
            None => value.to_string(),
        },
    };
    Ok(Some((name.to_string(), value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_env_files_as_people_write_them() {
        let mut environment = Environment::default();
        let text = "# comment\nA=1\nexport B = 'two words' # why\nC=\"x#y\"\nD=a#b # c\nE=\nF= # none\n";
        environment.read_env_text(Path::new(".env"), text);
        let value = |name| environment.get(name);
        assert_eq!(value("A"), Some("1"));
        assert_eq!(value("B"), Some("two words"));
        assert_eq!(value("C"), Some("x#y"));
        assert_eq!(value("D"), Some("a#b"));
        assert_eq!((value("E"), value("F")), (None, None), "empty means unset");
        assert!(environment.mistakes.is_empty());
    }

    #[test]
    fn a_broken_line_is_named_without_its_value() {
        let mut environment = Environment::default();
        environment.read_env_text(Path::new(".env"), "TOKEN='hunter2\nno value\n9X=1\n");
        let text = environment.mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert_eq!(environment.mistakes.len(), 3, "{text}");
        assert!(text.contains(".env:1") && text.contains("TOKEN") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn the_real_environment_wins_over_the_file() {
        let mut environment = Environment::default();
        environment.read_env_text(Path::new(".env"), "A=file\n");
        environment.set("A".to_string(), "process".to_string());
        assert_eq!(environment.get("A"), Some("process"));
    }
}
