//! The user's `sources.toml` as text in, the same text with one source more or less
//! out, comments and all; and the writing of it.
//!
//! Nothing is written that would not be read again as exactly what was meant. The
//! file is replaced in one step, so that a running process never sees a half of it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::reload;
use super::source::{self, Source};

#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: {reason}", path.display())]
    Invalid { path: PathBuf, reason: String },
    #[error("it is followed already, as {0:?}")]
    Followed(String),
    #[error("no source is named {0:?}")]
    Unknown(String),
    #[error("{}: {reason}; change it by hand", path.display())]
    ByHand { path: PathBuf, reason: &'static str },
}

/// The file of sources in the user's configuration; need not exist.
#[derive(Clone, Debug)]
pub struct OverlayFile(pub PathBuf);

impl OverlayFile {
    /// What it says, or the built-in list where there is none.
    fn text(&self) -> Result<String, OverlayError> {
        match std::fs::read_to_string(&self.0) {
            Ok(text) => {
                let table: Option<toml::Table> = text.parse().ok();
                // A file that names no list stands for the built-in one.
                let none = table.is_some_and(|table| table.is_empty());
                Ok(if none { format!("{text}\n{}", source::DEFAULT) } else { text })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(source::DEFAULT.to_string()),
            Err(error) => Err(OverlayError::Io { path: self.0.clone(), error }),
        }
    }

    fn parse(&self, text: &str) -> Result<Vec<Source>, OverlayError> {
        let invalid = |reason| OverlayError::Invalid { path: self.0.clone(), reason };
        source::parse(text).map_err(|e| invalid(e.0.join("; ")))
    }

    /// The sources that it stands for.
    pub fn sources(&self) -> Result<Vec<Source>, OverlayError> {
        self.parse(&self.text()?)
    }

    /// Adds `[[source]]` with these lines, and says how it is called.
    pub fn add(&self, table: &toml::Table) -> Result<Source, OverlayError> {
        let text = self.text()?;
        let before = self.parse(&text)?;
        let alone = source::of_tables(std::slice::from_ref(table));
        let alone =
            alone.map_err(|e| OverlayError::Invalid { path: self.0.clone(), reason: e.0.join("; ") })?;
        let new = alone.into_iter().next().expect("one table is one source");
        if let Some(known) = before.iter().find(|s| s.key == new.key) {
            return Err(OverlayError::Followed(known.name.clone()));
        }
        let mut table = table.clone();
        table.insert("name".into(), free_name(&new.name, &before).into());
        // An empty list cannot be extended, only replaced.
        let kept: String =
            text.lines().filter(|line| !is_empty_list(line)).map(|l| format!("{l}\n")).collect();
        let kept = if kept.trim().is_empty() { String::new() } else { format!("{}\n\n", kept.trim_end()) };
        let text = format!("{kept}[[source]]\n{table}");
        let after =
            self.parse(&text).map_err(|_| self.by_hand("the sources are not written as [[source]]"))?;
        let added = after.last().filter(|_| after[..after.len() - 1] == before).cloned();
        let added = added.ok_or_else(|| self.by_hand("the sources are not written as [[source]]"))?;
        self.write(&text)?;
        Ok(added)
    }

    /// Takes the source of this name out.
    pub fn remove(&self, name: &str) -> Result<Source, OverlayError> {
        let text = self.text()?;
        let before = self.parse(&text)?;
        let at = before.iter().position(|s| s.name == name);
        let at = at.ok_or_else(|| OverlayError::Unknown(name.to_string()))?;
        let mut left = before.clone();
        let removed = left.remove(at);
        let mut text =
            without_block(&text, at).ok_or_else(|| self.by_hand("the source is not a [[source]]"))?;
        if left.is_empty() {
            // Without a list the file would stand for the built-in one.
            text = format!("source = []\n{text}");
        }
        if self.parse(&text).ok().as_ref() != Some(&left) {
            return Err(self.by_hand("the source cannot be told from what is around it"));
        }
        self.write(&text)?;
        Ok(removed)
    }

    fn by_hand(&self, reason: &'static str) -> OverlayError {
        OverlayError::ByHand { path: self.0.clone(), reason }
    }

    fn write(&self, text: &str) -> Result<(), OverlayError> {
        debug_assert!(reload::of_text(text).is_ok(), "checked by the caller");
        let failed = |error| OverlayError::Io { path: self.0.clone(), error };
        let folder = self.0.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        // Not .toml: a file of an unknown name in this folder is a start-up error.
        let beside = self.0.with_extension(format!("new-{}", std::process::id()));
        let write = || {
            let mut file = std::fs::File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            if let Ok(old) = std::fs::metadata(&self.0) {
                file.set_permissions(old.permissions())?;
            }
            std::fs::rename(&beside, &self.0)
        };
        write().map_err(|error| {
            // It may not even have been made.
            let _ = std::fs::remove_file(&beside);
            failed(error)
        })
    }
}

/// The name, with a number if it is taken.
fn free_name(name: &str, sources: &[Source]) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let taken = |name: &str| sources.iter().any(|s| s.name == name);
    let mut end = name.len().min(source::NAME_BYTES_MAX - 8);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let name = name[..end].trim();
    if !taken(name) {
        return name.to_string();
    }
    (2..).map(|n| format!("{name} ({n})")).find(|name| !taken(name)).expect("numbers do not end")
}

fn is_empty_list(line: &str) -> bool {
    line.split('#').next().unwrap_or("").split_whitespace().collect::<String>() == "source=[]"
}

/// The text without its n-th `[[source]]`: from its header to its last line that is
/// neither blank nor a comment, because comments belong to what follows.
fn without_block(text: &str, number: usize) -> Option<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_header = |line: &&str| line.trim_start().starts_with('[');
    let is_source = |line: &str| {
        line.split('#').next().unwrap_or("").split_whitespace().collect::<String>() == "[[source]]"
    };
    let start = lines.iter().enumerate().filter(|(_, line)| is_source(line)).nth(number)?.0;
    let end = lines[start + 1..].iter().position(is_header).map_or(lines.len(), |at| start + 1 + at);
    let is_content = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let last = lines[start..end].iter().rposition(is_content).map_or(start, |at| start + at);
    let mut rest = &lines[last + 1..];
    // One blank line between two blocks, not two.
    if rest.first().is_some_and(|line| line.trim().is_empty()) {
        rest = &rest[1..];
    }
    Some(lines[..start].concat() + &rest.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: Option<&str>) -> (tempfile::TempDir, OverlayFile) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = OverlayFile(folder.path().join("config/sources.toml"));
        if let Some(text) = text {
            std::fs::create_dir_all(folder.path().join("config")).expect("made");
            std::fs::write(&file.0, text).expect("written");
        }
        (folder, file)
    }

    fn feed(url: &str) -> toml::Table {
        toml::from_str(&format!("type = \"feed\"\nurl = {url:?}\nname = \"It's \\\"new\\\"\"")).expect("TOML")
    }

    #[test]
    fn the_first_addition_keeps_the_built_in_sources() {
        let (_folder, file) = file(None);
        let added = file.add(&feed("https://example.org/feed")).expect("added");
        assert_eq!(added.name, "It's \"new\"");
        let text = std::fs::read_to_string(&file.0).expect("written");
        assert!(text.starts_with(source::DEFAULT.trim_end()), "comments are kept");
        let sources = file.sources().expect("valid");
        assert_eq!(sources.len(), source::parse(source::DEFAULT).unwrap().len() + 1);
        let again = file.add(&feed("http://example.org/feed/"));
        assert!(matches!(again, Err(OverlayError::Followed(name)) if name == "It's \"new\""));
        assert_eq!(file.add(&feed("https://example.org/2")).expect("added").name, "It's \"new\" (2)");
        let names: Vec<_> = std::fs::read_dir(file.0.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_source_goes_and_comments_stay() {
        let text = "# mine\n\n[[source]] # one\ntype = \"feed\"\nurl = \"https://a.org/\"\n\n# two is good\n\
            [[source]]\ntype = \"feed\"\n# inside\nurl = \"https://b.org/\"\n\n# the end\n";
        let (_folder, file) = file(Some(text));
        assert_eq!(file.remove("a.org").expect("removed").name, "a.org");
        let left = std::fs::read_to_string(&file.0).unwrap();
        assert!(
            left.starts_with("# mine\n\n# two is good\n[[source]]\n") && left.ends_with("# the end\n"),
            "{left}"
        );
        assert!(matches!(file.remove("a.org"), Err(OverlayError::Unknown(_))));
        file.remove("b.org").expect("removed");
        let left = std::fs::read_to_string(&file.0).unwrap();
        assert!(left.starts_with("source = []\n"), "{left}");
        assert_eq!(file.sources().expect("valid"), [], "none, and not the built-in ones");
        file.add(&feed("https://c.org/")).expect("added to an empty list");
        assert_eq!(file.sources().expect("valid").len(), 1);
    }

    #[test]
    fn what_cannot_be_told_apart_is_left_alone() {
        for text in [
            "source = [{ type = \"feed\", url = \"https://a.org/\" }]\n",
            "[[source]]\ntype = \"feed\"\nname = \"\"\"\n[[source]]\n\"\"\"\nurl = \"https://x.org/\"\n[[source]]\ntype=\"feed\"\nname = \"a.org\"\nurl = \"https://a.org/\"\n",
        ] {
            let (_folder, file) = file(Some(text));
            assert!(matches!(file.remove("a.org"), Err(OverlayError::ByHand { .. })), "{text}");
            assert_eq!(std::fs::read_to_string(&file.0).unwrap(), text);
        }
        let (_folder, file) = file(Some("source = [{ type = \"feed\", url = \"https://a.org/\" }]\n"));
        assert!(matches!(file.add(&feed("https://b.org/")), Err(OverlayError::ByHand { .. })));
        let (_folder, file) = self::file(Some("[[source]]\n"));
        assert!(matches!(file.add(&feed("https://b.org/")), Err(OverlayError::Invalid { .. })));
    }
}
