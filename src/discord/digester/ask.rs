//! What people ask of the digester: a digest now, to look at or to post.

use std::collections::BTreeSet;

use dataflows::time::{MINUTE_MS, Millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DigestError, Digester, RouteState};
use crate::discord::digest::{Candidate, Candidates, Digest};
use crate::discord::message::{Message, of_digest};
use crate::discord::schedule::Window;

/// Candidates that a preview tells of.
pub const CANDIDATES_MAX: usize = 200;

/// What a person asks for.
pub enum Ask {
    Preview { route: Option<String>, answer: tokio::sync::oneshot::Sender<Result<Vec<Preview>, String>> },
    Send { route: Option<String>, answer: tokio::sync::oneshot::Sender<Result<Vec<Preview>, String>> },
}

/// The digest as it would be posted now, and why each candidate is in or out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    pub digest: Digest,
    pub message: Message,
    /// The best first; over HTTP as many as `candidates` asks for.
    pub candidates: Vec<Candidate>,
    /// How many there are.
    pub candidates_total: usize,
    /// Whether it was written to the outbox.
    pub sent: bool,
}

impl Digester {
    pub(super) fn answer(&mut self, ask: Ask) -> Result<(), DigestError> {
        match ask {
            Ask::Preview { route, answer } => {
                let _ = answer.send(self.preview(route.as_deref()).map_err(|e| e.to_string()));
            }
            Ask::Send { route, answer } => match self.send_now(route.as_deref()) {
                Ok(previews) => {
                    let _ = answer.send(Ok(previews));
                }
                Err(DigestError::Refused(why)) => {
                    let _ = answer.send(Err(why));
                }
                Err(error) => {
                    let _ = answer.send(Err(error.to_string()));
                    return Err(error);
                }
            },
        }
        Ok(())
    }

    /// What would be posted now: since the last scheduled time, or for the last whole
    /// window where that was just now.
    pub fn preview(&self, route: Option<&str>) -> Result<Vec<Preview>, DigestError> {
        let chosen: Vec<&RouteState> =
            self.routes.iter().filter(|r| route.is_none_or(|name| name == r.route.name)).collect();
        if chosen.is_empty() {
            let known: Vec<&str> = self.routes.iter().map(|r| r.route.name.as_str()).collect();
            return Err(DigestError::Refused(format!("no such route; there are: {}", known.join(", "))));
        }
        if self.since.is_none() {
            return Err(DigestError::Refused("nothing was ingested yet".to_string()));
        }
        Ok(chosen.into_iter().filter_map(|state| self.preview_of(state)).collect())
    }

    fn preview_of(&self, state: &RouteState) -> Option<Preview> {
        let route = &state.route;
        let last = route.last_fire(self.clock)?;
        // A minute that is not over is part of it: the end is the next full minute.
        let end = Millis(Millis(self.clock.0).floor(MINUTE_MS).0 + MINUTE_MS);
        let window = Window { start: route.last_fire(Millis(last.0 - 1))?, end };
        let none = BTreeSet::new();
        let (mut digest, candidates) = self.decide_for(route, window, &none, CANDIDATES_MAX);
        digest.manual = true;
        let message = of_digest(&digest, &route.zone);
        let Candidates { best, total } = candidates;
        Some(Preview { digest, message, candidates: best, candidates_total: total, sent: false })
    }

    /// Writes the digest of now, whatever the schedule says, and leaves the schedule as it is.
    pub fn send_now(&mut self, route: Option<&str>) -> Result<Vec<Preview>, DigestError> {
        let mut previews = self.preview(route)?;
        let fresh: Vec<Digest> =
            previews.iter().map(|p| p.digest.clone()).filter(|d| !self.posted.knows(&d.key)).collect();
        for preview in &mut previews {
            preview.sent = preview.digest.skipped.is_none();
        }
        if !fresh.is_empty() {
            self.commit(&fresh)?;
        }
        Ok(previews)
    }
}
