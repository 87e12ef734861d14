//! Lines of the log, and messages of panics, with personal values masked.
//!
//! Addresses of machines and telephone numbers are left: the first are what operators
//! look for, and times and counts look like the second.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::OnceLock;

use dataflows::pii::{Kind, Kinds, Redactor};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

static REDACTOR: OnceLock<Redactor> = OnceLock::new();

/// Masks from now on, with the key of `redactor`. What was given first stays.
pub fn mask_with(redactor: &Redactor) {
    let in_lines = |kind: &Kind| !matches!(kind, Kind::Ipv4 | Kind::Ipv6 | Kind::Mac | Kind::Phone);
    let kinds: Kinds = Kind::ALL.into_iter().filter(in_lines).collect();
    if REDACTOR.set(redactor.restricted_to(kinds)).is_ok() {
        // A panic on a text quotes it.
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match info.payload_as_str() {
            Some(message) if masked(message) != message => {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                let thread = std::thread::current();
                // Nothing is left to do if standard error is gone.
                let _ = writeln!(
                    io::stderr(),
                    "\nthread '{}' panicked at {place}:\n{}",
                    thread.name().unwrap_or("<unnamed>"),
                    masked(message)
                );
            }
            _ => report(info),
        }));
    }
}

fn masked(line: &str) -> Cow<'_, str> {
    match REDACTOR.get() {
        Some(redactor) => redactor.mask(line, &mut Default::default()),
        None => Cow::Borrowed(line),
    }
}

/// A writer of whole lines that masks them.
pub(super) struct Masked<W>(pub W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Masked<W> {
    type Writer = Masked<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Masked(self.0.make_writer())
    }

    fn make_writer_for(&'w self, meta: &Metadata<'_>) -> Self::Writer {
        Masked(self.0.make_writer_for(meta))
    }
}

impl<W: Write> Write for Masked<W> {
    /// The subscriber writes each line whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(text) => self.0.write_all(masked(text).as_bytes())?,
            Err(_) => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_what_operators_need_and_nothing_personal() {
        mask_with(&Redactor::new(b"a key for this test", Kinds::ALL, Vec::new()));
        let mut written = Vec::new();
        let line = b"WARN error=\"jane@example.org at 192.0.2.1:9092\" after +12025550123\n";
        assert_eq!(Masked(&mut written).write(line).unwrap(), line.len());
        let text = String::from_utf8(written).unwrap();
        assert!(
            text.starts_with("WARN error=\"[email:")
                && text.ends_with("] at 192.0.2.1:9092\" after +12025550123\n"),
            "{text}"
        );
    }
}
