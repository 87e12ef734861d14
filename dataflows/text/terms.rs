//! Emergent terms: the hashtags and keyphrases of one text. A pure function.
//!
//! What a text is about without anybody having listed it: hashtags; names, which are one to
//! three capitalised words in a row; and phrases of two or three words between stop words
//! and punctuation. Cheap and the same for the same text: no model, no statistics over other
//! texts. Whatever the text, the answer is bounded and the time linear in what is read.
//!
//! Which terms are kept if there are more: hashtags first, then names of several words, names
//! of one, phrases; among equals those that come first.

mod stop;

use super::topics::words::{folded, is_unspaced, is_word};

/// Another one finds other terms.
pub const VERSION: &str = "terms 1";

/// Bytes of one term; longer ones are none.
pub const TERM_BYTES_MAX: usize = 60;
/// Bytes of a text that are read: what it is about is said in its title and first paragraphs.
const READ_BYTES_MAX: usize = 4096;
/// Words of a name or a phrase.
const WORDS_MAX: usize = 3;
/// Bytes of a word: longer ones are no words.
const WORD_BYTES_MAX: usize = 40;

/// The terms of a text, lower-cased, sorted, each once, `max` at most. `lang` is ISO 639-1;
/// without one the stop words of all languages count.
pub fn terms(text: &str, lang: Option<&str>, max: usize) -> Vec<String> {
    let (words, tags) = Reader::read(start_of(text), stop::languages(lang));
    let mut found: Vec<String> = Vec::new();
    let mut keep = |term: String| {
        if found.len() < max && term.len() <= TERM_BYTES_MAX && !found.contains(&term) {
            found.push(term);
        }
        found.len() < max
    };
    let candidates = names(&words, 2..=WORDS_MAX)
        .chain(names(&words, 1..=1))
        .chain(phrases(&words, 2..=WORDS_MAX))
        .chain(pairs(&words));
    let tags = tags.into_iter().map(|tag| folded(tag, true));
    // Terms are made one by one until there are enough: most candidates never become text.
    let _ = tags.chain(candidates.map(joined)).all(&mut keep);
    found.sort_unstable();
    found
}

fn start_of(text: &str) -> &str {
    let mut end = text.len().min(READ_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A word and how it stands there.
#[derive(Clone, Copy)]
struct Word<'t> {
    text: &'t str,
    /// Only spaces lie between it and the word before.
    joined: bool,
    /// It stands where a sentence begins, so that its capital says nothing.
    opens: bool,
    /// It is a stop word, a number or a single letter: no part of a term.
    stop: bool,
    capital: bool,
    /// It has a capital after its first letter: an acronym or a brand.
    inner_capital: bool,
}

/// Runs of words that may be in a term and belong together.
fn runs<'w, 't>(
    words: &'w [Word<'t>],
    belongs: impl Fn(&Word<'t>) -> bool + 'w,
) -> impl Iterator<Item = &'w [Word<'t>]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + words[at..].iter().position(&belongs)?;
        let rest = words[start + 1..].iter().take_while(|w| w.joined && belongs(w)).count();
        at = start + 1 + rest;
        Some(&words[start..at])
    })
}

fn names<'w, 't>(
    words: &'w [Word<'t>],
    lengths: std::ops::RangeInclusive<usize>,
) -> impl Iterator<Item = &'w [Word<'t>]> {
    // A longer run is a headline with capitals.
    let is_name = |run: &[Word<'_>]| match run {
        [word] => (!word.opens && word.text.len() > 2) || word.inner_capital,
        _ => true,
    };
    runs(words, |w| w.capital && !w.stop).filter(move |run| lengths.contains(&run.len()) && is_name(run))
}

fn phrases<'w, 't>(
    words: &'w [Word<'t>],
    lengths: std::ops::RangeInclusive<usize>,
) -> impl Iterator<Item = &'w [Word<'t>]> {
    runs(words, |w| !w.stop).filter(move |run| lengths.contains(&run.len()))
}

/// A run that is too long for a phrase is read as pairs of neighbours.
fn pairs<'w, 't>(words: &'w [Word<'t>]) -> impl Iterator<Item = &'w [Word<'t>]> {
    runs(words, |w| !w.stop).filter(|run| run.len() > WORDS_MAX).flat_map(|run| run.windows(2))
}

fn joined(run: &[Word<'_>]) -> String {
    let mut term = String::with_capacity(TERM_BYTES_MAX);
    for word in run {
        if !term.is_empty() {
            term.push(' ');
        }
        term.push_str(&folded(word.text, true));
    }
    term
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    languages: u8,
    joined: bool,
    opens: bool,
    words: Vec<Word<'t>>,
    tags: Vec<&'t str>,
}

impl<'t> Reader<'t> {
    fn read(text: &'t str, languages: u8) -> (Vec<Word<'t>>, Vec<&'t str>) {
        let words = Vec::with_capacity(text.len() / 5);
        let mut reader =
            Reader { text, at: 0, languages, joined: false, opens: true, words, tags: Vec::new() };
        while let Some(c) = reader.next() {
            match c {
                ' ' | '\t' | '\u{a0}' => reader.at += c.len_utf8(),
                '#' => reader.tag(),
                '@' => reader.skip_token(),
                'h' | 'H' | 'w' | 'W' if reader.is_address() => reader.skip_token(),
                _ if is_word(c) => reader.word(),
                _ => {
                    reader.at += c.len_utf8();
                    reader.break_off(!matches!(c, ',' | '\'' | '’'));
                }
            }
        }
        (reader.words, reader.tags)
    }

    fn next(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn break_off(&mut self, opens: bool) {
        self.joined = false;
        self.opens |= opens;
    }

    /// The end of the word that begins at `from`, a hyphen between its parts included.
    fn end(&self, from: usize) -> usize {
        let mut end = from;
        for (offset, c) in self.text[from..].char_indices() {
            let inside = c == '-' && offset > 0 && end == from + offset;
            if is_word(c) {
                end = from + offset + c.len_utf8();
            } else if !inside {
                break;
            }
        }
        end
    }

    fn is_address(&self) -> bool {
        let begins = |with: &str| {
            let start = self.text.as_bytes().get(self.at..self.at + with.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
        };
        begins("http://") || begins("https://") || begins("www.")
    }

    /// Passes what is written without a space: an address, a name with @.
    fn skip_token(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.find(char::is_whitespace).unwrap_or(rest.len());
        self.break_off(true);
    }

    fn tag(&mut self) {
        let before = self.text[..self.at].chars().next_back();
        let end = self.end(self.at + 1);
        let tag = &self.text[self.at..end];
        let stands_alone = before.is_none_or(|c| !is_word(c) && !matches!(c, '&' | '/' | '#'));
        if stands_alone && tag.chars().any(char::is_alphabetic) {
            self.tags.push(tag);
        }
        self.at = end;
        self.break_off(false);
    }

    fn word(&mut self) {
        let end = self.end(self.at);
        let text = &self.text[self.at..end];
        self.at = end;
        let mut letters = text.chars();
        let capital = letters.next().is_some_and(char::is_uppercase);
        let inner_capital = letters.any(char::is_uppercase);
        let is_number = !text.chars().any(char::is_alphabetic);
        let unfit = text.len() > WORD_BYTES_MAX || text.chars().nth(1).is_none() || is_number;
        let stop = unfit
            || (!text.is_ascii() && text.chars().any(is_unspaced))
            || stop::is_stop(text, self.languages);
        self.words.push(Word { text, joined: self.joined, opens: self.opens, stop, capital, inner_capital });
        (self.joined, self.opens) = (true, false);
        self.skip_ending();
    }

    /// Passes 's, 't and the like: "Nobel's prize" is about the same as "Nobel prize".
    fn skip_ending(&mut self) {
        let Some(quote @ ('\'' | '’')) = self.next() else { return };
        let rest = &self.text[self.at + quote.len_utf8()..];
        let ending = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if matches!(ending, 1 | 2) && rest.is_char_boundary(ending) {
            self.at += quote.len_utf8() + ending;
        }
    }
}

#[cfg(test)]
mod tests;
