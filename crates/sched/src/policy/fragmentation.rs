//! How much of a node's free compute the expected jobs cannot use: the fragmentation of Weng et al.,
//! "Beware of Fragmentation" (USENIX ATC 2023).
//!
//! To one kind of job all free compute of a node is lost if the node cannot run it (or if it wants
//! no card), else what lies on cards with too little for it; a node's fragmentation is the mean of
//! that over the expected kinds. What is *not* lost is a sum over cards: a card with `r` free is of
//! use to every kind of share that wants at most `r`, and an idle card to those of whole cards, of
//! which the node has enough. So it is kept as tables of weights, by free processors, and read
//! with one look a card. All sums are of integers.

use crate::policy::fleet::{Fleet, Shape};
use crate::policy::node::{Cards, Demand, Free, Node, SizeClass, WHOLE};

/// Cards of a node that tables tell apart.
const CARDS_MAX: usize = 64;

/// Kinds of jobs with weights, laid out for looking up.
#[derive(Clone, Debug)]
pub(crate) struct Fragmentation {
    weight: i64,
    /// The table of each shape.
    of_shape: Vec<usize>,
    tables: Vec<Table>,
}

/// The kinds that nodes of a model and memory can run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Table {
    /// Different wishes for processors, ascending.
    cpu_milli: Vec<u64>,
    /// How many different wishes for compute are at most so much.
    level: Vec<usize>,
    levels: usize,
    /// Different wishes for memory of a card, ascending.
    memory_mib: Vec<u64>,
    /// By wishes for processors that are met, then memory, then compute: the weight of shares.
    share: Vec<i64>,
    /// By wishes for processors that are met, then idle cards: the weight of jobs of whole cards.
    whole: Vec<i64>,
}

/// A node with some processors taken: what remains to be seen is which cards are.
pub(crate) struct Trial<'a> {
    weight: i64,
    table: &'a Table,
    met: usize,
    /// Free compute, and idle cards.
    compute: i64,
    idle: usize,
    /// Weighted free compute that is of use to shares.
    of_use: i64,
}

impl Fragmentation {
    /// For the nodes of a fleet and kinds of jobs with their weights.
    pub(crate) fn new(fleet: &Fleet, kinds: &[(Demand, i64)]) -> Self {
        let mut tables: Vec<Table> = Vec::new();
        let of_shape = fleet.shapes().iter().map(|shape| {
            let table = Table::new(shape, kinds);
            tables.iter().position(|known| *known == table).unwrap_or_else(|| {
                tables.push(table);
                tables.len() - 1
            })
        });
        let of_shape = of_shape.collect();
        Self { weight: kinds.iter().map(|(_, weight)| weight).sum(), of_shape, tables }
    }

    /// The sum of the weights.
    pub(crate) fn weight(&self) -> i64 {
        self.weight
    }

    /// A node's fragmentation in thousandths of a card, times the sum of the weights.
    pub(crate) fn of(&self, node: &Node) -> i64 {
        self.trial(node, 0).now()
    }

    /// The node with so many vCPU less, in thousandths.
    pub(crate) fn trial<'a>(&'a self, node: &Node, cpu_milli: u64) -> Trial<'a> {
        let table = &self.tables[self.of_shape[node.shape]];
        let met = table.met(node.cpu_milli.map(|free| free - cpu_milli));
        let of_use = node.cards.iter().map(|&card| table.of_use(met, card)).sum();
        let (compute, idle) = (i64::from(node.compute()), node.idle() as usize);
        Trial { weight: self.weight, table, met, compute, idle, of_use }
    }
}

impl Trial<'_> {
    /// The fragmentation if no card is taken.
    pub(crate) fn now(&self) -> i64 {
        self.result((self.compute, self.idle, self.of_use))
    }

    /// The fragmentation if a share is taken of a card.
    pub(crate) fn with_share(&self, node: &Node, at: usize, demand: &Demand) -> i64 {
        let card = node.cards[at];
        let left = card.less(demand);
        let of_use =
            self.of_use - self.table.of_use(self.met, card) + self.table.of_use(self.met, left);
        let idle = self.idle - usize::from(node.is_idle(card));
        self.result((self.compute - i64::from(demand.compute), idle, of_use))
    }

    /// The fragmentation if whole cards are taken, all of them idle before.
    pub(crate) fn with_whole(&self, node: &Node, cards: Cards) -> i64 {
        let taken = cards.iter().map(|at| self.table.of_use(self.met, node.cards[at]));
        let (count, lost) = taken.fold((0, 0), |(count, lost), use_of| (count + 1, lost + use_of));
        let compute = self.compute - i64::from(WHOLE) * count as i64;
        self.result((compute, self.idle - count, self.of_use - lost))
    }

    fn result(&self, (compute, idle, of_use): (i64, usize, i64)) -> i64 {
        let whole = self.table.whole[self.met * (CARDS_MAX + 1) + idle];
        self.weight * compute - of_use - whole * idle as i64 * i64::from(WHOLE)
    }
}

impl Table {
    fn new(shape: &Shape, kinds: &[(Demand, i64)]) -> Self {
        let can_run = |demand: &Demand| {
            demand.models.allow(shape.model) && demand.card_memory_mib <= shape.card_memory_mib
        };
        let kinds: Vec<&(Demand, i64)> = kinds.iter().filter(|(job, _)| can_run(job)).collect();
        let shares: Vec<_> =
            kinds.iter().filter(|(job, _)| job.class() == SizeClass::Share).collect();
        let cpu_milli = distinct(kinds.iter().map(|(job, _)| job.cpu_milli));
        let memory_mib = distinct(shares.iter().map(|(job, _)| job.card_memory_mib));
        let compute = distinct(shares.iter().map(|(job, _)| job.compute));
        let level = (0..=WHOLE).map(|free| compute.partition_point(|wish| *wish <= free));
        let level: Vec<usize> = level.collect();
        let (levels, rooms) = (compute.len() + 1, memory_mib.len() + 1);
        let mut share = vec![0; (cpu_milli.len() + 1) * rooms * levels];
        let mut whole = vec![0; (cpu_milli.len() + 1) * (CARDS_MAX + 1)];
        for (job, weight) in &kinds {
            // Every entry counts whatever wants at most what it stands for.
            let met = cpu_milli.partition_point(|wish| *wish < job.cpu_milli) + 1;
            match job.class() {
                SizeClass::CpuOnly => {}
                SizeClass::Share => {
                    let room = memory_mib.partition_point(|wish| *wish < job.card_memory_mib) + 1;
                    let first = level[job.compute as usize];
                    for (met, room) in (met..=cpu_milli.len())
                        .flat_map(|met| (room..rooms).map(move |room| (met, room)))
                    {
                        let row = (met * rooms + room) * levels;
                        share[row + first..row + levels].iter_mut().for_each(|sum| *sum += weight);
                    }
                }
                SizeClass::Whole(count) => {
                    for met in met..=cpu_milli.len() {
                        let row = met * (CARDS_MAX + 1);
                        let first = row + (count as usize).min(CARDS_MAX);
                        whole[first..=row + CARDS_MAX].iter_mut().for_each(|sum| *sum += weight);
                    }
                }
            }
        }
        Self { cpu_milli, level, levels, memory_mib, share, whole }
    }

    /// How many wishes for processors so many free vCPU meet.
    fn met(&self, cpu_milli: Option<u64>) -> usize {
        cpu_milli.map_or(self.cpu_milli.len(), |free| {
            self.cpu_milli.partition_point(|wish| *wish <= free)
        })
    }

    /// A card's free compute times the weight of the shares that could have it.
    fn of_use(&self, met: usize, card: Free) -> i64 {
        let room = match self.memory_mib.len() {
            1 => usize::from(self.memory_mib[0] <= card.memory_mib),
            _ => self.memory_mib.partition_point(|wish| *wish <= card.memory_mib),
        };
        let row = (met * (self.memory_mib.len() + 1) + room) * self.levels;
        i64::from(card.compute) * self.share[row + self.level[card.compute as usize]]
    }
}

fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let values: std::collections::BTreeSet<T> = values.collect();
    values.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::fleet::Models;

    /// The definition, word for word.
    fn by_definition(node: &Node, kinds: &[(Demand, i64)]) -> i64 {
        let of_kind = |job: &Demand| -> i64 {
            let all = i64::from(node.compute());
            let fits = |card: &&Free| match job.class() {
                SizeClass::CpuOnly => false,
                SizeClass::Share => card.fits(job),
                SizeClass::Whole(_) => node.is_idle(**card),
            };
            let enough = node.cards.iter().filter(fits).count() >= job.cards as usize;
            let runs = job.cards > 0
                && enough
                && job.models.allow(node.model)
                && job.card_memory_mib <= node.card_memory_mib
                && node.cpu_milli.is_none_or(|free| free >= job.cpu_milli);
            match runs {
                false => all,
                true => {
                    all - node.cards.iter().filter(fits).map(|c| i64::from(c.compute)).sum::<i64>()
                }
            }
        };
        kinds.iter().map(|(job, weight)| weight * of_kind(job)).sum()
    }

    pub(super) fn demands() -> impl Strategy<Value = Demand> {
        let cards = prop_oneof![
            Just((0, 0)),
            (1..=20u32).prop_map(|part| (1, part * 50)),
            (1..=4u32).prop_map(|cards| (cards, WHOLE)),
        ];
        (cards, 0..5u64, 0..3u64, 0..4u64).prop_map(|((cards, compute), cpu, memory, models)| {
            let models = match models {
                0 => Models::ANY,
                1 => Models::NONE,
                model => Models::NONE.with(model as usize - 2),
            };
            let card_memory_mib = if cards == 0 { 0 } else { memory * 400 };
            Demand { cpu_milli: cpu * 1000, memory_mib: 0, cards, compute, card_memory_mib, models }
        })
    }

    proptest! {
        #[test]
        fn tables_say_what_the_definition_says(
            kinds in prop::collection::vec((demands(), 1..9i64), 0..8),
            jobs in prop::collection::vec((demands(), 0..4usize), 0..12),
            (model, cpu, with_cpu) in (0..2usize, 0..12u64, any::<bool>()),
        ) {
            let mut fleet = Fleet::default();
            fleet.add_model("a").unwrap();
            fleet.add_model("b").unwrap();
            let cpu_milli = with_cpu.then_some(cpu * 1000);
            let shape = fleet.add_node(Shape {
                model, cards: 4, card_memory_mib: 1000, cpu_milli, memory_mib: None, nodes: 0,
            });
            let mut node = fleet.empty_node(shape, 0);
            let tables = Fragmentation::new(&fleet, &kinds);
            for (job, first) in jobs {
                prop_assert_eq!(tables.of(&node), by_definition(&node, &kinds));
                if !node.has_room_beside_cards(&job) {
                    continue;
                }
                let trial = tables.trial(&node, job.cpu_milli);
                let (cards, foretold) = match job.class() {
                    SizeClass::CpuOnly => (Cards::NONE, trial.now()),
                    SizeClass::Share => {
                        let fits = |at: &usize| node.cards[*at].fits(&job);
                        let Some(at) = (first..4).find(fits) else { continue };
                        (Cards::one(at), trial.with_share(&node, at, &job))
                    }
                    SizeClass::Whole(_) => {
                        let Some(cards) = node.first_idle(&job) else { continue };
                        (cards, trial.with_whole(&node, cards))
                    }
                };
                node.take(&job, cards);
                prop_assert_eq!(foretold, by_definition(&node, &kinds));
            }
        }
    }
}
