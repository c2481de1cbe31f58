//! Embeddings of many texts, searched exactly.

use cotenant_eval::{Ranked, top};

/// Rows of equal width, one a text; unit length where the model normalises.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vectors {
    /// `[texts, width]`, row-major.
    pub values: Vec<f32>,
    /// Values of one row.
    pub width: usize,
}

impl Vectors {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// One row.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.width..(at + 1) * self.width]
    }

    /// The `k` rows with the largest inner product, best first; equal scores by row.
    pub fn search(&self, query: &[f32], k: usize) -> Vec<Ranked<u32>> {
        let rows = self.values.chunks_exact(self.width.max(1));
        let scored =
            rows.zip(0..).map(|(row, document)| Ranked { document, score: dot(query, row) });
        top(scored, k)
    }
}

/// The inner product, in an order that does not depend on the machine.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_rows_come_first_and_ties_by_row() {
        let vectors = Vectors { values: vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8, 1.0, 0.0], width: 2 };
        let found: Vec<u32> = vectors.search(&[1.0, 0.0], 3).iter().map(|r| r.document).collect();
        assert_eq!(found, [0, 3, 2]);
        assert_eq!(vectors.len(), 4);
        assert!(Vectors::default().search(&[], 3).is_empty());
    }

    #[test]
    fn products_of_odd_widths_count_every_value() {
        for width in [1, 15, 16, 17, 40] {
            let a: Vec<f32> = (0..width).map(|i| i as f32).collect();
            let exact: usize = (0..width).map(|i| i * i).sum();
            assert_eq!(dot(&a, &a), exact as f32, "width {width}");
        }
    }
}
