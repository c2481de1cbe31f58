//! Where a tenant is among its batches: epochs of batches, grouped into optimizer steps.

use serde::{Deserialize, Serialize};

use crate::plan::batch::{Batch, KnownPositives, build, drawn_by};
use crate::plan::sampler::Sampler;
use crate::spec::{Example, Length, Settings};

/// The next batch to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// Epoch, from 0.
    pub(crate) epoch: u32,
    /// Batch of the epoch, from 0.
    pub(crate) batch: usize,
}

/// A tenant's way through its examples. Everything in it but the cursor follows from examples and
/// settings.
#[derive(Debug)]
pub(crate) struct Course {
    sampler: Sampler,
    accumulate: usize,
    known: KnownPositives,
    cursor: Cursor,
    /// The batches of the cursor's epoch, as indices of examples.
    batches: Vec<Vec<u32>>,
    /// Those of the epoch after it, once they are drawn.
    after: Option<Vec<Vec<u32>>>,
}

/// Optimizer steps of the first epoch: batches by `accumulate`, the last one perhaps of fewer.
pub fn steps_per_epoch(examples: &[Example], settings: &Settings) -> u64 {
    let batches = sampler_of(settings).batches(examples, 0).len();
    batches.div_ceil(settings.accumulate) as u64
}

/// Optimizer steps in all. Epochs can differ by a step where the shuffle decides how many batches
/// the rule against duplicates needs, so each is counted.
pub(crate) fn steps_total(examples: &[Example], settings: &Settings) -> u64 {
    let sampler = sampler_of(settings);
    match settings.length {
        Length::Steps(steps) => steps,
        Length::Epochs(epochs) => (0..epochs)
            .map(|epoch| sampler.batches(examples, epoch).len().div_ceil(settings.accumulate))
            .sum::<usize>() as u64,
    }
}

fn sampler_of(settings: &Settings) -> Sampler {
    let Settings { batch, negatives_max, seed, .. } = *settings;
    Sampler { batch, negatives_max, seed }
}

impl Course {
    /// At the first batch of the first epoch.
    pub(crate) fn new(examples: &[Example], settings: &Settings) -> Self {
        let sampler = sampler_of(settings);
        let known = KnownPositives::new(examples);
        let batches = sampler.batches(examples, 0);
        let (accumulate, cursor) = (settings.accumulate, Cursor::default());
        Self { sampler, accumulate, known, cursor, batches, after: None }
    }

    /// Goes to a cursor that this course has.
    pub(crate) fn seek(&mut self, examples: &[Example], cursor: Cursor) {
        if cursor.epoch != self.cursor.epoch {
            self.batches = self.sampler.batches(examples, cursor.epoch);
            self.after = None;
        }
        self.cursor = cursor;
    }

    /// Batches of its step that lie behind a cursor; `None` if this course has no such batch.
    pub(crate) fn batch_of_step_at(&self, examples: &[Example], cursor: Cursor) -> Option<usize> {
        let batches = self.sampler.batches(examples, cursor.epoch).len();
        (cursor.batch < batches).then_some(cursor.batch % self.accumulate)
    }

    /// The next batch to run.
    pub(crate) fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Whether no batch of an epoch has anything to compare.
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Builds the next batch.
    pub(crate) fn batch(&self, examples: &[Example]) -> Batch {
        self.build(examples, &self.batches[self.cursor.batch])
    }

    /// Builds the batch after it, unless that is in another epoch, whose batches are drawn then.
    pub(crate) fn batch_after(&mut self, examples: &[Example]) -> Option<Batch> {
        let members = self.batches.get(self.cursor.batch + 1);
        let batch = members.map(|members| self.build(examples, members));
        if batch.is_none() && self.after.is_none() {
            self.after = Some(self.sampler.batches(examples, self.cursor.epoch + 1));
        }
        batch
    }

    fn build(&self, examples: &[Example], members: &[u32]) -> Batch {
        build(examples, members, &self.known, &drawn_by(self.sampler, self.cursor.epoch))
    }

    /// Texts of the cursor's batch and all after it in its epoch, in order.
    pub(crate) fn upcoming(&self, examples: &[Example]) -> Vec<u32> {
        let mut texts = Vec::new();
        for &member in self.batches[self.cursor.batch..].iter().flatten() {
            match &examples[member as usize] {
                Example::Pair { anchor, positive, negatives } => {
                    texts.extend([*anchor, *positive]);
                    let epoch = self.cursor.epoch;
                    let drawn = self.sampler.negatives(negatives.len(), member, epoch);
                    texts.extend(drawn.into_iter().map(|at| negatives[at]));
                }
                Example::Scored { left, right, .. } => texts.extend([*left, *right]),
                Example::Choice { right, wrong } => {
                    texts.push(right.text);
                    let epoch = self.cursor.epoch;
                    let drawn = self.sampler.negatives(wrong.len(), member, epoch);
                    texts.extend(drawn.into_iter().map(|at| wrong[at].text));
                }
            }
        }
        texts
    }

    /// Batches averaged into the step that the cursor's batch belongs to. A step never reaches
    /// into the next epoch.
    pub(crate) fn batches_of_step(&self) -> usize {
        let first = self.cursor.batch - self.batch_of_step();
        self.accumulate.min(self.batches.len() - first)
    }

    /// Batches of the current step that lie behind the cursor.
    pub(crate) fn batch_of_step(&self) -> usize {
        self.cursor.batch % self.accumulate
    }

    /// Whether the cursor's batch completes its optimizer step.
    pub(crate) fn is_last_of_step(&self) -> bool {
        self.batch_of_step() + 1 == self.batches_of_step()
    }

    /// Goes to the next batch, which may be the first of the next epoch.
    pub(crate) fn advance(&mut self, examples: &[Example]) {
        self.cursor.batch += 1;
        if self.cursor.batch == self.batches.len() {
            self.cursor = Cursor { epoch: self.cursor.epoch + 1, batch: 0 };
            let draw = || self.sampler.batches(examples, self.cursor.epoch);
            self.batches = self.after.take().unwrap_or_else(draw);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Course, Cursor, Example, Length, Settings, steps_per_epoch, steps_total};

    fn examples(count: u32) -> Vec<Example> {
        let pair = |i| Example::Pair { anchor: i, positive: 1000 + i, negatives: vec![2000 + i] };
        (0..count).map(pair).collect()
    }

    fn check(count: u32, accumulate: usize, per_epoch: u64, sizes: &[usize]) {
        let examples = examples(count);
        let settings =
            Settings { batch: 4, accumulate, length: Length::Epochs(3), ..Settings::default() };
        assert_eq!(steps_per_epoch(&examples, &settings), per_epoch);
        assert_eq!(steps_total(&examples, &settings), 3 * per_epoch);
        let mut course = Course::new(&examples, &settings);
        let mut seen = Vec::new();
        while course.cursor().epoch == 0 {
            if course.batch_of_step() == 0 {
                seen.push(course.batches_of_step());
            }
            course.advance(&examples);
        }
        assert_eq!(seen, sizes, "{count} examples, accumulate {accumulate}");
        assert_eq!(course.cursor(), Cursor { epoch: 1, batch: 0 });
    }

    #[test]
    fn steps_group_batches_and_stay_within_an_epoch() {
        check(8, 1, 2, &[1, 1]);
        check(18, 2, 3, &[2, 2, 1]);
        check(18, 8, 1, &[5]);
    }

    #[test]
    fn a_sought_course_goes_on_as_one_that_walked_there() {
        let examples = examples(30);
        let settings = Settings { batch: 4, ..Settings::default() };
        let mut walked = Course::new(&examples, &settings);
        for _ in 0..11 {
            walked.advance(&examples);
        }
        let mut sought = Course::new(&examples, &settings);
        sought.seek(&examples, walked.cursor());
        assert_eq!(sought.batch(&examples), walked.batch(&examples));
        assert_eq!(sought.batch_of_step_at(&examples, Cursor { epoch: 0, batch: 7 }), Some(0));
        assert_eq!(sought.batch_of_step_at(&examples, Cursor { epoch: 0, batch: 8 }), None);
    }

    #[test]
    fn a_course_that_looks_ahead_goes_the_same_way() {
        let examples = examples(30);
        let settings = Settings { batch: 4, ..Settings::default() };
        let mut ahead = Course::new(&examples, &settings);
        let mut behind = Course::new(&examples, &settings);
        for _ in 0..20 {
            let after = ahead.batch_after(&examples);
            let epoch = ahead.cursor().epoch;
            ahead.advance(&examples);
            behind.advance(&examples);
            let batch = ahead.batch(&examples);
            assert_eq!(batch, behind.batch(&examples));
            assert_eq!(after, (ahead.cursor().epoch == epoch).then_some(batch));
        }
        assert_eq!(ahead.cursor().epoch, 2);
        ahead.seek(&examples, Cursor { epoch: 1, batch: 7 });
        assert_eq!(ahead.batch_after(&examples), None);
        ahead.seek(&examples, Cursor { epoch: 0, batch: 7 });
        ahead.advance(&examples);
        behind.seek(&examples, Cursor { epoch: 1, batch: 0 });
        assert_eq!(ahead.batch(&examples), behind.batch(&examples));
    }

    #[test]
    fn upcoming_texts_are_those_of_the_batches_to_come() {
        let examples = examples(10);
        let settings = Settings { batch: 4, ..Settings::default() };
        let mut course = Course::new(&examples, &settings);
        course.advance(&examples);
        let upcoming = course.upcoming(&examples);
        let mut asked = Vec::new();
        while course.cursor().epoch == 0 {
            asked.extend(course.batch(&examples).texts);
            course.advance(&examples);
        }
        assert_eq!(upcoming, asked);
    }
}
