//! Puts the layers together and reads them into a [`Config`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::{Environment, Variable};
use super::layers::{Layers, Leaf};
use super::named::{self, NAMED, Named};
use super::origin::{Mistake, Mistakes, Origin, suggestion};
use super::{Config, DEFAULTS, LISTS, check, document};

/// A set of changed defaults with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Development,
    Staging,
    Production,
}

impl Profile {
    const ALL: [Self; 3] = [Self::Development, Self::Staging, Self::Production];

    pub fn name(self) -> &'static str {
        self.document().0.trim_end_matches(".toml")
    }

    fn document(self) -> (&'static str, &'static str) {
        match self {
            Self::Development => ("development.toml", include_str!("../../config/development.toml")),
            Self::Staging => ("staging.toml", include_str!("../../config/staging.toml")),
            Self::Production => ("production.toml", include_str!("../../config/production.toml")),
        }
    }
}

/// What the command line changes.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub config_dir: Option<PathBuf>,
    pub data_dir: Option<PathBuf>,
    pub listen: Option<String>,
    pub log_level: Option<String>,
    /// `section.key=value`, in the order given.
    pub set: Vec<String>,
}

/// Something to say once at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The variables it is about.
    pub names: Vec<String>,
    pub why: String,
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.names.join(", "), self.why)
    }
}

/// The configuration, and what there is to say about it.
#[derive(Clone)]
pub struct Loaded {
    pub config: Config,
    /// `None`: no profile was chosen, the defaults apply as they are.
    pub profile: Option<Profile>,
    /// Where overlays are read from and written to; need not exist.
    pub config_dir: PathBuf,
    pub notices: Vec<Notice>,
    pub(super) layers: Layers,
}

impl Loaded {
    /// The overlay file that takes the place of a built-in list; need not exist.
    pub fn list_path(&self, file: &str) -> PathBuf {
        debug_assert!(LISTS.iter().any(|(name, _)| *name == file), "{file} is not a list");
        self.config_dir.join(file)
    }
}

/// Reads all layers. Every mistake in any of them is in the error.
pub fn load(environment: &Environment, overrides: &Overrides) -> Result<Loaded, Mistakes> {
    let mut loading = Loading {
        layers: Layers::of_defaults(DEFAULTS),
        mistakes: environment.mistakes.clone(),
        notices: Vec::new(),
    };
    let profile = loading.profile(environment);
    let config_dir = loading.files(environment, overrides);
    loading.variables_by_section(environment);
    loading.variables_by_name(environment);
    loading.flags(overrides);
    loading.unknown_variables(environment);
    let config = loading.read();
    match config {
        Some(config) if loading.mistakes.is_empty() => {
            Ok(Loaded { config, profile, config_dir, notices: loading.notices, layers: loading.layers })
        }
        _ => Err(Mistakes(loading.mistakes)),
    }
}

struct Loading {
    layers: Layers,
    mistakes: Vec<Mistake>,
    notices: Vec<Notice>,
}

impl Loading {
    fn note(&mut self, result: Result<(), Mistake>) {
        self.mistakes.extend(result.err());
    }

    fn profile(&mut self, environment: &Environment) -> Option<Profile> {
        let variable = named::PROFILE.iter().find_map(|name| environment.variable(name))?;
        let name = variable.value.to_ascii_lowercase();
        let Some(profile) = Profile::ALL.into_iter().find(|profile| profile.name() == name) else {
            let names = Profile::ALL.map(Profile::name);
            let message = format!(
                "{:?} is not one of {}{}",
                variable.value,
                names.join(", "),
                suggestion(&name, names)
            );
            self.mistakes.push(Mistake::at(variable.origin.clone(), message));
            return None;
        };
        let (file, text) = profile.document();
        for entry in document::parse(text).expect("the profiles compiled in are valid") {
            let origin = Origin::BuiltIn { file, line: entry.line };
            let result = self.layers.set(&entry.path, entry.value, origin);
            self.note(result);
        }
        Some(profile)
    }

    /// Reads the overlay directory and says which it is.
    fn files(&mut self, environment: &Environment, overrides: &Overrides) -> PathBuf {
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
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_explicit => Vec::new(),
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
                Some(own) if own == key => continue,
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

    fn variables_by_section(&mut self, environment: &Environment) {
        for (name, variable) in environment.iter() {
            let Some(rest) = name.strip_prefix("TIDINGS__") else { continue };
            let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
            let result = self.layers.set_text(&path, &variable.value, variable.origin.clone());
            self.note(result);
        }
    }

    fn variables_by_name(&mut self, environment: &Environment) {
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

    fn flags(&mut self, overrides: &Overrides) {
        let data_dir = overrides.data_dir.as_ref().map(|path| path.to_string_lossy().into_owned());
        let given = [
            ("--data-dir", "data_dir", data_dir.as_ref()),
            ("--listen", "listen", overrides.listen.as_ref()),
            ("--log-level", "logging.level", overrides.log_level.as_ref()),
        ];
        for (name, knob, value) in given {
            if let Some(value) = value {
                let path: Vec<String> = knob.split('.').map(str::to_string).collect();
                let result = self.layers.set_text(&path, value, Origin::Flag { name });
                self.note(result);
            }
        }
        for assignment in &overrides.set {
            let origin = Origin::Flag { name: "--set" };
            let result = match assignment.split_once('=') {
                Some((knob, value)) => {
                    let path: Vec<String> = knob.trim().split('.').map(str::to_string).collect();
                    self.layers.set_text(&path, value.trim(), origin)
                }
                None => Err(Mistake::at(origin, "expected section.key=value")),
            };
            self.note(result);
        }
    }

    /// Names that look like ours and are not: a typing mistake must not be silent.
    fn unknown_variables(&mut self, environment: &Environment) {
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

    /// Reads the layers into their types. If that fails, finds each change that
    /// alone makes the defaults unreadable.
    fn read(&mut self) -> Option<Config> {
        let whole = match toml::Value::Table(self.layers.table()).try_into::<Config>() {
            Ok(config) => {
                self.mistakes.extend(check::mistakes(&config, &self.layers));
                return Some(config);
            }
            Err(error) => error,
        };
        let changed: Vec<Leaf> =
            self.layers.leaves.iter().filter(|leaf| self.layers.is_changed(leaf)).cloned().collect();
        let before = self.mistakes.len();
        for leaf in changed {
            let table = self.layers.defaults_with(&leaf);
            if let Err(error) = toml::Value::Table(table).try_into::<Config>() {
                let message = format!("{}: {}", leaf.name(), readable(&error, &leaf));
                self.mistakes.push(Mistake::at(leaf.origin.clone(), message));
            }
        }
        if self.mistakes.len() == before {
            self.mistakes.push(Mistake::of_the_whole(whole.message()));
        }
        None
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

/// What is wrong with a value, without the value if it is a secret, and with the
/// nearest of the names that were expected.
fn readable(error: &toml::de::Error, leaf: &Leaf) -> String {
    if named::is_secret(&leaf.name()) {
        return "not a valid value (it is a secret and not shown)".to_string();
    }
    let message = error.message().trim().replace('\n', " ");
    let mut quoted = message.split('`').skip(1).step_by(2);
    let hint = match quoted.next() {
        Some(given) if message.starts_with("unknown ") => suggestion(given, quoted),
        _ => String::new(),
    };
    format!("{message}{hint}")
}
