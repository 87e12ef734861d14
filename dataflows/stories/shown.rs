//! What a story shows of an item, packed into one string: every item held has one, and most
//! are never shown.
//!
//! In the string a text is behind its length and a number is written in characters of 6 bits,
//! the lowest first. What may be absent is 0 if it is, and otherwise one more than it is.

use serde::{Deserialize, Serialize};

/// What a story shows of an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown<'a> {
    pub id: &'a str,
    pub platform: &'a str,
    /// The author's id, or the channel's.
    pub author: Option<&'a str>,
    /// The title, or the beginning of the text; shortened.
    pub title: &'a str,
    /// Whether `title` is one.
    pub has_title: bool,
    pub url: Option<&'a str>,
    pub topics: Vec<&'a str>,
    /// In units of 1e-4.
    pub compound: Option<i32>,
}

/// A [`Shown`] as it is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed(Box<str>);

impl Shown<'_> {
    pub fn packed(&self) -> Packed {
        let mut to = String::new();
        put_text(&mut to, self.id);
        put_text(&mut to, self.platform);
        put_option(&mut to, self.author);
        put_text(&mut to, self.title);
        put(&mut to, u64::from(self.has_title));
        put_option(&mut to, self.url);
        put(&mut to, self.topics.len() as u64);
        self.topics.iter().for_each(|topic| put_text(&mut to, topic));
        // The sign is the lowest bit.
        let signed = |c: i32| u64::from(c.unsigned_abs()) << 1 | u64::from(c < 0);
        put(&mut to, self.compound.map_or(0, |c| signed(c) + 1));
        // Not by shrinking, which may leave the place as large as it is.
        Packed(to.as_str().into())
    }
}

impl Packed {
    pub fn id(&self) -> &str {
        Rest(&self.0).text()
    }

    pub fn shown(&self) -> Shown<'_> {
        let mut rest = Rest(&self.0);
        Shown {
            id: rest.text(),
            platform: rest.text(),
            author: rest.option(),
            title: rest.text(),
            has_title: rest.number() > 0,
            url: rest.option(),
            topics: (0..rest.number()).map(|_| rest.text()).collect(),
            compound: rest.number().checked_sub(1).map(|signed| {
                let magnitude = (signed >> 1) as i64;
                (if signed & 1 == 1 { -magnitude } else { magnitude }) as i32
            }),
        }
    }
}

/// Set in every character of a number but the last.
const MORE: u8 = 1 << BITS;
const BITS: u32 = 6;

fn put(to: &mut String, mut number: u64) {
    while number >= u64::from(MORE) {
        to.push(char::from(number as u8 & (MORE - 1) | MORE));
        number >>= BITS;
    }
    to.push(char::from(number as u8));
}

fn put_text(to: &mut String, text: &str) {
    put(to, text.len() as u64);
    to.push_str(text);
}

fn put_option(to: &mut String, text: Option<&str>) {
    put(to, text.map_or(0, |text| text.len() as u64 + 1));
    to.push_str(text.unwrap_or_default());
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        for (at, byte) in self.0.bytes().enumerate() {
            number |= u64::from(byte & (MORE - 1)) << shift;
            shift += BITS;
            if byte & MORE == 0 {
                self.0 = &self.0[at + 1..];
                break;
            }
        }
        number
    }

    fn text(&mut self) -> &'a str {
        let length = self.number();
        self.take(length)
    }

    fn option(&mut self) -> Option<&'a str> {
        let length = self.number().checked_sub(1)?;
        Some(self.take(length))
    }

    fn take(&mut self, length: u64) -> &'a str {
        let (text, rest) = self.0.split_at(length as usize);
        self.0 = rest;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_out_again() {
        let long = "ü".repeat(5_000);
        let full = Shown {
            id: "x:1",
            platform: "x",
            author: Some(""),
            title: &long,
            has_title: true,
            url: Some("https://example.org/é"),
            topics: vec!["", "b\nc", &long],
            compound: Some(-10_000),
        };
        for shown in [
            Shown::default(),
            full.clone(),
            Shown { author: None, compound: Some(0), ..full.clone() },
            Shown { url: None, compound: Some(i32::MAX), topics: vec![], ..full.clone() },
            Shown { compound: Some(i32::MIN), ..full.clone() },
        ] {
            let packed = shown.packed();
            assert_eq!((packed.shown(), packed.id()), (shown.clone(), shown.id));
        }
    }

    #[test]
    fn little_is_added_to_the_texts() {
        let title = "x".repeat(140);
        let shown =
            Shown { id: "x:1", platform: "x", title: &title, compound: Some(1234), ..Shown::default() };
        assert_eq!(shown.packed().0.len(), 144 + 10);
    }
}
