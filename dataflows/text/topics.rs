//! Watched topics: which of them a text is in.
//!
//! A topic has terms; a text is in it if one of them stands in the text as whole words,
//! in any case. White space in a term matches any white space.
//!
//! What a whole word is, so that `AI`, `C++`, `#rust`, `.net` and `東京` work as meant:
//! - No letter, digit, underscore or combining mark may touch a letter of the term: `AI` is
//!   in "AI's" and "(ai)", not in "said".
//! - Scripts that write no spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) have no such
//!   border: `東京` is in "東京都", `AI` in "AIの".
//! - Before a term that begins with a sign no letter and not the same sign may stand: `#rust`
//!   is not in "a#rust" or "##rust", `.net` not in "example.net".
//! - After a term that ends with a sign the same sign may not follow: `C++` is in "C++17",
//!   `C+` not in "C++".
//!
//! Case is folded character by character (`ß` is not `ss`; `ς` is `σ`); accents count, and
//! text is not normalised: `é` as one character and as two are different.

pub(super) mod words;

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use serde::{Deserialize, Serialize};

/// Most terms over all topics: the automaton grows with them.
pub const TERMS_MAX: usize = 20_000;
/// Longest term or name.
pub const TERM_BYTES_MAX: usize = 200;

/// One `[[topic]]` of config/topics.toml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    pub name: String,
    pub any: Vec<String>,
}

/// The whole of config/topics.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicsFile {
    #[serde(default, rename = "topic")]
    pub topics: Vec<Topic>,
}

/// What is wrong with a definition, by the place of the topic in its file (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicError {
    EmptyName {
        place: usize,
    },
    LongName {
        place: usize,
    },
    DuplicateName {
        place: usize,
        name: String,
    },
    NoTerms {
        name: String,
    },
    EmptyTerm {
        name: String,
        place: usize,
    },
    LongTerm {
        name: String,
        place: usize,
    },
    DuplicateTerm {
        name: String,
        term: String,
    },
    TooManyTerms {
        terms: usize,
    },
    /// The automaton could not be built.
    Unbuildable {
        reason: String,
    },
}

impl std::fmt::Display for TopicError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TopicError::EmptyName { place } => write!(f, "topic {place} has no name"),
            TopicError::LongName { place } => {
                write!(f, "the name of topic {place} is longer than {TERM_BYTES_MAX} bytes")
            }
            TopicError::DuplicateName { place, name } => {
                write!(f, "topic {place} has the name of an earlier one: {name:?}")
            }
            TopicError::NoTerms { name } => write!(f, "topic {name:?} has no terms in `any`"),
            TopicError::EmptyTerm { name, place } => write!(f, "term {place} of topic {name:?} is empty"),
            TopicError::LongTerm { name, place } => {
                write!(f, "term {place} of topic {name:?} is longer than {TERM_BYTES_MAX} bytes")
            }
            TopicError::DuplicateTerm { name, term } => {
                write!(f, "topic {name:?} has the term {term:?} twice (case and white space do not count)")
            }
            TopicError::TooManyTerms { terms } => {
                write!(f, "there are {terms} terms, and {TERMS_MAX} is the most")
            }
            TopicError::Unbuildable { reason } => write!(f, "the terms cannot be searched for: {reason}"),
        }
    }
}

impl std::error::Error for TopicError {}

/// The watched topics, ready to be matched.
#[derive(Clone, Debug)]
pub struct Topics {
    /// Sorted.
    names: Vec<String>,
    /// For each pattern of the automaton the topics that have it.
    owners: Vec<Vec<u32>>,
    /// `None` without any term.
    automaton: Option<AhoCorasick>,
    /// Whether any term holds white space, so that texts must be normalised.
    spaced: bool,
    version: String,
}

impl Topics {
    /// The topics of a file, or everything that is wrong with it.
    pub fn new(mut topics: Vec<Topic>) -> Result<Topics, Vec<TopicError>> {
        let errors = errors(&topics);
        if !errors.is_empty() {
            return Err(errors);
        }
        for topic in &mut topics {
            topic.name = topic.name.trim().to_string();
            topic.any = topic.any.iter().map(|term| words::folded(term.trim(), true)).collect();
            topic.any.sort();
        }
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        let version = version(&topics);

        let mut patterns: Vec<(&str, u32)> = Vec::new();
        for (owner, topic) in topics.iter().enumerate() {
            patterns.extend(topic.any.iter().map(|term| (term.as_str(), owner as u32)));
        }
        patterns.sort();
        let mut terms: Vec<&str> = Vec::new();
        let mut owners: Vec<Vec<u32>> = Vec::new();
        for (term, owner) in patterns {
            match owners.last_mut() {
                Some(owners) if terms.last() == Some(&term) => owners.push(owner),
                _ => {
                    terms.push(term);
                    owners.push(vec![owner]);
                }
            }
        }
        let automaton = automaton(&terms).map_err(|error| vec![error])?;
        let spaced = terms.iter().any(|term| term.contains(' '));
        let names = topics.iter().map(|topic| topic.name.clone()).collect();
        Ok(Topics { names, owners, automaton, spaced, version })
    }

    /// No topics: nothing matches.
    pub fn none() -> Topics {
        let (names, owners) = (Vec::new(), Vec::new());
        Topics { names, owners, automaton: None, spaced: false, version: version(&[]) }
    }

    /// The names of the topics that the text is in, sorted, each once.
    pub fn matches(&self, text: &str) -> Vec<&str> {
        let Some(automaton) = &self.automaton else { return Vec::new() };
        let folded = words::folded(text, self.spaced);
        let mut found: BTreeSet<u32> = BTreeSet::new();
        for hit in automaton.find_overlapping_iter(&folded) {
            let owners = &self.owners[hit.pattern().as_usize()];
            if !owners.iter().all(|owner| found.contains(owner))
                && words::stands_alone(&folded, hit.start(), hit.end())
            {
                found.extend(owners);
            }
        }
        found.into_iter().map(|owner| self.names[owner as usize].as_str()).collect()
    }

    /// All names, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A short hash of what the definitions mean: the same for another order, case or comment.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl Default for Topics {
    fn default() -> Topics {
        Topics::none()
    }
}

fn errors(topics: &[Topic]) -> Vec<TopicError> {
    let mut errors = Vec::new();
    let mut names = BTreeSet::new();
    for (index, topic) in topics.iter().enumerate() {
        let place = index + 1;
        let name = topic.name.trim();
        if name.is_empty() {
            errors.push(TopicError::EmptyName { place });
        } else if name.len() > TERM_BYTES_MAX {
            errors.push(TopicError::LongName { place });
        } else if !names.insert(name.to_lowercase()) {
            errors.push(TopicError::DuplicateName { place, name: name.to_string() });
        }
        let name = if name.is_empty() { format!("number {place}") } else { name.to_string() };
        if topic.any.is_empty() {
            errors.push(TopicError::NoTerms { name: name.clone() });
        }
        let mut terms = BTreeSet::new();
        for (index, term) in topic.any.iter().enumerate() {
            let (name, place) = (name.clone(), index + 1);
            let folded = words::folded(term.trim(), true);
            if folded.is_empty() {
                errors.push(TopicError::EmptyTerm { name, place });
            } else if folded.len() > TERM_BYTES_MAX {
                errors.push(TopicError::LongTerm { name, place });
            } else if !terms.insert(folded) {
                errors.push(TopicError::DuplicateTerm { name, term: term.clone() });
            }
        }
    }
    let terms = topics.iter().map(|topic| topic.any.len()).sum();
    if terms > TERMS_MAX {
        errors.push(TopicError::TooManyTerms { terms });
    }
    errors
}

fn automaton(terms: &[&str]) -> Result<Option<AhoCorasick>, TopicError> {
    if terms.is_empty() {
        return Ok(None);
    }
    // A full table is twice as fast and takes a few hundred KB for hundreds of terms;
    // for thousands the compact one is the better use of the cache.
    const FULL_TABLE_TERMS_MAX: usize = 2_000;
    let kind = if terms.len() <= FULL_TABLE_TERMS_MAX {
        AhoCorasickKind::DFA
    } else {
        AhoCorasickKind::ContiguousNFA
    };
    AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .kind(Some(kind))
        .build(terms)
        .map(Some)
        .map_err(|error| TopicError::Unbuildable { reason: error.to_string() })
}

/// Over names and folded terms, both sorted.
fn version(topics: &[Topic]) -> String {
    let mut hasher = blake3::Hasher::new();
    for topic in topics {
        for part in std::iter::once(&topic.name).chain(&topic.any) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(&u64::MAX.to_le_bytes());
    }
    hasher.finalize().to_hex()[..12].to_string()
}

#[cfg(test)]
mod tests;
