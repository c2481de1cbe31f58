//! A random rotation in the time of a few additions for each number.
//!
//! After a rotation at random no dimension is larger than another but by chance, so each can be
//! given as few bits as any other, and the error of one cancels another's (Gao and Long 2024). Full
//! matrices cost too much; signs and Hadamard transforms in turn come as close as is needed (Ailon
//! and Chazelle 2009). The transform takes powers of two, so where the dimensions are not one, it
//! turns the first and the last of them in turn, which overlap.

use super::random::mix;

/// Turns, each with its own signs.
const ROUNDS: usize = 4;

/// A rotation of vectors of one length: dot products stay as they are.
pub(super) struct Rotation {
    /// `[ROUNDS, dimensions]`, each 1 or -1.
    signs: Vec<f32>,
    dimensions: usize,
}

impl Rotation {
    pub(super) fn new(dimensions: usize, seed: u64) -> Self {
        let sign = |at| if mix(seed, at as u64) & 1 == 0 { 1.0 } else { -1.0 };
        Self { signs: (0..ROUNDS * dimensions).map(sign).collect(), dimensions }
    }

    pub(super) fn apply(&self, vector: &mut [f32]) {
        assert_eq!(vector.len(), self.dimensions, "a vector of the rotation's length");
        let power = 1usize << self.dimensions.ilog2();
        let scale = 1.0 / (power as f32).sqrt();
        for round in 0..ROUNDS {
            let signs = &self.signs[round * self.dimensions..][..self.dimensions];
            for (value, sign) in vector.iter_mut().zip(signs) {
                *value *= sign;
            }
            let from = if round % 2 == 0 { 0 } else { self.dimensions - power };
            let part = &mut vector[from..from + power];
            hadamard(part);
            for value in part {
                *value *= scale;
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.signs.capacity() * size_of::<f32>()
    }
}

/// Sums and differences of halves, of halves of halves, and so on.
fn hadamard(values: &mut [f32]) {
    let mut half = values.len() / 2;
    while half > 0 {
        for pair in values.chunks_exact_mut(2 * half) {
            let (first, second) = pair.split_at_mut(half);
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half /= 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, prop_assert, proptest};

    use super::Rotation;

    fn dot(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    proptest! {
        #[test]
        fn dot_products_stay(
            (a, b) in (1usize..130).prop_flat_map(|len| {
                (vec(-1.0f32..1.0, len), vec(-1.0f32..1.0, len))
            }),
            seed in 0u64..1000,
        ) {
            let rotation = Rotation::new(a.len(), seed);
            let (mut turned_a, mut turned_b) = (a.clone(), b.clone());
            rotation.apply(&mut turned_a);
            rotation.apply(&mut turned_b);
            prop_assert!((dot(&a, &b) - dot(&turned_a, &turned_b)).abs() < 1e-4);
        }
    }

    /// A vector with a single number in it is spread over all dimensions: the largest is no larger
    /// than chance allows.
    #[test]
    fn what_stands_out_is_spread() {
        for dimensions in [100, 384, 768] {
            for at in [0, 1, dimensions / 2, dimensions - 1] {
                let mut vector = vec![0.0; dimensions];
                vector[at] = 1.0;
                Rotation::new(dimensions, 7).apply(&mut vector);
                let largest = vector.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                assert!(largest * (dimensions as f32).sqrt() < 6.0, "{dimensions} {at} {largest}");
            }
        }
    }
}
