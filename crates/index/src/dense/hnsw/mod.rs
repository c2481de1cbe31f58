//! A hierarchical graph of neighbours (Malkov and Yashunin 2018) in which vectors come and go.
//!
//! Nodes are numbered; a node's code, links and slot lie in flat tables. Level 0 has all nodes, each
//! higher one a few of those below. A search goes down the levels along the nearest neighbour and
//! then, on level 0, follows the links of the best nodes until the best it has seen have all been
//! followed. `insert` joins new nodes, `heal` tells how old ones leave, `tree` why none is ever cut
//! off, and `walk` searches.
//!
//! What holds between changes: a living node's links lead to nodes that live or are gone, never to
//! free ones; on level 0 they lead from each living node to every other; a gone node is free as soon
//! as no living node links to it.

mod graph;
mod heal;
mod insert;
mod links;
mod nested;
mod scratch;
mod tree;
mod walk;

#[cfg(test)]
mod tests;

pub(super) use graph::Graph;
