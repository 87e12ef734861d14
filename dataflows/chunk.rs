//! Cuts a text into the pieces that are embedded one by one.
//!
//! Invariants: chunks are trimmed, not empty, at most `chars_max` characters, in
//! the order of the text, and lose only white space at their edges. The cut is a
//! function of the text alone, so that equal texts have equal chunks.

/// The chunks of `text`. Cuts after a sentence where one ends in the second half
/// of what fits, else between words, else (a "word" longer than a chunk) inside.
pub fn chunks(text: &str, chars_max: usize) -> Vec<&str> {
    assert!(chars_max > 0, "a chunk holds at least one character");
    let mut rest = text.trim();
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(cut(rest, chars_max));
        chunks.push(chunk.trim_end());
        rest = after.trim_start();
    }
    chunks
}

/// The byte at which the first chunk of `text` ends; `text` starts with no white space.
fn cut(text: &str, chars_max: usize) -> usize {
    let mut sentence = None;
    let mut word = None;
    let mut previous = ' ';
    for (count, (at, c)) in text.char_indices().enumerate() {
        if c.is_whitespace() {
            word = Some(at);
            if count * 2 >= chars_max && (c == '\n' || ends_sentence(previous)) {
                sentence = Some(at);
            }
        } else if ends_sentence_alone(previous) && count * 2 >= chars_max && count < chars_max {
            sentence = Some(at);
        }
        if count == chars_max {
            return sentence.or(word).unwrap_or(at);
        }
        previous = c;
    }
    text.len()
}

fn ends_sentence(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | ':' | ';') || ends_sentence_alone(c)
}

/// Full stops of scripts that put no space after them.
fn ends_sentence_alone(c: char) -> bool {
    matches!(c, '。' | '！' | '？')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    #[test]
    fn cuts_after_sentences_then_words_then_anywhere() {
        assert_eq!(chunks("", 10), Vec::<&str>::new());
        assert_eq!(chunks(" \n ", 10), Vec::<&str>::new());
        assert_eq!(chunks("short", 10), ["short"]);
        assert_eq!(chunks("One two. Three four", 12), ["One two.", "Three four"]);
        assert_eq!(chunks("one two three", 9), ["one two", "three"]);
        assert_eq!(chunks("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(chunks("exactly te", 10), ["exactly te"]);
        assert_eq!(chunks("第一句话。第二句话。", 8), ["第一句话。", "第二句话。"]);
    }

    #[test]
    fn loses_nothing_but_white_space_on_random_texts() {
        let seed = 20_261_124;
        let mut random = StdRng::seed_from_u64(seed);
        let alphabet: Vec<char> = "ab .!?\n\t é漢。👩\u{200d}".chars().collect();
        for round in 0..500 {
            let length = random.random_range(0..300);
            let text: String =
                (0..length).map(|_| alphabet[random.random_range(0..alphabet.len())]).collect();
            let chars_max = random.random_range(1..40);
            let cut = chunks(&text, chars_max);
            let squeeze = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            assert_eq!(squeeze(&text), squeeze(&cut.concat()), "seed {seed} round {round}");
            for chunk in cut {
                let count = chunk.chars().count();
                assert!(
                    (1..=chars_max).contains(&count),
                    "seed {seed} round {round}: {count} of {chars_max}"
                );
                assert_eq!(chunk, chunk.trim(), "seed {seed} round {round}");
            }
        }
    }
}
