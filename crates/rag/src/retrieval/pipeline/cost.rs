//! What a search spends: work is counted, and each piece of work has a price.
//!
//! The unit is the microsecond of one thread of the machine on which the prices were taken (Zen 4,
//! 384 dimensions; `docs/retrieval.md` says how). Prices are constants and not taken anew at each
//! start, so that the same data give the same rule everywhere; only their ratios decide anything.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Pieces of work, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Searches by words that were begun: what one costs whatever it reads.
    pub word_searches: u64,
    /// Entries of word lists that were read.
    pub postings: u64,
    /// Texts that were read to see whether something stands there word for word.
    pub texts: u64,
    /// Queries that a model turned into a vector.
    pub encoded: u64,
    /// Vectors compared by one bit a dimension.
    pub codes: u64,
    /// Vectors compared in 8 bits a dimension, wherever they lie.
    pub fine: u64,
    /// Vectors compared in 8 or 16 bits a dimension one after the other.
    pub scanned: u64,
    /// Vectors that a walk through a graph compared.
    pub walked: u64,
    /// Vectors compared in f32 one after the other.
    pub full: u64,
    /// Vectors compared in f32 wherever an index has them.
    pub looked_up: u64,
    /// Entries of lists that were fused.
    pub fused: u64,
    /// Documents that a reranker read together with the query.
    pub reranked: u64,
}

/// What each piece of work costs, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Of one search by words.
    pub word_search_ns: f64,
    /// Of an entry of a word list.
    pub posting_ns: f64,
    /// Of a text that is read for words that must stand there.
    pub text_ns: f64,
    /// Of a query's vector.
    pub encode_ns: f64,
    /// Of a comparison by one bit a dimension.
    pub code_ns: f64,
    /// Of a comparison in 8 bits a dimension, with keeping the vector among the candidates.
    pub fine_ns: f64,
    /// Of a comparison in 8 bits a dimension with one vector after the other.
    pub scanned_ns: f64,
    /// Of a vector that a walk through a graph compares.
    pub walked_ns: f64,
    /// Of a comparison in f32 with one vector after the other.
    pub full_ns: f64,
    /// Of a comparison in f32 with a vector that is looked up in an index, with keeping it among
    /// the candidates.
    pub looked_up_ns: f64,
    /// Of an entry that is fused.
    pub fused_ns: f64,
    /// Of a document that is reranked.
    pub rerank_ns: f64,
}

/// Dimensions of the vectors by which the prices were taken.
const PRICED_DIMENSIONS: f64 = 384.0;

impl Default for Prices {
    /// As the example `stage_prices` measured them on scifact, on a machine that others used too.
    fn default() -> Self {
        Self {
            word_search_ns: 4_000.0,
            posting_ns: 5.0,
            text_ns: 12_000.0,
            encode_ns: 7_000_000.0,
            code_ns: 8.0,
            fine_ns: 230.0,
            scanned_ns: 24.0,
            walked_ns: 64.0,
            full_ns: 175.0,
            looked_up_ns: 760.0,
            fused_ns: 105.0,
            rerank_ns: 18_000_000.0,
        }
    }
}

impl Prices {
    /// Prices for vectors of another width: comparisons cost by the byte.
    pub fn for_dimensions(dimensions: usize) -> Self {
        let by = dimensions as f64 / PRICED_DIMENSIONS;
        let usual = Self::default();
        Self {
            code_ns: usual.code_ns * by,
            fine_ns: usual.fine_ns * by,
            scanned_ns: usual.scanned_ns * by,
            walked_ns: usual.walked_ns * by,
            full_ns: usual.full_ns * by,
            looked_up_ns: usual.looked_up_ns * by,
            ..usual
        }
    }

    /// Whether each is a number and none is below 0.
    pub(super) fn are_sound(&self) -> bool {
        let all = [
            self.word_search_ns,
            self.posting_ns,
            self.text_ns,
            self.encode_ns,
            self.code_ns,
            self.fine_ns,
            self.scanned_ns,
            self.walked_ns,
            self.full_ns,
            self.looked_up_ns,
            self.fused_ns,
            self.rerank_ns,
        ];
        all.iter().all(|price| price.is_finite() && *price >= 0.0)
    }
}

impl Work {
    /// Each kind of work by name.
    pub fn pieces(&self) -> [(&'static str, u64); 12] {
        [
            ("word_searches", self.word_searches),
            ("postings", self.postings),
            ("texts", self.texts),
            ("encoded", self.encoded),
            ("codes", self.codes),
            ("fine", self.fine),
            ("scanned", self.scanned),
            ("walked", self.walked),
            ("full", self.full),
            ("looked_up", self.looked_up),
            ("fused", self.fused),
            ("reranked", self.reranked),
        ]
    }

    /// Vectors that were compared, in whatever way.
    pub fn vectors(&self) -> u64 {
        self.codes + self.fine + self.scanned + self.walked + self.full + self.looked_up
    }

    /// What the index did, in microseconds: all but the models' part.
    pub fn search_us(&self, prices: &Prices) -> f64 {
        let parts = [
            (self.word_searches, prices.word_search_ns),
            (self.postings, prices.posting_ns),
            (self.texts, prices.text_ns),
            (self.codes, prices.code_ns),
            (self.fine, prices.fine_ns),
            (self.scanned, prices.scanned_ns),
            (self.walked, prices.walked_ns),
            (self.full, prices.full_ns),
            (self.looked_up, prices.looked_up_ns),
            (self.fused, prices.fused_ns),
        ];
        parts.iter().map(|&(count, price)| count as f64 * price).sum::<f64>() / 1000.0
    }

    /// What all of it costs, in microseconds: the query's vector and the reranker included.
    pub fn total_us(&self, prices: &Prices) -> f64 {
        let models =
            self.encoded as f64 * prices.encode_ns + self.reranked as f64 * prices.rerank_ns;
        self.search_us(prices) + models / 1000.0
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.word_searches += other.word_searches;
        self.postings += other.postings;
        self.texts += other.texts;
        self.encoded += other.encoded;
        self.codes += other.codes;
        self.fine += other.fine;
        self.scanned += other.scanned;
        self.walked += other.walked;
        self.full += other.full;
        self.looked_up += other.looked_up;
        self.fused += other.fused;
        self.reranked += other.reranked;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_counted_apart() {
        let mut work = Work { postings: 1000, codes: 10, ..Work::default() };
        work += Work { encoded: 1, full: 100, fused: 2, ..Work::default() };
        let prices = Prices {
            posting_ns: 1.0,
            code_ns: 2.0,
            full_ns: 10.0,
            fused_ns: 40.0,
            ..Prices::default()
        };
        assert_eq!(work.search_us(&prices), 1.0 + 0.02 + 1.0 + 0.08);
        assert_eq!(work.total_us(&prices), work.search_us(&prices) + prices.encode_ns / 1000.0);
    }

    #[test]
    fn wider_vectors_cost_more() {
        let (usual, twice) = (Prices::default(), Prices::for_dimensions(768));
        assert_eq!(twice.full_ns, 2.0 * usual.full_ns);
        assert_eq!(twice.posting_ns, usual.posting_ns);
        assert!(usual.are_sound());
        assert!(!Prices { code_ns: f64::NAN, ..usual }.are_sound());
        assert!(!Prices { code_ns: -1.0, ..usual }.are_sound());
    }
}
