//! Finds the cheapest node for a job, again and again, while nodes fill and empty.
//!
//! What a node costs a kind of job is remembered until the node changes. Each kind has a [`Board`]
//! of its own, which takes in what changed when the next job of the kind arrives: a kind that comes
//! seldom pays once for many changes.

use std::borrow::Cow;

use crate::policy::{Cards, Demand, Draw, Node, Offer, PlacementPolicy};
use crate::replay::board::{Board, NO_ROOM};
use crate::replay::cluster::Cluster;
use crate::replay::workload::Workload;

/// Costs that all boards together remember: 256 MiB, with the trees above them. Kinds of jobs that
/// come after that are compared node by node, each time.
const COSTS_MAX: usize = 16 << 20;

/// The nodes of a cluster, and what a policy says they cost.
pub(super) struct Placer<'a> {
    pub(super) policy: &'a dyn PlacementPolicy,
    kinds: &'a [Demand],
    /// In the order of their ranks, so that of equals the first wins.
    nodes: Vec<Node>,
    boards: Vec<Option<Board>>,
    pub(super) boards_left: usize,
    /// Nodes in the order in which they changed.
    changes: Vec<u32>,
    /// For each node, the last question whose board took its changes in.
    taken_in: Vec<u64>,
    /// Questions so far.
    asked: u64,
}

impl<'a> Placer<'a> {
    /// The empty cluster, with the ranks of its nodes.
    pub(super) fn new(
        cluster: &Cluster,
        workload: &'a Workload,
        (ranks, policy): (&[u32], &'a dyn PlacementPolicy),
    ) -> Self {
        let mut by_rank: Vec<usize> = (0..cluster.nodes()).collect();
        by_rank.sort_by_key(|&at| ranks[at]);
        let nodes: Vec<Node> = by_rank.into_iter().map(|at| cluster.node(at)).collect();
        Self {
            policy,
            kinds: workload.kinds(),
            boards: workload.kinds().iter().map(|_| None).collect(),
            boards_left: COSTS_MAX / nodes.len().max(1),
            changes: Vec::new(),
            taken_in: vec![0; nodes.len()],
            nodes,
            asked: 0,
        }
    }

    /// What is free, node by node in the order of their ranks.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The cheapest node for a kind of job, and what it offers; none if no node has room.
    pub(super) fn cheapest(&mut self, kind: usize) -> Option<(usize, Offer)> {
        self.asked += 1;
        match self.is_kept(kind) {
            true => {
                let node = self.board(kind).cheapest()?;
                self.offer(node, kind).map(|offer| (node, offer))
            }
            false => self.cheapest_of_all(&self.kinds[kind]),
        }
    }

    /// What the node offers a kind of job.
    pub(super) fn offer(&self, node: usize, kind: usize) -> Option<Offer> {
        self.policy.offer(&self.nodes[node], &self.kinds[kind], self.asked)
    }

    /// Gives the job its cards of the node.
    pub(super) fn take(&mut self, node: usize, (kind, cards): (usize, Cards)) {
        self.nodes[node].take(&self.kinds[kind], cards);
        self.changes.push(node as u32);
    }

    /// What every node costs a kind of job, in the order of their ranks; those without room cost
    /// [`NO_ROOM`](super::board::NO_ROOM).
    pub(super) fn costs(&mut self, kind: usize) -> Cow<'_, [i64]> {
        self.asked += 1;
        match self.is_kept(kind) {
            true => Cow::Borrowed(self.board(kind).costs()),
            false => {
                let cost = |node| self.offer(node, kind).map_or(NO_ROOM, |offer| offer.cost);
                Cow::Owned((0..self.nodes.len()).map(cost).collect())
            }
        }
    }

    /// Takes back what a job had, where jobs of these kinds are left.
    pub(super) fn give_back(&mut self, node: usize, (kind, cards): (usize, Cards), hosted: u64) {
        self.nodes[node].give_back((&self.kinds[kind], cards), hosted);
        self.changes.push(node as u32);
    }

    fn is_kept(&self, kind: usize) -> bool {
        match self.policy.draw() {
            Draw::None => self.boards[kind].is_some() || self.boards_left > 0,
            Draw::EachArrival => false,
        }
    }

    /// The board of a kind, with everything taken in that changed.
    fn board(&mut self, kind: usize) -> &Board {
        let demand = &self.kinds[kind];
        let (policy, nodes, number) = (self.policy, &self.nodes, self.asked);
        let cost = |node: &Node| policy.offer(node, demand, number).map(|offer| offer.cost);
        let place = &mut self.boards[kind];
        match place.take() {
            Some(mut board) if self.changes.len() - board.seen < nodes.len() => {
                for &node in &self.changes[board.seen..] {
                    let node = node as usize;
                    if std::mem::replace(&mut self.taken_in[node], number) != number {
                        board.set(node, cost(&nodes[node]));
                    }
                }
                board.seen = self.changes.len();
                place.insert(board)
            }
            stale => {
                self.boards_left -= usize::from(stale.is_none());
                place.insert(Board::new(nodes.iter().map(cost), self.changes.len()))
            }
        }
    }

    fn cheapest_of_all(&self, demand: &Demand) -> Option<(usize, Offer)> {
        let offer = |(at, node)| Some((at, self.policy.offer(node, demand, self.asked)?));
        let offers = self.nodes.iter().enumerate().filter_map(offer);
        offers.min_by_key(|(at, offer)| (offer.cost, *at))
    }
}
