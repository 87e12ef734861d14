//! One table of a file of rules while it is read: values, and everything wrong with them.

use crate::config::nearest;

pub struct Fields<'a> {
    table: &'a toml::Table,
    label: String,
    pub errors: Vec<String>,
}

impl<'a> Fields<'a> {
    pub fn new(table: &'a toml::Table, index: usize) -> Self {
        let label = match table.get("name").and_then(toml::Value::as_str) {
            Some(name) => format!("alert {name:?}"),
            None => format!("alert {}", index + 1),
        };
        Self { table, label, errors: Vec::new() }
    }

    pub fn error(&mut self, message: impl std::fmt::Display) {
        self.errors.push(format!("{}: {message}", self.label));
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub fn keys(&self) -> Vec<String> {
        self.table.keys().cloned().collect()
    }

    pub fn text(&mut self, key: &str) -> Option<String> {
        match self.table.get(key)? {
            toml::Value::String(text) => Some(text.clone()),
            _ => {
                self.error(format!("{key} must be text"));
                None
            }
        }
    }

    pub fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let texts = value
            .as_array()
            .and_then(|all| all.iter().map(|v| v.as_str().map(str::to_string)).collect::<Option<Vec<_>>>());
        match texts {
            Some(texts) if !texts.is_empty() => texts,
            Some(_) => {
                self.error(format!("{key} is empty: leave it out for all"));
                Vec::new()
            }
            None => {
                self.error(format!("{key} must be a list of texts"));
                Vec::new()
            }
        }
    }

    pub fn flag(&mut self, key: &str, default: bool) -> bool {
        match self.table.get(key).map(toml::Value::as_bool) {
            None => default,
            Some(Some(flag)) => flag,
            Some(None) => {
                self.error(format!("{key} must be true or false"));
                default
            }
        }
    }

    pub fn number(&mut self, key: &str, default: u64, min: u64, max: u64) -> u64 {
        let Some(value) = self.table.get(key) else { return default };
        match value.as_integer().and_then(|n| u64::try_from(n).ok()).filter(|n| (min..=max).contains(n)) {
            Some(n) => n,
            None => {
                self.error(format!("{key} must be a whole number of {min} to {max}"));
                default
            }
        }
    }

    pub fn decimal(&mut self, key: &str, default: f64, min: f64, max: f64) -> f64 {
        let Some(value) = self.table.get(key) else { return default };
        let number = value.as_float().or_else(|| value.as_integer().map(|n| n as f64));
        match number.filter(|n| (min..=max).contains(n)) {
            Some(n) => n,
            None => {
                self.error(format!("{key} must be a number of {min} to {max}"));
                default
            }
        }
    }

    /// One of these names; an error names the nearest.
    pub fn choice(&mut self, key: &str, known: &[&str]) -> Option<String> {
        let text = self.text(key)?;
        if known.contains(&text.as_str()) {
            return Some(text);
        }
        self.error(format!(
            "{key} = {text:?} must be one of {}{}",
            known.join(", "),
            suggestion(&text, known.iter().copied())
        ));
        None
    }

    /// Some of these names; all of them where the key is absent.
    pub fn choices(&mut self, key: &str, known: &[&str]) -> Vec<String> {
        if !self.has(key) {
            return known.iter().map(|name| name.to_string()).collect();
        }
        let texts = self.texts(key);
        for text in texts.iter().filter(|text| !known.contains(&text.as_str())) {
            let hint = suggestion(text, known.iter().copied());
            self.error(format!("{key}: {text:?} is none of {}{hint}", known.join(", ")));
        }
        texts
    }
}

/// "; did you mean …?", or nothing.
pub fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map(|found| format!("; did you mean {found:?}?")).unwrap_or_default()
}
