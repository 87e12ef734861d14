//! What VADER knows about single words: one table from the lower-cased word to its
//! valence, its weight as a booster, whether it negates, and whether it is part of a phrase.
//!
//! The word lists are those of vaderSentiment 3.3.2 (MIT, see
//! `LICENSE.vaderSentiment.txt` beside the data), kept byte for byte. Every word that a
//! text can match is ASCII of at most [`WORD_BYTES_MAX`] bytes, so a key is three machine
//! words and a look-up compares no strings.

use std::sync::LazyLock;

const LEXICON: &str = include_str!("vader_lexicon.txt");

/// Longest word that can be in the table; longer tokens are not looked up.
const WORD_BYTES_MAX: usize = KEY_BYTES - 1;
const KEY_BYTES: usize = 24;

const BOOST: f64 = 0.293;

const NEGATIONS: &[&str] = &[
    "aint",
    "arent",
    "cannot",
    "cant",
    "couldnt",
    "darent",
    "didnt",
    "doesnt",
    "ain't",
    "aren't",
    "can't",
    "couldn't",
    "daren't",
    "didn't",
    "doesn't",
    "dont",
    "hadnt",
    "hasnt",
    "havent",
    "isnt",
    "mightnt",
    "mustnt",
    "neither",
    "don't",
    "hadn't",
    "hasn't",
    "haven't",
    "isn't",
    "mightn't",
    "mustn't",
    "neednt",
    "needn't",
    "never",
    "none",
    "nope",
    "nor",
    "not",
    "nothing",
    "nowhere",
    "oughtnt",
    "shant",
    "shouldnt",
    "uhuh",
    "wasnt",
    "werent",
    "oughtn't",
    "shan't",
    "shouldn't",
    "uh-uh",
    "wasn't",
    "weren't",
    "without",
    "wont",
    "wouldnt",
    "won't",
    "wouldn't",
    "rarely",
    "seldom",
    "despite",
];

const BOOSTERS: &[&str] = &[
    "absolutely",
    "amazingly",
    "awfully",
    "completely",
    "considerable",
    "considerably",
    "decidedly",
    "deeply",
    "effing",
    "enormous",
    "enormously",
    "entirely",
    "especially",
    "exceptional",
    "exceptionally",
    "extreme",
    "extremely",
    "fabulously",
    "flipping",
    "flippin",
    "frackin",
    "fracking",
    "fricking",
    "frickin",
    "frigging",
    "friggin",
    "fully",
    "fuckin",
    "fucking",
    "fuggin",
    "fugging",
    "greatly",
    "hella",
    "highly",
    "hugely",
    "incredible",
    "incredibly",
    "intensely",
    "major",
    "majorly",
    "more",
    "most",
    "particularly",
    "purely",
    "quite",
    "really",
    "remarkably",
    "so",
    "substantially",
    "thoroughly",
    "total",
    "totally",
    "tremendous",
    "tremendously",
    "uber",
    "unbelievably",
    "unusually",
    "utter",
    "utterly",
    "very",
];

/// The dampeners of one word; those of two are in [`super::phrases`].
const DAMPENERS: &[&str] = &[
    "almost",
    "barely",
    "hardly",
    "kinda",
    "kindof",
    "kind-of",
    "less",
    "little",
    "marginal",
    "marginally",
    "occasional",
    "occasionally",
    "partly",
    "scarce",
    "scarcely",
    "slight",
    "slightly",
    "somewhat",
    "sorta",
    "sortof",
    "sort-of",
];

/// Words with a meaning of their own in a rule or a phrase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[rustfmt::skip]
pub(super) enum Name {
    #[default]
    Other,
    Ass, At, Bad, Beating, Bomb, Bus, But, Death, Die, Doubt, Enough, For, Heart, Just, Kind, Kiss, Least,
    Never, No, Nor, Of, Or, Right, Shit, So, Sort, Stop, The, This, To, Very, Without, Yeah,
}

#[rustfmt::skip]
const NAMES: &[(&str, Name)] = &[
    ("ass", Name::Ass), ("at", Name::At), ("bad", Name::Bad), ("beating", Name::Beating),
    ("bomb", Name::Bomb), ("bus", Name::Bus), ("but", Name::But), ("death", Name::Death),
    ("die", Name::Die), ("doubt", Name::Doubt), ("enough", Name::Enough), ("for", Name::For),
    ("heart", Name::Heart), ("just", Name::Just), ("kind", Name::Kind), ("kiss", Name::Kiss),
    ("least", Name::Least), ("never", Name::Never), ("no", Name::No), ("nor", Name::Nor),
    ("of", Name::Of), ("or", Name::Or), ("right", Name::Right), ("shit", Name::Shit), ("so", Name::So),
    ("sort", Name::Sort), ("stop", Name::Stop), ("the", Name::The), ("this", Name::This),
    ("to", Name::To), ("very", Name::Very), ("without", Name::Without), ("yeah", Name::Yeah),
];

/// What is known about one word of a text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Word {
    /// Meaningful only if `in_lexicon`.
    pub valence: f64,
    /// 0 for a word that is no booster.
    pub booster: f64,
    pub in_lexicon: bool,
    pub negates: bool,
    pub name: Name,
    /// The word as written is in capitals; not part of the table.
    pub is_upper: bool,
}

type Key = [u64; KEY_BYTES / 8];

/// Open addressing with linear probing, a quarter full: built once, read ever after.
struct Table {
    slots: Vec<(Key, Word)>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::build);

/// What is known about an ASCII word, in any case; nothing of a longer or an empty one.
pub(super) fn look_up(word: &[u8]) -> Word {
    match key(word) {
        Some(key) => TABLE.slots[TABLE.slot(&key)].1,
        None => Word::default(),
    }
}

/// The lower-cased word padded with zeros, and its length, so that a word that ends in a
/// NUL is not the word without it. `None` if it is too long to be in the table.
fn key(word: &[u8]) -> Option<Key> {
    if word.len() > WORD_BYTES_MAX || word.is_empty() {
        return None;
    }
    let mut bytes = [0u8; KEY_BYTES];
    bytes[..word.len()].copy_from_slice(word);
    bytes.make_ascii_lowercase();
    bytes[WORD_BYTES_MAX] = word.len() as u8;
    let part =
        |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes of twenty-four"));
    Some([part(0), part(8), part(16)])
}

impl Table {
    const SLOTS: usize = 1 << 15;

    fn build() -> Table {
        let mut table = Table { slots: vec![(Key::default(), Word::default()); Table::SLOTS] };
        for line in LEXICON.lines() {
            let mut columns = line.trim().split('\t');
            if let (Some(word), Some(valence)) = (columns.next(), columns.next()) {
                let valence: f64 = valence.parse().expect("the second column of the lexicon is a number");
                table.update(word, |entry| {
                    entry.in_lexicon = true;
                    entry.valence = valence;
                });
            }
        }
        for word in BOOSTERS {
            table.update(word, |entry| entry.booster = BOOST);
        }
        for word in DAMPENERS {
            table.update(word, |entry| entry.booster = -BOOST);
        }
        for word in NEGATIONS {
            table.update(word, |entry| entry.negates = true);
        }
        for (word, name) in NAMES {
            table.update(word, |entry| entry.name = *name);
        }
        table
    }

    /// Entries that no lower-cased text can match (`:D`, `:Þ`: the reference has them
    /// too, and never finds them) stay out: folded to lower case they would match.
    fn update(&mut self, word: &str, change: impl FnOnce(&mut Word)) {
        if !word.is_ascii() || word.bytes().any(|b| b.is_ascii_uppercase()) {
            return;
        }
        let key = key(word.as_bytes()).expect("a word of the lists is shorter than a key");
        let slot = self.slot(&key);
        self.slots[slot].0 = key;
        change(&mut self.slots[slot].1);
    }

    /// The slot that holds the key, or the empty one where it would be.
    fn slot(&self, key: &Key) -> usize {
        let mixed =
            (key[0] ^ key[1].rotate_left(23) ^ key[2].rotate_left(46)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut slot = (mixed >> (64 - 15)) as usize;
        while self.slots[slot].0 != *key && self.slots[slot].0 != Key::default() {
            slot = (slot + 1) % Table::SLOTS;
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case_and_strangers_are_not() {
        assert_eq!(look_up(b"good").valence, 1.9);
        assert_eq!(look_up(b"GOOD").valence, 1.9);
        assert_eq!(look_up(b"very").booster, BOOST);
        assert_eq!(look_up(b"kind-of").booster, -BOOST);
        assert!(look_up(b"despite").negates);
        assert_eq!(look_up(b"No").name, Name::No);
        for stranger in ["", "table", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "good\0", "\0"] {
            let word = look_up(stranger.as_bytes());
            assert!(word.booster == 0.0 && !word.negates && !word.in_lexicon, "{stranger:?}");
        }
    }

    #[test]
    fn emoticons_in_capitals_are_as_unreachable_as_in_the_reference() {
        for line in LEXICON.lines() {
            let word = line.split('\t').next().unwrap_or_default();
            let lower = word.to_lowercase();
            let has_lower = LEXICON.lines().any(|line| line.split('\t').next() == Some(lower.as_str()));
            assert_eq!(look_up(lower.as_bytes()).in_lexicon, has_lower, "{word}");
        }
    }

    #[test]
    fn probing_stays_short() {
        let longest =
            TABLE.slots.split(|(key, _)| *key == Key::default()).map(<[_]>::len).max().unwrap_or_default();
        assert!(longest < 24, "a look-up may walk {longest} slots");
    }
}
