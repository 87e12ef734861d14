//! One pass over a text: from one digit or `@` to the next, at each the kinds in their
//! precedence.

use super::context::Context;
use super::digits::Cluster;
use super::fold::Folded;
use super::{Kind, Kinds, internet, mask, numbers, phone};

/// One value in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub kind: Kind,
    /// Bytes of the text.
    pub start: usize,
    pub end: usize,
    /// In its normal form: the same in whatever format it was written.
    pub value: String,
}

/// A value in the folded text.
pub(super) struct Match {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    pub value: String,
}

/// What the rules look at.
pub(super) struct Scan<'t> {
    pub text: &'t str,
    pub folded: Folded<'t>,
    pub kinds: Kinds,
    /// Whether there is an `@` at all.
    pub has_at: bool,
    /// Where the value before ended: nothing may begin before.
    pub floor: usize,
}

impl Scan<'_> {
    pub fn bytes(&self) -> &[u8] {
        &self.folded.bytes
    }

    /// The byte before a place, or one that ends values.
    pub fn before(&self, at: usize) -> u8 {
        if at > self.floor { self.bytes()[at - 1] } else { super::fold::OTHER }
    }

    pub fn after(&self, at: usize) -> u8 {
        self.bytes().get(at).copied().unwrap_or(super::fold::OTHER)
    }

    pub fn context(&self, start: usize, end: usize) -> Context {
        let (start, end) = self.folded.range(start, end);
        Context::of(self.text, start, end)
    }

    pub fn wants(&self, kind: Kind) -> bool {
        self.kinds.contains(kind)
    }

    /// `None` where the words before say that the number is of another sort.
    pub fn unless_something_else(&self, found: Match) -> Option<Match> {
        (!self.context(found.start, found.end).says_something_else()).then_some(found)
    }
}

/// A letter, a digit or `_`: a value ends before it.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The values of these kinds, in the order of the text.
pub fn find(text: &str, kinds: Kinds) -> Vec<Found> {
    let mut found = Vec::new();
    if kinds == Kinds::NONE {
        return found;
    }
    let Some(folded) = Folded::of(text) else { return found };
    let has_at = folded.bytes.contains(&b'@');
    let mut scan = Scan { text, folded, kinds, has_at, floor: 0 };
    let mut at = 0;
    while let Some(anchor) = next_anchor(scan.bytes(), at) {
        if let Some(end) = mask::around(scan.bytes(), anchor) {
            at = end;
            scan.floor = end;
            continue;
        }
        match at_anchor(&scan, anchor) {
            Some(Match { kind, start, end, value }) => {
                let range = scan.folded.range(start, end);
                found.push(Found { kind, start: range.0, end: range.1, value });
                at = end;
                scan.floor = end;
            }
            None => {
                let digits = scan.bytes()[anchor..].iter().take_while(|b| b.is_ascii_digit()).count();
                at = anchor + digits.max(1);
            }
        }
    }
    found
}

fn next_anchor(bytes: &[u8], from: usize) -> Option<usize> {
    let ahead = bytes.get(from..)?.iter().position(|b| b.is_ascii_digit() || *b == b'@')?;
    Some(from + ahead)
}

fn at_anchor(scan: &Scan<'_>, anchor: usize) -> Option<Match> {
    if let Some(email) = internet::email(scan, anchor) {
        return Some(email);
    }
    if scan.bytes()[anchor] == b'@' {
        return None;
    }
    numbers::iban(scan, anchor)
        .or_else(|| internet::ipv6(scan, anchor))
        .or_else(|| internet::mac(scan, anchor))
        .or_else(|| internet::ipv4(scan, anchor))
        .or_else(|| numbers::nif(scan, anchor))
        .or_else(|| {
            let cluster = Cluster::at(scan, anchor)?;
            numbers::card(scan, &cluster)
                .or_else(|| numbers::ssn(scan, &cluster))
                .or_else(|| numbers::aadhaar(scan, &cluster))
                .or_else(|| numbers::pesel(scan, &cluster))
                .or_else(|| numbers::nhs(scan, &cluster))
                .or_else(|| phone::phone(scan, &cluster))
        })
}
