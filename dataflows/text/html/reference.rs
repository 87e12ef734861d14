//! Character references: `&amp;`, `&#38;`, `&#x26;`, always with their semicolon.

use html5ever::data::{C1_REPLACEMENTS, NAMED_ENTITIES};

/// Longest name with its semicolon: `CounterClockwiseContourIntegral;`.
const NAME_BYTES_MAX: usize = 32;
/// Digits of the highest code point in decimal, and some leading zeros.
const DIGITS_MAX: usize = 12;

/// The reference that a text begins with: its length, and one or two characters.
fn at_start(text: &str) -> Option<(usize, char, Option<char>)> {
    let rest = text.strip_prefix('&')?;
    if let Some(number) = rest.strip_prefix('#') {
        let (digits, radix) = match number.strip_prefix(['x', 'X']) {
            Some(hex) => (hex, 16),
            None => (number, 10),
        };
        let length = digits.bytes().take(DIGITS_MAX + 1).take_while(|b| (*b as char).is_digit(radix)).count();
        if length == 0 || length > DIGITS_MAX || digits.as_bytes().get(length) != Some(&b';') {
            return None;
        }
        let value = u64::from_str_radix(&digits[..length], radix).ok()?;
        return Some((text.len() - digits.len() + length + 1, numbered(value), None));
    }
    let length = rest.bytes().take(NAME_BYTES_MAX).position(|b| b == b';')? + 1;
    let &(first, second) = NAMED_ENTITIES.get(rest.get(..length)?)?;
    let first = char::from_u32(first).filter(|c| *c != '\0')?;
    Some((1 + length, first, char::from_u32(second).filter(|c| *c != '\0')))
}

/// What the HTML standard makes of a number: Windows' characters in the place of the C1
/// controls, a replacement character for what is none.
fn numbered(value: u64) -> char {
    if let Some(replacement) = value.checked_sub(0x80).and_then(|at| C1_REPLACEMENTS.get(at as usize)) {
        return replacement.unwrap_or(char::from(value as u8));
    }
    u32::try_from(value).ok().and_then(char::from_u32).filter(|c| *c != '\0').unwrap_or('\u{fffd}')
}

/// Calls `text` with what stands between references and `decoded` with what each stands for.
pub(super) fn split<S>(
    input: &str,
    state: &mut S,
    mut text: impl FnMut(&mut S, &str),
    mut decoded: impl FnMut(&mut S, char),
) {
    let (mut done, mut at) = (0, 0);
    while let Some(next) = input[at..].find('&') {
        at += next;
        if let Some((length, first, second)) = at_start(&input[at..]) {
            text(state, &input[done..at]);
            decoded(state, first);
            if let Some(second) = second {
                decoded(state, second);
            }
            at += length;
            done = at;
        } else {
            at += 1;
        }
    }
    text(state, &input[done..]);
}

/// The text with its references decoded; `None` if it has none.
pub(super) fn decoded(input: &str) -> Option<String> {
    let first = input.match_indices('&').find(|(at, _)| at_start(&input[*at..]).is_some())?.0;
    let mut out = String::with_capacity(input.len());
    out.push_str(&input[..first]);
    split(&input[first..], &mut out, |out, text| out.push_str(text), |out, c| out.push(c));
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_references_that_exist_are_decoded() {
        for (input, expected) in [
            ("R&amp;D", Some("R&D")),
            ("&#8217;&#x2019;&#X2019;", Some("’’’")),
            (
                "&#128;&#x81;&#0;&#xd800;&#x110000;&#99999999999;",
                Some("€\u{81}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            ),
            ("&NotEqualTilde;", Some("\u{2242}\u{338}")),
            ("&amp;lt;", Some("&lt;")),
            ("&amp;&amp;", Some("&&")),
            ("&&amp;;", Some("&&;")),
            ("x & y", None),
            ("AT&T; &; &#; &#x; &#xg; &#12", None),
            ("?a=1&copy=2&lt", None),
            ("&éé; &bogus; &ampé;", None),
            ("&#0000000000000065;", None),
        ] {
            assert_eq!(decoded(input).as_deref(), expected, "{input}");
        }
    }

    #[test]
    fn no_name_is_longer_than_the_limit_and_none_expands_beyond_it() {
        for (name, (first, second)) in NAMED_ENTITIES.entries() {
            assert!(name.len() <= NAME_BYTES_MAX, "{name}");
            let bytes: usize =
                [first, second].iter().filter_map(|c| char::from_u32(**c)).map(char::len_utf8).sum();
            assert!(bytes <= (name.len() + 1) * super::super::EXPANSION_MAX, "{name}");
        }
    }
}
