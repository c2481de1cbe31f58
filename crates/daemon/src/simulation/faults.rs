//! What can go wrong, and when in a job's life it can.

use std::collections::BTreeMap;

use cotenant_sched::{Job, Phase};

use super::dice::Dice;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    StartFails,
    AnswerLost,
    AnswerTwice,
    ExitLost,
    MigBusy,
    MpsDown,
    CardFallsOff,
    NodeCutOff,
    ClockJumps,
    DiskFull,
    StoreBusy,
    DiesBeforeCommands,
    DiesAmidCommands,
    DiesBeforeAnswers,
    DiesAfterAnswers,
}

/// Where in its life a job is that a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Queued,
    Starting,
    Running,
    Stopping,
}

impl Stage {
    pub(super) const ALL: [Stage; 4] =
        [Stage::Queued, Stage::Starting, Stage::Running, Stage::Stopping];

    pub(super) fn of(job: &Job) -> Self {
        match job.phase {
            Phase::Queued { .. } => Stage::Queued,
            Phase::Starting { .. } => Stage::Starting,
            Phase::Running { .. } => Stage::Running,
            Phase::Stopping { .. } => Stage::Stopping,
        }
    }
}

impl Fault {
    pub(super) const ALL: [Fault; 15] = [
        Fault::StartFails,
        Fault::AnswerLost,
        Fault::AnswerTwice,
        Fault::ExitLost,
        Fault::MigBusy,
        Fault::MpsDown,
        Fault::CardFallsOff,
        Fault::NodeCutOff,
        Fault::ClockJumps,
        Fault::DiskFull,
        Fault::StoreBusy,
        Fault::DiesBeforeCommands,
        Fault::DiesAmidCommands,
        Fault::DiesBeforeAnswers,
        Fault::DiesAfterAnswers,
    ];

    /// The stages of a job that it can strike in.
    ///
    /// A start is carried out while its job is starting, or while a gang whose other machine failed
    /// is stopped already. An end is told of what was started, whatever became of it since.
    pub(super) fn stages(self) -> &'static [Stage] {
        match self {
            Fault::StartFails
            | Fault::AnswerLost
            | Fault::AnswerTwice
            | Fault::MigBusy
            | Fault::MpsDown => &[Stage::Starting, Stage::Stopping],
            Fault::ExitLost => &[Stage::Starting, Stage::Running, Stage::Stopping],
            Fault::CardFallsOff
            | Fault::NodeCutOff
            | Fault::ClockJumps
            | Fault::DiskFull
            | Fault::StoreBusy
            | Fault::DiesBeforeCommands
            | Fault::DiesAmidCommands
            | Fault::DiesBeforeAnswers
            | Fault::DiesAfterAnswers => &Stage::ALL,
        }
    }
}

/// How often each fault has struck jobs in each stage.
pub(super) type Fired = BTreeMap<(Fault, Stage), u32>;

/// How often each fault strikes in a thousand chances.
pub(super) struct Odds(BTreeMap<Fault, u64>);

impl Odds {
    /// Some faults never strike in a run, so that what the others do shows.
    pub(super) fn throw(dice: &mut Dice) -> Self {
        let odds = Fault::ALL.into_iter().map(|fault| (fault, *dice.pick(&[0, 20, 100])));
        Self(odds.collect())
    }

    /// From now on nothing goes wrong.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn strikes(&self, fault: Fault, dice: &mut Dice) -> bool {
        self.0.get(&fault).is_some_and(|&odds| dice.happens(odds))
    }
}
