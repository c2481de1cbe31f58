//! Clusters of points, each the mean of those that are nearest to it (Lloyd 1982).

use crate::dense::kernels::kernels;
use crate::dense::random::mix;

/// Rounds of assigning points and taking means; more change little.
const ROUNDS: usize = 10;
/// Dimensions from which on a product for each centroid is the quicker way.
const LONG: usize = 32;

/// Centroids to look points up in.
pub(super) struct Centroids {
    dimensions: usize,
    /// `[centroids, dimensions]`.
    values: Vec<f32>,
    /// `[dimensions, centroids]`, where there are few dimensions.
    across: Vec<f32>,
    /// Half the squared length of each.
    halves: Vec<f32>,
}

impl Centroids {
    pub(super) fn new(values: Vec<f32>, dimensions: usize) -> Self {
        let count = values.len() / dimensions;
        let mut across = Vec::new();
        if dimensions < LONG {
            let at = |place: usize| values[place % count * dimensions + place / count];
            across = (0..values.len()).map(at).collect();
        }
        let half = |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>() / 2.0;
        let halves = values.chunks_exact(dimensions).map(half).collect();
        Self { dimensions, values, across, halves }
    }

    pub(super) fn len(&self) -> usize {
        self.halves.len()
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn row(&self, centroid: usize) -> &[f32] {
        &self.values[centroid * self.dimensions..][..self.dimensions]
    }

    /// The products of a vector with each.
    pub(super) fn products(&self, vector: &[f32], products: &mut Vec<f32>) {
        products.clear();
        if self.dimensions >= LONG {
            let rows = self.values.chunks_exact(self.dimensions);
            products.extend(rows.map(|row| kernels().dot_f32(vector, row)));
            return;
        }
        products.resize(self.len(), 0.0);
        for (value, row) in vector.iter().zip(self.across.chunks_exact(self.len())) {
            for (product, centroid) in products.iter_mut().zip(row) {
                *product += value * centroid;
            }
        }
    }

    /// The nearest to a vector, of equal ones the first.
    pub(super) fn nearest(&self, vector: &[f32], products: &mut Vec<f32>) -> usize {
        self.products(vector, products);
        let mut best = (0, f32::NEG_INFINITY);
        for (at, (product, half)) in products.iter().zip(&self.halves).enumerate() {
            // Half the squared distance, less what all have in common, the other way round.
            if product - half > best.1 {
                best = (at, product - half);
            }
        }
        best.0
    }

    pub(super) fn memory_bytes(&self) -> usize {
        4 * (self.values.capacity() + self.across.capacity() + self.halves.capacity())
    }
}

/// Divides points, `[points, dimensions]`, of which there are at least `count`, into clusters.
pub(super) fn cluster(points: &[f32], dimensions: usize, count: usize, seed: u64) -> Centroids {
    let rows = points.len() / dimensions;
    assert!(rows >= count, "at least a point for each cluster");
    // The first ones are drawn without order, so that each is another point.
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by_key(|&row| (mix(seed, row as u64), row));
    let row = |row: usize| &points[row * dimensions..][..dimensions];
    let first = order[..count].iter().flat_map(|&at| row(at).iter().copied()).collect();
    let mut centroids = Centroids::new(first, dimensions);
    let mut products = Vec::new();
    for _ in 0..ROUNDS {
        let mut sums = vec![0.0f32; count * dimensions];
        let mut members = vec![0u32; count];
        for at in 0..rows {
            let nearest = centroids.nearest(row(at), &mut products);
            members[nearest] += 1;
            for (sum, value) in sums[nearest * dimensions..].iter_mut().zip(row(at)) {
                *sum += value;
            }
        }
        let means = sums.chunks_exact_mut(dimensions).zip(&members).enumerate();
        for (cluster, (mean, &members)) in means {
            if members == 0 {
                // Nobody is near it; it stays where it is, and may find someone yet.
                mean.copy_from_slice(centroids.row(cluster));
            } else {
                mean.iter_mut().for_each(|value| *value /= members as f32);
            }
        }
        centroids = Centroids::new(sums, dimensions);
    }
    centroids
}

#[cfg(test)]
mod tests {
    use super::cluster;
    use crate::dense::random::uniform;

    /// Points around a few far corners: each corner becomes a cluster's mean, from this seed.
    #[test]
    fn corners_are_found() {
        for dimensions in [2, 40] {
            let corner = |point: usize, at: usize| if point % 4 == at % 4 { 10.0 } else { 0.0 };
            let points: Vec<f32> = (0..400 * dimensions)
                .map(|place| {
                    let (point, at) = (place / dimensions, place % dimensions);
                    corner(point, at) + uniform(5, place as u64) as f32
                })
                .collect();
            let centroids = cluster(&points, dimensions, 32, 1);
            let mut products = Vec::new();
            let mut error = 0.0f32;
            for point in points.chunks(dimensions) {
                let nearest = centroids.nearest(point, &mut products);
                let naive = (0..centroids.len()).map(|at| distance(point, centroids.row(at)));
                let naive = naive.fold(f32::INFINITY, f32::min);
                let found = distance(point, centroids.row(nearest));
                assert!((found - naive).abs() < 1e-2, "{found} {naive}");
                error += found / dimensions as f32;
            }
            assert!(error / 400.0 < 1.0 / 12.0, "{error}: no better than one mean for a corner");
        }
    }

    fn distance(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
    }
}
