//! What simulated cards do: partitions come and go, and things break when they are told to.
//!
//! ```text
//!              inject(OffBus)                 a lost card forgets its partitions
//!   working ------------------> lost          and refuses everything
//!      ^                          |
//!      +--------------------------+
//!              clear(OffBus)
//! ```

use std::collections::{BTreeMap, BTreeSet};

use cotenant_types::{Card, CardId, Mebibytes, MigPlace, MigProfile, Rung, Share};
use thiserror::Error;

use crate::meter::{CardUse, Health};
use crate::vitals::Vitals;

/// Cards that a simulator drives; nothing happens here unless it is called for.
#[derive(Clone, Debug, Default)]
pub struct SimulatedCards(BTreeMap<CardId, State>);

/// What can be wrong with a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CardFault {
    /// It has fallen off the bus: no call reaches it, and its partitions are forgotten.
    OffBus,
    /// Its partitions are in use by somebody, and can be neither made nor removed.
    MigBusy,
    /// The MPS server that serves it has died.
    MpsDown,
}

/// Why a simulated card refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SimulatedError {
    /// No such card.
    #[error("there is no simulated card '{0}'")]
    Unknown(CardId),
    /// It is off the bus.
    #[error("card '{0}' has fallen off the bus")]
    Lost(CardId),
    /// Its partitions cannot be changed now.
    #[error("card '{0}' is in use, so that its partitions cannot be changed; try again later")]
    Busy(CardId),
    /// Its MPS server is dead.
    #[error("the MPS server of card '{0}' has died")]
    MpsDown(CardId),
    /// Not a rung of this card.
    #[error("card '{card}' does not offer the rung '{rung}'")]
    Rung {
        /// The card.
        card: CardId,
        /// What was asked of it.
        rung: Rung,
    },
    /// It is not in MIG mode.
    #[error("card '{0}' is not in MIG mode")]
    NotMig(CardId),
    /// No profile of that name.
    #[error("card '{card}' has no profile '{profile}'; it has {known}")]
    Profile {
        /// The card.
        card: CardId,
        /// The name that was asked for.
        profile: String,
        /// The names that it has.
        known: String,
    },
    /// The profile may not begin there.
    #[error("a partition {} of card '{card}' may not begin at slot {}, only at {legal:?}",
            place.profile, place.start)]
    Start {
        /// The card.
        card: CardId,
        /// What was asked for.
        place: MigPlace,
        /// Slots that it may begin at.
        legal: Vec<u8>,
    },
    /// As many as the card allows are there.
    #[error("card '{card}' has {count_max} partitions {profile}, which is all that it allows")]
    Count {
        /// The card.
        card: CardId,
        /// The profile's name.
        profile: String,
        /// How many the card allows.
        count_max: u8,
    },
    /// Something lies there.
    #[error("a partition {} at slot {} of card '{card}' would lie on the {} at slot {}",
            place.profile, place.start, taken.profile, taken.start)]
    Overlap {
        /// The card.
        card: CardId,
        /// What was asked for.
        place: MigPlace,
        /// What is in its way.
        taken: MigPlace,
    },
    /// Nothing to remove there.
    #[error("card '{card}' has no partition {} at slot {}", place.profile, place.start)]
    NoPartition {
        /// The card.
        card: CardId,
        /// What was to go.
        place: MigPlace,
    },
}

#[derive(Clone, Debug)]
struct State {
    card: Card,
    partitions: BTreeSet<MigPlace>,
    faults: BTreeSet<CardFault>,
    compute: Share,
    memory_used: Mebibytes,
}

impl SimulatedCards {
    /// These cards, working, idle and without partitions.
    pub fn new(cards: impl IntoIterator<Item = Card>) -> Self {
        let state = |card: Card| {
            let (partitions, faults) = (BTreeSet::new(), BTreeSet::new());
            let (compute, memory_used) = (Share::ZERO, Mebibytes(0));
            (card.id.clone(), State { card, partitions, faults, compute, memory_used })
        };
        Self(cards.into_iter().map(state).collect())
    }

    /// Cards that a search of the bus finds now, by name.
    pub fn found(&self) -> impl Iterator<Item = &Card> {
        let found = self.0.values().filter(|state| !state.faults.contains(&CardFault::OffBus));
        found.map(|state| &state.card)
    }

    /// Breaks something; breaking it again changes nothing.
    pub fn inject(&mut self, id: &CardId, fault: CardFault) -> Result<(), SimulatedError> {
        let state = self.state_mut(id)?;
        state.faults.insert(fault);
        if fault == CardFault::OffBus {
            state.partitions.clear();
            (state.compute, state.memory_used) = (Share::ZERO, Mebibytes(0));
        }
        Ok(())
    }

    /// Mends something; mending what works changes nothing.
    pub fn clear(&mut self, id: &CardId, fault: CardFault) -> Result<(), SimulatedError> {
        self.state_mut(id)?.faults.remove(&fault);
        Ok(())
    }

    /// Whether a process can start on the card under that rung now.
    pub fn check_start(&self, id: &CardId, rung: Rung) -> Result<(), SimulatedError> {
        let state = self.working(id)?;
        if !state.card.rungs.contains(&rung) {
            return Err(SimulatedError::Rung { card: id.clone(), rung });
        }
        if rung == Rung::Mps && state.faults.contains(&CardFault::MpsDown) {
            return Err(SimulatedError::MpsDown(id.clone()));
        }
        Ok(())
    }

    /// Partitions of the card, by profile and slot.
    pub fn partitions(&self, id: &CardId) -> Result<&BTreeSet<MigPlace>, SimulatedError> {
        self.working(id).map(|state| &state.partitions)
    }

    /// Makes a partition, and gives the id by which a process is shown it.
    pub fn create(&mut self, id: &CardId, place: &MigPlace) -> Result<String, SimulatedError> {
        let state = self.working(id)?;
        state.check_new(place)?;
        if state.faults.contains(&CardFault::MigBusy) {
            return Err(SimulatedError::Busy(id.clone()));
        }
        self.state_mut(id)?.partitions.insert(place.clone());
        Ok(format!("MIG-{id}/{}/{}", place.profile, place.start))
    }

    /// Removes a partition.
    pub fn destroy(&mut self, id: &CardId, place: &MigPlace) -> Result<(), SimulatedError> {
        let state = self.working(id)?;
        if !state.partitions.contains(place) {
            return Err(SimulatedError::NoPartition { card: id.clone(), place: place.clone() });
        }
        if state.faults.contains(&CardFault::MigBusy) {
            return Err(SimulatedError::Busy(id.clone()));
        }
        self.state_mut(id)?.partitions.remove(place);
        Ok(())
    }

    /// Says what the card is doing from now on. Memory beyond the card's counts as all of it.
    pub fn set_use(
        &mut self,
        id: &CardId,
        compute: Share,
        memory_used: Mebibytes,
    ) -> Result<(), SimulatedError> {
        self.working(id)?;
        let state = self.state_mut(id)?;
        state.compute = compute;
        state.memory_used = memory_used.min(state.card.memory);
        Ok(())
    }

    /// What the card is doing. A lost card is read as such: that is news and no error.
    pub fn read_use(&self, id: &CardId) -> Result<CardUse, SimulatedError> {
        let state = self.0.get(id).ok_or_else(|| SimulatedError::Unknown(id.clone()))?;
        let health = if state.faults.contains(&CardFault::OffBus) {
            Health::Lost
        } else if state.faults.contains(&CardFault::MpsDown) {
            Health::MpsDown
        } else {
            Health::Good
        };
        let (compute, memory_used) = (state.compute, state.memory_used);
        let (temperature_c, power_mw) = (None, None);
        let (card, vitals) = (id.clone(), Vitals::default());
        Ok(CardUse { card, compute, memory_used, temperature_c, power_mw, health, vitals })
    }

    fn state_mut(&mut self, id: &CardId) -> Result<&mut State, SimulatedError> {
        self.0.get_mut(id).ok_or_else(|| SimulatedError::Unknown(id.clone()))
    }

    /// The card, if it is on the bus.
    fn working(&self, id: &CardId) -> Result<&State, SimulatedError> {
        let state = self.0.get(id).ok_or_else(|| SimulatedError::Unknown(id.clone()))?;
        if state.faults.contains(&CardFault::OffBus) {
            return Err(SimulatedError::Lost(id.clone()));
        }
        Ok(state)
    }
}

impl State {
    /// Whether the partition may be made, whoever uses the card.
    fn check_new(&self, place: &MigPlace) -> Result<(), SimulatedError> {
        let card = || self.card.id.clone();
        let Some(geometry) = &self.card.mig else {
            return Err(SimulatedError::NotMig(card()));
        };
        let Some(profile) = geometry.profile(&place.profile) else {
            let known: Vec<&str> = geometry.profiles.iter().map(|one| &*one.name).collect();
            let (profile, known) = (place.profile.clone(), known.join(", "));
            return Err(SimulatedError::Profile { card: card(), profile, known });
        };
        if !profile.starts.contains(&place.start) {
            let legal = profile.starts.clone();
            return Err(SimulatedError::Start { card: card(), place: place.clone(), legal });
        }
        let mask = profile.mask(place.start);
        let covers = |taken: &&MigPlace| {
            let other = geometry.profile(&taken.profile);
            other.is_some_and(|other| other.mask(taken.start) & mask != 0)
        };
        if let Some(taken) = self.partitions.iter().find(covers) {
            let (place, taken) = (place.clone(), taken.clone());
            return Err(SimulatedError::Overlap { card: card(), place, taken });
        }
        self.check_count(profile)
    }

    fn check_count(&self, profile: &MigProfile) -> Result<(), SimulatedError> {
        let alike = self.partitions.iter().filter(|taken| taken.profile == profile.name);
        if alike.count() < usize::from(profile.count_max) {
            return Ok(());
        }
        let (card, count_max) = (self.card.id.clone(), profile.count_max);
        Err(SimulatedError::Count { card, profile: profile.name.clone(), count_max })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use proptest::sample::select;

    use super::*;
    use crate::{CardsSpec, Model};

    fn cards(text: &str) -> (SimulatedCards, CardId) {
        let CardsSpec::Simulated(pool) = text.parse().unwrap() else {
            panic!("{text} is not simulated");
        };
        (SimulatedCards::new(pool.cards()), "sim-n0-0".parse().unwrap())
    }

    fn place(text: &str) -> MigPlace {
        let (profile, start) = text.split_once('@').unwrap();
        MigPlace { profile: profile.to_owned(), start: start.parse().unwrap() }
    }

    #[test]
    fn partitions_obey_the_card() {
        let check = |steps: &str, expected: &str| {
            let (mut cards, id) = cards("sim:1xH100+mig");
            let mut last = String::new();
            for step in steps.split(' ') {
                let result = match step.strip_prefix('-') {
                    Some(gone) => cards.destroy(&id, &place(gone)).map(|()| String::new()),
                    None => cards.create(&id, &place(step)),
                };
                last = result.unwrap_or_else(|error| error.to_string());
            }
            assert!(last.contains(expected), "{steps:?} gave {last:?}");
        };
        check("1g.10gb@6", "MIG-sim-n0-0/1g.10gb/6");
        check("3g.40gb@0 3g.40gb@4", "MIG-");
        check("4g.40gb@0 2g.20gb@4 1g.10gb@6", "MIG-");
        check("1g.5gb@0", "has no profile '1g.5gb'; it has 1g.10gb, 1g.10gb+me");
        check("1g.10gb@7", "may not begin at slot 7, only at [0, 1, 2, 3, 4, 5, 6]");
        check("7g.80gb@0 1g.10gb@3", "would lie on the 7g.80gb at slot 0");
        check("1g.10gb@0 1g.10gb@0", "would lie on the 1g.10gb at slot 0");
        check("1g.10gb+me@0 1g.10gb+me@1", "1 partitions 1g.10gb+me, which is all");
        check("-1g.10gb@0", "no partition 1g.10gb at slot 0");
        check("7g.80gb@0 -7g.80gb@0 1g.10gb@3", "MIG-");
    }

    #[test]
    fn faults_come_and_go() {
        let (mut cards, id) = cards("sim:1xA100+mig");
        let first = place("1g.10gb@0");
        cards.create(&id, &first).unwrap();
        cards.inject(&id, CardFault::MigBusy).unwrap();
        let busy = Err(SimulatedError::Busy(id.clone()));
        assert_eq!(cards.create(&id, &place("1g.10gb@1")).map(drop), busy);
        assert_eq!(cards.destroy(&id, &first), busy);
        cards.clear(&id, CardFault::MigBusy).unwrap();
        cards.inject(&id, CardFault::OffBus).unwrap();
        assert_eq!(cards.found().count(), 0);
        assert_eq!(cards.destroy(&id, &first), Err(SimulatedError::Lost(id.clone())));
        assert_eq!(cards.read_use(&id).unwrap().health, Health::Lost);
        cards.clear(&id, CardFault::OffBus).unwrap();
        assert_eq!(cards.found().count(), 1);
        assert!(cards.partitions(&id).unwrap().is_empty(), "a lost card forgets its partitions");
    }

    #[test]
    fn a_dead_mps_server_stops_its_rung_alone() {
        let (mut cards, id) = cards("sim:1xL40S");
        cards.inject(&id, CardFault::MpsDown).unwrap();
        let dead = Err(SimulatedError::MpsDown(id.clone()));
        assert_eq!(cards.check_start(&id, Rung::Mps), dead);
        assert_eq!(cards.check_start(&id, Rung::TimeSlice), Ok(()));
        assert_eq!(cards.read_use(&id).unwrap().health, Health::MpsDown);
        let rung = Rung::Mig;
        let wrong = Err(SimulatedError::Rung { card: id.clone(), rung });
        assert_eq!(cards.check_start(&id, rung), wrong);
        let not_mig = Err(SimulatedError::NotMig(id.clone()));
        assert_eq!(cards.create(&id, &place("1g.10gb@0")).map(drop), not_mig);
    }

    #[test]
    fn what_cards_do_is_what_was_set() {
        let (mut cards, id) = cards("sim:2xT4");
        cards.set_use(&id, Share::WHOLE, Mebibytes(u64::MAX)).unwrap();
        let read = cards.read_use(&id).unwrap();
        assert_eq!((read.compute, read.memory_used), (Share::WHOLE, Mebibytes(15_360)));
        let other: CardId = "sim-n0-9".parse().unwrap();
        assert_eq!(cards.read_use(&other), Err(SimulatedError::Unknown(other)));
    }

    proptest! {
        /// Any calls at all, on any model: what lies on the card is counted slot by slot, apart
        /// from the masks that the code itself uses.
        #[test]
        fn partitions_never_overlap(
            model in select(vec!["A30", "A100-40GB", "A100", "H20", "H100", "H200", "B200"]),
            calls in proptest::collection::vec((any::<bool>(), 0usize..8, 0u8..10), 0..60),
        ) {
            let (mut cards, id) = cards(&format!("sim:1x{model}+mig"));
            let geometry = Model::named(model).unwrap().mig().unwrap();
            for (is_new, profile, start) in calls {
                let profile = geometry.profiles.get(profile).map_or("none", |one| &*one.name);
                let place = MigPlace { profile: profile.to_owned(), start };
                let before = cards.partitions(&id).unwrap().clone();
                let done = match is_new {
                    true => cards.create(&id, &place).map(drop),
                    false => cards.destroy(&id, &place),
                };
                let after = cards.partitions(&id).unwrap();
                prop_assert_eq!(done.is_ok(), &before != after);
                let mut owners = vec![0; usize::from(geometry.slots)];
                let mut compute = 0;
                for taken in after {
                    let profile = geometry.profile(&taken.profile).unwrap();
                    compute += profile.compute.per_mille();
                    for slot in taken.start..taken.start + profile.width {
                        owners[usize::from(slot)] += 1;
                    }
                    let alike = after.iter().filter(|other| other.profile == taken.profile);
                    prop_assert!(alike.count() <= usize::from(profile.count_max));
                }
                prop_assert!(owners.iter().all(|&owners| owners <= 1), "{after:?}");
                prop_assert!(compute <= 1000, "{after:?}");
            }
        }
    }
}
