//! Languages in Latin letters, told apart as whatlang 0.18 does, some twenty times as fast.
//!
//! whatlang looks up the 300 most frequent trigrams of each of 37 languages in the text:
//! 11 100 look-ups, whatever the text. Here each trigram of the text is looked up once and
//! names the languages that have it. The outcome is the same (a test compares), and with it
//! the meaning of "reliable".
//!
//! Characters become numbers of sixteen bits, so that a trigram is one word. Their order is that
//! of the characters, because it decides between trigrams that are equally frequent: the
//! characters of the profiles are numbered 256 apart, and others that a text has come
//! in between.
//!
//! `latin.txt` holds per language its ISO 639-3 code, its alphabet, and its 300 trigrams by
//! frequency, 3 characters each, `_` for the border of a word; all from whatlang 0.18.0
//! (MIT, Serhii Potapov).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

const DATA: &str = include_str!("latin.txt");

/// Trigrams of a language, and the distance of one that it does not have.
const TRIGRAMS: u32 = 300;
/// Of a text only its most frequent trigrams count.
const TEXT_TRIGRAMS_MAX: usize = 600;
const LANGUAGES: usize = 37;

/// Confidence above which whatlang calls its answer reliable.
const RELIABLE: f64 = 0.9;

/// A character by its number; 0 is none.
type Letter = u16;
/// Three of them.
type Trigram = u64;

const TRIGRAM_BITS: u32 = 3 * Letter::BITS;
const TRIGRAM_MASK: Trigram = (1 << TRIGRAM_BITS) - 1;
/// Numbers from one character of the profiles to the next.
const LETTER_STEP: Letter = 256;

struct Profiles {
    codes: Vec<&'static str>,
    /// Of the trigrams: where their entries in `ranks` are.
    trigrams: Trigrams,
    /// The languages that have a trigram, with its rank in each.
    ranks: Vec<(u8, u16)>,
    /// The characters of the profiles in their order: number n is at n / 256 - 1.
    letters: Vec<char>,
    /// Character -> its number and the languages that write it, one bit each; first of ASCII.
    ascii: [(Letter, u64); 128],
    wide: HashMap<char, (Letter, u64), foldhash::fast::FixedState>,
}

static PROFILES: LazyLock<Profiles> = LazyLock::new(|| {
    let lines: Vec<[&str; 3]> = DATA
        .lines()
        .map(|line| {
            let mut columns = line.split('\t');
            [(); 3].map(|()| columns.next().expect("latin.txt has three columns"))
        })
        .collect();
    assert_eq!(lines.len(), LANGUAGES, "latin.txt has a line for each language");
    let spoken = |c: char| if c == '_' { ' ' } else { c };
    let letters: BTreeSet<char> = lines
        .iter()
        .flat_map(|[_, alphabet, trigrams]| alphabet.chars().chain(trigrams.chars().map(spoken)))
        .collect();
    let letters: Vec<char> = letters.into_iter().collect();
    assert!(letters.len() < usize::from(Letter::MAX / LETTER_STEP), "numbers are of sixteen bits");
    let number = |c: char| number(letters.binary_search(&c).expect("of the profiles"));
    let mut written: BTreeMap<char, u64> = letters.iter().map(|c| (*c, 0)).collect();
    let mut ranks: BTreeMap<Trigram, Vec<(u8, u16)>> = BTreeMap::new();
    for (language, [_, alphabet, trigrams]) in lines.iter().enumerate() {
        for c in alphabet.chars() {
            *written.entry(c).or_default() |= 1 << language;
        }
        let mut window = 0;
        for (at, c) in trigrams.chars().enumerate() {
            window = pushed(window, number(spoken(c)));
            if at % 3 == 2 {
                ranks.entry(window).or_default().push((language as u8, (at / 3) as u16));
            }
        }
    }
    let mut profiles = Profiles {
        codes: lines.iter().map(|[code, _, _]| *code).collect(),
        trigrams: Trigrams::of(&ranks),
        ranks: ranks.into_values().flatten().collect(),
        ascii: [(0, 0); 128],
        wide: HashMap::default(),
        letters: Vec::new(),
    };
    for (c, languages) in written {
        match c.is_ascii() {
            true => profiles.ascii[c as usize] = (number(c), languages),
            false => drop(profiles.wide.insert(c, (number(c), languages))),
        }
    }
    profiles.letters = letters;
    profiles
});

/// The number of the character at `index` of the profiles' characters.
fn number(index: usize) -> Letter {
    (index as Letter + 1) * LETTER_STEP
}

/// The trigram after one more character.
fn pushed(window: Trigram, letter: Letter) -> Trigram {
    (window << Letter::BITS | Trigram::from(letter)) & TRIGRAM_MASK
}

/// A hash table that is made once: open addressing, empty slots have key 0.
struct Trigrams {
    keys: Vec<Trigram>,
    /// Start and length.
    places: Vec<(u16, u16)>,
}

impl Trigrams {
    const BITS: u32 = 14;

    fn of(ranks: &BTreeMap<Trigram, Vec<(u8, u16)>>) -> Self {
        let mut table = Self { keys: vec![0; 1 << Self::BITS], places: vec![(0, 0); 1 << Self::BITS] };
        assert!(ranks.len() < table.keys.len() / 2, "half of the slots stay empty");
        let mut start = 0;
        for (trigram, ranks) in ranks {
            let slot = table.slot(*trigram);
            table.keys[slot] = *trigram;
            table.places[slot] = (start, ranks.len() as u16);
            start += ranks.len() as u16;
        }
        table
    }

    /// The slot that has the trigram, or where it would be.
    fn slot(&self, trigram: Trigram) -> usize {
        let mut slot = hash(trigram, Self::BITS);
        while self.keys[slot] != trigram && self.keys[slot] != 0 {
            slot = (slot + 1) & (self.keys.len() - 1);
        }
        slot
    }

    fn ranks<'a>(&self, trigram: Trigram, of: &'a [(u8, u16)]) -> &'a [(u8, u16)] {
        let (start, length) = self.places[self.slot(trigram)];
        &of[usize::from(start)..usize::from(start) + usize::from(length)]
    }
}

/// Fibonacci hashing (Knuth, TAOCP 3, 6.4).
fn hash(trigram: Trigram, bits: u32) -> usize {
    (trigram.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits)) as usize
}

/// Space, punctuation, digits: they border words.
fn is_border(c: char) -> bool {
    c.is_ascii() && !c.is_ascii_alphabetic() && c != '\u{7f}'
}

/// ISO 639-3 of a text in Latin letters; `None` if the answer is not reliable.
pub(super) fn identified(text: &str) -> Option<&'static str> {
    let Read { numbers, letters, alphabets } = read(&text.to_lowercase());
    let (trigrams, distances) = trigram_distances(&numbers);
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

/// A text's characters.
struct Read {
    /// Their numbers, borders as spaces.
    numbers: Vec<Letter>,
    /// How many of them count.
    letters: u32,
    /// For each language those that it writes less those that it does not, but not below 0.
    alphabets: [u32; LANGUAGES],
}

fn read(lower: &str) -> Read {
    let profiles = &*PROFILES;
    let space = profiles.ascii[' ' as usize].0;
    let mut numbers = Vec::with_capacity(lower.len());
    let mut others: Vec<(usize, char)> = Vec::new();
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
            numbers.push(space);
            continue;
        }
        letters += 1;
        let number = if c.is_ascii() {
            ascii[c as usize] += 1;
            profiles.ascii[c as usize].0
        } else {
            let (number, written_by) = profiles.wide.get(&c).copied().unwrap_or_default();
            add_foreign(written_by, 1);
            number
        };
        if number == 0 {
            others.push((numbers.len(), c));
        }
        numbers.push(number);
    }
    for ((_, written_by), count) in profiles.ascii.iter().zip(ascii) {
        if count > 0 {
            add_foreign(*written_by, count);
        }
    }
    if !others.is_empty() {
        number_others(&mut numbers, others);
    }
    let alphabets = foreign.map(|foreign| (2 * (letters - foreign)).saturating_sub(letters));
    Read { numbers, letters, alphabets }
}

/// Gives characters that no profile has their numbers, in their order between those that
/// have one. Of more than 255 in one gap the last share a number: trigrams that no
/// language has then count as one, as far as they differ in these alone.
fn number_others(numbers: &mut [Letter], mut others: Vec<(usize, char)>) {
    others.sort_unstable_by_key(|(_, c)| *c);
    let (mut base, mut given) = (0, 0);
    for same in others.chunk_by(|a, b| a.1 == b.1) {
        let below = PROFILES.letters.partition_point(|known| *known < same[0].1) as Letter * LETTER_STEP;
        given = if below == base { (given + 1).min(LETTER_STEP - 1) } else { 1 };
        base = below;
        same.iter().for_each(|(at, _)| numbers[*at] = base + given);
    }
}

/// How many different trigrams the text has (of those that count), and its distance to
/// each language: over the language's trigrams, how far the ranks lie apart.
fn trigram_distances(numbers: &[Letter]) -> (u32, [u32; LANGUAGES]) {
    let profiles = &*PROFILES;
    let ranked = ranked_trigrams(numbers);
    let count = ranked.len() as u32;
    let mut distances = [(TRIGRAMS * TRIGRAMS) as i32; LANGUAGES];
    for (rank, counted) in ranked.into_iter().enumerate() {
        for &(language, language_rank) in profiles.trigrams.ranks(counted & TRIGRAM_MASK, &profiles.ranks) {
            let apart = (rank as i32 - i32::from(language_rank)).abs();
            distances[usize::from(language)] += apart - TRIGRAMS as i32;
        }
    }
    // A short text cannot have all of a language's trigrams.
    let missing = (TRIGRAMS.saturating_sub(count) * TRIGRAMS) as i32;
    let distance = |total: i32| (total - missing).clamp(0, (TRIGRAMS * TRIGRAMS) as i32) as u32;
    (count, distances.map(distance))
}

/// The text's trigrams with how often each occurs above it (the upper 16 bits), the most
/// frequent first, of equally frequent ones the greater first.
fn ranked_trigrams(numbers: &[Letter]) -> Vec<u64> {
    const ONCE: u64 = 1 << TRIGRAM_BITS;
    let space = PROFILES.ascii[' ' as usize].0;
    let mut ranked: Vec<u64> = Vec::with_capacity(numbers.len() + 1);
    let bits = (2 * numbers.len() + 2).next_power_of_two().trailing_zeros().clamp(4, 31);
    // Where in `ranked` a trigram is, plus one.
    let mut slots = vec![0u16; 1 << bits];
    let (mut before, mut middle, mut window) = (space, None, Trigram::from(space));
    for &letter in numbers.iter().chain([&space]) {
        window = pushed(window, letter);
        if let Some(middle) = middle
            && !(middle == space && (before == space || letter == space))
        {
            let mut slot = hash(window, bits);
            loop {
                match slots[slot] {
                    0 => {
                        ranked.push(ONCE | window);
                        slots[slot] = ranked.len() as u16;
                        break;
                    }
                    at if ranked[usize::from(at) - 1] & TRIGRAM_MASK == window => {
                        ranked[usize::from(at) - 1] += ONCE;
                        break;
                    }
                    _ => slot = (slot + 1) & (slots.len() - 1),
                }
            }
        }
        (before, middle) = (middle.unwrap_or(space), Some(letter));
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
