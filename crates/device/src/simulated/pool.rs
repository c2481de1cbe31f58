//! A simulated pool: so many nodes with such cards, and where everything sits.

use std::collections::BTreeSet;

use cotenant_types::{Card, CardId, CardKind, LabelError, Mebibytes, NodeName, Rung, Site};
use thiserror::Error;

use super::file::{self, PoolFileError};
use super::models::{Model, UnknownModel};

/// Nodes of a simulated pool; checked, so that its cards can be listed without an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedPool(Vec<SimulatedNodes>);

/// Nodes that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedNodes {
    /// Their name, with `-0`, `-1` and so on behind it if there are several; without one they are
    /// called `sim-n0`, `sim-n1` and so on by their place in the pool.
    pub name: Option<String>,
    /// How many of them there are; at least 1.
    pub count: u32,
    /// Their rack; without one, 16 neighbours in the pool share one.
    pub rack: Option<String>,
    /// What each of them holds.
    pub cards: Vec<SimulatedGroup>,
}

/// Cards of a node that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedGroup {
    /// What they are.
    pub model: &'static Model,
    /// How many of them there are; at least 1.
    pub count: u32,
    /// Memory of each, if not what the model has.
    pub memory: Option<Mebibytes>,
    /// Whether they are in MIG mode.
    pub mig: bool,
}

/// Why a description is no pool.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PoolError {
    /// Nothing, or a group of nothing.
    #[error("a simulated pool, or a part of it, has no card; every count must be at least 1")]
    Empty,
    /// Too many.
    #[error("a simulated pool has {0} cards, more than {max}", max = SimulatedPool::CARDS_MAX)]
    TooMany(u64),
    /// A model without MIG, in MIG mode.
    #[error("a simulated {0} has no MIG mode; leave mig out")]
    NoMig(&'static str),
    /// Another amount of memory in MIG mode, or none at all.
    #[error(
        "a simulated {model} cannot have {memory}; write at least 1 MiB, and leave memory_mib out \
         for cards in MIG mode"
    )]
    Memory {
        /// The card's model.
        model: &'static str,
        /// What was asked for.
        memory: Mebibytes,
    },
    /// A node's name that is none.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// Two nodes of one name.
    #[error("two simulated nodes are called '{0}'; give each node a name of its own, or none")]
    Twice(NodeName),
    /// A model that is not known.
    #[error(transparent)]
    Model(#[from] UnknownModel),
    /// A file of another form.
    #[error("the file of the simulated pool cannot be read")]
    File(#[from] PoolFileError),
}

/// Neighbouring nodes that share a rack.
const NODES_A_RACK: u64 = 16;

impl SimulatedPool {
    /// Most cards of a pool.
    pub const CARDS_MAX: u64 = 100_000;
    /// Most bytes of a file that describes one.
    pub const FILE_BYTES_MAX: usize = 1 << 20;

    /// A pool of these nodes, if they make one.
    pub fn new(nodes: Vec<SimulatedNodes>) -> Result<Self, PoolError> {
        let mut total = 0u64;
        for node in &nodes {
            let groups = node.cards.iter().map(|group| u64::from(group.count));
            if node.count == 0 || node.cards.is_empty() || groups.clone().any(|count| count == 0) {
                return Err(PoolError::Empty);
            }
            total = total.saturating_add(u64::from(node.count).saturating_mul(groups.sum()));
            node.cards.iter().try_for_each(check_group)?;
        }
        match total {
            0 => Err(PoolError::Empty),
            1..=Self::CARDS_MAX => {
                let pool = Self(nodes);
                pool.build()?;
                Ok(pool)
            }
            _ => Err(PoolError::TooMany(total)),
        }
    }

    /// Reads a pool from a TOML file's text: tables `[[node]]` with `name`, `count`, `rack` and
    /// `cards = [{ model, count, memory_mib, mig }]`, where only `cards` and `model` must be there.
    pub fn from_toml(text: &str) -> Result<Self, PoolError> {
        Self::new(file::read(text)?)
    }

    /// Every card, node by node.
    pub fn cards(&self) -> Vec<Card> {
        self.build().expect("the pool was built once when it was checked")
    }

    fn build(&self) -> Result<Vec<Card>, PoolError> {
        let (mut cards, mut names, mut at) = (Vec::new(), BTreeSet::new(), 0u64);
        for nodes in &self.0 {
            for copy in 0..nodes.count {
                let name: NodeName = match &nodes.name {
                    None => format!("sim-n{at}"),
                    Some(name) if nodes.count == 1 => name.clone(),
                    Some(name) => format!("{name}-{copy}"),
                }
                .parse()?;
                let default_rack = || format!("rack-{}", at / NODES_A_RACK);
                let rack = nodes.rack.clone().unwrap_or_else(default_rack);
                cards.extend(build_node(&nodes.cards, &name, &rack)?);
                if let Some(name) = names.replace(name) {
                    return Err(PoolError::Twice(name));
                }
                at += 1;
            }
        }
        Ok(cards)
    }
}

fn check_group(group: &SimulatedGroup) -> Result<(), PoolError> {
    if group.mig && group.model.mig().is_none() {
        return Err(PoolError::NoMig(group.model.name));
    }
    match group.memory {
        Some(memory) if group.mig || memory == Mebibytes(0) => {
            Err(PoolError::Memory { model: group.model.name, memory })
        }
        _ => Ok(()),
    }
}

/// The cards of one node. The first half of them sits at NUMA node 0; linked cards of one model
/// share an NVLink island, which has the number of its first card.
fn build_node(
    groups: &[SimulatedGroup],
    node: &NodeName,
    rack: &str,
) -> Result<Vec<Card>, LabelError> {
    let total: u32 = groups.iter().map(|group| group.count).sum();
    let all = groups.iter().flat_map(|group| (0..group.count).map(move |_| group));
    let is_linked = |group: &SimulatedGroup| group.model.is_linked && !group.mig;
    let mut cards: Vec<Card> = Vec::new();
    for (index, group) in (0u32..).zip(all) {
        let model = group.model.full_name;
        let is_joined = |card: &&Card| card.model == model && card.mig.is_none();
        let first = is_linked(group).then(|| cards.iter().find(is_joined)).flatten();
        let nvlink = first.map_or(index, |card| card.index);
        let numa = u32::from(index >= total.div_ceil(2));
        let mps = vec![Rung::Mps, Rung::TimeSlice, Rung::Advisory];
        cards.push(Card {
            id: format!("{node}-{index}").parse::<CardId>()?,
            node: node.clone(),
            index,
            kind: CardKind::Sim,
            model: model.to_owned(),
            memory: group.memory.unwrap_or(group.model.memory),
            cores: 0,
            site: Site { nvlink, numa, rack: rack.to_owned() },
            rungs: if group.mig { vec![Rung::Mig] } else { mps },
            mig: group.model.mig().filter(|_| group.mig),
        });
    }
    Ok(cards)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::*;

    /// What each card is and where it sits, one a line.
    fn shown(pool: &SimulatedPool) -> Vec<String> {
        let line = |card: Card| {
            let rungs: Vec<&str> = card.rungs.iter().map(|rung| rung.name()).collect();
            format!(
                "{} {} nvlink {} numa {} {} {}",
                card.id, card.memory, card.site.nvlink, card.site.numa, card.site.rack, rungs[0]
            )
        };
        pool.cards().into_iter().map(line).collect()
    }

    #[test]
    fn files_describe_pools() {
        let text = r#"
            [[node]]
            cards = [{ model = "L40S", count = 2 }]

            [[node]]
            name = "big"
            count = 2
            rack = "r7"
            cards = [{ model = "H100" }, { model = "H100", count = 2 }, { model = "A30", mig = true }]

            [[node]]
            name = "small"
            cards = [{ model = "T4", memory_mib = 1000 }]
        "#;
        let expected = [
            "sim-n0-0 46068MiB nvlink 0 numa 0 rack-0 mps",
            "sim-n0-1 46068MiB nvlink 1 numa 1 rack-0 mps",
            "big-0-0 81920MiB nvlink 0 numa 0 r7 mps",
            "big-0-1 81920MiB nvlink 0 numa 0 r7 mps",
            "big-0-2 81920MiB nvlink 0 numa 1 r7 mps",
            "big-0-3 24576MiB nvlink 3 numa 1 r7 mig",
            "big-1-0 81920MiB nvlink 0 numa 0 r7 mps",
            "big-1-1 81920MiB nvlink 0 numa 0 r7 mps",
            "big-1-2 81920MiB nvlink 0 numa 1 r7 mps",
            "big-1-3 24576MiB nvlink 3 numa 1 r7 mig",
            "small-0 1000MiB nvlink 0 numa 0 rack-0 mps",
        ];
        assert_eq!(shown(&SimulatedPool::from_toml(text).unwrap()), expected);
    }

    #[test]
    fn sixteen_nodes_share_a_rack() {
        let group = SimulatedGroup {
            model: Model::named("T4").unwrap(),
            count: 1,
            memory: None,
            mig: false,
        };
        let nodes = SimulatedNodes { name: None, count: 33, rack: None, cards: vec![group] };
        let cards = SimulatedPool::new(vec![nodes]).unwrap().cards();
        let racks: Vec<&str> = cards.iter().map(|card| &*card.site.rack).collect();
        assert_eq!((racks[15], racks[16], racks[32]), ("rack-0", "rack-1", "rack-2"));
    }

    #[test]
    fn bad_files_are_refused() {
        let check = |text: &str, expected: &str| {
            let error = SimulatedPool::from_toml(text).unwrap_err();
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let message = format!("{error} {}", cause.unwrap_or_default());
            assert!(message.contains(expected), "{text:?} gave {message:?}");
        };
        check("", "no card");
        check("[[node]]", "cards");
        check("[[node]]\ncards = []", "no card");
        check("[[node]]\ncount = 0\ncards = [{ model = 'T4' }]", "no card");
        check("[[node]]\ncards = [{ model = 'T4', count = 0 }]", "no card");
        check("[[node]]\ncards = [{ model = 'T5' }]", "L40S");
        check("[[node]]\ncards = [{ model = 'T4', mig = true }]", "no MIG mode");
        check(
            "[[node]]\ncards = [{ model = 'A30', mig = true, memory_mib = 5 }]",
            "cannot have 5MiB",
        );
        check("[[node]]\ncards = [{ model = 'A30', memory_mib = 0 }]", "cannot have 0MiB");
        check("[[node]]\ncards = [{ model = 'T4', memory = 3 }]", "unknown field `memory`");
        check("[[node]]\nnode = 1\ncards = [{ model = 'T4' }]", "unknown field `node`");
        check("[[node]]\nname = 'a b'\ncards = [{ model = 'T4' }]", "no name of a card or node");
        check("[[node]]\ncount = 100001\ncards = [{ model = 'T4' }]", "more than 100000");
        check("[[node]]\ncount = 4000000000\ncards = [{ model = 'T4' }]", "more than 100000");
        let twice = "[[node]]\nname = 'a'\ncards = [{ model = 'T4' }]\n";
        check(&format!("{twice}{twice}"), "two simulated nodes are called 'a'");
        check(&" ".repeat(2 << 20), "1048576");
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(
            text in "(\\[\\[node\\]\\]\n(count = [0-9]{1,9}\n)?cards = \\[\\{ model = '(T4|.{0,3})', \
                     (count|mig|memory_mib) = ([0-9]{1,12}|true) \\}\\]\n){0,3}.{0,9}",
        ) {
            let _ = SimulatedPool::from_toml(&text).map(|pool| pool.cards().len());
        }
    }
}
