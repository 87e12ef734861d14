//! The words of a text as VADER cuts it: by white space, outer ASCII punctuation taken off
//! unless two or fewer characters would remain (then it is likely an emoticon).
//!
//! White space, capitals and lower case are Python's (`str.split`, `str.isupper`,
//! `str.lower`), which for white space means four control characters more than Rust's.

use super::lexicon::{self, Word};

const SPACE: u8 = 1;
const PUNCTUATION: u8 = 2;
const UPPER: u8 = 4;
const LOWER: u8 = 8;
const APOSTROPHE: u8 = 16;
/// A byte of a character beyond ASCII.
const WIDE: u8 = 32;

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        classes[b] = match byte {
            b'\t'..=b'\r' | 0x1c..=0x1f | b' ' => SPACE,
            b'\'' => PUNCTUATION | APOSTROPHE,
            b'A'..=b'Z' => UPPER,
            b'a'..=b'z' => LOWER,
            0x80.. => WIDE,
            _ if byte.is_ascii_punctuation() => PUNCTUATION,
            _ => 0,
        };
        b += 1;
    }
    classes
};

pub(super) fn words(text: &str) -> Vec<Word> {
    let bytes = text.as_bytes();
    // English has about 5.5 bytes a word; more is a second allocation, not an error.
    let mut words = Vec::with_capacity(bytes.len() / 5 + 1);
    let (mut start, mut at, mut seen) = (0, 0, 0);
    while at < bytes.len() {
        let class = CLASSES[bytes[at] as usize];
        let (space, width) = match class {
            SPACE => (true, 1),
            WIDE => wide(&text[at..]),
            _ => (false, 1),
        };
        if space {
            if start < at {
                words.push(word(&text[start..at], seen));
            }
            start = at + width;
            seen = 0;
        } else {
            seen |= class;
        }
        at += width;
    }
    if start < at {
        words.push(word(&text[start..], seen));
    }
    words
}

/// Whether the character at the start is white space, and its bytes.
fn wide(text: &str) -> (bool, usize) {
    let c = text.chars().next().expect("called at the start of a character");
    let space = matches!(
        c,
        '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}' | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    );
    (space, c.len_utf8())
}

/// One token, which is not empty and holds no white space; `seen` is the union of its classes.
fn word(token: &str, seen: u8) -> Word {
    let stripped = if seen & PUNCTUATION != 0 { without_outer_punctuation(token) } else { token };
    if seen & WIDE != 0 {
        return wide_word(stripped);
    }
    let mut word = lexicon::look_up(stripped.as_bytes());
    word.is_upper = seen & (UPPER | LOWER) == UPPER;
    word.negates |= seen & APOSTROPHE != 0 && has_nt(stripped);
    word
}

fn without_outer_punctuation(token: &str) -> &str {
    let stripped = token.trim_matches(|c: char| c.is_ascii_punctuation());
    if stripped.chars().nth(2).is_none() { token } else { stripped }
}

/// A word with characters beyond ASCII. Every word of the table is ASCII, and the only
/// such character whose lower case is ASCII is the Kelvin sign.
fn wide_word(stripped: &str) -> Word {
    let mut word = Word::default();
    if stripped.contains(KELVIN) {
        let lower = stripped.replace(KELVIN, "k");
        if lower.is_ascii() {
            word = lexicon::look_up(lower.as_bytes());
        }
    }
    word.is_upper = is_upper(stripped);
    word.negates |= has_nt(stripped);
    word
}

const KELVIN: char = '\u{212a}';

/// `str.isupper`: some capital, and no lower-case or title-case letter.
fn is_upper(word: &str) -> bool {
    word.chars().any(char::is_uppercase) && !word.chars().any(|c| c.is_lowercase() || is_title_case(c))
}

/// The letters of general category Lt.
fn is_title_case(c: char) -> bool {
    matches!(
        c,
        '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}' | '\u{1f88}'..='\u{1f8f}' | '\u{1f98}'..='\u{1f9f}'
            | '\u{1fa8}'..='\u{1faf}' | '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}'
    )
}

/// "n't" anywhere in the word negates.
fn has_nt(word: &str) -> bool {
    word.as_bytes().windows(3).any(|three| three.eq_ignore_ascii_case(b"n't"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kelvin_sign_alone_becomes_ascii() {
        for c in (0x80..=0x10_ffff).filter_map(char::from_u32) {
            let ascii = c.to_lowercase().next().is_some_and(|lower| lower.is_ascii());
            // The dotted capital I becomes an i and a combining dot, which is not ASCII.
            assert_eq!(ascii, c == KELVIN || c == '\u{130}', "{c:?}");
            if ascii {
                assert_eq!(c.to_lowercase().all(|lower| lower.is_ascii()), c == KELVIN);
            }
        }
    }

    #[test]
    fn punctuation_stays_on_what_would_be_too_short() {
        for (token, expected) in [
            (":)", ":)"),
            ("(good)", "good"),
            ("\"ok\"", "\"ok\""),
            ("xd!", "xd!"),
            ("don't!!", "don't"),
            ("!!!", "!!!"),
            ("'é'", "'é'"),
            ("'été'", "été"),
        ] {
            assert_eq!(without_outer_punctuation(token), expected);
        }
    }
}
