//! Fail points: places where a test has the process killed, to show that whatever it was
//! about to do is done again, once.
//!
//! `tidings run --die-at POINT[@WHO][:N]` (not in `--help`) sends itself SIGKILL the Nth time
//! that the point is passed, by anybody or by WHO: a committer's id. Unarmed, a point costs
//! the look at one atomic.

use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every point, in the order in which a record meets them.
pub const POINTS: [&str; 8] = [
    // The identity index while it reads content.enriched again, a batch written.
    "index.caught_up",
    // ANALYSE's state while it is rebuilt, before it is complete.
    "hydrate.fed",
    // A batch of an append is durable; nobody was told.
    "append.done",
    // The records of a transaction are with the log; its positions are not.
    "commit.produced",
    // Its positions are too; it is not decided.
    "commit.positioned",
    // It is committed; nobody was told.
    "commit.done",
    // A commit was told to the worker; the identity index does not know.
    "index.behind",
    "index.written",
];

/// Where and when to die.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DieAt {
    point: &'static str,
    who: Option<String>,
    nth: u64,
}

impl FromStr for DieAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (place, nth) = text.rsplit_once(':').unwrap_or((text, "1"));
        let nth = nth.parse().ok().filter(|nth| *nth > 0).ok_or(format!("{nth:?} is no number from 1 on"))?;
        let (name, who) = match place.split_once('@') {
            Some((name, who)) => (name, Some(who.to_string())),
            None => (place, None),
        };
        let point = POINTS.iter().find(|point| **point == name);
        let point = point.ok_or_else(|| format!("{name:?} is none of {}", POINTS.join(", ")))?;
        Ok(Self { point, who, nth })
    }
}

struct Armed {
    at: DieAt,
    left: AtomicU64,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Arms the point, once in a process.
pub fn arm(at: DieAt) {
    let left = AtomicU64::new(at.nth);
    let _ = ARMED.set(Armed { at, left });
}

/// Passes a point; `who` passes it may matter.
pub fn pass(point: &'static str, who: &str) {
    debug_assert!(POINTS.contains(&point), "{point} is no point");
    let Some(armed) = ARMED.get() else { return };
    if armed.at.point == point
        && armed.at.who.as_ref().is_none_or(|wanted| wanted == who)
        && armed.left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        die();
    }
}

/// As `kill -9` from outside: nothing is flushed, nothing runs after it.
fn die() -> ! {
    use rustix::process::{Signal, getpid, kill_process};
    let _ = kill_process(getpid(), Signal::KILL);
    // The signal needs a moment; nothing may go on until then.
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_with_who_and_when() {
        let at = |text: &str| DieAt::from_str(text);
        let expected = DieAt { point: "commit.done", who: Some("enrich-0".into()), nth: 3 };
        assert_eq!(at("commit.done@enrich-0:3"), Ok(expected));
        assert_eq!(at("append.done"), Ok(DieAt { point: "append.done", who: None, nth: 1 }));
        assert!(at("commit.don").is_err_and(|e| e.contains("commit.done")));
        assert!(at("commit.done:0").is_err() && at("commit.done:x").is_err());
    }
}
