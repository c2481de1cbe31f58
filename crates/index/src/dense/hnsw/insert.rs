//! A new node: where it stands, and who its neighbours are.

use super::graph::{Graph, NO_SLOT};
use super::links::LEVEL_MAX;
use super::nested::NestedQuery;
use super::scratch::{Candidate, Scratch};
use crate::dense::random::uniform;

/// Chosen neighbours that a candidate is compared with at a time, before it is known whether it is
/// refused.
const COMPARED_AT_ONCE: usize = 8;

impl Graph {
    /// A node's level is a function of its slot: each level has one in `links` of the nodes below.
    pub(super) fn level_of(&self, slot: u32) -> usize {
        let drawn = -uniform(self.seed, u64::from(slot)).ln() / f64::from(self.settings.links).ln();
        (drawn as usize).min(LEVEL_MAX)
    }

    /// Joins a node, whose code is set, to its nearest neighbours on each of its levels.
    pub(super) fn connect(&mut self, node: u32, vector: &[f32], scratch: &mut Scratch) {
        let level = self.links.level(node).expect("the node was just put in use");
        let Some(entry) = self.entry else {
            self.entry = Some(node);
            return;
        };
        let top = self.links.level(entry).expect("the entry is a living node");
        scratch.query.set(vector);
        let mut starts = vec![self.descend(entry, level, scratch)];
        for level in (0..=level.min(top)).rev() {
            self.walk(&starts, level, self.settings.construction as usize, scratch);
            let Scratch { frontier, candidates, .. } = scratch;
            candidates.clear();
            candidates.extend(frontier.found().filter(|candidate| {
                candidate.node != node && self.can_join(candidate.node, level)
            }));
            starts.clear();
            starts.extend(frontier.found().map(|candidate| candidate.node));
            let limit = self.settings.links as usize;
            scratch.chosen.clear();
            self.choose(limit, scratch);
            let chosen = std::mem::take(&mut scratch.chosen);
            let near: Vec<u32> = scratch.near().take(limit).collect();
            self.relink(node, level, &chosen);
            for &to in &chosen {
                self.join(to, node, level, scratch);
            }
            if level == 0 {
                self.grow_tree(node, chosen.iter().chain(&near).copied(), scratch);
            }
            scratch.chosen = chosen;
        }
        if level > top {
            self.entry = Some(node);
        }
    }

    /// Whether a node lives and is on this level, so that others may link to it there.
    pub(super) fn can_join(&self, node: u32, level: usize) -> bool {
        let is_on_level = || self.links.level(node).is_some_and(|highest| highest >= level);
        self.slot_of[node as usize] != NO_SLOT && is_on_level()
    }

    /// Chooses neighbours from `scratch.candidates`, the best first: those that are not nearer to a
    /// chosen one than to the node itself, so that they lie in different directions (the heuristic
    /// of the paper). What equals a chosen one is as near as can be and is refused, or a crowd of
    /// equal vectors would have links to each other alone. What is in `scratch.chosen` stays there.
    pub(super) fn choose(&self, limit: usize, scratch: &mut Scratch) {
        let Scratch { candidates, chosen, other, .. } = scratch;
        for candidate in candidates.iter() {
            if chosen.len() >= limit {
                break;
            }
            if !chosen.contains(&candidate.node) && !self.is_covered(*candidate, chosen, other) {
                chosen.push(candidate.node);
            }
        }
    }

    /// Whether a candidate is at least as near to one of `chosen` as to the node it may join.
    pub(super) fn is_covered(
        &self,
        candidate: Candidate,
        chosen: &[u32],
        expanded: &mut NestedQuery,
    ) -> bool {
        if chosen.is_empty() {
            return false;
        }
        self.codes.expand(candidate.node, expanded);
        chosen.chunks(COMPARED_AT_ONCE).any(|part| {
            let mut is_near = false;
            self.codes.coarse(expanded, part, |_, score| is_near |= score >= candidate.score);
            is_near
        })
    }

    /// Adds a link; where there is no room, the neighbours are chosen anew.
    fn join(&mut self, from: u32, to: u32, level: usize, scratch: &mut Scratch) {
        let width = self.links.width(level);
        let mut row: Vec<u32> = self.links.of(from, level).collect();
        if row.contains(&to) {
            return;
        }
        row.push(to);
        if row.len() > width {
            row.retain(|&node| self.can_join(node, level));
        }
        if row.len() > width {
            self.rank(from, &row, scratch);
            scratch.chosen.clear();
            if level == 0 {
                scratch.chosen.extend(row.iter().filter(|&&to| self.is_tied(from, to)));
            }
            self.choose(width, scratch);
            row.clone_from(&scratch.chosen);
        }
        self.relink(from, level, &row);
    }

    /// Puts `nodes` among the candidates, in the order of how near they are to `from`.
    pub(super) fn rank(&self, from: u32, nodes: &[u32], scratch: &mut Scratch) {
        let Scratch { candidates, other, .. } = scratch;
        candidates.clear();
        self.codes.expand(from, other);
        nodes.iter().for_each(|&node| self.codes.prefetch_coarse(node));
        self.codes.coarse(other, nodes, |node, score| candidates.push(Candidate { score, node }));
        candidates.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.node.cmp(&b.node)));
    }

    /// Sets a living node's links, and keeps count of who is linked to.
    pub(super) fn relink(&mut self, node: u32, level: usize, to: &[u32]) {
        let before: Vec<u32> = self.links.of(node, level).collect();
        self.links.set(node, level, to);
        to.iter().for_each(|&to| self.links.count_more(to));
        for to in before {
            self.links.count_less(to);
            self.release_unlinked(to);
        }
    }

    /// Frees a node if it is gone and no living node links to it any more.
    pub(super) fn release_unlinked(&mut self, node: u32) {
        let is_used = self.links.level(node).is_some();
        let is_gone = is_used && self.slot_of[node as usize] == NO_SLOT;
        if is_gone && self.links.incoming(node) == 0 {
            self.links.end(node);
            self.codes.clear(node);
            self.free.push(node);
            self.gone -= 1;
        }
    }
}
