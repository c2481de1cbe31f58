//! The nodes that a pool is grown by.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use cotenant_types::{Card, CardId, MigGeometry, NodeName, Rung};
use thiserror::Error;

/// A node of cards that are alike. A pool is grown by such nodes, one filled after the other; all
/// of them count as one rack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeShape(Vec<Card>);

/// Why cards make no shape.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ShapeError {
    /// There is none.
    #[error("there is no card")]
    NoCards,
    /// They are not alike, so that nobody can say how many of them are needed.
    #[error("{one} and {other} are not alike, and what is needed is a number of one kind of card")]
    Mixed {
        /// A card.
        one: CardId,
        /// Another, of another model, size or mode.
        other: CardId,
    },
}

/// How cards of one kind can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardChoice {
    /// Shared by limits or turns; none if the cards are in MIG mode.
    pub ordinary: Option<NodeShape>,
    /// In MIG mode; none if they have no such mode.
    pub partitioned: Option<NodeShape>,
}

impl NodeShape {
    /// The shape of the node with the most of these cards, which must be alike.
    pub fn of(cards: &[Card]) -> Result<Self, ShapeError> {
        let first = cards.first().ok_or(ShapeError::NoCards)?;
        let kind = |card: &Card| (card.model.clone(), card.memory, card.mig.clone());
        if let Some(other) = cards.iter().find(|card| kind(card) != kind(first)) {
            return Err(ShapeError::Mixed { one: first.id.clone(), other: other.id.clone() });
        }
        let mut nodes: BTreeMap<&NodeName, Vec<&Card>> = BTreeMap::new();
        for card in cards {
            nodes.entry(&card.node).or_default().push(card);
        }
        let largest = nodes.into_iter().max_by_key(|(name, cards)| (cards.len(), Reverse(*name)));
        let (_, largest) = largest.expect("there is a card, and so a node");
        Ok(Self(largest.into_iter().cloned().collect()))
    }

    /// One of its cards; they are alike.
    pub fn card(&self) -> &Card {
        &self.0[0]
    }

    /// Cards of a node.
    pub fn cards_per_node(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// So many cards: full nodes, and a last one with the rest.
    pub fn grown_to(&self, cards: u32) -> Vec<Card> {
        let per_node = self.cards_per_node();
        let grown = (0..cards).map(|number| {
            let (node, at) = (number / per_node, number % per_node);
            let id = format!("node-{node}-{at}").parse().expect("a plain name is a label");
            let node = format!("node-{node}").parse().expect("a plain name is a label");
            Card { id, node, index: at, ..self.0[at as usize].clone() }
        });
        grown.collect()
    }

    /// The same cards in MIG mode, with these partitions. They have no other rung then, and no
    /// NVLink between partitions.
    pub fn partitioned(&self, geometry: &MigGeometry) -> Self {
        let switched = self.0.iter().map(|card| {
            let mut card = card.clone();
            card.site.nvlink = card.index;
            Card { rungs: vec![Rung::Mig], mig: Some(geometry.clone()), ..card }
        });
        Self(switched.collect())
    }
}

impl CardChoice {
    /// The ways to use cards that are as these, given the partitions that they would offer in MIG
    /// mode.
    pub fn of(cards: &[Card], geometry: Option<&MigGeometry>) -> Result<Self, ShapeError> {
        let shape = NodeShape::of(cards)?;
        Ok(match shape.card().mig {
            Some(_) => Self { ordinary: None, partitioned: Some(shape) },
            None => {
                let partitioned = geometry.map(|geometry| shape.partitioned(geometry));
                Self { ordinary: Some(shape), partitioned }
            }
        })
    }

    /// The cards as they are now.
    pub fn as_found(&self) -> &NodeShape {
        let found = self.ordinary.as_ref().or(self.partitioned.as_ref());
        found.expect("a choice is made of cards that are in a mode")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::testing::{cards, geometry};
    use super::*;

    #[test]
    fn a_pool_grows_node_by_node() {
        let check = |count: u32, expected: Expect| {
            let shape = NodeShape::of(&cards(2, 81_920)).unwrap();
            let ids: Vec<String> =
                shape.grown_to(count).into_iter().map(|card| card.id.to_string()).collect();
            expected.assert_eq(&ids.join(" "));
        };
        check(0, expect![""]);
        check(3, expect!["node-0-0 node-0-1 node-1-0"]);
    }

    #[test]
    fn cards_must_be_alike_and_the_fullest_node_counts() {
        let mut mixed = cards(3, 81_920);
        mixed[0].node = "other".parse().unwrap();
        assert_eq!(NodeShape::of(&mixed).unwrap().cards_per_node(), 2);
        mixed[1].memory.0 = 1;
        assert!(matches!(NodeShape::of(&mixed), Err(ShapeError::Mixed { .. })));
        assert_eq!(NodeShape::of(&[]), Err(ShapeError::NoCards));
    }

    #[test]
    fn cards_in_mig_mode_have_no_other() {
        let choice = CardChoice::of(&cards(2, 81_920), Some(&geometry())).unwrap();
        let switched = choice.partitioned.unwrap().grown_to(1);
        assert_eq!(switched[0].rungs, [Rung::Mig]);
        let choice = CardChoice::of(&switched, None).unwrap();
        assert_eq!((choice.ordinary.is_none(), choice.as_found().cards_per_node()), (true, 1));
    }
}
