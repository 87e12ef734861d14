//! What a text says: markup removed, language, sentiment, watched topics, terms. Pure functions.
//!
//! [`analyse`] takes the title and text of an event as its source gave them and gives what
//! [`crate::event::Content`] carries of them; [`analyse_redacted`] has masks put into them
//! first, so that nothing else sees what they hide. One item costs some tens of microseconds at
//! most, whatever it holds: every step is linear in the text.

pub mod html;
pub mod language;
pub mod sentiment;
pub mod terms;
pub mod topics;

use std::collections::BTreeMap;

use crate::event::{Sentiment, analysed_text};
use crate::pii::without_masks;
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
    /// Hashtags and keyphrases, sorted, each once.
    pub terms: Vec<String>,
    /// Analyzer -> its version, of those that ran.
    pub analyzers: BTreeMap<String, String>,
}

/// Analyses title and text together, as title, newline, text; after HTML to text.
pub fn analyse(
    title: Option<&str>,
    text: Option<&str>,
    declared_lang: Option<&str>,
    topics: &Topics,
    terms_max: usize,
    sentiment_on: bool,
) -> Analysis {
    analyse_redacted(title, text, declared_lang, topics, terms_max, sentiment_on, str::to_string)
}

/// As [`analyse`], with `redact` between the removal of markup and everything else.
pub fn analyse_redacted(
    title: Option<&str>,
    text: Option<&str>,
    declared_lang: Option<&str>,
    topics: &Topics,
    terms_max: usize,
    sentiment_on: bool,
    mut redact: impl FnMut(&str) -> String,
) -> Analysis {
    let title = title.map(|title| redact(&html::to_text(title)));
    let text = text.map(|text| redact(&html::to_text(text)));
    let read = analysed_text(title.as_deref(), text.as_deref());
    // A masked number is no word about phones.
    let unmasked = without_masks(&read);
    let is_blank = read.trim().is_empty();
    let lang = language::language(&read, declared_lang);
    Analysis {
        sentiment: (sentiment_on && !is_blank).then(|| sentiment::score(&read)),
        topics: topics.matches(&unmasked).into_iter().map(str::to_string).collect(),
        terms: terms::terms(&unmasked, lang.as_deref(), terms_max),
        analyzers: analyzers(topics, sentiment_on),
        lang,
        title,
        text,
    }
}

/// The analyzers that [`analyse`] runs, with their versions.
pub fn analyzers(topics: &Topics, sentiment_on: bool) -> BTreeMap<String, String> {
    let sentiment = sentiment_on.then_some(("sentiment", sentiment::VERSION));
    [
        ("text", html::VERSION),
        ("language", language::VERSION),
        ("topics", topics.version()),
        ("terms", terms::VERSION),
    ]
    .into_iter()
    .chain(sentiment)
    .map(|(analyzer, version)| (analyzer.to_string(), version.to_string()))
    .collect()
}

#[cfg(test)]
mod tests;
