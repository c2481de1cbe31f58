//! From examples to what the encoder and the loss need: each text once, and rows that refer to them.

use std::collections::HashMap;

use crate::loss::{Choices, Ranking, Scored, Task};
use crate::plan::sampler::Sampler;
use crate::spec::Example;

/// A batch with each text once, in the order of first use.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Batch {
    /// Numbers in the tenant's table.
    pub(crate) texts: Vec<u32>,
    /// What is compared.
    pub(crate) task: Task,
    /// Number of examples.
    pub(crate) pairs: usize,
}

/// The positives of each anchor that has several, so that none is taken for a negative.
#[derive(Debug, Default)]
pub(crate) struct KnownPositives(HashMap<u32, Vec<u32>>);

impl KnownPositives {
    /// Collects them from all examples of a tenant.
    pub(crate) fn new(examples: &[Example]) -> Self {
        let mut known: HashMap<u32, Vec<u32>> = HashMap::new();
        for example in examples {
            if let Example::Pair { anchor, positive, .. } = example {
                known.entry(*anchor).or_default().push(*positive);
            }
        }
        known.retain(|_, positives| {
            positives.sort_unstable();
            positives.dedup();
            positives.len() > 1
        });
        Self(known)
    }

    fn of(&self, anchor: u32) -> &[u32] {
        self.0.get(&anchor).map_or(&[], Vec::as_slice)
    }
}

/// Texts numbered by first use.
#[derive(Default)]
struct Rows {
    texts: Vec<u32>,
    rows: HashMap<u32, u32>,
}

impl Rows {
    fn row(&mut self, text: u32) -> u32 {
        *self.rows.entry(text).or_insert_with(|| {
            self.texts.push(text);
            (self.texts.len() - 1) as u32
        })
    }
}

/// Builds the batch of these examples, which are all of one kind.
pub(crate) fn build(
    examples: &[Example],
    members: &[u32],
    known: &KnownPositives,
    draw: &dyn Fn(u32, usize) -> Vec<usize>,
) -> Batch {
    let mut rows = Rows::default();
    let mut ranking = Ranking::default();
    let mut scored = Scored::default();
    let mut choices = Choices::default();
    let mut anchors = Vec::with_capacity(members.len());
    let mut negatives = Vec::new();
    for &member in members {
        match &examples[member as usize] {
            Example::Pair { anchor, positive, negatives: hard } => {
                anchors.push((*anchor, *positive));
                ranking.anchors.push(rows.row(*anchor));
                ranking.columns.push(rows.row(*positive));
                let drawn = draw(member, hard.len()).into_iter().map(|at| hard[at]);
                negatives.extend(drawn.map(|text| rows.row(text)));
            }
            Example::Scored { left, right, score } => {
                scored.left.push(rows.row(*left));
                scored.right.push(rows.row(*right));
                scored.scores.push(*score);
            }
            Example::Choice { right, wrong } => {
                let drawn = draw(member, wrong.len()).into_iter().map(|at| wrong[at]);
                for candidate in [*right].into_iter().chain(drawn) {
                    choices.candidates.push(rows.row(candidate.text));
                    choices.priors.push(candidate.prior);
                }
                choices.ends.push(choices.candidates.len());
            }
        }
    }
    let task = if !choices.ends.is_empty() {
        Task::Choices(choices)
    } else if anchors.is_empty() {
        Task::Scored(scored)
    } else {
        add_columns(&mut ranking, &negatives);
        exclude(&mut ranking, &anchors, &rows, known);
        Task::Ranking(ranking)
    };
    Batch { texts: rows.texts, task, pairs: members.len() }
}

/// Appends each hard negative once, unless it is a positive of the batch and so a column already.
fn add_columns(ranking: &mut Ranking, negatives: &[u32]) {
    let mut seen: Vec<u32> = ranking.columns.clone();
    seen.sort_unstable();
    for &row in negatives {
        if let Err(at) = seen.binary_search(&row) {
            seen.insert(at, row);
            ranking.columns.push(row);
        }
    }
}

/// Leaves out, for each anchor, the columns that are right answers too: its other known positives,
/// and the anchor's own text.
fn exclude(ranking: &mut Ranking, anchors: &[(u32, u32)], rows: &Rows, known: &KnownPositives) {
    let columns: HashMap<u32, u32> =
        ranking.columns.iter().enumerate().map(|(at, &row)| (row, at as u32)).collect();
    for (at, &(anchor, positive)) in anchors.iter().enumerate() {
        let right = known.of(anchor).iter().copied().chain([anchor]);
        let mut excluded: Vec<u32> = right
            .filter(|&text| text != positive)
            .filter_map(|text| rows.rows.get(&text).and_then(|row| columns.get(row)).copied())
            .collect();
        excluded.sort_unstable();
        ranking.excluded.extend(excluded.into_iter().map(|column| (at as u32, column)));
    }
}

/// The draw of hard negatives that a sampler makes in an epoch.
pub(crate) fn drawn_by(sampler: Sampler, epoch: u32) -> impl Fn(u32, usize) -> Vec<usize> {
    move |example, negatives| sampler.negatives(negatives, example, epoch)
}

#[cfg(test)]
mod tests {
    use super::{Choices, Example, KnownPositives, Ranking, Scored, Task, build};
    use crate::spec::Candidate;

    fn pair(anchor: u32, positive: u32, negatives: &[u32]) -> Example {
        Example::Pair { anchor, positive, negatives: negatives.to_vec() }
    }

    fn check(examples: &[Example], members: &[u32], texts: &[u32], task: Task) {
        let known = KnownPositives::new(examples);
        let batch = build(examples, members, &known, &|_, hard| (0..hard).collect());
        assert_eq!(batch.texts, texts);
        assert_eq!(batch.task, task);
        assert_eq!(batch.pairs, members.len());
    }

    #[test]
    fn texts_are_listed_once_and_negatives_form_extra_columns() {
        check(
            &[pair(1, 2, &[9, 8]), pair(3, 4, &[9, 2])],
            &[0, 1],
            &[1, 2, 9, 8, 3, 4],
            Task::Ranking(Ranking {
                anchors: vec![0, 4],
                columns: vec![1, 5, 2, 3],
                excluded: vec![],
            }),
        );
    }

    #[test]
    fn other_right_answers_of_an_anchor_are_left_out() {
        // Text 6 answers 1 as well (by an example outside of the batch), and is a negative of 3.
        check(
            &[pair(1, 2, &[]), pair(3, 4, &[6, 3]), pair(1, 6, &[]), pair(1, 4, &[])],
            &[0, 1],
            &[1, 2, 3, 4, 6],
            Task::Ranking(Ranking {
                anchors: vec![0, 2],
                columns: vec![1, 3, 4, 2],
                excluded: vec![(0, 1), (0, 2), (1, 3)],
            }),
        );
    }

    #[test]
    fn candidates_of_a_question_stay_together() {
        // A candidate's prior tells its text.
        let candidate = |text: u32| Candidate { text, prior: text as f32 };
        let choice = |right: u32, wrong: &[u32]| Example::Choice {
            right: candidate(right),
            wrong: wrong.iter().map(|&text| candidate(text)).collect(),
        };
        check(
            &[choice(4, &[5, 6]), choice(7, &[]), choice(8, &[4])],
            &[2, 0, 1],
            &[8, 4, 5, 6, 7],
            Task::Choices(Choices {
                candidates: vec![0, 1, 1, 2, 3, 4],
                priors: vec![8.0, 4.0, 4.0, 5.0, 6.0, 7.0],
                ends: vec![2, 5, 6],
            }),
        );
    }

    #[test]
    fn scored_pairs_keep_their_scores() {
        let scored = |left, right, score| Example::Scored { left, right, score };
        check(
            &[scored(5, 6, 0.5), scored(6, 7, 1.0)],
            &[1, 0],
            &[6, 7, 5],
            Task::Scored(Scored { left: vec![0, 2], right: vec![1, 0], scores: vec![1.0, 0.5] }),
        );
    }
}
