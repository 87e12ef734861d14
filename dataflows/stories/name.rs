//! Which part is which story: ids over merges, splits and restarts.
//!
//! A story's heir is the part with its representative, or else with the earliest of its
//! listed members that is in a part. Of several stories with one heir the oldest goes on as
//! it and the others became part of it. All of this is in the published record, so that a
//! restart, which has nothing else, comes to the same answer.

use std::collections::BTreeMap;

use super::item::{Symbol, symbol};
use super::record::Story;
use crate::time::Millis;

/// Digits of an id.
const ID_DIGITS: usize = 12;

/// The parts by the stories that go on as them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heirs {
    /// Of each part that is an heir the stories, the oldest first.
    pub of_part: BTreeMap<Symbol, Vec<String>>,
    /// Stories of which nothing is left.
    pub without: Vec<String>,
}

/// `part_of` gives the part of a content id's symbol.
pub fn heirs<'a>(
    stories: impl Iterator<Item = &'a Story>,
    part_of: impl Fn(Symbol) -> Option<Symbol>,
) -> Heirs {
    let mut stories: Vec<&Story> = stories.collect();
    stories.sort_by_key(|story| (story.opened_at, &story.id));
    let mut heirs = Heirs::default();
    for story in stories {
        let mut candidates = std::iter::once(&story.representative).chain(&story.members);
        match candidates.find_map(|id| part_of(symbol(id))) {
            Some(part) => heirs.of_part.entry(part).or_default().push(story.id.clone()),
            None => heirs.without.push(story.id.clone()),
        }
    }
    heirs
}

/// An id for a story that begins now, which no other has; of the content id that stands for it.
pub fn new_id(representative: &str, clock: Millis, taken: impl Fn(&str) -> bool) -> String {
    let at = clock.0;
    (0u64..)
        .map(|n| {
            blake3::hash(format!("{representative}\n{at}\n{n}").as_bytes()).to_hex()[..ID_DIGITS].to_string()
        })
        .find(|id| !taken(id))
        .expect("there are more ids than stories")
}
