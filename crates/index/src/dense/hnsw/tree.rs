//! Why no node is ever cut off: a tree over all living nodes, whose links are never given up.
//!
//! Choosing neighbours anew drops links, and the one that is dropped may have been the only way to a
//! node, or to a whole crowd: vectors that are equal, or short ones where products are compared, drop
//! out so. Each node therefore has a parent among its neighbours, and both keep the link to each
//! other. A node has at most half as many children as links, so there is room for others. When a node
//! leaves, its children look for other parents, and not below themselves.

use super::graph::{Graph, NO_SLOT};
use super::scratch::Scratch;
use crate::dense::error::DamagedError;

impl Graph {
    /// Whether the link between two living nodes is one of the tree.
    pub(super) fn is_tied(&self, a: u32, b: u32) -> bool {
        self.links.parent(a) == Some(b) || self.links.parent(b) == Some(a)
    }

    fn children(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        let is_child = move |&to: &u32| {
            self.slot_of[to as usize] != NO_SLOT && self.links.parent(to) == Some(node)
        };
        self.links.of(node, 0).filter(is_child)
    }

    /// Whether there is room for another child.
    fn has_room(&self, node: u32) -> bool {
        self.children(node).count() < self.settings.links as usize
    }

    /// Gives a new node a parent: the first of `near` that has room, or else one below the nearest.
    pub(super) fn grow_tree(
        &mut self,
        node: u32,
        near: impl Iterator<Item = u32> + Clone,
        scratch: &mut Scratch,
    ) {
        let parent = near.clone().find(|&parent| self.has_room(parent));
        let parent = parent.or_else(|| {
            let nearest = near.clone().next().or(self.entry.filter(|&entry| entry != node));
            nearest.map(|nearest| self.below(nearest))
        });
        if let Some(parent) = parent {
            self.tie(node, parent, scratch);
        }
    }

    /// A node under this one with room for a child: at the latest, one without any.
    fn below(&self, node: u32) -> u32 {
        let mut node = node;
        while !self.has_room(node) {
            node = self.children(node).next().expect("a node without room has children");
        }
        node
    }

    /// Makes one node the parent of another, and links both to each other.
    fn tie(&mut self, child: u32, parent: u32, scratch: &mut Scratch) {
        self.links.set_parent(child, Some(parent));
        self.keep_link(child, parent, scratch);
        self.keep_link(parent, child, scratch);
    }

    /// Sees to it that there is a link; in a full row it takes the place of the farthest one that is
    /// not the tree's.
    fn keep_link(&mut self, from: u32, to: u32, scratch: &mut Scratch) {
        let mut row: Vec<u32> = self.links.of(from, 0).collect();
        if row.contains(&to) {
            return;
        }
        if row.len() == self.links.width(0) {
            self.rank(from, &row, scratch);
            let nodes: Vec<u32> = scratch.near().collect();
            let is_free =
                |node: u32| self.slot_of[node as usize] == NO_SLOT || !self.is_tied(from, node);
            let spared = nodes.into_iter().rev().find(|&node| is_free(node));
            let spared = spared.expect("at most half of a row and one more are the tree's");
            row.retain(|&node| node != spared);
        }
        row.push(to);
        self.relink(from, 0, &row);
    }

    /// Finds other parents for the children of a node that has just gone. What they were to it is
    /// still in its links.
    pub(super) fn mend_tree(&mut self, gone: u32, scratch: &mut Scratch) {
        let children: Vec<u32> = self.children(gone).collect();
        let parent = self.links.parent(gone);
        self.links.set_parent(gone, None);
        let near: Vec<u32> = self.links.of(gone, 0).collect();
        for (at, &child) in children.iter().enumerate() {
            self.links.set_parent(child, None);
            if at == 0 && parent.is_none() {
                // The root is gone, and this is the new one.
                continue;
            }
            let mut others: Vec<u32> =
                near.iter().copied().chain(self.links.of(child, 0)).collect();
            others.retain(|&other| other != child && self.can_join(other, 0));
            self.rank(child, &others, scratch);
            // Not one below the child, nor below a brother who has no parent yet.
            let anchor = parent.unwrap_or(children[0]);
            let found = scratch
                .near()
                .find(|&other| self.has_room(other) && self.root_of(other) == self.root_of(anchor));
            let found = found.unwrap_or_else(|| self.below(anchor));
            self.tie(child, found, scratch);
        }
    }

    /// The first of all ancestors.
    fn root_of(&self, node: u32) -> u32 {
        let mut node = node;
        while let Some(parent) = self.links.parent(node) {
            node = parent;
        }
        node
    }

    /// Whether what was read is a tree over all living nodes.
    pub(super) fn check_tree(&self) -> Result<(), DamagedError> {
        let damaged = Err(DamagedError { reason: "the tree of nodes does not hold together" });
        let nodes = 0..self.links.len() as u32;
        let mut living = nodes.filter(|&node| self.slot_of[node as usize] != NO_SLOT);
        let mut open: Vec<u32> = Vec::new();
        open.extend(living.find(|&node| self.links.parent(node).is_none()));
        let mut reached = open.len();
        while let Some(node) = open.pop() {
            let before = open.len();
            open.extend(self.children(node));
            let children = &mut open[before..];
            children.sort_unstable();
            let is_double = children.windows(2).any(|pair| pair[0] == pair[1]);
            let is_one_way =
                children.iter().any(|&child| !self.links.of(child, 0).any(|to| to == node));
            if is_double || is_one_way || children.len() > self.settings.links as usize {
                return damaged;
            }
            reached += children.len();
        }
        if reached == self.len() { Ok(()) } else { damaged }
    }
}
