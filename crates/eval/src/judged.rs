//! One query's ranking beside everything that was judged relevant to it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

/// The grades of a ranked list, and all positive grades of its query, found or not.
///
/// A grade is how relevant a document is: 0 for irrelevant or never judged, larger for better.
/// Some ranked list put the second part in any order, so that is all a metric needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Grade of each ranked document, best rank first.
    grades: Vec<u32>,
    /// Every positive grade of the query, highest first: the ideal ranking. Never empty.
    ideal: Vec<u32>,
}

/// A ranked list shows a positive grade more often than its query has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingPositive {
    /// The grade that has too few judgments.
    pub grade: u32,
}

impl fmt::Display for MissingPositive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the ranking holds grade {} more often than the query's positive grades do",
            self.grade
        )
    }
}

impl Error for MissingPositive {}

impl Judged {
    /// Looks up a ranking (best first) in a query's judgments `(document, grade)`.
    ///
    /// Returns `None` for a query without a positive judgment: it cannot be scored, and a mean over
    /// queries leaves it out. A grade of 0 or less is irrelevant, as in trec_eval. A document
    /// that is ranked twice counts at its better rank only; of two judgments of one document the
    /// higher counts.
    ///
    /// The caller decides what may stand in a ranking: the BEIR benchmark, for one, removes a
    /// document whose id equals the query's.
    pub fn new<I: Ord>(ranking: &[I], judgments: &[(I, i64)]) -> Option<Self> {
        let mut unseen: BTreeMap<&I, u32> = BTreeMap::new();
        for (document, grade) in judgments {
            let grade = u32::try_from((*grade).max(0)).unwrap_or(u32::MAX);
            if grade > 0 {
                let known = unseen.entry(document).or_default();
                *known = grade.max(*known);
            }
        }
        let ideal = sorted(unseen.values().copied().collect());
        let grades = ranking.iter().map(|document| unseen.remove(document).unwrap_or(0)).collect();
        (!ideal.is_empty()).then_some(Self { grades, ideal })
    }

    /// Takes grades that are known already: of the ranked documents (best first), and all positive
    /// grades of the query in any order.
    ///
    /// Returns `Ok(None)` for a query without a positive grade. Zeros among `positives` are dropped.
    ///
    /// # Errors
    /// [`MissingPositive`] when the ranking holds a positive grade that `positives` lacks.
    pub fn from_grades(
        grades: Vec<u32>,
        positives: Vec<u32>,
    ) -> Result<Option<Self>, MissingPositive> {
        let ideal = sorted(positives.into_iter().filter(|grade| *grade > 0).collect());
        let mut left = ideal.iter().copied().peekable();
        for grade in sorted(grades.iter().copied().filter(|grade| *grade > 0).collect()) {
            while left.next_if(|candidate| *candidate > grade).is_some() {}
            if left.next_if_eq(&grade).is_none() {
                return Err(MissingPositive { grade });
            }
        }
        Ok((!ideal.is_empty()).then_some(Self { grades, ideal }))
    }

    /// Grade of each ranked document, best rank first.
    pub fn grades(&self) -> &[u32] {
        &self.grades
    }

    /// Every positive grade of the query, highest first; at least one.
    pub fn ideal(&self) -> &[u32] {
        &self.ideal
    }

    /// Number of documents that are relevant to the query, found or not; at least 1.
    pub fn relevant(&self) -> usize {
        self.ideal.len()
    }
}

fn sorted(mut grades: Vec<u32>) -> Vec<u32> {
    grades.sort_unstable_by(|left, right| right.cmp(left));
    grades
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ranking: &[&str], judgments: &[(&str, i64)], expected: Option<(&[u32], &[u32])>) {
        let judged = Judged::new(ranking, judgments);
        let found = judged.as_ref().map(|judged| (judged.grades(), judged.ideal()));
        assert_eq!(found, expected, "{ranking:?} {judgments:?}");
    }

    #[test]
    fn a_ranking_is_looked_up_in_its_judgments() {
        check(&["b", "x", "a"], &[("a", 1), ("b", 3)], Some((&[3, 0, 1], &[3, 1])));
        check(&[], &[("a", 1), ("b", 2)], Some((&[], &[2, 1])));
        // Not relevant, by 0 or by less.
        check(&["a", "b", "c"], &[("a", 0), ("b", -2), ("c", 1)], Some((&[0, 0, 1], &[1])));
        // Ranked twice, judged twice.
        check(&["a", "a"], &[("a", 1)], Some((&[1, 0], &[1])));
        check(&["a"], &[("a", 1), ("a", 2), ("a", 1)], Some((&[2], &[2])));
        // Nothing to find.
        check(&["a"], &[], None);
        check(&["a"], &[("a", 0), ("b", -1)], None);
    }

    #[test]
    fn given_grades_must_stand_among_the_positives() {
        let check = |grades: &[u32], positives: &[u32], expected| {
            let found = Judged::from_grades(grades.to_vec(), positives.to_vec());
            let found = found.map(|judged| judged.map(|judged| judged.ideal));
            assert_eq!(found, expected, "{grades:?} {positives:?}");
        };
        check(&[0, 1, 2], &[1, 2, 2, 3], Ok(Some(vec![3, 2, 2, 1])));
        check(&[], &[1], Ok(Some(vec![1])));
        check(&[0, 0], &[0], Ok(None));
        check(&[1, 1], &[1], Err(MissingPositive { grade: 1 }));
        check(&[2], &[3, 1], Err(MissingPositive { grade: 2 }));
        check(&[1], &[], Err(MissingPositive { grade: 1 }));
    }
}
