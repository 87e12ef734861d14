//! Web addresses: what is masked in them, and what stays so that they lead somewhere.
//!
//! Paths and parameters are full of numbers, so only the kinds are masked that no id has
//! by chance: email addresses, IBANs and telephone numbers with `+`. They are found in
//! percent-encoded text too; the mask is percent-encoded itself.

use std::borrow::Cow;

use super::find::find;
use super::{Counts, Kind, Kinds, mask};

pub(super) fn mask<'t>(address: &'t str, key: &[u8; 32], kinds: Kinds, counts: &mut Counts) -> Cow<'t, str> {
    let sure = |kind: &Kind| matches!(kind, Kind::Email | Kind::Iban | Kind::Phone) && kinds.contains(*kind);
    let kinds: Kinds = Kind::ALL.into_iter().filter(sure).collect();
    if kinds == Kinds::NONE || !address.bytes().any(|b| matches!(b, b'@' | b'%' | b'+') || b.is_ascii_digit())
    {
        return Cow::Borrowed(address);
    }
    let (decoded, places) = decode(address);
    let mut masked = String::new();
    let mut at = 0;
    for value in find(&decoded, kinds) {
        if value.kind == Kind::Phone
            && !decoded[..value.end].get(value.start..).is_some_and(|v| v.starts_with('+'))
        {
            continue;
        }
        let (start, end) = (places[value.start], places[value.end]);
        masked.push_str(&address[at..start]);
        let mut own = String::new();
        mask::push_mask(&mut own, value.kind, &value.value, key);
        masked.push_str(&own.replace('[', "%5B").replace(']', "%5D"));
        counts.add(value.kind);
        at = end;
    }
    if at == 0 {
        return Cow::Borrowed(address);
    }
    masked.push_str(&address[at..]);
    Cow::Owned(masked)
}

/// The address with ASCII that is percent-encoded decoded, and where each byte of it (and
/// its end) stands in the address.
fn decode(address: &str) -> (String, Vec<usize>) {
    let bytes = address.as_bytes();
    let hex = |at: usize| bytes.get(at).and_then(|b| (*b as char).to_digit(16)).map(|d| d as u8);
    let (mut decoded, mut places) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(bytes.len() + 1));
    let mut at = 0;
    while at < bytes.len() {
        places.push(at);
        let escape = (bytes[at] == b'%').then(|| Some(hex(at + 1)? * 16 + hex(at + 2)?)).flatten();
        match escape.filter(u8::is_ascii) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    places.push(at);
    // Only ASCII was decoded, and between whole characters.
    (String::from_utf8_lossy(&decoded).into_owned(), places)
}
