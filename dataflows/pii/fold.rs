//! A text becomes bytes that the rules are written for: digits and separators of every
//! script as ASCII, letters of alphabets as they are, anything else one byte that ends a
//! value; and where in the text each byte stands.
//!
//! Characters without width are left out, so that they hide nothing. Letters of scripts
//! that put no space between words end a value too: an address follows them directly.

use std::borrow::Cow;

/// Ends a value: neither letter, digit nor separator.
pub const OTHER: u8 = 0x1f;

pub struct Folded<'t> {
    pub bytes: Cow<'t, [u8]>,
    /// Start and end in the text of each byte; `None` where they are the same.
    places: Option<Vec<(u32, u32)>>,
}

impl<'t> Folded<'t> {
    /// `None` if there can be nothing to find.
    pub fn of(text: &'t str) -> Option<Self> {
        let bytes = text.as_bytes();
        let hints = hints(bytes);
        if hints & FOREIGN_LEAD != 0 {
            let foreign =
                || text.chars().any(|c| !c.is_ascii() && matches!(fold(c), Some(b'0'..=b'9' | b'@')));
            if hints & ANCHOR == 0 && !foreign() {
                return None;
            }
        } else if hints & ANCHOR == 0 {
            return None;
        }
        // Places are 32 bits wide; records are limited to far less.
        if hints & NOT_ASCII == 0 || bytes.len() > u32::MAX as usize {
            return Some(Self { bytes: Cow::Borrowed(bytes), places: None });
        }
        let mut folded = Vec::with_capacity(bytes.len());
        let mut places = Vec::with_capacity(bytes.len());
        for (at, c) in text.char_indices() {
            let (start, end) = (at as u32, (at + c.len_utf8()) as u32);
            if c.is_ascii() {
                folded.push(c as u8);
                places.push((start, end));
            } else if is_alphabet_letter(c) {
                let width = c.len_utf8();
                folded.extend_from_slice(&bytes[at..at + width]);
                places.extend(std::iter::repeat_n((start, end), width));
            } else if let Some(byte) = fold(c) {
                folded.push(byte);
                places.push((start, end));
            }
        }
        Some(Self { bytes: Cow::Owned(folded), places: Some(places) })
    }

    /// The range of the text that a non-empty range of bytes stands for.
    pub fn range(&self, start: usize, end: usize) -> (usize, usize) {
        match &self.places {
            None => (start, end),
            Some(places) => (places[start].0 as usize, places[end - 1].1 as usize),
        }
    }
}

const ANCHOR: u8 = 1;
const NOT_ASCII: u8 = 2;
const FOREIGN_LEAD: u8 = 4;

/// What each byte may be: a digit or `@`, a part of another character, and the first
/// byte of one that may be a digit or an `@` of another script.
const HINTS: [u8; 256] = {
    let mut hints = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        hints[byte] = match byte as u8 {
            b'0'..=b'9' | b'@' => ANCHOR,
            0xd9 | 0xdb | 0xdf | 0xe0 | 0xe1 | 0xea | 0xef | 0xf0 => NOT_ASCII | FOREIGN_LEAD,
            0x80.. => NOT_ASCII,
            _ => 0,
        };
        byte += 1;
    }
    hints
};

fn hints(bytes: &[u8]) -> u8 {
    // Most texts are ASCII without a digit: eight comparisons at a time decide that.
    let plain = |chunk: &[u8]| {
        chunk.iter().fold(false, |any, b| any | (b.wrapping_sub(b'0') < 10) | (*b == b'@') | (*b >= 0x80))
    };
    let mut hints = 0;
    for chunk in bytes.chunks(64) {
        if plain(chunk) {
            hints |= chunk.iter().fold(0, |hints, byte| hints | HINTS[*byte as usize]);
        }
    }
    hints
}

/// Latin, Greek, Cyrillic, Armenian, Hebrew, Arabic: alphabets written with spaces.
fn is_alphabet_letter(c: char) -> bool {
    (c < '\u{700}' || ('\u{1e00}'..'\u{2000}').contains(&c)) && c.is_alphabetic()
}

/// The byte that stands for a character that is no letter of an alphabet; `None` for
/// one without width.
fn fold(c: char) -> Option<u8> {
    Some(match c {
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{2069}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' => return None,
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => b' ',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{30fc}' => b'-',
        '€' | '£' | '¥' | '₹' | '₽' | '₩' | '￥' | '￡' => b'$',
        '№' => b'#',
        // The full-width forms of ASCII.
        '\u{ff01}'..='\u{ff5e}' => (c as u32 - 0xff01 + 0x21) as u8,
        _ => digit(c).map_or(OTHER, |digit| b'0' + digit),
    })
}

/// The value of a decimal digit of the scripts that numbers of persons are written in.
fn digit(c: char) -> Option<u8> {
    const ZEROS: [u32; 13] =
        [0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xe50, 0x1d7ce];
    let c = c as u32;
    ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&c)).map(|zero| (c - zero) as u8)
}
