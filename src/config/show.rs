//! Lists the effective configuration, each value with where it came from.

use std::fmt::Write;

use super::layers::{Leaf, shown};
use super::load::Loaded;

impl Loaded {
    /// Every effective value as `knob = value  # origin`; secrets are masked.
    pub fn show(&self) -> String {
        let mut text = String::new();
        let profile = self.profile.map_or("none (TIDINGS_ENV is unset)", |profile| profile.name());
        let _ = writeln!(text, "# profile: {profile}");
        let _ = writeln!(text, "# overlay directory: {}", self.config_dir.display());
        for (file, _) in super::LISTS {
            let path = self.list_path(file);
            let origin = if path.exists() { path.display().to_string() } else { "built in".to_string() };
            let _ = writeln!(text, "# {file}: {origin}");
        }
        let lines: Vec<(String, &Leaf)> = self
            .layers
            .leaves
            .iter()
            .map(|leaf| (format!("{} = {}", leaf.name(), shown(&leaf.name(), &leaf.value)), leaf))
            .collect();
        let width = lines.iter().map(|(line, _)| line.chars().count().min(WIDTH_MAX)).max().unwrap_or(0);
        for (line, leaf) in &lines {
            let _ = writeln!(text, "{line:width$}  # {}", leaf.origin);
        }
        text
    }

    /// The knobs that are not at their default, by name.
    pub fn changed(&self) -> Vec<String> {
        self.layers.leaves.iter().filter(|leaf| self.layers.is_changed(leaf)).map(Leaf::name).collect()
    }
}

/// Columns to which origins are aligned at most.
const WIDTH_MAX: usize = 60;
