//! How the answers of a tenant's retrievers become one.

use cotenant_index::fusion::{Fused, Fusion, Learning, Normalisation, Ranked, named, put_first};
use cotenant_index::{Hit, Slot};
use serde::{Deserialize, Serialize};

/// Weights of literals that are tried, where those of words and vectors add up to 1.
const HOLDING_CHOICES: [f32; 5] = [0.0, 0.1, 0.2, 0.5, 1.0];

/// What quoted phrases count at least: what holds them is found whatever was learnt of codes.
const PHRASE_WEIGHT_MIN: f32 = 0.1;

/// A way of fusion, as a file names it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Way {
    /// By ranks.
    ReciprocalRank {
        /// How little the first ranks stand out.
        k: f32,
    },
    /// By scores from 0 to 1.
    MinMax,
    /// By scores in standard deviations.
    ZScore,
}

/// How lists become one: a way, and how much each retriever counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// The way.
    pub way: Way,
    /// Of BM25.
    pub words: f32,
    /// Of vectors.
    pub vectors: f32,
    /// Of documents in which a code of the query stands as it is.
    pub holding: f32,
    /// Whether those come first that a code names (see [`named`]).
    #[serde(default)]
    pub naming: bool,
}

/// What the retrievers found for a query, each best first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lists {
    /// By BM25.
    pub words: Vec<Hit>,
    /// By vectors.
    pub vectors: Vec<Hit>,
    /// Documents that hold a code.
    pub codes: Vec<Hit>,
    /// Documents that hold a quoted phrase.
    pub phrases: Vec<Hit>,
}

impl Default for Mix {
    /// Reciprocal rank with `k` 60 and equal weights: good where nothing was learnt.
    fn default() -> Self {
        let way = Way::ReciprocalRank { k: 60.0 };
        Self { way, words: 0.5, vectors: 0.5, holding: 0.1, naming: true }
    }
}

impl Lists {
    /// Number of entries.
    pub(super) fn entries(&self) -> usize {
        self.words.len() + self.vectors.len() + self.codes.len() + self.phrases.len()
    }

    /// Leaves a document out.
    pub(super) fn leave_out(&mut self, slot: Slot) {
        for list in [&mut self.words, &mut self.vectors, &mut self.codes, &mut self.phrases] {
            list.retain(|hit| hit.slot != slot);
        }
    }
}

impl Way {
    fn fusion(self) -> Fusion {
        let by_score = |normalisation| Fusion::WeightedScore { normalisation };
        match self {
            Self::ReciprocalRank { k } => Fusion::ReciprocalRank { k },
            Self::MinMax => by_score(Normalisation::MinMax),
            Self::ZScore => by_score(Normalisation::ZScore),
        }
    }

    fn of(fusion: Fusion) -> Self {
        match fusion {
            Fusion::ReciprocalRank { k } => Self::ReciprocalRank { k },
            Fusion::WeightedScore { normalisation: Normalisation::MinMax } => Self::MinMax,
            Fusion::WeightedScore { normalisation: Normalisation::ZScore } => Self::ZScore,
        }
    }
}

impl Mix {
    /// The best `k` of all lists. Documents that hold what the user quoted come before the others,
    /// and then those that a code names, if they are to.
    pub fn fuse(&self, lists: &Lists, k: usize) -> Vec<Hit> {
        let ranked = [
            (&lists.words, self.words),
            (&lists.vectors, self.vectors),
            (&lists.codes, self.holding),
            (&lists.phrases, self.holding.max(PHRASE_WEIGHT_MIN)),
        ];
        // A list that nobody asked for or that counts nothing must not bring its documents in.
        let ranked = ranked.iter().filter(|(hits, weight)| !hits.is_empty() && *weight > 0.0);
        let ranked: Vec<Ranked<'_>> =
            ranked.map(|&(hits, weight)| Ranked { hits, weight }).collect();
        let named = if self.naming && self.holding > 0.0 { named(&lists.codes) } else { &[] };
        let all = put_first(self.way.fusion().fuse(&ranked, usize::MAX), named);
        let all = put_first(all, &lists.phrases);
        all.into_iter().map(|one| one.hit).take(k).collect()
    }

    /// The mix that judged queries like best; `score` says how good an answer to the query at a
    /// place is. The default where there are none.
    ///
    /// Words and vectors are weighed first; what a code counts and names is tried afterwards, on the
    /// queries that have one, and is nothing there unless it helps. Where none has one it is the
    /// default's.
    pub(super) fn learn(
        queries: &[Lists],
        depth: usize,
        score: &dyn Fn(usize, &[Hit]) -> f64,
    ) -> Self {
        let pairs: Vec<Vec<Vec<Hit>>> =
            queries.iter().map(|lists| vec![lists.words.clone(), lists.vectors.clone()]).collect();
        let objective = |query: usize, fused: &[Fused]| {
            score(query, &fused.iter().map(|one| one.hit).collect::<Vec<_>>())
        };
        let learning = Learning { queries: &pairs, depth, objective: &objective };
        let Some(learned) = learning.learn() else { return Self::default() };
        let [words, vectors] = learned.weights[..] else { return Self::default() };
        let way = Way::of(learned.fusion);
        let base = Self { way, words, vectors, holding: 0.0, naming: false };
        let with: Vec<usize> =
            (0..queries.len()).filter(|&at| !queries[at].codes.is_empty()).collect();
        if with.is_empty() {
            return Self { way, words, vectors, ..Self::default() };
        }
        let value = |mix: &Self| -> f64 {
            with.iter().map(|&at| score(at, &mix.fuse(&queries[at], depth))).sum()
        };
        let mut best = (base, value(&base));
        let choices = HOLDING_CHOICES.map(|holding| [false, true].map(|naming| (holding, naming)));
        for (holding, naming) in choices.into_iter().flatten() {
            let mix = Self { holding, naming, ..base };
            let there = value(&mix);
            if there > best.1 {
                best = (mix, there);
            }
        }
        best.0
    }

    /// Whether its numbers are weights.
    pub(super) fn is_sound(&self) -> bool {
        let k = match self.way {
            Way::ReciprocalRank { k } => k,
            Way::MinMax | Way::ZScore => 0.0,
        };
        [k, self.words, self.vectors, self.holding].iter().all(|v| v.is_finite() && *v >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(slots: &[u32]) -> Vec<Hit> {
        let scores = (0..).map(|at| 1.0 / (1.0 + at as f32));
        slots.iter().zip(scores).map(|(&slot, score)| Hit { slot: Slot(slot), score }).collect()
    }

    fn slots(hits: &[Hit]) -> Vec<u32> {
        hits.iter().map(|hit| hit.slot.0).collect()
    }

    #[test]
    fn what_was_quoted_comes_first() {
        let lists = Lists { words: list(&[1, 2, 3]), phrases: list(&[3, 7]), ..Lists::default() };
        assert_eq!(slots(&Mix::default().fuse(&lists, 10)), [3, 7, 1, 2]);
        assert_eq!(slots(&Mix::default().fuse(&lists, 1)), [3]);
    }

    #[test]
    fn what_a_code_names_comes_next() {
        let (words, vectors) = (list(&[1, 2, 3]), list(&[1, 2, 3]));
        let lists = |codes: &[u32], phrases: &[u32]| {
            let (words, vectors) = (words.clone(), vectors.clone());
            Lists { words, vectors, codes: list(codes), phrases: list(phrases) }
        };
        let mix = Mix::default();
        assert_eq!(slots(&mix.fuse(&lists(&[9], &[]), 10)), [9, 1, 2, 3]);
        assert_eq!(slots(&mix.fuse(&lists(&[9], &[3]), 10)), [3, 9, 1, 2]);
        assert_eq!(slots(&mix.fuse(&lists(&[9, 8, 7, 6], &[]), 3)), [1, 2, 3], "many hold it");
        let deaf = Mix { holding: 0.0, ..mix };
        assert_eq!(slots(&deaf.fuse(&lists(&[9], &[]), 10)), [1, 2, 3]);
        let weighing = Mix { naming: false, ..mix };
        assert_eq!(slots(&weighing.fuse(&lists(&[9], &[]), 10)), [1, 2, 3, 9]);
    }

    #[test]
    fn a_list_of_no_weight_brings_nothing() {
        let mix = Mix { vectors: 0.0, ..Mix::default() };
        let lists = Lists { words: list(&[1]), vectors: list(&[2]), ..Lists::default() };
        assert_eq!(slots(&mix.fuse(&lists, 10)), [1]);
    }

    #[test]
    fn literals_count_where_they_help() {
        let right = |_: usize, hits: &[Hit]| {
            hits.iter()
                .position(|hit| hit.slot == Slot(5))
                .map_or(0.0, |at| 1.0 / (at as f64 + 1.0))
        };
        let (words, vectors) = (list(&[1, 5, 2]), list(&[2, 1, 5]));
        let with = |codes: &[u32]| {
            let codes = list(codes);
            Lists { words: words.clone(), vectors: vectors.clone(), codes, ..Lists::default() }
        };
        let helped = Mix::learn(&[with(&[5]), with(&[])], 10, &right);
        assert!(helped.holding > 0.0, "{helped:?}");
        assert_eq!(Mix::learn(&[with(&[1]), with(&[])], 10, &right).holding, 0.0);
        let unknown = Mix::learn(&[with(&[]), with(&[])], 10, &right);
        assert!(unknown.naming && unknown.holding > 0.0, "nobody knows better");
        assert_eq!(Mix::learn(&[], 10, &right), Mix::default());
        assert!(helped.is_sound());
        assert!(!Mix { words: f32::NAN, ..helped }.is_sound());
    }
}
