//! Which device runs whom: a pure decision over tokens.

/// A share that is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// Tokens of it.
    pub(super) tokens: usize,
    /// The device that keeps its tenant, if one does.
    pub(super) home: Option<usize>,
}

/// A device for each share. The largest go first, each to the device with the least so far (Graham,
/// 1969); a tenant that is kept leaves its device only where it would be begun a share of its own
/// size earlier, since its state must be brought after it.
pub(super) fn assign(loads: &[Load], devices: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..loads.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(loads[at].tokens));
    let mut tokens = vec![0_usize; devices];
    let mut places = vec![0; loads.len()];
    for at in order {
        let load = loads[at];
        let least = (0..devices).min_by_key(|&device| tokens[device]).unwrap_or(0);
        let stays = |home: &usize| tokens[*home] < tokens[least] + load.tokens.max(1);
        let place = load.home.filter(|&home| home < devices).filter(stays).unwrap_or(least);
        tokens[place] += load.tokens;
        places[at] = place;
    }
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, proptest};

    use super::{Load, assign};

    fn check(loads: &[(usize, Option<usize>)], devices: usize, expected: &[usize]) {
        let loads: Vec<Load> = loads.iter().map(|&(tokens, home)| Load { tokens, home }).collect();
        assert_eq!(assign(&loads, devices), expected, "{loads:?} on {devices}");
    }

    #[test]
    fn shares_are_spread_and_tenants_stay_where_they_are() {
        check(&[], 2, &[]);
        check(&[(5, None), (3, Some(0))], 1, &[0, 0]);
        check(&[(5, None), (3, None), (3, None)], 2, &[0, 1, 1]);
        check(&[(5, Some(1)), (5, Some(0))], 2, &[1, 0]);
        // Who is kept where all the others are goes to where nobody is.
        check(&[(5, Some(1)), (5, Some(1))], 2, &[1, 0]);
        check(&[(9, Some(1)), (5, Some(1)), (4, Some(0))], 2, &[1, 0, 0]);
        // A home of a fleet that is gone.
        check(&[(5, Some(7))], 2, &[0]);
        check(&[(0, None), (0, Some(1))], 2, &[0, 1]);
    }

    proptest! {
        #[test]
        fn no_device_has_more_than_two_shares_more_than_another(
            sizes in prop::collection::vec((0_usize..100, prop::option::of(0_usize..4)), 0..20),
            devices in 1_usize..5,
        ) {
            let loads: Vec<Load> =
                sizes.iter().map(|&(tokens, home)| Load { tokens, home }).collect();
            let mut tokens = vec![0; devices];
            for (load, place) in loads.iter().zip(assign(&loads, devices)) {
                tokens[place] += load.tokens;
            }
            let largest = loads.iter().map(|load| load.tokens).max().unwrap_or(0);
            let (least, most) = (tokens.iter().min().unwrap(), tokens.iter().max().unwrap());
            assert!(most - least <= 2 * largest, "{tokens:?}");
        }
    }
}
