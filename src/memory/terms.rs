//! The words of a text as both backends index and look them up: one tokeniser, so
//! that a search by words finds the same items in SQLite and in Qdrant.
//!
//! Letters and digits, in lower case, without the accents of Latin letters; Han,
//! kana and Hangul as overlapping pairs, because nothing separates their words. A
//! query goes through the same function, so nothing of it is ever syntax.

use std::collections::BTreeMap;

/// Longer runs are no words; they are cut.
const TERM_CHARS_MAX: usize = 40;

/// The terms of `text`, in order, with repetitions.
pub fn terms(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    let mut word = String::new();
    let mut glyphs: Vec<char> = Vec::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if is_unspaced(c) {
            end_word(&mut word, &mut terms);
            glyphs.push(c);
            continue;
        }
        end_glyphs(&mut glyphs, &mut terms);
        if c.is_alphanumeric() {
            fold(c, &mut word);
        } else if !is_joiner(c) {
            end_word(&mut word, &mut terms);
        }
    }
    end_word(&mut word, &mut terms);
    end_glyphs(&mut glyphs, &mut terms);
    terms
}

/// The distinct terms of a query, in order, at most `terms_max`.
pub fn query_terms(text: &str, terms_max: usize) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for term in terms(text) {
        if distinct.len() == terms_max {
            break;
        }
        if !distinct.contains(&term) {
            distinct.push(term);
        }
    }
    distinct
}

/// How often each term occurs.
pub fn frequencies(terms: Vec<String>) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for term in terms {
        *counts.entry(term).or_default() += 1;
    }
    counts
}

fn end_word(word: &mut String, terms: &mut Vec<String>) {
    if !word.is_empty() {
        terms.push(word.chars().take(TERM_CHARS_MAX).collect());
        word.clear();
    }
}

fn end_glyphs(glyphs: &mut Vec<char>, terms: &mut Vec<String>) {
    match glyphs.as_slice() {
        [] => return,
        [only] => terms.push(only.to_string()),
        several => terms.extend(several.windows(2).map(|pair| pair.iter().collect::<String>())),
    }
    glyphs.clear();
}

/// Inside a word but not part of it: combining accents, apostrophes, soft hyphens.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\'' | '\u{2019}' | '\u{ad}' | '\u{200d}')
}

fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// Latin letters with accents as the plain letter; everything else as it is.
fn fold(c: char, word: &mut String) {
    let plain = match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => 'c',
        'ď' | 'đ' | 'ð' => 'd',
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => 'e',
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => 'g',
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => 'i',
        'ķ' => 'k',
        'ĺ' | 'ļ' | 'ľ' | 'ł' => 'l',
        'ñ' | 'ń' | 'ņ' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => 'o',
        'ŕ' | 'ŗ' | 'ř' => 'r',
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => 's',
        'ţ' | 'ť' | 'ț' => 't',
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        'ß' => return word.push_str("ss"),
        'æ' => return word.push_str("ae"),
        'œ' => return word.push_str("oe"),
        other => other,
    };
    word.push(plain);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_lowers_and_folds() {
        assert_eq!(terms("Café-Straße, don’t! v2.0"), ["cafe", "strasse", "dont", "v2", "0"]);
        assert_eq!(terms("cafe\u{301}"), ["cafe"]);
        assert_eq!(terms("İstanbul ŁÓDŹ"), ["istanbul", "lodz"]);
        assert_eq!(terms("東京都 rain 雨"), ["東京", "京都", "rain", "雨"]);
        assert_eq!(terms("\0\"* NEAR(a) -- ' OR"), ["near", "a", "or"]);
        assert_eq!(terms(&"x".repeat(100)), ["x".repeat(40)]);
        assert_eq!(terms("👩‍🚀 🎉"), Vec::<String>::new());
    }

    #[test]
    fn a_query_has_each_term_once_and_is_bounded() {
        assert_eq!(query_terms("to be or not to be", 3), ["to", "be", "or"]);
        assert_eq!(frequencies(terms("a b a")), BTreeMap::from([("a".into(), 2), ("b".into(), 1)]));
    }
}
