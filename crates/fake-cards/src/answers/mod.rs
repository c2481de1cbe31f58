//! What NVML answers of a card beside its memory and its processes: partitions, errors, limits.
//!
//! It is recorded: a text says what a card answered, as [`Recorded`] reads it, and a test may change
//! it while programs run. Partitions are made and destroyed here as NVML does it, so that whoever
//! makes them finds them again from another process.

mod facts;
mod limits;
mod partitions;
mod recorded;

pub(crate) use facts::Answers;
pub use facts::{CardAnswers, ProfileAnswers};
pub(crate) use limits::MemoryLimit;
pub use limits::{LimitRefused, MemoryLimitFacts};
pub use partitions::{ComputeFacts, PartitionFacts, PartitionRefused};
pub use recorded::{RecordError, Recorded};

use crate::cards::Cards;

impl Cards {
    /// From now on a card answers as was recorded. Partitions that it has stay.
    pub fn play(&self, card: usize, recorded: &Recorded) {
        let mut world = self.now();
        if card < world.cards_len() {
            let answers = &mut world.cards[card].answers;
            answers.told = recorded.told;
            answers.profiles = recorded.profiles;
        }
    }

    /// What a card answers beside its partitions.
    #[must_use]
    pub fn answers(&self, card: usize) -> Option<CardAnswers> {
        let world = self.now();
        (card < world.cards_len()).then(|| world.cards[card].answers.told)
    }

    /// Changes what a card answers.
    pub fn change_answers(&self, card: usize, change: impl FnOnce(&mut CardAnswers)) {
        let mut world = self.now();
        if card < world.cards_len() {
            change(&mut world.cards[card].answers.told);
        }
    }
}
