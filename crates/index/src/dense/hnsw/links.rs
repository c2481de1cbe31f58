//! Who is joined to whom: a row of fixed width for each node and level.

use std::io;

use crate::dense::error::DamagedError;
use crate::dense::kernels::Table;
use crate::dense::saved::{Reader, Writer};

/// No node; it ends a row that is not full.
pub(super) const NONE: u32 = u32::MAX;
/// The level of a node that is not in use.
const FREE: u8 = u8::MAX;
/// The highest level that a node can have.
pub(super) const LEVEL_MAX: usize = 15;

/// The links of all nodes on all levels.
pub(super) struct Links {
    /// Level 0: `[nodes, 2 links]`.
    base: Table<u32>,
    /// Higher levels: `[rows, links]`; a node's levels lie one after the other.
    upper: Table<u32>,
    /// A node's row for level 1 in `upper`, [`NONE`] if it is on level 0 alone.
    upper_at: Vec<u32>,
    levels: Vec<u8>,
    /// How many links of living nodes lead to a node, on all levels.
    incoming: Vec<u32>,
    /// Each living node's parent in the tree on level 0 (see `tree`), [`NONE`] for the root.
    parents: Vec<u32>,
    /// First rows of `upper` that are not in use, by how many lie together.
    free_upper: [Vec<u32>; LEVEL_MAX + 1],
}

impl Links {
    pub(super) fn new(links: usize) -> Self {
        Self {
            base: Table::new(2 * links),
            upper: Table::new(links),
            upper_at: Vec::new(),
            levels: Vec::new(),
            incoming: Vec::new(),
            parents: Vec::new(),
            free_upper: Default::default(),
        }
    }

    /// Nodes that there is a row for, in use or not.
    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }

    /// Links that a node can have on a level.
    pub(super) fn width(&self, level: usize) -> usize {
        if level == 0 { self.base.width() } else { self.upper.width() }
    }

    /// A node's highest level, `None` if it is not in use.
    pub(super) fn level(&self, node: u32) -> Option<usize> {
        Some(self.levels[node as usize]).filter(|&level| level != FREE).map(usize::from)
    }

    /// Makes room for one more node.
    pub(super) fn grow(&mut self) {
        self.base.resize(self.len() + 1);
        self.upper_at.push(NONE);
        self.levels.push(FREE);
        self.incoming.push(0);
        self.parents.push(NONE);
    }

    /// Puts a node in use, without links.
    pub(super) fn begin(&mut self, node: u32, level: usize) {
        self.base.row_mut(node as usize).fill(NONE);
        self.levels[node as usize] = level as u8;
        self.incoming[node as usize] = 0;
        self.parents[node as usize] = NONE;
        self.upper_at[node as usize] = NONE;
        if level > 0 {
            let first = self.free_upper[level].pop().unwrap_or_else(|| {
                let first = self.upper.rows();
                self.upper.resize(first + level);
                first as u32
            });
            self.upper_at[node as usize] = first;
            for row in first as usize..first as usize + level {
                self.upper.row_mut(row).fill(NONE);
            }
        }
    }

    /// Takes a node out of use.
    pub(super) fn end(&mut self, node: u32) {
        self.base.row_mut(node as usize).fill(NONE);
        let level = std::mem::replace(&mut self.levels[node as usize], FREE);
        if level > 0 {
            self.free_upper[usize::from(level)].push(self.upper_at[node as usize]);
        }
        self.upper_at[node as usize] = NONE;
    }

    /// Asks the processor for a node's row on level 0.
    #[inline(always)]
    pub(super) fn prefetch(&self, node: u32) {
        self.base.prefetch(node as usize);
    }

    /// Whom a node is joined to on a level; nobody, if it is not on it.
    #[inline(always)]
    pub(super) fn of(&self, node: u32, level: usize) -> impl Iterator<Item = u32> + '_ {
        let row: &[u32] = if level == 0 {
            self.base.row(node as usize)
        } else if level <= usize::from(self.levels[node as usize])
            && self.upper_at[node as usize] != NONE
        {
            self.upper.row(self.upper_at[node as usize] as usize + level - 1)
        } else {
            &[]
        };
        row.iter().copied().take_while(|&to| to != NONE)
    }

    /// Joins a node to these and no others. The counts of [`Links::incoming`] stay as they are.
    pub(super) fn set(&mut self, node: u32, level: usize, to: &[u32]) {
        let row = if level == 0 {
            self.base.row_mut(node as usize)
        } else {
            self.upper.row_mut(self.upper_at[node as usize] as usize + level - 1)
        };
        row[..to.len()].copy_from_slice(to);
        row[to.len()..].fill(NONE);
    }

    /// A living node's parent, `None` for the root.
    pub(super) fn parent(&self, node: u32) -> Option<u32> {
        Some(self.parents[node as usize]).filter(|&parent| parent != NONE)
    }

    pub(super) fn set_parent(&mut self, node: u32, parent: Option<u32>) {
        self.parents[node as usize] = parent.unwrap_or(NONE);
    }

    /// How many links of living nodes lead to this one.
    pub(super) fn incoming(&self, node: u32) -> u32 {
        self.incoming[node as usize]
    }

    pub(super) fn count_more(&mut self, node: u32) {
        self.incoming[node as usize] += 1;
    }

    pub(super) fn count_less(&mut self, node: u32) {
        self.incoming[node as usize] -= 1;
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let free: usize = self.free_upper.iter().map(|rows| rows.capacity() * 4).sum();
        let nodes = self.upper_at.capacity() * 4 + self.levels.capacity();
        let incoming = (self.incoming.capacity() + self.parents.capacity()) * 4;
        self.base.memory_bytes() + self.upper.memory_bytes() + nodes + incoming + free
    }

    pub(super) fn save(&self, out: &mut Writer<'_>) -> io::Result<()> {
        out.table(&self.base)?;
        out.table(&self.upper)?;
        out.counted(&self.upper_at)?;
        out.counted(&self.levels)?;
        out.counted(&self.parents)
    }

    /// Reads links and checks that each leads to a node; counts are left to the caller, who knows
    /// which nodes live.
    pub(super) fn open(bytes: &mut Reader<'_>, links: usize) -> Result<Self, DamagedError> {
        let damaged = |reason| Err(DamagedError { reason });
        let mut read = Self::new(links);
        read.base = bytes.table(2 * links)?;
        read.upper = bytes.table(links)?;
        read.upper_at = bytes.counted()?;
        read.levels = bytes.counted()?;
        read.parents = bytes.counted()?;
        let nodes = read.base.rows();
        if [read.upper_at.len(), read.levels.len(), read.parents.len()] != [nodes; 3] {
            return damaged("links do not fit together");
        }
        let mut all = read.base.elements().iter().chain(read.upper.elements());
        let is_outside = |&to: &u32| to != NONE && to as usize >= nodes;
        if all.any(is_outside) || read.parents.iter().any(is_outside) {
            return damaged("a link leads nowhere");
        }
        read.incoming = vec![0; nodes];
        read.find_free_rows()?;
        Ok(read)
    }

    fn find_free_rows(&mut self) -> Result<(), DamagedError> {
        let mut is_used = vec![false; self.upper.rows()];
        for (&first, &level) in self.upper_at.iter().zip(&self.levels) {
            let has_rows = level != FREE && level > 0;
            if has_rows != (first != NONE) || (level != FREE && usize::from(level) > LEVEL_MAX) {
                return Err(DamagedError { reason: "a node's levels have no rows" });
            }
            if has_rows {
                let rows = first as usize..first as usize + usize::from(level);
                let Some(rows) = is_used.get_mut(rows).filter(|rows| !rows.contains(&true)) else {
                    return Err(DamagedError { reason: "a node's levels lie outside their table" });
                };
                rows.fill(true);
            }
        }
        let free = is_used.iter().enumerate().filter(|(_, is_used)| !**is_used);
        self.free_upper[1] = free.map(|(row, _)| row as u32).collect();
        Ok(())
    }
}
