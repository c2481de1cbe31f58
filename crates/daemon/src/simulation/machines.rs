//! Machines that run jobs in numbers: what executors, supervisors and networks do, and fail to do.

use std::collections::{BTreeMap, BTreeSet};

use cotenant_sched::{Command, Event, Exit, Run};
use cotenant_types::{Generation, JobId, Moment, NodeName};

use super::dice::Dice;
use super::world::Fault;

/// Chance, and whether a fault strikes by it.
pub(super) type Chance<'a> = (&'a mut Dice, &'a mut Strikes<'a>);

/// Says whether a fault strikes.
pub(super) type Strikes<'a> = dyn FnMut(Fault, &mut Dice) -> bool + 'a;

/// A part of a job on a machine.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// It runs until then.
    Runs(Moment),
    /// It ended so.
    Ended(Exit),
}

/// Every machine, and what it remembers of runs, as run folders do.
#[derive(Default)]
pub(super) struct Machines {
    pub(super) parts: BTreeMap<Run, Part>,
    /// Machines that are cut off: they hear and say nothing.
    pub(super) cut_off: BTreeSet<NodeName>,
}

impl Machines {
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
        let exited = |exit: &Exit| Event::Exited { run: run.clone(), exit: exit.clone() };
        let mut said = Vec::new();
        match command {
            Command::Start { .. } => match self.parts.get(&run) {
                Some(Part::Ended(exit)) => said.push(exited(exit)),
                Some(Part::Runs(_)) => said.push(Event::Started { run: run.clone() }),
                None if faults(Fault::StartFails, dice) => {
                    self.parts.insert(run.clone(), Part::Ended(Exit::Lost));
                    said.push(Event::StartFailed { run, why: "it would not".to_owned() });
                }
                None => {
                    let until = now.after_ms(dice.below(120_000));
                    self.parts.insert(run.clone(), Part::Runs(until));
                    if !faults(Fault::AnswerLost, dice) {
                        said.push(Event::Started { run: run.clone() });
                        if faults(Fault::AnswerTwice, dice) {
                            said.push(Event::Started { run });
                        }
                    }
                }
            },
            Command::Stop { grace, .. } => match self.parts.get_mut(&run) {
                Some(Part::Ended(exit)) => said.push(exited(exit)),
                Some(Part::Runs(until)) => *until = now.after_ms(dice.below(grace.to_ms() + 1)),
                None => {
                    self.parts.insert(run.clone(), Part::Ended(Exit::Lost));
                    said.push(exited(&Exit::Lost));
                }
            },
            Command::Kill { .. } => {
                self.parts.insert(run.clone(), Part::Ended(Exit::Signal(9)));
                said.push(exited(&Exit::Signal(9)));
            }
            Command::SetLimits { .. } | Command::GiveNotice { .. } => {}
        }
        said
    }

    /// Ends what has come to its end; gives what is said about it.
    pub(super) fn pass_time(&mut self, now: Moment, (dice, faults): Chance<'_>) -> Vec<Event> {
        let mut said = Vec::new();
        for (run, part) in &mut self.parts {
            let Part::Runs(until) = part else { continue };
            if *until > now {
                continue;
            }
            let exits = [Exit::Code(0), Exit::Code(0), Exit::Code(1), Exit::OutOfMemory];
            let exit = dice.pick(&exits).clone();
            *part = Part::Ended(exit.clone());
            let is_heard = !self.cut_off.contains(&run.node) && !faults(Fault::ExitLost, dice);
            if is_heard {
                said.push(Event::Exited { run: run.clone(), exit });
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
                Some(Part::Ended(exit)) => {
                    Some(Event::Exited { run: run.clone(), exit: exit.clone() })
                }
                Some(Part::Runs(_)) | None => None,
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
        let runs = |part: &Part| matches!(part, Part::Runs(_));
        self.parts.iter().filter(move |(_, part)| runs(part)).map(|(run, _)| run)
    }

    /// A machine that was cut off for so long that its workers ended themselves.
    pub(super) fn lose_lease(&mut self, node: &NodeName) {
        for (run, part) in &mut self.parts {
            if run.node == *node && matches!(part, Part::Runs(_)) {
                *part = Part::Ended(Exit::Lost);
            }
        }
    }
}
