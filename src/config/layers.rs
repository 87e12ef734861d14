//! The effective value of every knob, and where it was set: defaults first, each
//! later layer over the earlier ones.
//!
//! default.toml names every knob there is. A key it does not name is a mistake,
//! except under a table that is empty there: such a table takes any key.

use toml::Value;

use super::document::{self, Entry};
use super::named;
use super::origin::{Mistake, Origin, suggestion};

/// One knob.
#[derive(Clone)]
pub struct Leaf {
    pub path: Vec<String>,
    pub value: Value,
    pub origin: Origin,
}

impl Leaf {
    /// The path as people write it: `log.kafka.linger_ms`.
    pub fn name(&self) -> String {
        self.path.join(".")
    }
}

/// All knobs, in the order of default.toml.
#[derive(Clone, Default)]
pub struct Layers {
    pub leaves: Vec<Leaf>,
    /// Tables that take any key.
    open: Vec<Vec<String>>,
    /// Values of the layers below, for finding out which change is the mistake.
    defaults: Vec<Leaf>,
}

impl Layers {
    /// The defaults, out of documents compiled in.
    pub fn of_defaults(documents: &[(&'static str, &str)]) -> Self {
        let mut layers = Self::default();
        for (file, text) in documents {
            let entries = document::parse(text).expect("the documents compiled in are valid");
            for Entry { path, value, line } in entries {
                match value {
                    Value::Table(table) if table.is_empty() => layers.open.push(path),
                    value => {
                        let origin = Origin::BuiltIn { file, line };
                        layers.leaves.push(Leaf { path, value, origin });
                    }
                }
            }
        }
        layers.defaults = layers.leaves.clone();
        layers
    }

    pub fn get(&self, name: &str) -> Option<&Leaf> {
        self.leaves.iter().find(|leaf| leaf.name() == name)
    }

    /// Sets one knob, or says that there is none of that name.
    pub fn set(&mut self, path: &[String], value: Value, origin: Origin) -> Result<(), Mistake> {
        if let Some(leaf) = self.leaves.iter_mut().find(|leaf| leaf.path == path) {
            leaf.value = value;
            leaf.origin = origin;
            return Ok(());
        }
        if let Some(open) = self.open.iter().find(|open| path.starts_with(open.as_slice())) {
            match value {
                // A table given whole (from the environment): its keys.
                Value::Table(table) if path.len() == open.len() => {
                    for (key, value) in table {
                        let path = [path, &[key]].concat();
                        self.set(&path, value, origin.clone())?;
                    }
                }
                _ if path.len() == open.len() => {
                    let message = format!("{} must be a table", path.join("."));
                    return Err(Mistake::at(origin, message));
                }
                value => self.leaves.push(Leaf { path: path.to_vec(), value, origin }),
            }
            return Ok(());
        }
        if matches!(&value, Value::Table(table) if table.is_empty()) && self.is_table(path) {
            return Ok(());
        }
        let name = path.join(".");
        let message = match self.is_table(path) {
            true => format!("{name} is a table of knobs, not a knob"),
            false => format!("unknown key {name}{}", self.suggest(&name)),
        };
        Err(Mistake::at(origin, message))
    }

    /// Sets a knob from text, read as the kind of value that the default is.
    pub fn set_text(&mut self, path: &[String], text: &str, origin: Origin) -> Result<(), Mistake> {
        let is_open = self.open.iter().any(|open| open == path);
        let value = match self.defaults.iter().find(|leaf| leaf.path == path) {
            _ if is_open => parse_value(text).unwrap_or_else(|| Value::String(text.to_string())),
            Some(leaf) => coerce(text, &leaf.value),
            None => Value::String(text.to_string()),
        };
        self.set(path, value, origin)
    }

    fn is_table(&self, path: &[String]) -> bool {
        self.leaves.iter().any(|leaf| leaf.path.len() > path.len() && leaf.path.starts_with(path))
    }

    fn suggest(&self, name: &str) -> String {
        let names: Vec<String> = self.leaves.iter().map(Leaf::name).collect();
        suggestion(name, names.iter().map(String::as_str))
    }

    /// Everything as one table.
    pub fn table(&self) -> toml::Table {
        table_of(&self.leaves, &self.open)
    }

    /// The defaults with this one knob changed.
    pub fn defaults_with(&self, changed: &Leaf) -> toml::Table {
        let mut leaves = self.defaults.clone();
        leaves.retain(|leaf| leaf.path != changed.path);
        leaves.push(changed.clone());
        table_of(&leaves, &self.open)
    }

    /// Whether this knob differs from what is compiled in.
    pub fn is_changed(&self, leaf: &Leaf) -> bool {
        !self.defaults.iter().any(|d| d.path == leaf.path && d.origin == leaf.origin)
    }
}

fn table_of(leaves: &[Leaf], open: &[Vec<String>]) -> toml::Table {
    let mut root = toml::Table::new();
    for path in open {
        insert(&mut root, path, Value::Table(toml::Table::new()));
    }
    for leaf in leaves {
        insert(&mut root, &leaf.path, leaf.value.clone());
    }
    root
}

fn insert(table: &mut toml::Table, path: &[String], value: Value) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut table = table;
    for parent in parents {
        let entry = table.entry(parent.clone()).or_insert_with(|| Value::Table(toml::Table::new()));
        let Value::Table(next) = entry else { return };
        table = next;
    }
    table.insert(last.clone(), value);
}

/// Text as a value of the kind of `example`. Text of another kind stays text:
/// reading it into its type then says what is wrong.
fn coerce(text: &str, example: &Value) -> Value {
    let text_itself = || Value::String(text.to_string());
    match example {
        Value::Boolean(_) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Value::Boolean(true),
            "false" | "0" | "no" | "off" => Value::Boolean(false),
            _ => text_itself(),
        },
        Value::Integer(_) => text.parse().map_or_else(|_| text_itself(), Value::Integer),
        Value::Float(_) => text.parse().map_or_else(|_| text_itself(), Value::Float),
        Value::Array(_) if text.trim_start().starts_with('[') => {
            parse_value(text).unwrap_or_else(text_itself)
        }
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_string())).collect())
        }
        _ => text_itself(),
    }
}

/// Text as TOML writes a value.
fn parse_value(text: &str) -> Option<Value> {
    let mut table: toml::Table = format!("value = {text}").parse().ok()?;
    table.remove("value")
}

/// A value as it may be shown.
pub fn shown(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_string(),
        _ if named::is_secret(name) => super::secret::MASK.to_string(),
        Value::Array(items) if items.iter().any(Value::is_table) => format!("({} entries)", items.len()),
        Value::String(text) => match text.parse::<super::Address>() {
            Ok(address) if address.url().password().is_some() => format!("\"{address}\""),
            _ => format!("{text:?}"),
        },
        other => other.to_string(),
    }
}
