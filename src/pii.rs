//! Which personal values are masked, and with which key; the masks themselves are
//! [`dataflows::pii`].
//!
//! The key comes from `TIDINGS_REDACTION_KEY`, else from the data folder, which makes it
//! once. Without it nobody can try out which value a mask stands for; with another one
//! masks of equal values do not join.

use std::io::{self, Write};

use dataflows::pii::{Kind, Kinds, Redactor};
use serde::Deserialize;

use crate::config::Config;
use crate::ops::data_dir::DataDir;
use crate::ops::exit::{Exit, Failure};

/// Table `[pii]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub types: Vec<String>,
    pub account_platforms: Vec<String>,
}

impl Settings {
    /// The types as a set; a name that is none is an error.
    pub fn kinds(&self) -> Result<Kinds, String> {
        let kind = |name: &String| {
            Kind::parse(name).ok_or_else(|| {
                let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                format!("{name:?} is none of {}", names.join(", "))
            })
        };
        self.types.iter().map(kind).collect()
    }
}

/// The redactor of a process that holds a data folder.
pub fn of_folder(config: &Config, folder: &DataDir) -> Result<Redactor, Failure> {
    let folder_key = || {
        folder.redaction_key().map_err(|error| {
            Failure::new(Exit::Usage, format!("cannot keep the redaction key in the data folder: {error}"))
        })
    };
    redactor(config, || Ok(folder_key()?.expose().to_string()))
}

/// The redactor of a command that only shows: without a key that was given, its masks
/// join with each other and with nothing else.
pub fn of_preview(config: &Config) -> Result<Redactor, Failure> {
    redactor(config, || Ok(uuid::Uuid::new_v4().to_string()))
}

fn redactor(config: &Config, own_key: impl FnOnce() -> Result<String, Failure>) -> Result<Redactor, Failure> {
    let kinds = config.pii.kinds().map_err(|e| Failure::new(Exit::Usage, format!("pii.types: {e}")))?;
    if config.features.pii_detection.is_off() {
        return Ok(Redactor::off());
    }
    let key = match &config.redaction_key {
        Some(key) => key.expose().to_string(),
        None => own_key()?,
    };
    Ok(Redactor::new(key.as_bytes(), kinds, config.pii.account_platforms.clone()))
}

/// A writer that masks whole lines, for previews of what sources say. Addresses of
/// machines stay: sources have some.
pub struct MaskedLines<W: Write> {
    out: W,
    redactor: Redactor,
    line: Vec<u8>,
}

/// Bytes of a line that are waited for; a longer one is masked in pieces.
const LINE_BYTES_MAX: usize = 64 * 1024;

impl<W: Write> MaskedLines<W> {
    pub fn new(out: W, redactor: &Redactor) -> Self {
        let shown = |kind: &Kind| !matches!(kind, Kind::Ipv4 | Kind::Ipv6 | Kind::Mac);
        let redactor = redactor.restricted_to(Kind::ALL.into_iter().filter(shown).collect());
        Self { out, redactor, line: Vec::new() }
    }

    /// Writes what has no line end yet.
    pub fn finish(mut self) -> io::Result<()> {
        self.write_line()?;
        self.out.flush()
    }

    fn write_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        self.out.write_all(self.redactor.mask(&line, &mut Default::default()).as_bytes())
    }
}

impl<W: Write> Write for MaskedLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() >= LINE_BYTES_MAX {
                self.write_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Overrides, load};

    fn loaded(set: &[&str]) -> Result<Config, String> {
        let set = set.iter().map(|s| s.to_string()).collect();
        let loaded = load(&Environment::of([]), &Overrides { set, ..Default::default() });
        loaded.map(|loaded| loaded.config).map_err(|mistakes| mistakes.to_string())
    }

    fn config(set: &[&str]) -> Config {
        loaded(set).expect("valid")
    }

    fn masked(redactor: &Redactor, text: &str) -> String {
        redactor.mask(text, &mut Default::default()).into_owned()
    }

    #[test]
    fn types_can_be_chosen_and_misspelt() {
        assert_eq!(config(&[]).pii.kinds(), Ok(Kinds::ALL));
        let only = config(&["pii.types=[\"ipv4\"]", "redaction_key=0123456789abcdef"]);
        let redactor = of_preview(&only).expect("valid");
        let text = masked(&redactor, "jane@example.org from 192.0.2.1");
        assert!(text.starts_with("jane@example.org from [ipv4:"), "{text}");
        let error = loaded(&["pii.types=[\"emial\"]"]).unwrap_err();
        assert!(error.contains("pii.types") && error.contains("emial") && error.contains("email"), "{error}");
    }

    #[test]
    fn previews_are_masked_by_the_line() {
        let mut written = Vec::new();
        let mut out = MaskedLines::new(&mut written, &of_preview(&config(&[])).expect("valid"));
        // Written in the pieces that formatting makes.
        let (name, host) = ("jane", "example.org");
        write!(out, "{name}@{host}").expect("writes");
        writeln!(out, " moved to http://192.0.2.1/").expect("writes");
        write!(out, "call +12025550123").expect("writes");
        out.finish().expect("writes");
        let text = String::from_utf8(written).expect("text");
        assert!(
            text.starts_with("[email:") && text.contains("] moved to http://192.0.2.1/\ncall [phone:"),
            "{text}"
        );
    }

    #[test]
    fn the_key_decides_what_joins() {
        let mask = |set: &[&str]| masked(&of_preview(&config(set)).expect("valid"), "jane@example.org");
        let (one, other) = ("redaction_key=0123456789abcdef", "redaction_key=0123456789abcdeg");
        assert_eq!(mask(&[one]), mask(&[one]));
        assert_ne!(mask(&[one]), mask(&[other]));
        assert_ne!(mask(&[]), mask(&[]), "a preview without a key joins with nothing");
        assert_eq!(mask(&["features.pii_detection=false"]), "jane@example.org");
        let short = loaded(&["redaction_key=shortie"]).unwrap_err();
        assert!(
            short.contains("redaction_key") && short.contains("16") && !short.contains("shortie"),
            "{short}"
        );
    }
}
