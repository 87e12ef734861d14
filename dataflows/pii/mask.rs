//! Values become masks, `[kind:ten hexadecimal digits]`, and masks are seen for what they are.

use std::borrow::Cow;

use super::find::find;
use super::{Counts, Kind, Kinds};

/// Hexadecimal digits of the keyed hash: 40 bits, one chance in a million that two of a
/// million values meet.
const DIGITS: usize = 10;
/// Bytes of the longest mask.
const MASK_MAX: usize = "[in_aadhaar:]".len() + DIGITS;
/// Passes over one text: a mask may lay bare what the value in its place kept together.
const PASSES_MAX: usize = 8;

pub(super) fn mask<'t>(text: &'t str, key: &[u8; 32], kinds: Kinds, counts: &mut Counts) -> Cow<'t, str> {
    let mut masked = Cow::Borrowed(text);
    for _ in 0..PASSES_MAX {
        let found = find(&masked, kinds);
        if found.is_empty() {
            break;
        }
        let mut new = String::with_capacity(masked.len() + found.len() * MASK_MAX);
        let mut at = 0;
        for value in &found {
            new.push_str(&masked[at..value.start]);
            push_mask(&mut new, value.kind, &value.value, key);
            counts.add(value.kind);
            at = value.end;
        }
        new.push_str(&masked[at..]);
        masked = Cow::Owned(new);
    }
    masked
}

pub(super) fn push_mask(text: &mut String, kind: Kind, value: &str, key: &[u8; 32]) {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(kind.name().as_bytes()).update(&[0]).update(value.as_bytes());
    let hash = hasher.finalize().to_hex();
    text.push('[');
    text.push_str(kind.name());
    text.push(':');
    text.push_str(&hash[..DIGITS]);
    text.push(']');
}

/// Length of the mask that `bytes` begins with.
fn length(bytes: &[u8]) -> Option<usize> {
    let colon = bytes.iter().take(MASK_MAX).position(|b| *b == b':')?;
    let name = std::str::from_utf8(bytes.get(1..colon)?).ok()?;
    Kind::parse(name).filter(|_| bytes[0] == b'[')?;
    let digits = bytes.get(colon + 1..colon + 1 + DIGITS)?;
    let is_hash = digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (is_hash && bytes.get(colon + 1 + DIGITS) == Some(&b']')).then_some(colon + DIGITS + 2)
}

/// The end of the mask that a byte stands in.
pub(super) fn around(bytes: &[u8], at: usize) -> Option<usize> {
    let from = at.saturating_sub(MASK_MAX);
    let start = from + bytes[from..at].iter().rposition(|b| *b == b'[')?;
    length(&bytes[start..]).map(|length| start + length).filter(|end| *end > at)
}

/// The text without its masks: for whoever reads words, which the names in masks are not.
pub fn without_masks(text: &str) -> Cow<'_, str> {
    if !text.contains('[') {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    let mut at = 0;
    for (open, _) in text.match_indices('[') {
        if let Some(length) = length(&text.as_bytes()[open..]).filter(|_| open >= at) {
            kept.push_str(&text[at..open]);
            kept.push(' ');
            at = open + length;
        }
    }
    if at == 0 {
        return Cow::Borrowed(text);
    }
    kept.push_str(&text[at..]);
    Cow::Owned(kept)
}
