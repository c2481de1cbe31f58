//! The weight of a term in a document.
//!
//! Lucene's form of BM25: `ln(1 + (N - n + 0.5) / (n + 0.5)) * f / (f + k1 * (1 - b + b * l / m))`
//! for a term that stands `f` times in a document of `l` terms, where `N` documents of `m` terms on
//! average are alive and `n` of them hold the term. A query adds that up over its terms, those that
//! it repeats as often as it has them. (Robertson and Zaragoza, "The Probabilistic Relevance
//! Framework: BM25 and Beyond", 2009; the variants are compared by Kamphuis et al., ECIR 2020.)

use thiserror::Error;

/// How frequency and length weigh in BM25.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bm25Options {
    k1: f32,
    b: f32,
}

/// A weight that is out of its range.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error("BM25 takes k1 from 0 to 100 and b from 0 to 1, not k1 {k1} and b {b}")]
pub struct BadBm25Options {
    k1: f32,
    b: f32,
}

/// Largest `k1`; at that the frequency is nearly linear.
const K1_MAX: f32 = 100.0;

impl Bm25Options {
    /// `k1` from 0 to 100 says how slowly a repeated term stops counting; `b` from 0 to 1 how much
    /// longer documents are discounted.
    ///
    /// # Errors
    /// If one is out of its range.
    pub fn new(k1: f32, b: f32) -> Result<Self, BadBm25Options> {
        match (0.0..=K1_MAX).contains(&k1) && (0.0..=1.0).contains(&b) {
            true => Ok(Self { k1, b }),
            false => Err(BadBm25Options { k1, b }),
        }
    }

    /// How slowly a repeated term stops counting.
    pub fn k1(&self) -> f32 {
        self.k1
    }

    /// How much longer documents are discounted.
    pub fn b(&self) -> f32 {
        self.b
    }

    /// The discount in a collection whose documents have `mean` terms.
    pub(super) fn discount(&self, mean: f32) -> Discount {
        let slope = if mean > 0.0 { self.k1 * self.b / mean } else { 0.0 };
        Discount { constant: self.k1 * (1.0 - self.b), slope }
    }
}

impl Default for Bm25Options {
    /// `k1` 0.9 and `b` 0.4, as the published baselines of our sets.
    fn default() -> Self {
        Self { k1: 0.9, b: 0.4 }
    }
}

/// What stands beside a frequency `f` in `f / (f + constant + slope * length)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Discount {
    constant: f32,
    slope: f32,
}

impl Discount {
    /// Every share is whole.
    pub(super) const NONE: Self = Self { constant: 0.0, slope: 0.0 };

    /// The part of a term's rarity that a document gets, in (0, 1].
    #[inline(always)]
    pub(super) fn share(self, frequency: f32, length: f32) -> f32 {
        frequency / (frequency + (self.constant + self.slope * length))
    }
}

/// What a collection weighs a term that is in `with` of `all` documents.
pub(super) fn rarity(all: u64, with: u64) -> f64 {
    let (all, with) = (all as f64, with.min(all) as f64);
    ((all - with + 0.5) / (with + 0.5)).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_refused() {
        assert!(Bm25Options::new(0.0, 1.0).is_ok());
        for (k1, b) in [(-0.1, 0.4), (f32::NAN, 0.4), (0.9, 1.1), (101.0, 0.0), (0.9, f32::NAN)] {
            assert!(Bm25Options::new(k1, b).is_err(), "{k1} {b}");
        }
        let error = Bm25Options::new(-1.0, 0.5).unwrap_err();
        assert!(error.to_string().ends_with("not k1 -1 and b 0.5"), "{error}");
    }
}
