//! The overlay directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Loading, Overrides};
use crate::config::environment::Environment;
use crate::config::origin::{Mistake, Origin, suggestion};
use crate::config::{LISTS, document, named};

impl Loading {
    /// Reads the overlay directory and says which it is.
    pub(super) fn files(&mut self, environment: &Environment, overrides: &Overrides) -> PathBuf {
        let explicit =
            overrides.config_dir.clone().or_else(|| environment.get(named::CONFIG_DIR).map(PathBuf::from));
        let data_dir = overrides
            .data_dir
            .clone()
            .or_else(|| environment.get("TIDINGS_DATA_DIR").map(PathBuf::from))
            .unwrap_or_else(|| self.default_data_dir());
        let is_explicit = explicit.is_some();
        let directory = explicit.unwrap_or_else(|| data_dir.join("config"));
        let mut paths = match std::fs::read_dir(&directory) {
            Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect::<Vec<_>>(),
            // The default directory need not exist; a data folder that is none is
            // reported by whoever opens it.
            Err(error) if !is_explicit && is_absent(&error) => Vec::new(),
            Err(error) => {
                let message = format!("cannot read the overlay directory {}: {error}", directory.display());
                self.mistakes.push(Mistake::of_the_whole(message));
                Vec::new()
            }
        };
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        for path in paths {
            self.file(&path, is_explicit);
        }
        directory
    }

    fn default_data_dir(&self) -> PathBuf {
        let leaf = self.layers.get("data_dir").and_then(|leaf| leaf.value.as_str());
        PathBuf::from(leaf.expect("default.toml names the data folder"))
    }

    fn file(&mut self, path: &Path, explicit_directory: bool) {
        const SETTINGS: &str = "tidings.toml";
        let at = |line| Origin::File { path: Arc::new(path.to_path_buf()), line };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let list = LISTS.iter().find(|(file, _)| *file == name).map(|(_, key)| *key);
        if list.is_none() && name != SETTINGS {
            let known = LISTS.iter().map(|(file, _)| *file).chain([SETTINGS]);
            let message = format!("unknown configuration file{}", suggestion(&name, known));
            self.mistakes.push(Mistake::at(at(1), message));
            return;
        }
        let entries = std::fs::read_to_string(path).map_err(|error| {
            vec![document::Malformed { line: 1, message: format!("cannot be read: {error}") }]
        });
        let entries = match entries.and_then(|text| document::parse(&text)) {
            Ok(entries) => entries,
            Err(malformed) => {
                self.mistakes.extend(malformed.into_iter().map(|m| Mistake::at(at(m.line), m.message)));
                return;
            }
        };
        for entry in entries {
            let key = entry.path[0].as_str();
            let belongs = LISTS.iter().find(|(_, k)| *k == key).map_or(SETTINGS, |(file, _)| file);
            let message = match list {
                Some(own) if own == key => {
                    // A list that its part reads by itself is no knob.
                    if self.layers.get(own).is_some() {
                        let result = self.layers.set(&entry.path, entry.value, at(entry.line));
                        self.note(result);
                    }
                    continue;
                }
                Some(own) => format!("only [[{own}]] belongs here, not {key}{}", suggestion(key, [own])),
                None if belongs != SETTINGS => format!("[[{key}]] belongs into {belongs}"),
                None if key == "data_dir" && !explicit_directory => {
                    "the data folder cannot be moved by a file inside of it".to_string()
                }
                None => {
                    let result = self.layers.set(&entry.path, entry.value, at(entry.line));
                    self.note(result);
                    continue;
                }
            };
            self.mistakes.push(Mistake::at(at(entry.line), message));
        }
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}
