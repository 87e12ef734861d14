//! An embedding as stories compare it: one byte a value for the cosine, and a sketch of 256
//! bits whose bands find the pairs worth comparing.
//!
//! A bit says on which side of a random hyperplane the vector lies; the planes are fixed,
//! made of +1 and -1 (Charikar, "Similarity estimation techniques from rounding algorithms",
//! STOC 2002). Everything is computed from the quantised values, in integers, so that every
//! machine finds the same.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::signature::mix;
use crate::vector::{dot_codes, quantize};

const PLANES: usize = 256;
/// Values of a vector that are sketched; models here have 384.
const DIMENSIONS_MAX: usize = 1024;

/// Bits of a band. With 32 bands of 8, a cosine of 0.65 is found with probability 0.92, one
/// of 0.75 with 0.98; unrelated vectors are compared once in eight.
const BAND_BITS: usize = 8;
pub const BANDS: usize = PLANES / BAND_BITS;

/// Bits by which two sketches may differ and still be looked at. At a cosine of 0.5 they
/// differ by 85 with a deviation of 7.5, at 0.65 by 70 with 7.1; unrelated ones by 128 with 8.
const BITS_APART_MAX: u32 = 100;

static SIGNS: LazyLock<Vec<i8>> = LazyLock::new(|| {
    let sign = |i: usize| if mix(i as u64 + 0x0074_6964_696e_6773) & 1 == 0 { 1 } else { -1 };
    (0..PLANES * DIMENSIONS_MAX).map(sign).collect()
});

/// A quantised embedding with its sketch. Those of different models are not comparable.
///
/// A clone shares the embedding. The bits are beside what holds it: they alone are read of
/// most others that one is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sketch {
    bits: [u8; BANDS],
    embedding: Arc<Embedding>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Embedding {
    model: u64,
    codes: Box<[i8]>,
    /// The length of `codes` as a vector.
    length: f32,
}

impl Sketch {
    /// `None` for a vector without direction.
    pub fn of(model: &str, vector: &[f32]) -> Option<Self> {
        let codes = quantize(vector).codes.into_boxed_slice();
        let length = (dot_codes(&codes, &codes) as f32).sqrt();
        let bits = (length > 0.0).then(|| bits(&codes))?;
        Some(Self { bits, embedding: Arc::new(Embedding { model: model_symbol(model), codes, length }) })
    }

    /// The cosine; `None` between models.
    pub fn cosine(&self, other: &Self) -> Option<f32> {
        let (a, b) = (&*self.embedding, &*other.embedding);
        let comparable = a.model == b.model && a.codes.len() == b.codes.len();
        comparable.then(|| dot_codes(&a.codes, &b.codes) as f32 / (a.length * b.length))
    }

    /// Whether so many bits agree that the cosine may be above 0.5: hardly one in a thousand
    /// of unrelated vectors, and all but one in a thousand of those above 0.6.
    pub fn is_near(&self, other: &Self) -> bool {
        self.bits_apart(other) <= BITS_APART_MAX
    }

    fn bits_apart(&self, other: &Self) -> u32 {
        let (ours, _) = self.bits.as_chunks::<8>();
        let (theirs, _) = other.bits.as_chunks::<8>();
        let apart =
            |(a, b): (&[u8; 8], &[u8; 8])| (u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b)).count_ones();
        ours.iter().zip(theirs).map(apart).sum()
    }

    /// Key of a band, different from those of other bands and models.
    pub fn band(&self, at: usize) -> u64 {
        mix(self.embedding.model ^ (u64::from(self.bits[at]) | (at as u64) << 8))
    }
}

fn model_symbol(model: &str) -> u64 {
    let hash = blake3::hash(model.as_bytes());
    u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("BLAKE3 gives 32 bytes"))
}

fn bits(codes: &[i8]) -> [u8; BANDS] {
    let mut bits = [0u8; BANDS];
    let sketched = &codes[..codes.len().min(DIMENSIONS_MAX)];
    for plane in 0..PLANES {
        let signs = &SIGNS[plane * DIMENSIONS_MAX..][..sketched.len()];
        let side = dot_codes(sketched, signs) > 0;
        bits[plane / BAND_BITS] |= u8::from(side) << (plane % BAND_BITS);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    fn vector(random: &mut StdRng) -> Vec<f32> {
        (0..384).map(|_| random.random::<f32>() - 0.5).collect()
    }

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    fn share(a: &Sketch, b: &Sketch) -> bool {
        (0..BANDS).any(|at| a.band(at) == b.band(at))
    }

    #[test]
    fn bands_find_near_vectors_and_the_cosine_is_right() {
        let mut random = StdRng::seed_from_u64(9);
        let (mut near, mut found, mut far, mut far_found) = (0, 0, 0, 0);
        for _ in 0..1500 {
            let (a, noise) = (vector(&mut random), vector(&mut random));
            let weight = random.random_range(0.0..3.0);
            let b: Vec<f32> = a.iter().zip(&noise).map(|(a, n)| a + weight * n).collect();
            let (sa, sb) = (Sketch::of("m", &a).expect("a"), Sketch::of("m", &b).expect("b"));
            let truth = cosine(&a, &b);
            assert!((sa.cosine(&sb).expect("one model") - truth).abs() < 0.01);
            assert!(sa.is_near(&sb) || truth < 0.6, "{truth}");
            let shared = share(&sa, &sb);
            if truth >= 0.7 {
                near += 1;
                found += usize::from(shared);
            }
            let other = Sketch::of("m", &noise).expect("c");
            far += 1;
            far_found += usize::from(share(&sa, &other));
        }
        assert!(near > 300);
        assert!(found as f32 / near as f32 >= 0.95, "{found} of {near}");
        assert!((far_found as f32 / far as f32) < 0.2, "{far_found} of {far}");
    }

    #[test]
    fn models_are_not_compared_and_nothing_has_no_direction() {
        let values = [0.5, -0.25, 0.125];
        let (a, b) = (Sketch::of("a", &values).expect("a"), Sketch::of("b", &values).expect("b"));
        assert_eq!(a.cosine(&b), None);
        assert!((0..BANDS).all(|i| (0..BANDS).all(|j| a.band(i) != b.band(j))));
        assert!((a.cosine(&a).expect("one model") - 1.0).abs() < 1e-6);
        assert_eq!(Sketch::of("a", &[0.0, 0.0]), None);
    }
}
