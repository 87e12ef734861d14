//! Folding of case and white space, and the borders of words.

/// The text in the form that is matched: case folded and, if `spaces`, each run of white
/// space one space.
pub(in crate::text) fn folded(text: &str, spaces: bool) -> String {
    if text.is_ascii() {
        let lower = text.to_ascii_lowercase();
        let odd =
            |pair: &[u8]| pair[0].is_ascii_whitespace() && (pair[0] != b' ' || pair[1].is_ascii_whitespace());
        let last_odd = lower.as_bytes().last().is_some_and(|b| b.is_ascii_whitespace() && *b != b' ');
        let vertical_tab = lower.contains('\x0b');
        if !spaces || !(last_odd || vertical_tab || lower.as_bytes().windows(2).any(odd)) {
            return lower;
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut after_space = false;
    for c in text.chars() {
        if spaces && c.is_whitespace() {
            if !after_space {
                out.push(' ');
            }
            after_space = true;
            continue;
        }
        after_space = false;
        match c {
            _ if c.is_ascii() => out.push(c.to_ascii_lowercase()),
            'ς' => out.push('σ'),
            _ => out.extend(c.to_lowercase()),
        }
    }
    out
}

/// Whether the term at these bytes of a folded text touches no other word.
pub(super) fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let term = &text[start..end];
    let (Some(first), Some(last)) = (term.chars().next(), term.chars().next_back()) else { return false };
    let free_before = match text[..start].chars().next_back() {
        None => true,
        Some(before) if is_word(first) => !joins(before, first),
        Some(before) => before != first && (!is_word(before) || is_unspaced(before)),
    };
    let free_after = match text[end..].chars().next() {
        None => true,
        Some(after) if is_word(last) => !joins(last, after),
        Some(after) => after != last,
    };
    free_before && free_after
}

/// Whether two neighbours belong to one word.
fn joins(left: char, right: char) -> bool {
    is_word(left) && is_word(right) && (is_mark(right) || !(is_unspaced(left) || is_unspaced(right)))
}

pub(in crate::text) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || is_mark(c)
}

/// Marks that continue a word but are no letters to Rust: combining diacritics, the signs
/// that kill a vowel in Indic scripts, and the joiners between letters.
fn is_mark(c: char) -> bool {
    matches!(
        c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{487}' | '\u{591}'..='\u{5bd}' | '\u{64b}'..='\u{65f}'
            | '\u{94d}' | '\u{9cd}' | '\u{a4d}' | '\u{acd}' | '\u{b4d}' | '\u{bcd}' | '\u{c4d}' | '\u{ccd}'
            | '\u{d4d}' | '\u{dca}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{200c}' | '\u{200d}'
            | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'
    )
}

/// Letters of scripts that put no space between words.
pub(in crate::text) fn is_unspaced(c: char) -> bool {
    matches!(
        c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{2fdf}'
            | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{3100}'..='\u{312f}' | '\u{31a0}'..='\u{31ff}'
            | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_is_the_same_on_both_paths() {
        for text in ["", "A  b\tC\n", " a b ", "\x0bA", "a\x0bb", "A\r\nB", "plain text here", "X Y\t"] {
            let slow = folded(&format!("é{text}"), true);
            assert_eq!(format!("é{}", folded(text, true)), slow, "{text:?}");
            assert_eq!(folded(text, false), text.to_ascii_lowercase());
        }
        assert_eq!(folded("ΟΔΟΣ\u{3000}\u{a0}É", true), "οδοσ é");
    }
}
