//! What a generated answer is worth beside a reference: ROUGE, BLEU and METEOR.
//!
//! All three count words in common, so they say how alike two texts are, not whether an answer is
//! true. Each is what its usual package computes, so that numbers compare with published ones.

mod bleu;
mod bleu_words;
mod meteor;
mod ngrams;
mod porter;
mod rouge;
mod words;

pub use bleu::Bleu;
pub use meteor::meteor;
pub use rouge::{Overlap, Pair, Rouge};
pub use words::{Language, Stemming, words};
