//! Puts the layers together and reads them into a [`Config`].

use std::path::PathBuf;

use super::environment::Environment;
use super::layers::{Layers, Leaf};
use super::named;
use super::origin::{Mistake, Mistakes, Origin, suggestion};
use super::{Config, DEFAULTS, LISTS, check, document};

mod files;
mod variables;

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
        for leaf in changed.iter().flat_map(entries) {
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

/// A list as lists of one entry each, so that every wrong entry is found; any
/// other knob as it is.
fn entries(leaf: &Leaf) -> Vec<Leaf> {
    match &leaf.value {
        toml::Value::Array(items) if items.len() > 1 => {
            let alone = |item: &toml::Value| Leaf { value: vec![item.clone()].into(), ..leaf.clone() };
            items.iter().map(alone).collect()
        }
        _ => vec![leaf.clone()],
    }
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
