//! Environment variables: by section, by name, and those that are mistakes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Loading, Notice};
use crate::config::environment::{Environment, Variable};
use crate::config::named::{self, NAMED, Named};
use crate::config::origin::{Mistake, Origin, suggestion};

impl Loading {
    pub(super) fn variables_by_section(&mut self, environment: &Environment) {
        for (name, variable) in environment.iter() {
            let Some(rest) = name.strip_prefix("TIDINGS__") else { continue };
            let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
            let result = self.layers.set_text(&path, &variable.value, variable.origin.clone());
            self.note(result);
        }
    }

    pub(super) fn variables_by_name(&mut self, environment: &Environment) {
        for named in NAMED {
            if let Some(Variable { value, origin }) = self.named_variable(environment, named) {
                let path: Vec<String> = named.knob.split('.').map(str::to_string).collect();
                let result = self.layers.set_text(&path, &value, origin);
                self.note(result);
            }
        }
        // By convention any value switches colours off.
        if let Some(variable) = environment.variable(named::NO_COLOR) {
            let path = ["logging".to_string(), "color".to_string()];
            let result = self.layers.set_text(&path, "never", variable.origin.clone());
            self.note(result);
        }
    }

    /// The value of the variable: under its name, an alias, or in the file that
    /// `<NAME>_FILE` names.
    fn named_variable(&mut self, environment: &Environment, named: &Named) -> Option<Variable> {
        let mut found: Vec<(String, Variable)> = Vec::new();
        for name in std::iter::once(&named.name).chain(named.aliases) {
            found.extend(environment.variable(name).map(|v| (name.to_string(), v.clone())));
            let file_name = format!("{name}_FILE");
            let file = environment.variable(&file_name).filter(|_| named.secret);
            let Some(Variable { value: path, origin }) = file else { continue };
            match std::fs::read_to_string(path) {
                Ok(text) if !text.trim().is_empty() => {
                    let origin = Origin::SecretFile { name: file_name.clone(), path: PathBuf::from(path) };
                    let value = text.trim_end_matches(['\n', '\r']).to_string();
                    found.push((file_name, Variable { value, origin }));
                }
                Ok(_) => {
                    self.mistakes.push(Mistake::at(origin.clone(), format!("the file {path} is empty")));
                }
                Err(error) => {
                    let message = format!("cannot read the file {path}: {error}");
                    self.mistakes.push(Mistake::at(origin.clone(), message));
                }
            }
        }
        let mut found = found.into_iter();
        let (first, variable) = found.next()?;
        let ignored: Vec<String> = found.filter(|(_, v)| v.value != variable.value).map(|(n, _)| n).collect();
        if !ignored.is_empty() {
            self.notices.push(Notice { names: ignored, why: format!("ignored, because {first} is set") });
        }
        Some(variable)
    }

    /// Names that look like ours and are not: a typing mistake must not be silent.
    pub(super) fn unknown_variables(&mut self, environment: &Environment) {
        let mut without_effect: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, variable) in environment.iter() {
            if let Some(why) = named::recognised(name) {
                without_effect.entry(why).or_default().push(name.to_string());
            } else if name.starts_with("ENABLE_") {
                if !named::flags().any(|known| known == name) {
                    let message = format!("unknown flag {name}{}", suggestion(name, named::flags()));
                    self.mistakes.push(Mistake::at(variable.origin.clone(), message));
                }
            } else if let Some(meant) = near_miss(name) {
                let message = format!("unknown variable {name}; did you mean {meant}?");
                match name.starts_with("TIDINGS_") {
                    true => self.mistakes.push(Mistake::at(variable.origin.clone(), message)),
                    // Another program's variable may be near to ours by chance.
                    false => self.notices.push(Notice { names: vec![name.to_string()], why: message }),
                }
            }
        }
        for (why, names) in without_effect {
            self.notices.push(Notice { names, why: format!("no effect in this version: {why}") });
        }
    }
}

/// The variable of ours that this name misses by a slip of the finger. Other names
/// with our prefix are not mistakes: Kubernetes sets `TIDINGS_PORT` and more.
fn near_miss(name: &str) -> Option<&'static str> {
    const SLIPS_MAX: usize = 2;
    const PREFIXES: &[&str] = &["TIDINGS_", "KAFKA_", "QDRANT_", "DISCORD_"];
    let base = name.strip_suffix("_FILE").filter(|base| is_secret_name(base)).unwrap_or(name);
    let is_ours = |known: &&str| *known == base;
    if name.starts_with("TIDINGS__") || named::effective().any(|known| is_ours(&known)) {
        return None;
    }
    let prefix = PREFIXES.iter().find(|prefix| name.starts_with(**prefix))?;
    named::effective()
        .filter(|known| known.starts_with(prefix))
        .find(|known| strsim::damerau_levenshtein(known, base) <= SLIPS_MAX)
}

fn is_secret_name(name: &str) -> bool {
    NAMED.iter().any(|named| named.secret && (named.name == name || named.aliases.contains(&name)))
}
