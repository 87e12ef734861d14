//! Languages in Latin letters, told apart as whatlang 0.18 does, some twenty times as fast.
//!
//! whatlang looks up the 300 most frequent trigrams of each of 37 languages in the text:
//! 11 100 look-ups, whatever the text. Here each trigram of the text is looked up once and
//! names the languages that have it. The outcome is the same (a test compares), and with it
//! the meaning of "reliable".
//!
//! `latin.txt` holds per language its ISO 639-3 code, its alphabet, and its 300 trigrams by
//! frequency, 3 characters each, `_` for the border of a word; all from whatlang 0.18.0
//! (MIT, Serhii Potapov).

use std::collections::HashMap;
use std::sync::LazyLock;

const DATA: &str = include_str!("latin.txt");

/// Trigrams of a language, and the distance of one that it does not have.
const TRIGRAMS: u32 = 300;
/// Of a text only its most frequent trigrams count.
const TEXT_TRIGRAMS_MAX: usize = 600;
const LANGUAGES: usize = 37;

/// Confidence above which whatlang calls its answer reliable.
const RELIABLE: f64 = 0.9;

/// Three characters of 21 bits.
type Trigram = u64;

struct Profiles {
    codes: Vec<&'static str>,
    /// Trigram -> the languages that have it, with its rank in each.
    ranks: HashMap<Trigram, Vec<(u8, u16)>, foldhash::fast::FixedState>,
    /// Character -> the languages that write it, one bit each; first of ASCII.
    ascii: [u64; 128],
    wide: HashMap<char, u64, foldhash::fast::FixedState>,
}

static PROFILES: LazyLock<Profiles> = LazyLock::new(|| {
    let mut profiles = Profiles {
        codes: Vec::with_capacity(LANGUAGES),
        ranks: HashMap::default(),
        ascii: [0; 128],
        wide: HashMap::default(),
    };
    for (language, line) in DATA.lines().enumerate() {
        let mut columns = line.split('\t');
        let mut column = || columns.next().expect("latin.txt has three columns");
        profiles.codes.push(column());
        for c in column().chars() {
            *match c.is_ascii() {
                true => &mut profiles.ascii[c as usize],
                false => profiles.wide.entry(c).or_default(),
            } |= 1 << language;
        }
        let mut window = 0;
        for (at, c) in column().chars().enumerate() {
            window = pushed(window, if c == '_' { ' ' } else { c });
            if at % 3 == 2 {
                profiles.ranks.entry(window).or_default().push((language as u8, (at / 3) as u16));
            }
        }
    }
    assert_eq!(profiles.codes.len(), LANGUAGES, "latin.txt has a line for each language");
    profiles
});

/// The trigram after one more character.
fn pushed(window: Trigram, c: char) -> Trigram {
    (window << 21 | u64::from(c)) & (u64::MAX >> 1)
}

/// Space, punctuation, digits: they border words.
fn is_border(c: char) -> bool {
    c.is_ascii() && !c.is_ascii_alphabetic() && c != '\u{7f}'
}

/// ISO 639-3 of a text in Latin letters; `None` if the answer is not reliable.
pub(super) fn identified(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    let (letters, alphabets) = alphabet_scores(&lower);
    let (trigrams, distances) = trigram_distances(&lower);
    if letters == 0 || trigrams == 0 {
        return None;
    }
    // The longer the text, the less letters alone say.
    let weight = (-(letters as f64 / 300.0) + 2.0 / 3.0).clamp(1.0 / 3.0, 2.0 / 3.0);
    let farthest = trigrams * TRIGRAMS;
    let (mut best, mut second, mut language) = (-1.0, -1.0, 0);
    for (candidate, (alphabet, distance)) in alphabets.into_iter().zip(distances).enumerate() {
        let alphabet = f64::from(alphabet) / f64::from(letters);
        let trigram = f64::from(farthest - distance) / f64::from(farthest);
        let score = alphabet * weight + trigram * (1.0 - weight);
        if score > best {
            (best, second, language) = (score, best, candidate);
        } else if score > second {
            second = score;
        }
    }
    (confidence(best, second, trigrams) > RELIABLE).then(|| PROFILES.codes[language])
}

fn confidence(best: f64, second: f64, trigrams: u32) -> f64 {
    if best == 0.0 || second == 0.0 {
        return best;
    }
    let rate = (best - second) / second;
    let confident = 3.0 / f64::from(trigrams) + 0.015;
    if rate > confident { 1.0 } else { rate / confident }
}

/// How many characters count, and for each language those that it writes less those that
/// it does not, but not below 0.
fn alphabet_scores(lower: &str) -> (u32, [u32; LANGUAGES]) {
    let profiles = &*PROFILES;
    let mut ascii = [0u32; 128];
    let mut letters = 0;
    let mut foreign = [0u32; LANGUAGES];
    let mut add_foreign = |written_by: u64, count: u32| {
        let mut rest = !written_by & ((1 << LANGUAGES) - 1);
        while rest != 0 {
            foreign[rest.trailing_zeros() as usize] += count;
            rest &= rest - 1;
        }
    };
    for c in lower.chars() {
        if is_border(c) {
            continue;
        }
        letters += 1;
        match c.is_ascii() {
            true => ascii[c as usize] += 1,
            false => add_foreign(profiles.wide.get(&c).copied().unwrap_or_default(), 1),
        }
    }
    for (written_by, count) in profiles.ascii.iter().zip(ascii) {
        if count > 0 {
            add_foreign(*written_by, count);
        }
    }
    (letters, foreign.map(|foreign| (2 * (letters - foreign)).saturating_sub(letters)))
}

/// How many different trigrams the text has (of those that count), and its distance to
/// each language: over the language's trigrams, how far the ranks lie apart.
fn trigram_distances(lower: &str) -> (u32, [u32; LANGUAGES]) {
    let profiles = &*PROFILES;
    let ranked = ranked_trigrams(lower);
    let count = ranked.len() as u32;
    let mut distances = [(TRIGRAMS * TRIGRAMS) as i32; LANGUAGES];
    for (rank, (_, trigram)) in ranked.iter().enumerate() {
        for &(language, language_rank) in profiles.ranks.get(trigram).map_or(&[][..], Vec::as_slice) {
            let apart = (rank as i32 - i32::from(language_rank)).abs();
            distances[usize::from(language)] += apart - TRIGRAMS as i32;
        }
    }
    // A short text cannot have all of a language's trigrams.
    let missing = (TRIGRAMS.saturating_sub(count) * TRIGRAMS) as i32;
    let distance = |total: i32| (total - missing).clamp(0, (TRIGRAMS * TRIGRAMS) as i32) as u32;
    (count, distances.map(distance))
}

/// The text's trigrams with how often each occurs, the most frequent first, of equally
/// frequent ones the greater first.
fn ranked_trigrams(lower: &str) -> Vec<(u32, Trigram)> {
    let mut all: Vec<Trigram> = Vec::with_capacity(lower.len() + 1);
    let (mut before, mut middle, mut window) = (' ', None, u64::from(' '));
    for c in lower.chars().chain([' ']) {
        let c = if is_border(c) { ' ' } else { c };
        window = pushed(window, c);
        if let Some(middle) = middle
            && !(middle == ' ' && (before == ' ' || c == ' '))
        {
            all.push(window);
        }
        (before, middle) = (middle.unwrap_or(' '), Some(c));
    }
    all.sort_unstable();
    let mut ranked: Vec<(u32, Trigram)> = Vec::with_capacity(all.len());
    for same in all.chunk_by(|a, b| a == b) {
        ranked.push((same.len() as u32, same[0]));
    }
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    ranked.truncate(TEXT_TRIGRAMS_MAX);
    ranked
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn whatlang(text: &str) -> Option<&'static str> {
        whatlang::detect(text).filter(|info| info.is_reliable()).map(|info| info.lang().code())
    }

    #[test]
    fn the_answer_is_that_of_whatlang() {
        let seed: u64 = rand::rng().random();
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        // Texts that look like a language: a walk over its own trigrams, with foreign ones,
        // capitals and signs strewn in.
        let lines: Vec<Vec<char>> =
            DATA.lines().map(|line| line.split('\t').nth(2).unwrap().chars().collect()).collect();
        let strewn: Vec<char> = " .,!?0-'’“é😀ßİÇŞǅжЖ日\u{7f}\u{a0}@[`{~".chars().collect();
        let (mut reliable, mut not) = (0, 0);
        for _ in 0..4_000 {
            let (own, other) = (lines.choose(&mut rng).unwrap(), lines.choose(&mut rng).unwrap());
            let (foreign, signs) = (rng.random_range(0.0..0.6), rng.random_range(0.0..0.1));
            let mut text = String::new();
            for _ in 0..rng.random_range(1..180) {
                let line = if rng.random_bool(foreign) { other } else { own };
                let frequent = rng.random_range(1..=100);
                let at = 3 * rng.random_range(0..frequent);
                text.extend(line[at..at + 3].iter().map(|c| if *c == '_' { ' ' } else { *c }));
                if rng.random_bool(signs) {
                    text.push(*strewn.choose(&mut rng).unwrap());
                }
                if rng.random_bool(0.02) {
                    text = text.to_uppercase();
                }
            }
            if whatlang::detect_script(&text) != Some(whatlang::Script::Latin) {
                continue;
            }
            let expected = whatlang(&text);
            assert_eq!(identified(&text), expected, "seed {seed}: {text:?}");
            *if expected.is_some() { &mut reliable } else { &mut not } += 1;
        }
        assert!(reliable > 500 && not > 500, "{reliable} reliable, {not} not: the test shows little");
    }

    #[test]
    fn prose_is_identified_as_whatlang_does() {
        for text in [
            "The committee will publish its findings before the end of the year, she said.",
            "Der Ausschuss wird seine Ergebnisse noch vor dem Ende des Jahres veröffentlichen.",
            "Le comité publiera ses conclusions avant la fin de l’année, a-t-elle déclaré.",
            "El comité publicará sus conclusiones antes de fin de año, dijo ella.",
            "Komisja opublikuje swoje ustalenia przed końcem roku, powiedziała.",
            "Komite bulgularını yıl sonundan önce yayınlayacak, dedi İstanbul’da.",
            "Uỷ ban sẽ công bố kết quả trước cuối năm, bà nói với các phóng viên.",
            "x",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(identified(text), whatlang(text), "{text}");
        }
    }
}
