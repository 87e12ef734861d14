//! Embeddings as data: how a vector is written, quantised and compared.
//!
//! Vectors here have length 1, so their dot product is their cosine.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An embedding. In JSON: base64 (standard alphabet, padded) of the values as
/// little-endian 32-bit floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector(pub Vec<f32>);

impl Vector {
    /// Little-endian 32-bit floats.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// The inverse of [`Vector::to_bytes`]; `None` if the bytes are no floats or not finite.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (values, rest) = bytes.as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
        (rest.is_empty() && values.iter().all(|value| value.is_finite())).then_some(Self(values))
    }

    /// Scales to length 1; the zero vector stays as it is.
    pub fn normalized(mut self) -> Self {
        let length = self.0.iter().map(|v| v * v).sum::<f32>().sqrt();
        if length > 0.0 {
            self.0.iter_mut().for_each(|v| *v /= length);
        }
        self
    }
}

impl Serialize for Vector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.to_bytes()))
    }
}

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes()).map_err(de::Error::custom)?;
        Vector::from_bytes(&bytes)
            .ok_or_else(|| de::Error::custom("a vector is base64 of finite little-endian 32-bit floats"))
    }
}

impl JsonSchema for Vector {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Vector".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "contentEncoding": "base64",
            "description": "little-endian 32-bit floats, length 1"
        })
    }
}

/// A vector at one byte a value: `value ≈ code * scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    pub codes: Vec<i8>,
    pub scale: f32,
}

/// Quantises by the vector's own largest value.
pub fn quantize(vector: &[f32]) -> Quantized {
    let largest = vector.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
    if largest == 0.0 {
        return Quantized { codes: vec![0; vector.len()], scale: 0.0 };
    }
    let scale = largest / 127.0;
    Quantized { codes: vector.iter().map(|v| (v / scale).round() as i8).collect(), scale }
}

/// Dot product of codes.
pub fn dot_codes(a: &[i8], b: &[i8]) -> i32 {
    // In blocks, so that the compiler widens and multiplies many at once.
    const BLOCK: usize = 32;
    let (a_blocks, a_rest) = a.as_chunks::<BLOCK>();
    let (b_blocks, b_rest) = b.as_chunks::<BLOCK>();
    let mut sum = 0i32;
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        let mut block = 0i32;
        for i in 0..BLOCK {
            block += i32::from(i16::from(a[i]) * i16::from(b[i]));
        }
        sum += block;
    }
    sum + a_rest.iter().zip(b_rest).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum::<i32>()
}

/// Dot product of values.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    #[test]
    fn json_is_base64_of_floats_and_refuses_the_rest() {
        let vector = Vector(vec![1.0, -0.5]);
        let json = serde_json::to_string(&vector).expect("plain");
        assert_eq!(json, "\"AACAPwAAAL8=\"");
        assert_eq!(serde_json::from_str::<Vector>(&json).expect("valid"), vector);
        let nan = STANDARD.encode(f32::NAN.to_le_bytes());
        for bad in ["\"AAA\"", "\"AACA\"", "\"?\"", "[1.0]", &format!("\"{nan}\"")] {
            assert!(serde_json::from_str::<Vector>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn codes_approximate_the_cosine() {
        let seed = 7;
        let mut random = StdRng::seed_from_u64(seed);
        for round in 0..200 {
            let mut draw = || Vector((0..384).map(|_| random.random::<f32>() - 0.5).collect()).normalized();
            let (a, b) = (draw(), draw());
            let (qa, qb) = (quantize(&a.0), quantize(&b.0));
            let near = dot_codes(&qa.codes, &qb.codes) as f32 * qa.scale * qb.scale;
            assert!((near - dot(&a.0, &b.0)).abs() < 0.005, "seed {seed} round {round}");
        }
        assert_eq!(dot_codes(&[127; 40], &[-128; 40]), -127 * 128 * 40);
        assert_eq!(quantize(&[0.0, 0.0]).codes, [0, 0]);
    }
}
