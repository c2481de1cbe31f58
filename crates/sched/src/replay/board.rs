//! The cheapest of many nodes for one kind of job, kept while single costs change: a tree of minima,
//! in which the first of equals is found.

/// Stands for no room.
pub(super) const NO_ROOM: i64 = i64::MAX;

/// What every node costs, in their order.
#[derive(Debug)]
pub(super) struct Board {
    /// The costs, then the minima of their pairs, of those, and so on to a single one.
    levels: Vec<Vec<i64>>,
    /// Changes of nodes that have been taken in.
    pub(super) seen: usize,
}

impl Board {
    /// A board of these costs; none stands for no room.
    pub(super) fn new(costs: impl Iterator<Item = Option<i64>>, seen: usize) -> Self {
        let mut levels = vec![costs.map(|cost| cost.unwrap_or(NO_ROOM)).collect::<Vec<i64>>()];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            levels.push(below.chunks(2).map(|pair| least(pair, 0)).collect());
        }
        Self { levels, seen }
    }

    /// Changes what a node costs.
    pub(super) fn set(&mut self, node: usize, cost: Option<i64>) {
        self.levels[0][node] = cost.unwrap_or(NO_ROOM);
        let mut at = node;
        for level in 1..self.levels.len() {
            let (below, above) = self.levels.split_at_mut(level);
            let cost = least(&below[level - 1], at & !1);
            at /= 2;
            // Most changes do not reach the top.
            if above[0][at] == cost {
                return;
            }
            above[0][at] = cost;
        }
    }

    /// What every node costs, in their order; those without room cost [`NO_ROOM`].
    pub(super) fn costs(&self) -> &[i64] {
        &self.levels[0]
    }

    /// The first of the cheapest nodes; none if no node has room.
    pub(super) fn cheapest(&self) -> Option<usize> {
        let cost = *self.levels.last()?.first()?;
        if cost == NO_ROOM {
            return None;
        }
        let below = self.levels.iter().rev().skip(1);
        Some(below.fold(0, |at, level| 2 * at + usize::from(level[2 * at] != cost)))
    }
}

/// The lesser of a pair, of which a level's last may lack the second.
fn least(level: &[i64], first: usize) -> i64 {
    level.get(first + 1).map_or(level[first], |second| level[first].min(*second))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_of_the_cheapest_is_found(
            mut costs in prop::collection::vec(prop::option::of(-3..3i64), 0..40),
            changes in prop::collection::vec((0..40usize, prop::option::of(-3..3i64)), 0..60),
        ) {
            let mut board = Board::new(costs.iter().copied(), 0);
            let cheapest = |costs: &[Option<i64>]| {
                let least = costs.iter().flatten().min()?;
                costs.iter().position(|cost| cost.as_ref() == Some(least))
            };
            prop_assert_eq!(board.cheapest(), cheapest(&costs));
            for (node, cost) in changes {
                if node < costs.len() {
                    board.set(node, cost);
                    costs[node] = cost;
                    prop_assert_eq!(board.cheapest(), cheapest(&costs));
                }
            }
        }
    }
}
