//! Machines that run jobs in numbers: what executors, supervisors, cards and networks do, and fail
//! to do. Their cards are the simulated ones of the device crate, which know what a partition is.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_device::{CardFault, SimulatedCards, SimulatedError};
use cotenant_sched::{Command, Event, Exit, Run, StartFailure};
use cotenant_types::{
    Card, CardId, Generation, JobId, Mebibytes, MemberSlices, MigPlace, Moment, NodeName, Rung,
};

use super::dice::Dice;
use super::faults::Fault;

/// Chance, and whether a fault strikes a run by it.
pub(super) type Chance<'a> = (&'a mut Dice, &'a mut Strikes<'a>);

/// Says whether a fault strikes a job's run.
pub(super) type Strikes<'a> = dyn FnMut(Fault, JobId, &mut Dice) -> bool + 'a;

/// A part of a job on a machine.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// It runs until then, in these partitions.
    Runs(Moment, Vec<(CardId, MigPlace)>),
    /// It ended so.
    Ended(Exit),
}

/// Every machine, and what it remembers of runs, as run folders do.
pub(super) struct Machines {
    pub(super) parts: BTreeMap<Run, Part>,
    /// Machines that are cut off: they hear and say nothing.
    pub(super) cut_off: BTreeSet<NodeName>,
    cards: SimulatedCards,
}

impl Machines {
    pub(super) fn new(cards: Vec<Card>) -> Self {
        let (parts, cut_off) = (BTreeMap::new(), BTreeSet::new());
        Self { parts, cut_off, cards: SimulatedCards::new(cards) }
    }

    /// The cards that a machine finds now.
    pub(super) fn found(&self, node: &NodeName) -> Vec<Card> {
        self.cards.found().filter(|card| card.node == *node).cloned().collect()
    }

    /// A card falls off the bus.
    pub(super) fn lose(&mut self, card: &CardId) {
        self.cards.inject(card, CardFault::OffBus).unwrap();
    }

    /// A card is back on the bus, without partitions.
    pub(super) fn find(&mut self, card: &CardId) {
        self.cards.clear(card, CardFault::OffBus).unwrap();
    }

    /// Hears a command; gives what is said about it.
    pub(super) fn hear(
        &mut self,
        now: Moment,
        command: &Command,
        (dice, faults): Chance<'_>,
    ) -> Vec<Event> {
        let run = match command {
            Command::Start { run, .. }
            | Command::Stop { run, .. }
            | Command::Kill { run }
            | Command::SetLimits { run, .. }
            | Command::GiveNotice { run, .. } => run.clone(),
        };
        if self.cut_off.contains(&run.node) {
            return Vec::new();
        }
        match command {
            Command::Start { members, .. } => self.start(now, (&run, members), (dice, faults)),
            Command::Stop { grace, .. } => match self.parts.get_mut(&run) {
                Some(Part::Ended(exit)) => vec![exited(&run, exit)],
                Some(Part::Runs(until, _)) => {
                    *until = now.after_ms(dice.below(grace.to_ms() + 1));
                    Vec::new()
                }
                None => vec![self.end(&run, Exit::Lost)],
            },
            Command::Kill { .. } => vec![self.end(&run, Exit::Signal(9))],
            Command::SetLimits { .. } | Command::GiveNotice { .. } => Vec::new(),
        }
    }

    fn start(
        &mut self,
        now: Moment,
        (run, members): (&Run, &[MemberSlices]),
        (dice, faults): Chance<'_>,
    ) -> Vec<Event> {
        let started = || Event::Started { run: run.clone() };
        match self.parts.get(run) {
            Some(Part::Ended(exit)) => return vec![exited(run, exit)],
            Some(Part::Runs(..)) => return vec![started()],
            None => {}
        }
        let made = match faults(Fault::StartFails, run.job, dice) {
            true => Err(StartFailure::Broken("it would not".to_owned())),
            false => self.make_ready((run, members), (dice, faults)),
        };
        let partitions = match made {
            Ok(partitions) => partitions,
            Err(why) => {
                self.parts.insert(run.clone(), Part::Ended(Exit::Lost));
                return vec![Event::StartFailed { run: run.clone(), why }];
            }
        };
        let until = now.after_ms(dice.below(120_000));
        self.parts.insert(run.clone(), Part::Runs(until, partitions));
        if faults(Fault::AnswerLost, run.job, dice) {
            return Vec::new();
        }
        match faults(Fault::AnswerTwice, run.job, dice) {
            true => vec![started(), started()],
            false => vec![started()],
        }
    }

    /// Makes the partitions of a run and looks whether its cards work; on failure nothing is left.
    fn make_ready(
        &mut self,
        (run, members): (&Run, &[MemberSlices]),
        (dice, faults): Chance<'_>,
    ) -> Result<Vec<(CardId, MigPlace)>, StartFailure> {
        let mut made = Vec::new();
        for slice in members.iter().flat_map(|member| &member.slices) {
            let (fault, strikes) = match slice.enforced_by {
                Rung::Mig => (CardFault::MigBusy, faults(Fault::MigBusy, run.job, dice)),
                _ => (CardFault::MpsDown, faults(Fault::MpsDown, run.job, dice)),
            };
            if strikes {
                self.cards.inject(&slice.card, fault).unwrap();
            }
            let ready = self.cards.check_start(&slice.card, slice.enforced_by);
            let ready = ready.and_then(|()| match &slice.mig {
                Some(place) => {
                    self.cards.create(&slice.card, place)?;
                    made.push((slice.card.clone(), place.clone()));
                    Ok(())
                }
                None => Ok(()),
            });
            self.cards.clear(&slice.card, fault).unwrap();
            if let Err(error) = ready {
                self.remove(made);
                return Err(failure(&error));
            }
        }
        Ok(made)
    }

    /// Removes partitions; a card that fell off the bus has forgotten them.
    fn remove(&mut self, partitions: Vec<(CardId, MigPlace)>) {
        for (card, place) in partitions {
            match self.cards.destroy(&card, &place) {
                Ok(()) | Err(SimulatedError::Lost(_) | SimulatedError::NoPartition { .. }) => {}
                Err(error) => panic!("a partition cannot be removed: {error}"),
            }
        }
    }

    /// A run ends, if it has not before; gives what is said about it.
    fn end(&mut self, run: &Run, exit: Exit) -> Event {
        if let Some(Part::Runs(_, partitions)) =
            self.parts.insert(run.clone(), Part::Ended(exit.clone()))
        {
            self.remove(partitions);
        }
        exited(run, &exit)
    }

    /// Ends what has come to its end; gives what is said about it.
    pub(super) fn pass_time(&mut self, now: Moment, (dice, faults): Chance<'_>) -> Vec<Event> {
        let is_due = |part: &Part| matches!(part, Part::Runs(until, _) if *until <= now);
        let due = self.parts.iter().filter(|(_, part)| is_due(part)).map(|(run, _)| run.clone());
        let due: Vec<Run> = due.collect();
        let mut said = Vec::new();
        for run in due {
            let exits = [Exit::Code(0), Exit::Code(0), Exit::Code(1), Exit::OutOfMemory];
            let told = self.end(&run, dice.pick(&exits).clone());
            if !self.cut_off.contains(&run.node) && !faults(Fault::ExitLost, run.job, dice) {
                said.push(told);
            }
        }
        said
    }

    /// What a machine says when it is asked what it runs: first what ended of the runs that are
    /// held to be alive, then what is left.
    pub(super) fn report(&self, node: &NodeName, held: &[Run]) -> Vec<Event> {
        if self.cut_off.contains(node) {
            return Vec::new();
        }
        let ended = held.iter().filter(|run| run.node == *node).filter_map(|run| {
            match self.parts.get(run) {
                Some(Part::Ended(exit)) => Some(exited(run, exit)),
                Some(Part::Runs(..)) | None => None,
            }
        });
        let mut said: Vec<Event> = ended.collect();
        let runs = self.alive().filter(|run| run.node == *node);
        let runs: Vec<(JobId, Generation)> = runs.map(|run| (run.job, run.generation)).collect();
        said.push(Event::RunsReported { node: node.clone(), runs });
        said
    }

    /// Runs that run.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Run> {
        let runs = |part: &Part| matches!(part, Part::Runs(..));
        self.parts.iter().filter(move |(_, part)| runs(part)).map(|(run, _)| run)
    }

    /// A machine that was cut off for so long that its workers ended themselves.
    pub(super) fn lose_lease(&mut self, node: &NodeName) {
        let here: Vec<Run> = self.alive().filter(|run| run.node == *node).cloned().collect();
        for run in here {
            self.end(&run, Exit::Lost);
        }
    }
}

fn exited(run: &Run, exit: &Exit) -> Event {
    let peak = Some(Mebibytes(1 + run.job.0 % 1_000));
    Event::Exited { run: run.clone(), exit: exit.clone(), peak }
}

/// What a card's refusal means for a start. The geometry of partitions is the scheduler's to obey.
fn failure(error: &SimulatedError) -> StartFailure {
    match error {
        SimulatedError::Busy(_) | SimulatedError::MpsDown(_) => {
            StartFailure::Busy(error.to_string())
        }
        SimulatedError::Lost(_) => StartFailure::Broken(error.to_string()),
        SimulatedError::Unknown(_)
        | SimulatedError::Rung { .. }
        | SimulatedError::NotMig(_)
        | SimulatedError::Profile { .. }
        | SimulatedError::Start { .. }
        | SimulatedError::Count { .. }
        | SimulatedError::Overlap { .. }
        | SimulatedError::NoPartition { .. } => panic!("a start asks what no card can: {error}"),
    }
}
