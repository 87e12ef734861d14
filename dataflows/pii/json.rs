//! The bytes of a record as text, with masks also where JSON hides a value: behind an
//! escape, in a name, in a number.
//!
//! Bytes in which nothing is found stay as they are, so that they can be sent again.

use serde_json::Value;

use super::{Counts, Redactor};

/// A number that is looked at has this many digits at least.
const NUMBER_DIGITS_MIN: usize = 8;

pub(super) fn mask(bytes: &[u8], redactor: &Redactor, counts: &mut Counts) -> String {
    let text = String::from_utf8_lossy(bytes);
    if redactor.is_off() {
        return text.into_owned();
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else {
        return malformed(&text, redactor, counts);
    };
    let before = counts.total();
    mask_value("", &mut value, redactor, counts);
    if counts.total() == before {
        return text.into_owned();
    }
    value.to_string()
}

/// Text that is no JSON, though it may have been meant to be: escapes end words.
fn malformed(text: &str, redactor: &Redactor, counts: &mut Counts) -> String {
    if !text.contains('\\') {
        return redactor.mask(text, counts).into_owned();
    }
    let plain = unescaped(text);
    let before = counts.total();
    let masked = redactor.mask(&plain, counts).into_owned();
    if counts.total() == before { text.to_string() } else { masked }
}

/// Escapes of JSON as what they stand for.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let escape = rest[at + 1..].chars().next();
        let code = rest.get(at + 2..at + 6).filter(|_| escape == Some('u'));
        let code = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
        let (c, width) = match (escape, code) {
            (_, Some(c)) => (c, 6),
            (Some('n' | 'r' | 't' | 'b' | 'f'), _) => (' ', 2),
            (Some(c), _) => (c, 1 + c.len_utf8()),
            (None, _) => ('\\', 1),
        };
        plain.push(c);
        rest = &rest[at + width..];
    }
    plain.push_str(rest);
    plain
}

/// Masks a value in place; `name` is what it is called.
fn mask_value(name: &str, value: &mut Value, redactor: &Redactor, counts: &mut Counts) {
    match value {
        Value::String(text) => {
            if let Some(masked) = mask_named(name, text, redactor, counts) {
                *text = masked;
            }
        }
        Value::Number(number) => {
            let digits = number.to_string();
            if digits.len() >= NUMBER_DIGITS_MIN
                && let Some(masked) = mask_named(name, &digits, redactor, counts)
            {
                *value = Value::String(masked);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| mask_value(name, value, redactor, counts)),
        Value::Object(fields) => {
            for (name, mut value) in std::mem::take(fields) {
                mask_value(&name, &mut value, redactor, counts);
                fields.insert(redactor.mask(&name, counts).into_owned(), value);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// A name such as `ssn` or `phone_number` says what its value is.
fn mask_named(name: &str, text: &str, redactor: &Redactor, counts: &mut Counts) -> Option<String> {
    const NAME_MAX: usize = 40;
    let before = counts.total();
    let masked = redactor.mask(text, counts);
    if counts.total() > before {
        return Some(masked.into_owned());
    }
    if name.is_empty() || name.len() > NAME_MAX || !text.starts_with(|c: char| c.is_ascii_digit() || c == '(')
    {
        return None;
    }
    let said = format!("{}: ", name.replace(['_', '-'], " "));
    let whole = format!("{said}{text}");
    let masked = redactor.mask(&whole, counts);
    (counts.total() > before).then(|| masked.strip_prefix(&said).unwrap_or(&masked).to_string())
}
