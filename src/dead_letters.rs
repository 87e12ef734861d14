//! Dead letters as they can be looked through: a view of the newest of dead.letters,
//! and `GET /v1/dead-letters`.
//!
//! A cache of the topic: it starts empty, reads from the beginning, and follows. It
//! holds `LETTERS_MAX` letters with the first characters of their records; all of
//! them whole are in the topic.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dataflows::faults::{DeadLetter, Reason};
use dataflows::record::Stored;
use dataflows::time::Millis;
use parking_lot::RwLock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::http::{List, Parameters, Problem, number};
use crate::ops::openapi::{Operation, Routes};

/// Letters held; older ones are in the topic.
const LETTERS_MAX: usize = 1_000;
/// Characters of a refused record that are shown.
const VALUE_CHARS_MAX: usize = 1_000;
const LETTERS: List = List { name: "dead-letters", limit_default: 50, limit_max: 200 };

/// The newest letters.
#[derive(Debug, Default)]
pub struct View {
    /// By when the record was taken in and where it came from.
    letters: BTreeMap<(Millis, String), DeadLetter>,
    /// Where a tombstone finds its letter.
    times: HashMap<String, Millis>,
}

impl View {
    /// Takes one record of dead.letters in; one that cannot be read is not shown.
    pub fn apply(&mut self, stored: &Stored) {
        let key = String::from_utf8_lossy(&stored.key).into_owned();
        if let Some(at) = self.times.remove(&key) {
            self.letters.remove(&(at, key.clone()));
        }
        let Some(value) = &stored.value else { return };
        match serde_json::from_slice::<DeadLetter>(value) {
            Ok(letter) => {
                self.times.insert(key.clone(), letter.ingested_at);
                self.letters.insert((letter.ingested_at, key), shortened(letter));
            }
            Err(error) => tracing::warn!(%error, offset = stored.offset, "a dead letter cannot be read"),
        }
        while self.letters.len() > LETTERS_MAX {
            if let Some(((_, key), _)) = self.letters.pop_first() {
                self.times.remove(&key);
            }
        }
    }

    /// The newest first.
    fn page(&self, asked: &Asked) -> Result<Answer, String> {
        let limit = LETTERS.limit(asked.limit)?;
        let before: Option<(i64, String)> = LETTERS.after(asked.cursor.as_deref())?;
        let before = before.map(|(at, key)| (Millis(at), key));
        let wanted = |letter: &DeadLetter| {
            asked.stage.as_ref().is_none_or(|stage| *stage == letter.stage)
                && asked.reason.is_none_or(|reason| reason == letter.reason)
        };
        let found = self
            .letters
            .iter()
            .rev()
            .filter(|(place, letter)| before.as_ref().is_none_or(|b| *place < b) && wanted(letter));
        let (page, cursor) = LETTERS.page(found, limit, |((at, key), _)| (at.0, key.clone()));
        Ok(Answer { items: page.into_iter().map(|(_, letter)| letter.clone()).collect(), cursor })
    }
}

fn shortened(letter: DeadLetter) -> DeadLetter {
    let end = |value: &str| value.char_indices().nth(VALUE_CHARS_MAX).map(|(at, _)| at);
    match letter.value.as_deref().and_then(end) {
        Some(end) => {
            let value = letter.value.map(|value| value[..end].to_string());
            DeadLetter { value, truncated: true, ..letter }
        }
        None => letter,
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default, deserialize_with = "number")]
    limit: Option<usize>,
    cursor: Option<String>,
    /// Letters of this stage.
    stage: Option<String>,
    reason: Option<Reason>,
}

/// The answer of `GET /v1/dead-letters`: a page, the newest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DeadLettersPage")]
pub struct Answer {
    pub items: Vec<DeadLetter>,
    /// The `cursor` of the next page; null on the last.
    pub cursor: Option<String>,
}

pub fn routes(view: Arc<RwLock<View>>) -> Routes {
    let operation = Operation::new("dead_letters", "What no stage could process, with the reason.")
        .query::<Asked>()
        .list(&LETTERS)
        .answers_as::<Answer>("The newest first; all of them are in the topic dead.letters.");
    Routes::default().get("/v1/dead-letters", letters, operation).with_state(view)
}

async fn letters(
    State(view): State<Arc<RwLock<View>>>,
    Parameters(asked): Parameters<Asked>,
) -> Result<Json<Answer>, Problem> {
    view.read().page(&asked).map(Json).map_err(Problem::bad_request)
}

#[cfg(test)]
mod tests {
    use dataflows::faults::{Fault, dead_letter};
    use dataflows::record::{Headers, topic};

    use super::*;

    fn stored(offset: u64, value: &str) -> Stored {
        Stored {
            topic: topic::EVENTS.into(),
            partition: 0,
            offset,
            timestamp_ms: offset as i64 / 2,
            key: b"x:1".to_vec(),
            value: Some(value.as_bytes().to_vec()),
            headers: Headers::new(),
        }
    }

    fn letter(offset: u64, reason: Reason) -> Stored {
        let record = dead_letter("enrich", &stored(offset, &"é".repeat(2_000)), &Fault::new(reason, "why"));
        Stored { key: record.key, value: record.value, ..stored(offset, "") }
    }

    #[test]
    fn pages_are_one_list_of_the_newest_and_tombstones_take_letters_away() {
        let mut view = View::default();
        for offset in 0..LETTERS_MAX as u64 + 7 {
            view.apply(&letter(offset, if offset % 2 == 0 { Reason::Missing } else { Reason::Future }));
        }
        let gone = letter(1_000, Reason::Missing);
        view.apply(&Stored { value: None, ..gone });
        let mut seen = Vec::new();
        let mut asked = Asked { limit: Some(150), ..Asked::default() };
        loop {
            let page = view.page(&asked).expect("valid");
            assert!(page.items.len() <= 150);
            seen.extend(page.items.iter().map(|letter| letter.offset));
            let Some(cursor) = page.cursor else { break };
            asked.cursor = Some(cursor);
        }
        let mut expected: Vec<u64> = (7..LETTERS_MAX as u64 + 7).filter(|offset| *offset != 1_000).collect();
        seen.sort_unstable();
        expected.sort_unstable();
        assert_eq!(seen, expected);
        let future = view.page(&Asked { reason: Some(Reason::Future), ..Asked::default() }).expect("valid");
        assert!(future.items.iter().all(|l| l.reason == Reason::Future && l.truncated));
        assert_eq!(future.items[0].value.as_ref().map(|v| v.chars().count()), Some(VALUE_CHARS_MAX));
        let analyse = Asked { stage: Some("analyse".into()), ..Asked::default() };
        assert!(view.page(&analyse).expect("valid").items.is_empty());
    }
}
