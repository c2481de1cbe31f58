//! The fewest cards that hold all expected jobs, as a linear program over patterns, solved by
//! generating columns (Gilmore and Gomory, "A linear programming approach to the cutting-stock
//! problem", 1961); what counts is its dual.

/// A size of jobs: its room in grains of compute and steps of memory, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// At least 1.
    pub(super) compute: usize,
    pub(super) memory: usize,
    pub(super) count: u64,
}

/// A card's room, in the same units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bin {
    pub(super) compute: usize,
    pub(super) memory: usize,
}

/// Steps after which the prices that were found so far will do.
const STEPS_MAX: usize = 5000;
const SMALL: f64 = 1e-9;

/// The price of each item in cards; no pattern that fits a card is worth more than 1.
pub(super) fn prices(items: &[Item], bin: Bin) -> Vec<f64> {
    let mut tableau = Tableau::new(items, bin);
    for _ in 0..STEPS_MAX {
        let prices = tableau.prices();
        let Some(column) = entering(items, bin, &prices) else { break };
        if !tableau.exchange(&column) {
            break;
        }
    }
    let mut prices = tableau.prices();
    prices.iter_mut().for_each(|price| *price = price.max(0.0));
    // Where the steps ran out, a pattern may still be worth more; then every price gives way.
    let worth = bin.best(items, &prices).last().copied().unwrap_or_default();
    prices.iter().map(|price| price / worth.max(1.0)).collect()
}

/// A column of the program: how many of each item, and the cards that it takes.
struct Column {
    counts: Vec<f64>,
    cards: f64,
}

/// The column that would save most: the most valuable pattern, or one item less where its price is
/// below nothing.
fn entering(items: &[Item], bin: Bin, prices: &[f64]) -> Option<Column> {
    let least = (0..items.len()).min_by(|&a, &b| prices[a].total_cmp(&prices[b]))?;
    if prices[least] < -SMALL {
        let counts = (0..items.len()).map(|at| if at == least { -1.0 } else { 0.0 }).collect();
        return Some(Column { counts, cards: 0.0 });
    }
    let best = bin.best(items, prices);
    if best.last().is_none_or(|worth| *worth <= 1.0 + SMALL) {
        return None;
    }
    Some(Column { counts: bin.pattern(items, prices, &best), cards: 1.0 })
}

impl Bin {
    /// The most valuable pattern in every room up to the whole, by compute and then memory.
    pub(super) fn best<T>(self, items: &[Item], prices: &[T]) -> Vec<T>
    where
        T: Copy + Default + PartialOrd + std::ops::Add<Output = T>,
    {
        let rooms = self.memory + 1;
        let mut best = vec![T::default(); (self.compute + 1) * rooms];
        let paid = items.iter().zip(prices).filter(|(_, price)| **price > T::default());
        let paid: Vec<(&Item, T)> = paid.map(|(item, price)| (item, *price)).collect();
        for compute in 1..=self.compute {
            for memory in 0..rooms {
                let at = compute * rooms + memory;
                let mut most = best[at - rooms];
                for (item, price) in &paid {
                    if item.compute <= compute && item.memory <= memory {
                        let worth = best[at - item.compute * rooms - item.memory] + *price;
                        most = if worth > most { worth } else { most };
                    }
                }
                best[at] = most;
            }
        }
        best
    }

    /// A pattern that is worth what was found for the whole.
    fn pattern(self, items: &[Item], prices: &[f64], best: &[f64]) -> Vec<f64> {
        let rooms = self.memory + 1;
        let mut counts = vec![0.0; items.len()];
        let mut at = best.len() - 1;
        while at >= rooms {
            let (compute, memory) = (at / rooms, at % rooms);
            let before = |item: &Item| at - item.compute * rooms - item.memory;
            let taken = items.iter().zip(prices).position(|(item, price)| {
                *price > 0.0
                    && item.compute <= compute
                    && item.memory <= memory
                    && best[before(item)] + price == best[at]
            });
            match taken {
                Some(item) => {
                    counts[item] += 1.0;
                    at = before(&items[item]);
                }
                None => at -= rooms,
            }
        }
        counts
    }
}

/// The revised simplex method's state: the inverse of the basis, row by row, what each column of it
/// costs, and how much of each is used.
struct Tableau {
    inverse: Vec<Vec<f64>>,
    cards: Vec<f64>,
    used: Vec<f64>,
}

impl Tableau {
    /// Begins with a pattern for each item that holds nothing else.
    fn new(items: &[Item], bin: Bin) -> Self {
        let most = |item: &Item| {
            let by_memory = bin.memory.checked_div(item.memory).unwrap_or(usize::MAX);
            (bin.compute / item.compute).min(by_memory).max(1) as f64
        };
        let row = |(at, item): (usize, &Item)| {
            let entry = |column| if column == at { 1.0 / most(item) } else { 0.0 };
            (0..items.len()).map(entry).collect()
        };
        Self {
            inverse: items.iter().enumerate().map(row).collect(),
            cards: vec![1.0; items.len()],
            used: items.iter().map(|item| item.count as f64 / most(item)).collect(),
        }
    }

    fn prices(&self) -> Vec<f64> {
        let mut prices = vec![0.0; self.cards.len()];
        for (row, cards) in self.inverse.iter().zip(&self.cards) {
            prices.iter_mut().zip(row).for_each(|(price, entry)| *price += cards * entry);
        }
        prices
    }

    /// Takes a column in for the one that is used up first; not if none ever would be.
    fn exchange(&mut self, column: &Column) -> bool {
        let along: Vec<f64> = self
            .inverse
            .iter()
            .map(|row| row.iter().zip(&column.counts).map(|(entry, count)| entry * count).sum())
            .collect();
        let limits = (0..along.len()).filter(|&at| along[at] > SMALL);
        let limit = |at: &usize| self.used[*at] / along[*at];
        let Some(leaving) = limits.min_by(|a, b| limit(a).total_cmp(&limit(b))) else {
            return false;
        };
        let share = self.used[leaving] / along[leaving];
        let pivot: Vec<f64> =
            self.inverse[leaving].iter().map(|entry| entry / along[leaving]).collect();
        for (at, row) in self.inverse.iter_mut().enumerate().filter(|(at, _)| *at != leaving) {
            row.iter_mut().zip(&pivot).for_each(|(entry, pivot)| *entry -= along[at] * pivot);
            self.used[at] = (self.used[at] - along[at] * share).max(0.0);
        }
        self.inverse[leaving] = pivot;
        self.used[leaving] = share;
        self.cards[leaving] = column.cards;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(items: &[(usize, u64)], compute: usize, expected: &[f64]) {
        let items: Vec<Item> =
            items.iter().map(|&(compute, count)| Item { compute, memory: 0, count }).collect();
        let found = prices(&items, Bin { compute, memory: 0 });
        let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
        assert!(found.len() == expected.len() && found.iter().zip(expected).all(near), "{found:?}");
    }

    #[test]
    fn prices_are_those_of_small_programs() {
        check(&[], 10, &[]);
        check(&[(10, 3)], 10, &[1.0]);
        check(&[(3, 6)], 10, &[1.0 / 3.0]);
        // Few threes fit beside the sevens, so they cost nothing there.
        check(&[(3, 5), (7, 10)], 10, &[0.0, 1.0]);
        // Many threes are left when the sevens have theirs, and fill cards of their own.
        check(&[(3, 100), (7, 10)], 10, &[1.0 / 3.0, 2.0 / 3.0]);
    }

    proptest! {
        /// The dual is feasible, and reaches what cards cost at least: weak duality leaves no other
        /// proof of the optimum than an equal primal, which the simplex keeps by construction.
        #[test]
        fn no_pattern_is_worth_more_than_its_card(
            sizes in prop::collection::vec((1..12usize, 0..4usize, 1..50u64), 1..7),
        ) {
            let bin = Bin { compute: 12, memory: 4 };
            let items: Vec<Item> = sizes
                .into_iter()
                .map(|(compute, memory, count)| Item { compute, memory, count })
                .collect();
            let found = prices(&items, bin);
            prop_assert!(found.iter().all(|price| *price >= 0.0));
            let worth = *bin.best(&items, &found).last().unwrap();
            prop_assert!((worth - 1.0).abs() < 1e-6, "{found:?} {worth}");
            let lower: f64 = items.iter().zip(&found).map(|(i, p)| i.count as f64 * p).sum();
            let compute: u64 = items.iter().map(|item| item.compute as u64 * item.count).sum();
            prop_assert!(lower + 1e-6 >= compute as f64 / 12.0, "{found:?}");
        }
    }
}
