//! What a program is shown of a card: its slice, the same through CUDA and through NVML.

/// Memory as the driver gives it, and as the ledger counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    /// The card's memory.
    pub total: u64,
    /// Memory of the card that nobody has.
    pub free: u64,
    /// The slice's limit, if it has one.
    pub limit: Option<u64>,
    /// What the slice holds, the driver's share of it included.
    pub used: u64,
}

/// Memory as a program is shown it; `free + used` is `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The slice's memory.
    pub total: u64,
    /// What is left of it: never more than the card has.
    pub free: u64,
    /// The rest.
    pub used: u64,
}

/// The slice's view of a card.
pub fn shown(truth: Truth) -> Shown {
    let Some(limit) = truth.limit else {
        let free = truth.free.min(truth.total);
        return Shown { total: truth.total, free, used: truth.total - free };
    };
    let total = limit.min(truth.total);
    let free = total.saturating_sub(truth.used).min(truth.free);
    Shown { total, free, used: total - free }
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn what_is_shown_adds_up(
            total in any::<u64>(),
            free in any::<u64>(),
            limit in option::of(any::<u64>()),
            used in any::<u64>(),
        ) {
            let shown = shown(Truth { total, free, limit, used });
            prop_assert_eq!(shown.free.checked_add(shown.used), Some(shown.total));
            prop_assert!(shown.total <= total && shown.free <= free);
            prop_assert!(limit.is_none_or(|limit| shown.total <= limit));
        }
    }

    #[test]
    fn a_slice_looks_like_a_card() {
        let check = |limit, used, expected: (u64, u64, u64)| {
            let shown = shown(Truth { total: 80, free: 50, limit, used });
            assert_eq!((shown.total, shown.free, shown.used), expected);
        };
        check(Some(20), 0, (20, 20, 0));
        check(Some(20), 15, (20, 5, 15));
        // Lowered below what is held, it is full.
        check(Some(20), 25, (20, 0, 20));
        // A neighbour took more than its own: what is not there cannot be promised.
        check(Some(60), 0, (60, 50, 10));
        check(Some(200), 10, (80, 50, 30));
        check(None, 10, (80, 50, 30));
        check(Some(0), 0, (0, 0, 0));
    }
}
