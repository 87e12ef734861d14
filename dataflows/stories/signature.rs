//! The words of a text become a signature: 64 bytes by which near-duplicates are found and
//! their Jaccard similarity is estimated.
//!
//! Compared are the sets of two and three consecutive words (both sizes at once, so that a
//! text does not change its measure at some length). The sketch is that of Dahlgaard,
//! Knudsen and Thorup, "Fast Similarity Sketching" (FOCS 2017): as close as MinHash with 64
//! permutations also on short texts, where one-permutation hashing with densification
//! repeats few values, and at about one hash for each shingle and 300 more. One byte of each
//! minimum is kept (Li and König, "b-bit minwise hashing", 2010).
//!
//! Links, mentions and masks are not words. The signature is a function of the text alone.
//! Other rules need another [`VERSION`], and for the time of the horizon old and new ones
//! find each other less often than they should.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Of the rules above, as records carry it.
pub const VERSION: &str = "fss64 1";

pub const BYTES: usize = 64;
/// Bytes of a band: two signatures that agree in a whole band are compared. With 16 bands
/// of 4, a similarity of 0.7 is found with probability 0.99, one of 0.3 with 0.12.
const BAND_BYTES: usize = 4;
pub const BANDS: usize = BYTES / BAND_BYTES;

/// Words of a text that are looked at: more of it changes little.
const WORDS_MAX: usize = 2_000;
/// Distinct shingles without which a text is too short to be compared: six words.
pub const SHINGLES_MIN: usize = 9;

/// The sketch of one text. In JSON: base64 (standard alphabet, no padding) of its 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; BYTES]);

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signature({})", STANDARD_NO_PAD.encode(self.0))
    }
}

impl Signature {
    /// `None` if the text is too short to be compared.
    pub fn of(text: &str) -> Option<Self> {
        let shingles = shingles(text);
        has_distinct(&shingles, SHINGLES_MIN).then(|| Self(sketch(shingles)))
    }

    /// Whether a text has one.
    pub fn is_of(text: &str) -> bool {
        has_distinct(&shingles(text), SHINGLES_MIN)
    }

    /// The estimated Jaccard similarity of the two texts' shingles, 0 to 1.
    pub fn jaccard(&self, other: &Self) -> f32 {
        // Two different minima agree in their byte by chance once in 256.
        const CHANCE: f32 = 1.0 / 256.0;
        let equal = self.0.iter().zip(&other.0).filter(|(a, b)| a == b).count();
        ((equal as f32 / BYTES as f32 - CHANCE) / (1.0 - CHANCE)).max(0.0)
    }

    /// Key of a band, different from those of other bands.
    pub fn band(&self, at: usize) -> u64 {
        let (bands, _) = self.0.as_chunks::<BAND_BYTES>();
        mix(u64::from(u32::from_le_bytes(bands[at])) | (at as u64) << 32)
    }
}

/// The minima of the shingles in each of the 64 bins. Each round throws every shingle into
/// one bin anew, until none is empty; from round 64 on, every shingle into the round's own.
fn sketch(mut shingles: Vec<u64>) -> [u8; BYTES] {
    let mut minima = [u64::MAX; BYTES];
    let mut empty = BYTES;
    for round in 0..2 * BYTES as u64 {
        if round == 1 {
            // What repeats itself fills no further bin.
            shingles.sort_unstable();
            shingles.dedup();
        }
        for shingle in &shingles {
            let hash = mix(shingle ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let bin = if round < BYTES as u64 { (hash >> 58) as usize } else { round as usize - BYTES };
            // The round leads, so that a bin keeps what an earlier round put there.
            let value = round << 48 | hash & 0xffff_ffff_ffff;
            empty -= usize::from(minima[bin] == u64::MAX);
            minima[bin] = minima[bin].min(value);
        }
        if empty == 0 {
            break;
        }
    }
    minima.map(|value| value as u8)
}

/// Whether there are `n` different ones. Mostly the first `n` already are.
fn has_distinct(shingles: &[u64], n: usize) -> bool {
    let mut seen = Vec::with_capacity(n);
    for shingle in shingles {
        if !seen.contains(shingle) {
            seen.push(*shingle);
        }
        if seen.len() == n {
            return true;
        }
    }
    false
}

/// Hashes of all pairs and triples of consecutive words, in their order.
fn shingles(text: &str) -> Vec<u64> {
    let mut shingles = Vec::with_capacity((text.len() / 3).min(2 * WORDS_MAX));
    let (mut before, mut last) = (None, None);
    words(text, |word| {
        if let Some(last) = last {
            let pair = mix(word ^ u64::rotate_left(last, 17));
            shingles.push(pair);
            if let Some(before) = before {
                shingles.push(mix(pair ^ u64::rotate_left(before, 39)));
            }
        }
        (before, last) = (last, Some(word));
    });
    shingles
}

/// Gives the hash of each word, case folded. In scripts that put no space between words a
/// word is a character.
fn words(text: &str, mut give: impl FnMut(u64)) {
    let mut given = 0;
    for token in text.split_whitespace() {
        if is_link(token) || token.starts_with('@') {
            continue;
        }
        let mut hash = START;
        for c in token.chars() {
            if c.is_alphanumeric() {
                if c.is_ascii() {
                    hash = add(hash, c.to_ascii_lowercase());
                } else {
                    c.to_lowercase().for_each(|c| hash = add(hash, c));
                }
                if !is_unspaced(c) {
                    continue;
                }
            }
            if hash != START && c != '\'' && c != '’' {
                give(std::mem::replace(&mut hash, START));
                given += 1;
                if given >= WORDS_MAX {
                    return;
                }
            }
        }
        if hash != START {
            give(hash);
            given += 1;
        }
        if given >= WORDS_MAX {
            return;
        }
    }
}

const START: u64 = 0xcbf2_9ce4_8422_2325;

fn add(hash: u64, c: char) -> u64 {
    (hash.rotate_left(5) ^ u64::from(c as u32)).wrapping_mul(0x517c_c1b7_2722_0a95)
}

fn is_link(token: &str) -> bool {
    token.contains("://") || token.starts_with("www.")
}

/// Han, kana, Thai, Lao, Khmer, Burmese: written without spaces.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}

/// The finaliser of splitmix64: every bit of the input moves every bit of the output.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(text.as_bytes()).map_err(de::Error::custom)?;
        let bytes = bytes.try_into().map_err(|_| de::Error::custom("a signature has 64 bytes"))?;
        Ok(Self(bytes))
    }
}

impl JsonSchema for Signature {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Signature".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "contentEncoding": "base64",
            "description": "64 bytes; the share of equal ones estimates how similar two texts are"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_looked_at_without_end() {
        // Scripts without spaces, and one long token of many words.
        for word in ["漢字仮名交", "a.b.c.d."] {
            let mut given = 0;
            words(&word.repeat(50_000), |_| given += 1);
            assert_eq!(given, WORDS_MAX, "{word}");
        }
        let periodic = "漢字仮名交".repeat(20_000);
        assert_eq!(
            Signature::of(&periodic),
            Signature::of(&"漢字仮名交".repeat(1_000)),
            "repeats say nothing"
        );
        assert_eq!(Signature::is_of(&periodic), Signature::of(&periodic).is_some());
    }
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use std::collections::HashSet;

    fn text(words: &[u32]) -> String {
        words.iter().map(|w| format!("w{w} ")).collect()
    }

    /// By sets of strings, unlike the code.
    fn jaccard(a: &str, b: &str) -> f32 {
        let set = |text: &str| -> HashSet<String> {
            let words: Vec<&str> = text.split(' ').filter(|w| !w.is_empty()).collect();
            [2, 3].iter().flat_map(|n| words.windows(*n).map(|w| w.join(" "))).collect()
        };
        let (a, b) = (set(a), set(b));
        a.intersection(&b).count() as f32 / a.union(&b).count() as f32
    }

    #[test]
    fn the_estimate_is_near_the_truth_for_short_texts_and_long_ones() {
        let mut random = StdRng::seed_from_u64(5);
        for length in [8, 20, 60, 400] {
            let (mut squares, mut bias, rounds) = (0.0, 0.0, 300);
            for _ in 0..rounds {
                let a: Vec<u32> = (0..length).map(|_| random.random_range(0..5000)).collect();
                let mut b = a.clone();
                for _ in 0..random.random_range(0..=length / 4) {
                    let at = random.random_range(0..length);
                    b[at] = random.random_range(0..5000);
                }
                let (a, b) = (text(&a), text(&b));
                let estimate = Signature::of(&a).expect("long").jaccard(&Signature::of(&b).expect("long"));
                let error = estimate - jaccard(&a, &b);
                squares += error * error;
                bias += error;
            }
            let deviation = (squares / rounds as f32).sqrt();
            assert!(deviation < 0.065, "{length} words: {deviation}");
            assert!((bias / rounds as f32).abs() < 0.015, "{length} words: {bias}");
        }
    }

    #[test]
    fn bands_find_what_is_similar_and_little_else() {
        let mut random = StdRng::seed_from_u64(6);
        let (mut near, mut near_found, mut far, mut far_found) = (0, 0, 0, 0);
        for _ in 0..3000 {
            let a: Vec<u32> = (0..60).map(|_| random.random_range(0..5000)).collect();
            let mut b = a.clone();
            for _ in 0..random.random_range(1..30) {
                let at = random.random_range(0..60);
                b[at] = random.random_range(0..5000);
            }
            let (a, b) = (text(&a), text(&b));
            let (sa, sb) = (Signature::of(&a).expect("long"), Signature::of(&b).expect("long"));
            let found = (0..BANDS).any(|at| sa.band(at) == sb.band(at));
            let similarity = jaccard(&a, &b);
            if similarity >= 0.7 {
                near += 1;
                near_found += usize::from(found);
            } else if similarity <= 0.3 {
                far += 1;
                far_found += usize::from(found);
            }
        }
        assert!(near > 100 && far > 100, "the texts have both: {near}, {far}");
        assert!(near_found as f32 / near as f32 >= 0.95, "{near_found} of {near}");
        assert!(far_found as f32 / far as f32 <= 0.15, "{far_found} of {far}");
    }

    #[test]
    fn links_mentions_case_and_punctuation_do_not_count() {
        let plain = Signature::of("The quick brown fox jumps over the lazy dog").expect("long enough");
        let posted =
            "THE quick, brown fox: @someone jumps over \"the\" lazy dog! https://example.org/a-b www.x.org";
        assert_eq!(Signature::of(posted), Some(plain));
        assert_eq!(Signature::of("five words are too few"), None);
        assert_eq!(Signature::of("again and again and again and again and again"), None);
        assert_eq!(Signature::of(""), None);
        let han = "日本で大きな地震がありました";
        assert!(Signature::of(han).is_some(), "scripts without spaces have words");
    }

    #[test]
    fn json_is_base64_and_refuses_the_rest() {
        let signature = Signature::of("one two three four five six seven").expect("long enough");
        let json = serde_json::to_string(&signature).expect("plain");
        assert_eq!(json.len(), 88);
        assert_eq!(serde_json::from_str::<Signature>(&json).expect("valid"), signature);
        for bad in ["\"AAAA\"", "\"?\"", "[]", "\"\""] {
            assert!(serde_json::from_str::<Signature>(bad).is_err(), "{bad}");
        }
    }
}
