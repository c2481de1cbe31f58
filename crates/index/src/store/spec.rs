//! What an embedding is.

use serde::{Deserialize, Serialize};

/// How near two vectors are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The cosine of their angle: vectors are made of unit length when they come.
    #[default]
    Cosine,
    /// Their inner product.
    Dot,
}

/// How a value of a vector is kept on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// As it came: 4 bytes.
    #[default]
    F32,
    /// Rounded to the nearest bfloat16: 2 bytes.
    Bf16,
}

/// What an embedding is: which vectors it has, and how they are searched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingSpec {
    /// Its name, as the name of the model and adapter that make its vectors.
    pub name: String,
    /// Values of a vector.
    pub dimensions: usize,
    /// How near two vectors are.
    pub metric: Metric,
    /// How its vectors are kept.
    pub storage: Storage,
}

impl Storage {
    /// Bytes of a value.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// Rounds values to what will be read back.
    pub(crate) fn round(self, values: &mut [f32]) {
        match self {
            Self::F32 => {}
            Self::Bf16 => {
                for value in values {
                    *value = f32::from_bits(u32::from(bf16(*value)) << 16);
                }
            }
        }
    }

    pub(crate) fn put(self, out: &mut Vec<u8>, values: &[f32]) {
        match self {
            Self::F32 => super::codec::put_f32s(out, values),
            Self::Bf16 => out.extend(values.iter().flat_map(|&value| bf16(value).to_le_bytes())),
        }
    }
}

/// The nearest bfloat16, of two the even one; past the largest it is infinite.
fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let half = 0x7fff + ((bits >> 16) & 1);
    ((bits.wrapping_add(half)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bfloat16_is_the_nearest_one_and_of_two_the_even_one() {
        for (value, expected) in [
            (1.0, 1.0),
            (-0.0, -0.0),
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
            (1.0 + 1.1 / 256.0, 1.0 + 2.0 / 256.0),
            (-3.3, -3.296875),
            (f32::MAX, f32::INFINITY),
        ] {
            let mut values = [value];
            Storage::Bf16.round(&mut values);
            assert_eq!(values[0].to_bits(), f32::to_bits(expected), "{value}");
            let once = values;
            Storage::Bf16.round(&mut values);
            assert_eq!(values, once, "{value} is rounded twice");
        }
    }
}
