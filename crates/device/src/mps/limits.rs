//! What each client of a group may have, and from that what their server lets any have.

use cotenant_types::{CardId, CardKind, Mebibytes, Rung, Slice};
use serde::{Deserialize, Serialize};

use super::command::Say;
use super::error::MpsError;
use crate::environment::Held;

/// A program, with all its processes, that is held by MPS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MpsClient {
    /// Whoever starts it knows it by this; up to 96 letters a-z and A-Z, digits, `-` and `_`.
    pub name: String,
    /// The user that it runs as.
    pub uid: u32,
    /// The part of each card's threads that it may have, from 1 to 100.
    pub percent: u32,
    /// Its cards, in the order in which it sees them.
    pub cards: Vec<ClientCard>,
}

/// A card of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCard {
    /// Which.
    pub card: CardId,
    /// Memory that each of its processes may have there.
    pub memory: Mebibytes,
}

/// Most cards of a client.
const CARDS_MAX: usize = 64;

/// Most letters of a client's name.
const NAME_LEN_MAX: usize = 96;

impl MpsClient {
    /// The client that a program with these slices is; none if MPS holds none of them.
    pub fn of(name: &str, uid: u32, held: &[Held<'_>]) -> Result<Option<Self>, MpsError> {
        let gpus: Vec<&Slice> = held
            .iter()
            .filter(|held| held.card.kind == CardKind::Nvidia)
            .map(|held| held.slice)
            .collect();
        let Some(percent) = percent(gpus.iter().copied()) else { return Ok(None) };
        if let Some(other) = gpus.iter().find(|slice| slice.enforced_by != Rung::Mps) {
            return Err(MpsError::Mixed { name: name.to_owned(), other: other.card.clone() });
        }
        let card =
            |slice: &&Slice| ClientCard { card: slice.card.clone(), memory: slice.memory.limit };
        let cards = gpus.iter().map(card).collect();
        Ok(Some(Self { name: name.to_owned(), uid, percent, cards }))
    }

    /// Refuses what could be no client.
    pub(super) fn check(&self) -> Result<(), MpsError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if !(1..=NAME_LEN_MAX).contains(&self.name.len()) || !self.name.bytes().all(is_plain) {
            return Err(MpsError::Name(self.name.chars().take(NAME_LEN_MAX).collect()));
        }
        let is_twice = |(at, one): (usize, &ClientCard)| {
            self.cards.iter().take(at).any(|earlier| earlier.card == one.card)
        };
        let is_fine = (1..=CARDS_MAX).contains(&self.cards.len())
            && !self.cards.iter().enumerate().any(is_twice);
        is_fine.then_some(()).ok_or_else(|| MpsError::Cards(self.name.clone()))
    }

    pub(super) fn card_ids(&self) -> Vec<CardId> {
        self.cards.iter().map(|one| one.card.clone()).collect()
    }
}

/// The percentage of a program that holds these slices; none without a slice of MPS. MPS has one
/// for all cards of a program, so that the least counts.
pub(crate) fn percent<'a>(slices: impl Iterator<Item = &'a Slice>) -> Option<u32> {
    let served = slices.filter(|slice| slice.enforced_by == Rung::Mps);
    served.map(|slice| (slice.compute.limit.per_mille() / 10).max(1)).min()
}

/// What no client of a group may pass: the largest of what each may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ceiling {
    pub(super) percent: u32,
    /// By ordinal of the card.
    pub(super) memory: Vec<Mebibytes>,
}

impl Ceiling {
    /// Of clients with the same cards; none without any.
    pub(super) fn of(clients: &[MpsClient]) -> Option<Self> {
        let first = clients.first()?;
        let percent = clients.iter().map(|client| client.percent.clamp(1, 100)).max()?;
        let most = |ordinal: usize| {
            let each = clients.iter().filter_map(|client| client.cards.get(ordinal));
            each.map(|card| card.memory).max().unwrap_or(Mebibytes(0))
        };
        Some(Self { percent, memory: (0..first.cards.len()).map(most).collect() })
    }

    /// What makes it hold for the next server and for the next client of each that runs.
    pub(super) fn commands(&self, servers: &[u32]) -> Vec<Say> {
        let mut commands = vec![Say::SetDefaultPercent { percent: self.percent }];
        let memory = || (0usize..).zip(self.memory.iter().copied());
        commands.extend(memory().map(|(ordinal, limit)| Say::SetDefaultMemory { ordinal, limit }));
        for &server in servers {
            commands.push(Say::SetPercent { server, percent: self.percent });
            let each = memory();
            commands.extend(each.map(|(ordinal, limit)| Say::SetMemory { server, ordinal, limit }));
        }
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str, percent: u32, memory: &[u64]) -> MpsClient {
        let card = |(at, &memory): (usize, &u64)| ClientCard {
            card: format!("GPU-{at}").parse().unwrap(),
            memory: Mebibytes(memory),
        };
        let cards = memory.iter().enumerate().map(card).collect();
        MpsClient { name: name.to_owned(), uid: 7, percent, cards }
    }

    #[test]
    fn the_largest_client_is_the_ceiling() {
        let check = |clients: &[MpsClient], servers: &[u32], expected: &str| {
            let commands = Ceiling::of(clients).map(|ceiling| ceiling.commands(servers));
            let lines: Vec<String> =
                commands.into_iter().flatten().map(|it| it.to_string()).collect();
            assert_eq!(lines.join("; "), expected);
        };
        check(&[], &[1], "");
        check(
            &[client("a", 30, &[1024])],
            &[],
            "set_default_active_thread_percentage 30; set_default_device_pinned_mem_limit 0 1G",
        );
        check(
            &[client("a", 30, &[1024, 500]), client("b", 20, &[100, 700])],
            &[9],
            "set_default_active_thread_percentage 30; set_default_device_pinned_mem_limit 0 1G; \
             set_default_device_pinned_mem_limit 1 700M; set_active_thread_percentage 9 30; \
             set_device_pinned_mem_limit 9 0 1G; set_device_pinned_mem_limit 9 1 700M",
        );
    }

    #[test]
    fn what_could_be_no_client_is_refused() {
        assert!(client("job-7-1-0", 10, &[1]).check().is_ok());
        for name in ["", "a b", "../x", "ä", &"x".repeat(97)] {
            assert!(matches!(client(name, 10, &[1]).check(), Err(MpsError::Name(_))), "{name:?}");
        }
        assert!(matches!(client("a", 10, &[]).check(), Err(MpsError::Cards(_))));
        assert!(matches!(client("a", 10, &[1; 65]).check(), Err(MpsError::Cards(_))));
        let mut twice = client("a", 10, &[1, 2]);
        twice.cards[1].card = twice.cards[0].card.clone();
        assert!(matches!(twice.check(), Err(MpsError::Cards(_))));
    }
}
