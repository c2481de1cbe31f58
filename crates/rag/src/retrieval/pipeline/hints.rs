//! What a query and its first answers tell about how much more work would change.
//!
//! Numbers from 0 to 1 or near it, so that one scale fits all collections. They are what the
//! literature on predicting a query's performance finds useful and what costs nothing here: gaps
//! between scores (Shtok et al., TOIS 2012), rarity and number of terms (He and Ounis, SPIRE 2004),
//! and whether retrievers agree (Diaz, SIGIR 2007).

use cotenant_index::Hit;
use cotenant_index::text::QueryTerm;

use super::blend::Blend;

/// Documents at the top of two answers that are compared.
const TOP: usize = 10;

/// Terms of a query that is long; longer ones are told apart no more.
const TERMS_LONG: f64 = 32.0;

/// Number of hints after the search by words.
pub(super) const AFTER_WORDS: usize = 8;

/// Number of hints after both searches.
pub(super) const AFTER_BOTH: usize = AFTER_WORDS + 5;

/// Number of hints after a part of what was found has been read again.
pub(super) const AFTER_READING: usize = 6;

/// What the search by words tells.
pub(super) struct WordHints<'a> {
    pub terms: &'a [QueryTerm],
    /// Best first.
    pub hits: &'a [Hit],
    /// Number of documents that hold a literal of the query, up to the number that was asked for.
    pub holding: usize,
    /// Number of documents of the collection.
    pub documents: u64,
}

impl WordHints<'_> {
    /// The hints, [`AFTER_WORDS`] of them.
    pub(super) fn values(&self) -> Vec<f64> {
        let score = |at: usize| self.hits.get(at).map_or(0.0, |hit| f64::from(hit.score));
        let best = score(0);
        let gap = |at: usize| if best > 0.0 { (best - score(at)) / best } else { 0.0 };
        let weight = |term: &QueryTerm| term.rarity * f64::from(term.repeated);
        let most: f64 = self.terms.iter().map(weight).sum();
        // The rarity of a term that one document holds.
        let rarest = (1.0 + self.documents as f64).ln().max(f64::MIN_POSITIVE);
        let highest = self.terms.iter().map(|term| term.rarity).fold(0.0, f64::max);
        let mean = self.terms.iter().map(|term| term.rarity).sum::<f64>();
        let mean = mean / self.terms.len().max(1) as f64;
        vec![
            gap(1),
            gap(TOP - 1),
            if most > 0.0 { best / most } else { 0.0 },
            ((1.0 + self.terms.len() as f64).ln() / (1.0 + TERMS_LONG).ln()).min(1.0),
            highest / rarest,
            mean / rarest,
            if self.holding > 0 { 1.0 } else { 0.0 },
            if self.hits.len() >= TOP { 1.0 } else { 0.0 },
        ]
    }
}

/// The hints after both searches, [`AFTER_BOTH`] of them: those of the words first.
pub(super) fn after_both(of_words: &[f64], words: &[Hit], near: &[Hit]) -> Vec<f64> {
    let top = |hits: &[Hit]| hits.iter().take(TOP).map(|hit| hit.slot).collect::<Vec<_>>();
    let (by_words, by_vectors) = (top(words), top(near));
    let shared = by_words.iter().filter(|slot| by_vectors.contains(slot)).count();
    let agree = !by_words.is_empty() && by_words.first() == by_vectors.first();
    let score = |at: usize| near.get(at).map_or(0.0, |hit| f64::from(hit.score));
    let both = [
        shared as f64 / TOP as f64,
        if agree { 1.0 } else { 0.0 },
        score(0),
        score(0) - score(1),
        score(0) - score(TOP - 1),
    ];
    of_words.iter().copied().chain(both).collect()
}

/// The hints after the best documents have been read again and others have not, [`AFTER_READING`] of
/// them: whether the reranker is sure of an answer, and what the next document would need of it to
/// come among the first. `found` is of all, from 0 to 1.
pub(super) fn after_reading(found: &[f32], reread: &[f32], blend: Blend) -> Vec<f64> {
    let mut by_reading: Vec<f32> = reread.to_vec();
    by_reading.sort_by(|one, other| other.total_cmp(one));
    let both = found.iter().zip(reread).map(|(&found, &reread)| blend.score(found, reread));
    let mut both: Vec<f32> = both.collect();
    both.sort_by(|one, other| other.total_cmp(one));
    let at = |scores: &[f32], at: usize| f64::from(scores.get(at).copied().unwrap_or_default());
    let last = both.len().saturating_sub(1);
    let next = at(found, reread.len());
    let needed = (at(&both, last) - next) / f64::from(blend.weight()).max(f64::MIN_POSITIVE);
    let first_is_best = reread.first() == by_reading.first();
    vec![
        at(&by_reading, 0),
        at(&by_reading, 0) - at(&by_reading, 1),
        at(&both, 0) - at(&both, 1),
        at(&both, 0) - at(&both, last),
        if needed.is_finite() { needed } else { 0.0 },
        if first_is_best { 1.0 } else { 0.0 },
    ]
}

#[cfg(test)]
mod tests {
    use cotenant_index::Slot;

    use super::*;

    fn hits(scores: &[(u32, f32)]) -> Vec<Hit> {
        scores.iter().map(|&(slot, score)| Hit { slot: Slot(slot), score }).collect()
    }

    #[test]
    fn gaps_rarity_and_agreement_are_seen() {
        let term =
            |documents, rarity| QueryTerm { term: "t".to_owned(), repeated: 1, documents, rarity };
        let terms = [term(1, 4.0), term(50, 1.0)];
        let words = hits(&[(3, 4.0), (1, 3.0)]);
        let found = WordHints { terms: &terms, hits: &words, holding: 1, documents: 99 }.values();
        let rarest = 100f64.ln();
        let length = 3f64.ln() / 33f64.ln();
        let expected = [0.25, 1.0, 0.8, length, 4.0 / rarest, 2.5 / rarest, 1.0, 0.0];
        assert_eq!(found, expected);
        let both = after_both(&found, &words, &hits(&[(3, 0.5), (9, 0.25)]));
        assert_eq!(both[AFTER_WORDS..], [0.1, 1.0, 0.5, 0.25, 0.5]);
        assert_eq!(both.len(), AFTER_BOTH);
    }

    #[test]
    fn what_was_read_tells_whether_more_is_worth_it() {
        let blend = Blend::new(0.5).unwrap();
        let told = after_reading(&[1.0, 0.75, 0.5, 0.25], &[-1.0, 2.0, 0.5], blend);
        // With both: 0.5, 1.75 and 0.75; the fourth needs 0.5 more than its 0.25.
        assert_eq!(told, [2.0, 1.5, 1.0, 1.25, 0.5, 0.0]);
        assert_eq!(after_reading(&[1.0], &[3.0], blend)[5], 1.0);
        for blend in [blend, Blend::default()] {
            for reread in [&[][..], &[1.0]] {
                let told = after_reading(&[], reread, blend);
                assert!(told.len() == AFTER_READING && told.iter().all(|it| it.is_finite()));
            }
        }
    }

    #[test]
    fn a_query_without_any_hit_has_finite_hints() {
        let found = WordHints { terms: &[], hits: &[], holding: 0, documents: 0 }.values();
        assert_eq!(found.len(), AFTER_WORDS);
        assert!(after_both(&found, &[], &[]).iter().all(|value| value.is_finite()));
    }
}
