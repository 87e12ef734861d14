//! Sentiment of a text in English: VADER, as vaderSentiment 3.3.2 computes it.
//!
//! ```text
//! text ─> emoji as words ─> words (white space, outer punctuation off) ─> valence of each
//!      ─> "but" ─> sum, punctuation ─> compound, positive, neutral, negative
//! ```
//!
//! A port of the reference, rule by rule in its order, because the order shows in the
//! figures: the compound equals the reference's to all 4 decimals and the others to 3,
//! on every text. Its oddities are kept on purpose (see `but`); what is not kept is its
//! cost, which grows with the square of the text's length.
//!
//! Method: Hutto, C.J. & Gilbert, E.E. (2014), VADER: A Parsimonious Rule-based Model for
//! Sentiment Analysis of Social Media Text, ICWSM-14.

mod but;
mod emoji;
mod lexicon;
mod phrases;
mod words;

use lexicon::{Name, Word};

use crate::event::Sentiment;

/// The analyzer and its version, as records carry it.
pub const VERSION: &str = "vader 3.3.2";

/// Added to the valence of a word in capitals among words that are not.
const CAPITALS: f64 = 0.733;
/// A negation turns a valence around and weakens it.
const NEGATED: f64 = -0.74;
/// How far a booster's weight carries, by distance to the word.
const BOOSTER_REACH: [f64; 3] = [1.0, 0.95, 0.9];

/// The sentiment of a text; all zero for a text without words.
pub fn score(text: &str) -> Sentiment {
    let text = emoji::described(text);
    let words = words::words(&text);
    if words.is_empty() {
        return Sentiment { compound: 0.0, positive: 0.0, neutral: 0.0, negative: 0.0 };
    }
    let some_in_capitals = {
        let capitals = words.iter().filter(|word| word.is_upper).count();
        0 < capitals && capitals < words.len()
    };
    let mut valences: Vec<(usize, f64)> = Vec::new();
    for i in 0..words.len() {
        let valence = valence(&words, i, some_in_capitals);
        if valence != 0.0 {
            valences.push((i, valence));
        }
    }
    if !valences.is_empty()
        && let Some(at) = words.iter().position(|word| word.name == Name::But)
    {
        but::shift(&mut valences, at);
    }
    sum_up(&valences, words.len(), emphasis(&text))
}

/// What word `i` contributes; 0 for a word without sentiment.
fn valence(words: &[Word], i: usize, some_in_capitals: bool) -> f64 {
    let word = words[i];
    if !word.in_lexicon || word.booster != 0.0 {
        return 0.0;
    }
    let next = words.get(i + 1);
    if word.name == Name::Kind && next.is_some_and(|next| next.name == Name::Of) {
        return 0.0;
    }
    let before = |distance: usize| i.checked_sub(distance).map(|at| words[at]);
    let named = |distance: usize, name: Name| before(distance).is_some_and(|word| word.name == name);

    let mut valence = word.valence;
    // "no" before a word of the lexicon negates that word and says nothing itself.
    if word.name == Name::No && next.is_some_and(|next| next.in_lexicon) {
        valence = 0.0;
    }
    if named(1, Name::No)
        || named(2, Name::No)
        || (named(3, Name::No) && (named(1, Name::Or) || named(1, Name::Nor)))
    {
        valence = word.valence * NEGATED;
    }
    if word.is_upper && some_in_capitals {
        valence += if valence > 0.0 { CAPITALS } else { -CAPITALS };
    }
    for distance in 1..=3 {
        let Some(modifier) = before(distance).filter(|modifier| !modifier.in_lexicon) else { continue };
        valence += boost(modifier, valence, some_in_capitals) * BOOSTER_REACH[distance - 1];
        valence = negate(valence, words, i, distance);
        if distance == 3 {
            valence = phrases::adjust(valence, words, i);
        }
    }
    least(valence, words, i)
}

/// How much a word before it adds to a valence.
fn boost(modifier: Word, valence: f64, some_in_capitals: bool) -> f64 {
    if modifier.booster == 0.0 {
        return 0.0;
    }
    let mut boost = if valence < 0.0 { -modifier.booster } else { modifier.booster };
    if modifier.is_upper && some_in_capitals {
        boost += if valence > 0.0 { CAPITALS } else { -CAPITALS };
    }
    boost
}

/// Negation by the word at a distance, with what "never so" and "without doubt" make of it.
fn negate(valence: f64, words: &[Word], i: usize, distance: usize) -> f64 {
    let name = |distance: usize| words[i - distance].name;
    let so = |name: Name| matches!(name, Name::So | Name::This);
    match distance {
        2 if name(2) == Name::Never && so(name(1)) => valence * 1.25,
        2 if name(2) == Name::Without && name(1) == Name::Doubt => valence,
        // The reference's precedence: "so" or "this" just before is enough, without a "never".
        3 if (name(3) == Name::Never && so(name(2))) || so(name(1)) => valence * 1.25,
        3 if name(3) == Name::Without && (name(2) == Name::Doubt || name(1) == Name::Doubt) => valence,
        _ if words[i - distance].negates => valence * NEGATED,
        _ => valence,
    }
}

/// "least" just before negates, but for "at least" and "very least".
fn least(valence: f64, words: &[Word], i: usize) -> f64 {
    if i == 0 || words[i - 1].in_lexicon || words[i - 1].name != Name::Least {
        return valence;
    }
    if i > 1 && matches!(words[i - 2].name, Name::At | Name::Very) {
        return valence;
    }
    valence * NEGATED
}

/// What exclamation and question marks add.
fn emphasis(text: &str) -> f64 {
    let count = |mark: u8| text.bytes().filter(|b| *b == mark).count();
    let exclamations = count(b'!').min(4) as f64 * 0.292;
    let questions = match count(b'?') {
        0 | 1 => 0.0,
        few @ 2..=3 => few as f64 * 0.18,
        _ => 0.96,
    };
    exclamations + questions
}

/// The four figures from the valences that are not 0, in the order of the text.
fn sum_up(valences: &[(usize, f64)], words: usize, emphasis: f64) -> Sentiment {
    let mut sum = 0.0;
    let (mut positive, mut negative) = (0.0, 0.0);
    let mut neutral = words;
    for &(_, valence) in valences {
        sum += valence;
        // One more each, because a neutral word counts as one.
        if valence > 0.0 {
            positive += valence + 1.0;
            neutral -= 1;
        } else if valence < 0.0 {
            negative += valence - 1.0;
            neutral -= 1;
        }
    }
    if sum > 0.0 {
        sum += emphasis;
    } else if sum < 0.0 {
        sum -= emphasis;
    }
    if positive > f64::abs(negative) {
        positive += emphasis;
    } else if positive < f64::abs(negative) {
        negative -= emphasis;
    }
    let neutral = neutral as f64;
    let total = positive + f64::abs(negative) + neutral;
    Sentiment {
        compound: rounded((sum / (sum * sum + 15.0).sqrt()).clamp(-1.0, 1.0), 1e4),
        positive: rounded(f64::abs(positive / total), 1e3),
        neutral: rounded(f64::abs(neutral / total), 1e3),
        negative: rounded(f64::abs(negative / total), 1e3),
    }
}

/// Python's `round`: the decimal nearest to the exact binary value, an exact tie to even.
fn rounded(value: f64, scale: f64) -> f64 {
    let scaled = value * scale;
    let floor = scaled.floor();
    let fraction = scaled - floor;
    let up = if fraction != 0.5 {
        fraction > 0.5
    } else {
        // The product may have been rounded to the tie: its error tells on which side it was.
        let error = value.mul_add(scale, -scaled);
        error > 0.0 || (error == 0.0 && floor % 2.0 != 0.0)
    };
    // Adding 0 makes a negative zero a plain one.
    (if up { floor + 1.0 } else { floor }) / scale + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_python() {
        // python3 -c "print(round(0.0625, 3), round(0.1875, 3), round(2.675, 2), …)"
        for (value, scale, expected) in [
            (0.0625, 1e3, 0.062),
            (0.1875, 1e3, 0.188),
            (-0.0625, 1e3, -0.062),
            (0.0005, 1e3, 0.001),
            (0.0015, 1e3, 0.002),
            (0.0025, 1e3, 0.003),
            (0.0035, 1e3, 0.004),
            (0.1235, 1e3, 0.123),
            (0.12345, 1e4, 0.1235),
            (0.00005, 1e4, 0.0001),
            (-0.00004, 1e4, 0.0),
            (1.0, 1e4, 1.0),
        ] {
            assert_eq!(rounded(value, scale), expected, "round({value}, {scale})");
        }
    }

    #[test]
    fn a_text_without_words_is_all_zero() {
        for text in ["", " ", "\n\t\u{3000}\u{85}"] {
            let zero = Sentiment { compound: 0.0, positive: 0.0, neutral: 0.0, negative: 0.0 };
            assert_eq!(score(text), zero, "{text:?}");
        }
    }

    #[test]
    fn the_examples_of_the_reference() {
        // Printed by `python -m vaderSentiment.vaderSentiment`.
        for (text, compound, positive, neutral, negative) in [
            ("VADER is smart, handsome, and funny.", 0.8316, 0.746, 0.254, 0.0),
            ("VADER is VERY SMART, uber handsome, and FRIGGIN FUNNY!!!", 0.9469, 0.706, 0.294, 0.0),
            ("VADER is not smart, handsome, nor funny.", -0.7424, 0.0, 0.354, 0.646),
            ("At least it isn't a horrible book.", 0.431, 0.322, 0.678, 0.0),
            ("The book was only kind of good.", 0.3832, 0.303, 0.697, 0.0),
            ("Today only kinda sux! But I'll get by, lol", 0.5249, 0.317, 0.556, 0.127),
            ("Make sure you :) or :D today!", 0.8633, 0.706, 0.294, 0.0),
            ("Catch utf-8 emoji such as 💘 and 💋 and 😁", 0.875, 0.417, 0.583, 0.0),
            ("Not bad at all", 0.431, 0.487, 0.513, 0.0),
        ] {
            assert_eq!(score(text), Sentiment { compound, positive, neutral, negative }, "{text}");
        }
    }
}
