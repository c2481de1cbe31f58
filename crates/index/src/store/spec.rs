//! What an embedding is.

use serde::{Deserialize, Serialize};

use crate::dense::{Codes, DenseSpec, Hnsw, IvfPq, Kind, Metric, Rescoring, kind_for};
use crate::store::limits::DENSE_MEMORY_BYTES_MAX;

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
    /// How alike two vectors are.
    #[serde(with = "MetricForm")]
    pub metric: Metric,
    /// How its vectors are kept on disk.
    pub storage: Storage,
    /// How its vectors are searched; by their number where it is `None`, and in another way when
    /// they have become many.
    pub kind: Option<KindName>,
}

/// A way to search vectors, with the settings that suit most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KindName {
    /// All vectors are compared as they are on disk.
    ExactF32,
    /// All vectors are compared in memory, in bf16.
    ExactBf16,
    /// All vectors are compared in memory, in 8 bits.
    ExactInt8,
    /// All vectors are compared by their signs, and the best again as they are on disk.
    Codes,
    /// Product-quantised vectors of near clusters, and the best again.
    IvfPq,
    /// A graph of neighbours.
    Hnsw,
}

impl KindName {
    /// The kind with its settings.
    fn kind(self, dimensions: usize) -> Kind {
        match self {
            Self::ExactF32 => Kind::ExactF32,
            Self::ExactBf16 => Kind::ExactBf16,
            Self::ExactInt8 => Kind::ExactInt8,
            Self::Codes => {
                Kind::Codes(Codes { rescoring: Rescoring::Originals, ..Codes::default() })
            }
            Self::IvfPq => {
                let divides = |bytes: &usize| dimensions.is_multiple_of(*bytes);
                let code_bytes = (1..=dimensions / 4).rev().find(divides).unwrap_or(1) as u32;
                Kind::IvfPq(IvfPq { code_bytes, ..IvfPq::default() })
            }
            Self::Hnsw => Kind::Hnsw(Hnsw::default()),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Metric", rename_all = "kebab-case")]
enum MetricForm {
    Cosine,
    Dot,
}

impl EmbeddingSpec {
    /// What a structure over so many vectors is made for; the seed is a number of the embedding's.
    pub(crate) fn dense(&self, vectors: u64, seed: u64) -> DenseSpec {
        let (dimensions, metric) = (self.dimensions, self.metric);
        let by_number = || kind_for(vectors as usize, dimensions, DENSE_MEMORY_BYTES_MAX);
        let kind = self.kind.map_or_else(by_number, |name| name.kind(dimensions));
        DenseSpec { dimensions, metric, kind, seed }
    }
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
