//! What a text says: markup removed, language, sentiment, watched topics. Pure functions.
//!
//! [`analyse`] takes the title and text of an event as its source gave them and gives what
//! [`crate::event::Content`] carries of them. One item costs some tens of microseconds at
//! most, whatever it holds: every step is linear in the text.

pub mod html;
pub mod language;
pub mod sentiment;
pub mod topics;

use std::collections::BTreeMap;

use crate::event::{Sentiment, analysed_text};
use topics::Topics;

/// What there is to know of one item's text.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// Plain text; `None` where the event had none.
    pub title: Option<String>,
    pub text: Option<String>,
    pub lang: Option<String>,
    /// `None` if it was not asked for, or there is nothing to read.
    pub sentiment: Option<Sentiment>,
    /// Names of watched topics, sorted, each once.
    pub topics: Vec<String>,
    /// Analyzer -> its version, of those that ran.
    pub analyzers: BTreeMap<String, String>,
}

/// Analyses title and text together, as title, newline, text; after HTML to text.
pub fn analyse(
    title: Option<&str>,
    text: Option<&str>,
    declared_lang: Option<&str>,
    topics: &Topics,
    sentiment_on: bool,
) -> Analysis {
    let title = title.map(|title| html::to_text(title).into_owned());
    let text = text.map(|text| html::to_text(text).into_owned());
    let read = analysed_text(title.as_deref(), text.as_deref());
    let is_blank = read.trim().is_empty();
    Analysis {
        lang: language::language(&read, declared_lang),
        sentiment: (sentiment_on && !is_blank).then(|| sentiment::score(&read)),
        topics: topics.matches(&read).into_iter().map(str::to_string).collect(),
        analyzers: analyzers(topics, sentiment_on),
        title,
        text,
    }
}

/// The analyzers that [`analyse`] runs, with their versions.
pub fn analyzers(topics: &Topics, sentiment_on: bool) -> BTreeMap<String, String> {
    let sentiment = sentiment_on.then_some(("sentiment", sentiment::VERSION));
    [("text", html::VERSION), ("language", language::VERSION), ("topics", topics.version())]
        .into_iter()
        .chain(sentiment)
        .map(|(analyzer, version)| (analyzer.to_string(), version.to_string()))
        .collect()
}

#[cfg(test)]
mod tests;
