//! What happens to a node that is removed.
//!
//! ```text
//! lives --remove--> gone (in no answer; still passed through)
//! gone --last link to it replaced--> free (its memory waits for the next node)
//! ```
//!
//! Who links to a node is not kept, which would take as much memory as the links. So after each
//! insertion and removal a few nodes are looked at, in turn: a link to one that is gone is replaced
//! by one to a neighbour that this one had (as in-place updates of other graphs do: Xu and others
//! 2025, IP-DiskANN). Until then walks pass through it, so nothing is cut off meanwhile.

use super::graph::{Graph, NO_SLOT};
use super::scratch::{Candidate, Scratch};

/// Nodes that are looked at after each insertion or removal while some are gone and not free.
const SWEPT_PER_CHANGE: usize = 64;

impl Graph {
    /// Takes a node out of all answers.
    pub(super) fn bury(&mut self, node: u32) {
        self.slot_of[node as usize] = NO_SLOT;
        self.gone += 1;
        let level = self.links.level(node).expect("a node with a slot is in use");
        // Its links do not count any more, though walks still follow them.
        for level in 0..=level {
            let neighbours: Vec<u32> = self.links.of(node, level).collect();
            for to in neighbours {
                self.links.count_less(to);
                self.release_unlinked(to);
            }
        }
        if self.entry == Some(node) {
            self.choose_entry(node);
        }
        let mut scratch = self.pool.take();
        self.mend_tree(node, &mut scratch);
        self.pool.give(scratch);
        self.release_unlinked(node);
    }

    /// Makes a living node of the highest level the entry, one near the old entry if there is one.
    fn choose_entry(&mut self, old: u32) {
        let level = self.links.level(old).expect("the old entry is still in use");
        let near = self.links.of(old, level).find(|&node| self.can_join(node, level));
        self.entry = near.or_else(|| {
            let living = (0..self.links.len() as u32).filter(|&node| self.can_join(node, 0));
            living.max_by_key(|&node| (self.links.level(node), std::cmp::Reverse(node)))
        });
    }

    /// Looks at the next few nodes.
    pub(super) fn sweep_some(&mut self) {
        self.sweep(SWEPT_PER_CHANGE.min(self.links.len()));
    }

    /// Looks at the next `nodes` nodes, and replaces their links to ones that are gone.
    pub(super) fn sweep(&mut self, nodes: usize) {
        if self.gone == 0 {
            return;
        }
        let mut scratch = self.pool.take();
        for _ in 0..nodes {
            self.cursor = (self.cursor + 1) % self.links.len() as u32;
            let node = self.cursor;
            if self.slot_of[node as usize] == NO_SLOT {
                continue;
            }
            for level in 0..=self.links.level(node).unwrap_or(0) {
                let is_gone = |to: u32| self.slot_of[to as usize] == NO_SLOT;
                let has_gone = self.links.of(node, level).any(is_gone);
                if has_gone {
                    self.heal(node, level, &mut scratch);
                }
            }
        }
        self.pool.give(scratch);
    }

    /// Replaces a node's links to ones that are gone by links to their neighbours: as many, if
    /// enough of them lie in directions that the node has no link to.
    fn heal(&mut self, node: u32, level: usize, scratch: &mut Scratch) {
        let (mut kept, lost): (Vec<u32>, Vec<u32>) =
            self.links.of(node, level).partition(|&to| self.can_join(to, level));
        let mut heirs: Vec<u32> = lost
            .iter()
            .flat_map(|&gone| self.links.of(gone, level))
            .filter(|&heir| heir != node && self.can_join(heir, level) && !kept.contains(&heir))
            .collect();
        heirs.sort_unstable();
        heirs.dedup();
        self.rank(node, &heirs, scratch);
        let room = kept.len() + lost.len();
        let enough = self.settings.links as usize / 2;
        let Scratch { candidates, other, .. } = scratch;
        let mut passed: Vec<Candidate> = Vec::new();
        for &heir in candidates.iter() {
            if kept.len() == room {
                break;
            }
            if self.is_covered(heir, &kept, other) {
                passed.push(heir);
            } else {
                kept.push(heir.node);
            }
        }
        let few = enough.min(self.links.width(level)).saturating_sub(kept.len());
        kept.extend(passed.iter().take(few).map(|heir| heir.node));
        self.relink(node, level, &kept);
    }

    /// Frees all nodes that are gone.
    pub(in crate::dense) fn settle(&mut self) {
        self.sweep(self.links.len());
    }
}
