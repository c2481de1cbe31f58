//! From a member's slices to the page that tells the preload library of them.

use cotenant_types::limits::{
    CARDS_MAX, CardLimit, LimitPage, Neighbours, OnFailure, ShownProcesses,
};
use cotenant_types::{Bytes, CardId, CardKind, Mebibytes, Policy, Rung, Slice};
use serde::{Deserialize, Serialize};

use cotenant_device::Held;

/// The slices of a member that the library holds, as they are kept beside its run: the page itself
/// cannot be read by a daemon that comes back after it died in the middle of a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intercepts {
    pub(super) policy: Policy,
    /// A slice keeps its place for as long as the member lives.
    pub(super) slices: Vec<Slice>,
}

impl Intercepts {
    /// Those of a member's slices that the library holds; none if there are none. Who has a whole
    /// card shares it with nobody, and needs no holding.
    pub(super) fn of(held: &[Held<'_>], policy: Policy) -> Option<Self> {
        let is_held = |held: &&Held<'_>| {
            let is_on_card = held.card.kind == CardKind::Nvidia;
            is_on_card && !held.slice.whole && held.slice.enforced_by == Rung::Intercept
        };
        let slices: Vec<Slice> =
            held.iter().filter(is_held).map(|held| held.slice.clone()).collect();
        (!slices.is_empty()).then_some(Self { policy, slices })
    }

    /// Takes over new limits of the same cards; says whether something was taken from a slice that
    /// had borrowed it.
    pub(super) fn resize(&mut self, slices: &[Slice]) -> bool {
        let mut is_squeezed = false;
        for own in &mut self.slices {
            let Some(new) = slices.iter().find(|slice| slice.card == own.card) else { continue };
            is_squeezed |= new.compute.limit < own.compute.limit;
            (own.memory, own.compute) = (new.memory, new.compute);
        }
        is_squeezed && self.policy != Policy::Fixed
    }

    /// The page, as long as nobody else is on the cards.
    pub(super) fn page(&self, on_failure: OnFailure) -> Result<LimitPage, String> {
        if self.slices.len() > CARDS_MAX {
            let count = self.slices.len();
            return Err(format!(
                "the preload library holds at most {CARDS_MAX} cards of a member, not {count}"
            ));
        }
        let cards = self.slices.iter().map(|slice| self.limit(slice)).collect::<Result<_, _>>()?;
        Ok(LimitPage { on_failure, shown: ShownProcesses::Own, cards })
    }

    fn limit(&self, slice: &Slice) -> Result<CardLimit, String> {
        let uuid = uuid(&slice.card).ok_or_else(|| {
            format!("card {} cannot be named to the preload library: it has no UUID", slice.card)
        })?;
        Ok(CardLimit {
            uuid,
            memory: Some(bytes(slice.memory.limit)),
            overhead: Bytes(0),
            policy: self.policy,
            compute: slice.compute,
            neighbours: Neighbours::default(),
            hold_until_ns: 0,
            seen_busy_ns: 0,
            seen_at_ns: 0,
        })
    }
}

pub(super) fn bytes(memory: Mebibytes) -> Bytes {
    Bytes(memory.0.saturating_mul(1 << 20))
}

/// The number in an id such as `GPU-6e5a…`, if it has one.
fn uuid(card: &CardId) -> Option<[u8; 16]> {
    let digits: Vec<u8> = card.as_str().strip_prefix("GPU-")?.bytes().collect();
    let has_form = digits.len() == 36 && [8, 13, 18, 23].iter().all(|&at| digits[at] == b'-');
    let digits: String = digits.iter().filter(|&&it| it != b'-').map(|&it| it as char).collect();
    let number = u128::from_str_radix(&digits, 16).ok()?;
    (has_form && digits.len() == 32).then_some(number.to_be_bytes())
}

#[cfg(test)]
pub(super) mod tests {
    use cotenant_types::{Share, Span};

    use super::*;

    pub(in super::super) const CARD: &str = "GPU-00112233-4455-6677-8899-aabbccddeeff";

    /// A part of a card: MiB, and compute from request to limit.
    pub(in super::super) fn slice(card: &str, mib: u64, (request, limit): (u32, u32)) -> Slice {
        let share = |milli: u32| Share::from_per_mille(milli).unwrap();
        Slice {
            card: card.parse().unwrap(),
            memory: Span { request: Mebibytes(mib), limit: Mebibytes(mib) },
            compute: Span { request: share(request), limit: share(limit) },
            whole: false,
            enforced_by: Rung::Intercept,
            mig: None,
        }
    }

    #[test]
    fn cards_are_told_by_their_numbers() {
        let check = |id: &str, expected: Option<[u8; 2]>| {
            let found = uuid(&id.parse().unwrap()).map(|it| [it[0], it[15]]);
            assert_eq!(found, expected, "{id}");
        };
        check(CARD, Some([0, 0xff]));
        check("GPU-ff112233-4455-6677-8899-aabbccddeeAA", Some([0xff, 0xaa]));
        for id in [
            "GPU-1",
            "MIG-00112233-4455-6677-8899-aabbccddeeff",
            "GPU-0011223344556677-8899-aabbccddee--ff",
            "GPU-001122334455-6677-8899-aabbccddeeff",
            "GPU-00112233-4455-6677-8899-aabbccddeefg",
        ] {
            check(id, None);
        }
    }

    #[test]
    fn new_limits_go_to_the_cards_they_are_of() {
        let other = CARD.replace("00112233", "11112233");
        let slices = vec![slice(CARD, 10, (200, 1000)), slice(&other, 20, (300, 300))];
        let mut own = Intercepts { policy: Policy::Burst, slices };
        assert!(!own.resize(&[slice(&other, 30, (300, 300))]));
        assert_eq!(own.slices[1].memory.limit, Mebibytes(30));
        assert!(own.resize(&[slice(CARD, 5, (200, 200)), slice(&other, 30, (300, 300))]));
        assert!(!own.resize(&[slice(CARD, 5, (200, 1000))]));
        let page = own.page(OnFailure::Refuse).unwrap();
        let memory: Vec<_> = page.cards.iter().map(|card| card.memory.unwrap().0 >> 20).collect();
        assert_eq!(memory, [5, 30]);
        let mut fixed = Intercepts { policy: Policy::Fixed, ..own };
        assert!(!fixed.resize(&[slice(CARD, 5, (200, 200))]), "it borrows nothing");

        let nameless =
            Intercepts { policy: Policy::Fixed, slices: vec![slice("GPU-1", 1, (1, 1))] };
        let why = nameless.page(OnFailure::Refuse).unwrap_err();
        assert!(why.contains("card GPU-1 cannot be named"), "{why}");
    }
}
