//! VADER reads an emoji as its description: `😁` is "beaming face with smiling eyes".
//!
//! Only emoji of one code point count, as in the reference, which reads the text code
//! point by code point: its entries of several code points are never found.

use std::borrow::Cow;
use std::sync::LazyLock;

const EMOJI: &str = include_str!("emoji_utf8_lexicon.txt");

/// Code points are told apart by pages of this many bits first.
const PAGE_BITS: u32 = 8;
/// The lexicon has no emoji beyond this page.
const PAGES: usize = 0x20000 >> PAGE_BITS;

struct Descriptions {
    sorted: Vec<(char, &'static str)>,
    /// Pages that hold an emoji: spares other scripts the search.
    pages: [bool; PAGES],
}

static DESCRIPTIONS: LazyLock<Descriptions> = LazyLock::new(|| {
    let mut sorted = Vec::new();
    let mut pages = [false; PAGES];
    for line in EMOJI.lines() {
        let mut columns = line.trim().split('\t');
        if let (Some(emoji), Some(description)) = (columns.next(), columns.next()) {
            let mut chars = emoji.chars();
            if let (Some(only), None) = (chars.next(), chars.next()) {
                sorted.push((only, description));
                pages[only as usize >> PAGE_BITS] = true;
            }
        }
    }
    sorted.sort_by_key(|(emoji, _)| *emoji);
    Descriptions { sorted, pages }
});

fn description(c: char) -> Option<&'static str> {
    let descriptions = &*DESCRIPTIONS;
    if c.is_ascii() || !descriptions.pages.get(c as usize >> PAGE_BITS).is_some_and(|page| *page) {
        return None;
    }
    let at = descriptions.sorted.binary_search_by_key(&c, |(emoji, _)| *emoji).ok()?;
    Some(descriptions.sorted[at].1)
}

/// The text with every emoji replaced by its description, set off by a space before it
/// (and not after it: what follows directly is read as one word with it).
pub(super) fn described(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut copied = 0;
    let mut after_space = true;
    for (at, c) in text.char_indices() {
        if let Some(description) = description(c) {
            out.push_str(&text[copied..at]);
            if !after_space {
                out.push(' ');
            }
            out.push_str(description);
            copied = at + c.len_utf8();
            after_space = false;
        } else {
            after_space = c == ' ';
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emoji_is_set_off_before_and_not_after() {
        assert_eq!(described("nothing here, né"), "nothing here, né");
        assert_eq!(described("😁"), "beaming face with smiling eyes");
        assert_eq!(described("hey😁you"), "hey beaming face with smiling eyesyou");
        assert_eq!(
            described("a 😁\t😁"),
            "a beaming face with smiling eyes\t beaming face with smiling eyes"
        );
    }
}
