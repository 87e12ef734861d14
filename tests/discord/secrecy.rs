//! No token and no address of a webhook is in a record, a log line, an error or a report.

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tidings::discord::outbox::State;
use tidings::discord::wall_clock_ms;

use crate::rig::*;
use crate::server::{BOT_TOKEN, Conduct, Fault, WEBHOOK_TOKEN};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn secrets_are_nowhere_to_be_found() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(move || writer.clone())
        .finish();
    let rig = Rig::new(Conduct::default(), true);
    let shown = tracing::subscriber::with_default(subscriber, || {
        let echo = json!({"message": format!("bad {WEBHOOK_TOKEN} {BOT_TOKEN}"), "code": 1});
        rig.server.fail("look", Fault::Status(500, echo.clone()));
        for fault in [
            Fault::Status(400, echo.clone()),
            Fault::LostReply,
            Fault::Silence,
            Fault::Status(500, echo.clone()),
        ] {
            rig.server.fail("post", fault);
        }
        rig.server.fail("create", Fault::Status(403, echo));
        for n in 0..6 {
            put(rig.log.as_ref(), outgoing(&format!("k{n}"), if n == 5 { "bot" } else { "hook" }, 1));
        }
        let mut deliverer = rig.deliverer();
        rig.until(&mut deliverer, "k0", State::Dropped);
        for n in 1..6 {
            rig.until(&mut deliverer, &format!("k{n}"), State::Sent);
        }
        rig.server.inner.lock().webhooks.clear();
        put(rig.log.as_ref(), outgoing("gone", "hook", 1));
        rig.until(&mut deliverer, "gone", State::Retired);
        format!(
            "{:?} {:?} {:?}",
            deliverer.outbox().entries().collect::<Vec<_>>(),
            rig.health.report(wall_clock_ms()),
            rig.access
        )
    });
    drop(rig.log);
    let mut texts = vec![("values", shown.into_bytes()), ("log lines", captured.0.lock().clone())];
    assert!(texts[1].1.len() > 1_000, "nothing was logged");
    let metrics = prometheus::TextEncoder::new()
        .encode_to_string(&tidings::ops::metrics::registry().gather())
        .expect("text");
    texts.push(("metrics", metrics.into_bytes()));
    let mut folders = vec![rig.folder.path().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => texts.push(("a file of the log", std::fs::read(path).expect("bytes"))),
            }
        }
    }
    for secret in [WEBHOOK_TOKEN, BOT_TOKEN] {
        for (name, bytes) in &texts {
            let found = bytes.windows(secret.len()).position(|w| w == secret.as_bytes());
            let around =
                found.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(200)..at]).into_owned());
            assert!(found.is_none(), "{secret} is in {name} after {around:?}");
        }
    }
}
