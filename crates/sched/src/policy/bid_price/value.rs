//! What is worth what on a card: the dual of filling cards with the expected jobs.
//!
//! The program asks for the fewest cards that hold all expected jobs, each card filled by some
//! pattern of them. Its dual prices each size of job so that no pattern is worth more than the card,
//! and what is free on a card is worth the best pattern that still fits.

use std::collections::BTreeMap;

use super::CARD;
use super::program::{Bin, Item, prices};
use crate::policy::fleet::Fleet;
use crate::policy::mix::Mix;
use crate::policy::node::{Demand, Free, Node, SizeClass, WHOLE};

/// Sizes that a program is made of at most; more are rounded up until they are fewer.
const ITEMS_MAX: usize = 128;

/// Grains of compute and steps of memory, from fine to coarse; 0 for the largest that is exact.
const GRAINS: [(u32, u64); 5] = [(0, 32), (10, 32), (20, 16), (50, 16), (100, 8)];

/// Values for each shape of node.
pub(super) struct Values {
    of_shape: Vec<usize>,
    tables: Vec<CardValue>,
    /// The table that most cards have.
    usual: usize,
}

/// The value of what is free on cards with so much memory.
struct CardValue {
    card_memory_mib: u64,
    grain: u32,
    step_mib: u64,
    rooms: usize,
    table: Vec<i64>,
}

impl Values {
    pub(super) fn new(fleet: &Fleet, mix: &Mix) -> Self {
        let mut tables: Vec<CardValue> = Vec::new();
        let mut cards = BTreeMap::new();
        let mut of_shape = Vec::new();
        for shape in fleet.shapes() {
            let memory = shape.card_memory_mib;
            let known = tables.iter().position(|table| table.card_memory_mib == memory);
            let at = known.unwrap_or_else(|| {
                tables.push(CardValue::new(memory, mix));
                tables.len() - 1
            });
            *cards.entry(at).or_insert(0) += shape.compute();
            of_shape.push(at);
        }
        let usual = cards.into_iter().max_by_key(|(_, compute)| *compute);
        Self { of_shape, tables, usual: usual.map_or(0, |(at, _)| at) }
    }

    /// What is free on a card of the node is worth so much.
    pub(super) fn of(&self, node: &Node, card: Free) -> i64 {
        self.tables[self.of_shape[node.shape]].of(card)
    }

    /// What a job takes of idle cards is worth so much, on the cards that are the most.
    pub(super) fn worth(&self, job: &Demand) -> i64 {
        let whole = i64::from(job.cards) * CARD;
        let Some(table) = self.tables.get(self.usual) else { return whole };
        let idle = Free { compute: WHOLE, memory_mib: table.card_memory_mib };
        match job.class() {
            SizeClass::Share if idle.fits(job) => table.of(idle) - table.of(idle.less(job)),
            SizeClass::CpuOnly | SizeClass::Share | SizeClass::Whole(_) => whole,
        }
    }
}

impl CardValue {
    fn new(card_memory_mib: u64, mix: &Mix) -> Self {
        let jobs: Vec<(&Demand, u64)> = mix
            .kinds()
            .filter(|(job, _)| job.cards > 0 && job.card_memory_mib <= card_memory_mib)
            .collect();
        let names_memory = jobs.iter().any(|(job, _)| job.card_memory_mib > 0);
        let exact = jobs.iter().fold(WHOLE, |grain, (job, _)| divisor(grain, job.compute));
        let mut fewest = None;
        for (grain, steps) in GRAINS {
            let grain = if grain == 0 { exact } else { grain };
            let steps = if names_memory { steps } else { 0 };
            let step_mib = card_memory_mib.div_ceil(steps.max(1)).max(1);
            // Steps are rounded up, so the last may be beyond the card.
            let steps = steps.min(card_memory_mib / step_mib);
            let items = items(&jobs, (grain, step_mib), steps);
            let is_few = items.len() <= ITEMS_MAX;
            fewest = Some((grain, steps, step_mib, items));
            if is_few {
                break;
            }
        }
        let (grain, steps, step_mib, items) = fewest.expect("there are grains");
        let bin = Bin { compute: (WHOLE / grain) as usize, memory: steps as usize };
        let prices: Vec<i64> =
            prices(&items, bin).iter().map(|price| (price * CARD as f64).round() as i64).collect();
        let table = bin.best(&items, &prices);
        Self { card_memory_mib, grain, step_mib, rooms: bin.memory + 1, table }
    }

    fn of(&self, card: Free) -> i64 {
        let room = match self.rooms {
            1 => 0,
            rooms => ((card.memory_mib / self.step_mib) as usize).min(rooms - 1),
        };
        self.table[(card.compute / self.grain) as usize * self.rooms + room]
    }
}

/// The sizes of jobs in grains and steps, rounded up, and how many cards of jobs are of each.
fn items(jobs: &[(&Demand, u64)], (grain, step_mib): (u32, u64), steps: u64) -> Vec<Item> {
    let mut items = BTreeMap::new();
    for (job, count) in jobs {
        let memory = match job.class() {
            SizeClass::CpuOnly | SizeClass::Share => {
                job.card_memory_mib.div_ceil(step_mib).min(steps)
            }
            // Nothing else gets onto the card, whatever memory the job leaves.
            SizeClass::Whole(_) => 0,
        };
        let size = (job.compute.div_ceil(grain) as usize, memory as usize);
        *items.entry(size).or_insert(0) += count * u64::from(job.cards);
    }
    let item = |((compute, memory), count): (_, u64)| Item { compute, memory, count };
    items.into_iter().map(item).collect()
}

fn divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fleet::{Models, Shape};

    fn job(compute: u32, card_memory_mib: u64) -> Demand {
        Demand {
            cpu_milli: 0,
            memory_mib: 0,
            cards: 1,
            compute,
            card_memory_mib,
            models: Models::ANY,
        }
    }

    fn check(jobs: &[(Demand, usize)], memory: u64, expected: &[(u32, u64, i64)]) {
        let all: Vec<&Demand> =
            jobs.iter().flat_map(|(job, n)| std::iter::repeat_n(job, *n)).collect();
        let mix = Mix::of(all.into_iter().map(|job| (job, "")));
        let mut fleet = Fleet::default();
        fleet.add_model("a").unwrap();
        let shape = fleet.add_node(Shape {
            model: 0,
            cards: 1,
            card_memory_mib: memory,
            cpu_milli: None,
            memory_mib: None,
            nodes: 0,
        });
        let values = Values::new(&fleet, &mix);
        let node = fleet.empty_node(shape, 0);
        for &(compute, memory_mib, twelfths) in expected {
            let found = values.of(&node, Free { compute, memory_mib });
            assert_eq!(found * 12, twelfths * CARD, "{compute} ‰, {memory_mib} MiB of {jobs:?}");
        }
    }

    #[test]
    fn what_is_free_is_worth_what_fits() {
        check(&[(job(1000, 0), 1)], 0, &[(1000, 0, 12), (999, 0, 0)]);
        check(&[(job(500, 0), 4)], 0, &[(1000, 0, 12), (990, 0, 6), (490, 0, 0)]);
        check(&[(job(330, 0), 4)], 0, &[(1000, 0, 12), (670, 0, 8), (330, 0, 4), (320, 0, 0)]);
        // Beside a job of two thirds, a third is worth something only if there are thirds to spare.
        check(&[(job(660, 0), 9), (job(330, 0), 3)], 0, &[(660, 0, 12), (330, 0, 0)]);
        check(&[(job(660, 0), 1), (job(330, 0), 9)], 0, &[(660, 0, 8), (330, 0, 4)]);
        check(&[], 0, &[(1000, 0, 0)]);
    }

    #[test]
    fn memory_limits_what_fits() {
        // Two of half the memory fill a card of which they use little else.
        let jobs = [(job(100, 8000), 4)];
        check(
            &jobs,
            16_000,
            &[(1000, 16_000, 12), (900, 8000, 6), (1000, 7000, 0), (100, 16_000, 6)],
        );
        // Steps that do not come out even keep nobody from a whole card.
        check(&[(job(100, 1000), 4)], 1000, &[(1000, 1000, 12), (1000, 960, 0)]);
        // Cards that are too small for any job that is expected are worth nothing.
        check(&jobs, 4000, &[(1000, 4000, 0)]);
    }
}
