//! How small a cluster may be.

/// The fewest nodes, of at most so many, for which something holds, by bisection; none if it does not
/// hold for all of them. If it holds for fewer nodes than for which it does not, what is found is a
/// place where it begins to hold, and not surely the first.
pub fn fewest_nodes(most: usize, mut holds: impl FnMut(usize) -> bool) -> Option<usize> {
    if !holds(most) {
        return None;
    }
    let (mut fails, mut enough) = (0, most);
    while enough - fails > 1 {
        let middle = fails + (enough - fails) / 2;
        match holds(middle) {
            true => enough = middle,
            false => fails = middle,
        }
    }
    Some(enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_are_found() {
        for most in 1..20 {
            for least in 1..=most {
                assert_eq!(fewest_nodes(most, |nodes| nodes >= least), Some(least));
            }
            assert_eq!(fewest_nodes(most, |_| false), None);
        }
    }
}
