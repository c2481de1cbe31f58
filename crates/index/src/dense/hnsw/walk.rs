//! Walks through the graph: down the levels, among the neighbours, and past what a filter refuses.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::graph::{Graph, NO_SLOT};
use super::nested::NestedQuery;
use super::scratch::{Candidate, Scratch};
use crate::dense::random::mix;
use crate::dense::search::{Allowed, Best, Found, SearchArgs, SearchCost};
use crate::hit::{Hit, Slot};

/// Candidates that are compared again with both halves of their codes, for each wanted hit.
const REFINED_PER_HIT: usize = 4;
/// Living vectors up to which, or among which as many are allowed, all are compared.
const SCAN_MAX: usize = 1_000;
/// Slots of which a filter's share is estimated.
const SAMPLE: usize = 256;
/// Nodes that a walk compares for each candidate it keeps, about; it decides when a walk among what
/// a filter refuses costs more than comparing with all that it allows.
const COMPARED_PER_CANDIDATE: usize = 16;

impl Graph {
    /// Finds what is nearest to `vector`, which is `args.query` as codes have it.
    pub(super) fn find(&self, vector: &[f32], args: &SearchArgs<'_>) -> Found {
        let (Some(entry), true) = (self.entry, args.k > 0) else { return Found::default() };
        let mut scratch = self.pool.take();
        scratch.coarse = 0;
        scratch.query.set(vector);
        let width = (args.effort.unwrap_or(self.settings.candidates) as usize).max(args.k);
        let mut cost = SearchCost::default();
        let hits = match args.allowed {
            _ if self.len() <= SCAN_MAX.max(width) => self.scan(args, &scratch.query, &mut cost),
            None => {
                let start = self.descend(entry, 0, &mut scratch);
                self.walk(&[start], 0, width, &mut scratch);
                self.refine(args, &scratch, &mut cost)
            }
            Some(allowed) => {
                let start = self.descend(entry, 0, &mut scratch);
                match self.walk_allowed(start, width, allowed, &mut scratch) {
                    true => self.refine(args, &scratch, &mut cost),
                    false => self.scan(args, &scratch.query, &mut cost),
                }
            }
        };
        cost.coarse += scratch.coarse;
        self.pool.give(scratch);
        Found { hits, cost }
    }

    /// The nearest node on the level above `level`, from the top down.
    pub(super) fn descend(&self, entry: u32, level: usize, scratch: &mut Scratch) -> u32 {
        let top = self.links.level(entry).unwrap_or(0);
        let Scratch { query, fresh, .. } = scratch;
        let mut best = Candidate { score: f32::NEG_INFINITY, node: entry };
        self.codes.coarse(query, &[entry], |_, score| best.score = score);
        for level in (level + 1..=top).rev() {
            loop {
                let before = best.node;
                fresh.clear();
                fresh.extend(self.links.of(before, level));
                fresh.iter().for_each(|&to| self.codes.prefetch_coarse(to));
                self.codes.coarse(query, fresh, |node, score| {
                    if score > best.score {
                        best = Candidate { score, node };
                    }
                });
                scratch.coarse += fresh.len() as u64;
                if best.node == before {
                    break;
                }
            }
        }
        best.node
    }

    /// Leaves in the frontier the `width` nodes of a level that are nearest to the query, as far as
    /// following links from `starts` finds them. They may be ones that are gone.
    pub(super) fn walk(&self, starts: &[u32], level: usize, width: usize, scratch: &mut Scratch) {
        let Scratch { query, frontier, seen, fresh, coarse, .. } = scratch;
        seen.begin(self.links.len());
        frontier.begin(width);
        starts.iter().for_each(|&start| _ = seen.insert(start));
        self.codes.coarse(query, starts, |node, score| _ = frontier.offer(score, node));
        while let Some(node) = frontier.follow() {
            fresh.clear();
            for to in self.links.of(node, level) {
                if seen.insert(to) {
                    self.codes.prefetch_coarse(to);
                    fresh.push(to);
                }
            }
            if let Some(next) = frontier.peek().filter(|_| level == 0) {
                self.links.prefetch(next);
            }
            *coarse += fresh.len() as u64;
            self.codes.coarse(query, fresh, |node, score| _ = frontier.offer(score, node));
        }
    }

    /// As [`Graph::walk`] on level 0, with only allowed nodes in the frontier at the end; others
    /// are passed through. False if comparing with all that is allowed is the better plan, which
    /// may show on the way.
    fn walk_allowed(
        &self,
        start: u32,
        width: usize,
        allowed: Allowed<'_>,
        scratch: &mut Scratch,
    ) -> bool {
        let about = allowed.about.unwrap_or_else(|| self.estimate(allowed)).min(self.len());
        if about <= SCAN_MAX.max(width) {
            return false;
        }
        // Asking the filter about each node costs about as much as an eighth of a comparison.
        let scan_cost = self.len() / 8 + about;
        let expected = COMPARED_PER_CANDIDATE * width * self.len() / about;
        if expected > scan_cost {
            return false;
        }
        let Scratch { query, frontier, seen, fresh, coarse, .. } = scratch;
        seen.begin(self.links.len());
        frontier.begin(width);
        seen.insert(start);
        let mut open = BinaryHeap::new();
        let is_allowed = |node: u32| match self.slot_of[node as usize] {
            NO_SLOT => false,
            slot => (allowed.test)(Slot(slot)),
        };
        fresh.clear();
        fresh.push(start);
        loop {
            self.codes.coarse(query, fresh, |node, score| {
                if frontier.wants(score) {
                    open.push(ByScore(Candidate { score, node }));
                    if is_allowed(node) {
                        frontier.offer(score, node);
                    }
                }
            });
            *coarse += fresh.len() as u64;
            if *coarse as usize > scan_cost {
                return false;
            }
            let Some(ByScore(next)) = open.pop().filter(|next| frontier.wants(next.0.score)) else {
                return true;
            };
            fresh.clear();
            for to in self.links.of(next.node, 0) {
                if seen.insert(to) {
                    self.codes.prefetch_coarse(to);
                    fresh.push(to);
                }
            }
        }
    }

    /// About how many slots a filter allows, from a sample that follows no step a filter may have.
    fn estimate(&self, allowed: Allowed<'_>) -> usize {
        let nodes = self.slot_of.len() as u64;
        let drawn =
            (0..SAMPLE as u64).map(|at| self.slot_of[(mix(self.seed, at) % nodes) as usize]);
        let living: Vec<u32> = drawn.filter(|&slot| slot != NO_SLOT).collect();
        let passed = living.iter().filter(|&&slot| (allowed.test)(Slot(slot))).count();
        passed * self.len() / living.len().max(1)
    }

    /// Compares the best of the frontier again, with both halves of their codes.
    fn refine(&self, args: &SearchArgs<'_>, scratch: &Scratch, cost: &mut SearchCost) -> Vec<Hit> {
        let wanted = args.kept();
        let alive = |candidate: &Candidate| self.slot_of[candidate.node as usize] != NO_SLOT;
        let refined = || {
            let found = scratch.frontier.found().filter(alive);
            found.take((REFINED_PER_HIT * args.k).max(wanted))
        };
        refined().for_each(|candidate| self.codes.prefetch_fine(candidate.node));
        let mut best = Best::new(wanted);
        for Candidate { node, .. } in refined() {
            let slot = Slot(self.slot_of[node as usize]);
            best.offer(Hit { slot, score: self.codes.fine(&scratch.query, node) });
            cost.fine += 1;
        }
        best.into_hits()
    }

    /// Compares with all that is allowed.
    fn scan(&self, args: &SearchArgs<'_>, query: &NestedQuery, cost: &mut SearchCost) -> Vec<Hit> {
        let mut best = Best::new(args.kept());
        for (node, &slot) in self.slot_of.iter().enumerate() {
            if slot != NO_SLOT && args.allows(Slot(slot)) {
                let score = self.codes.fine(query, node as u32);
                best.offer(Hit { slot: Slot(slot), score });
                cost.fine += 1;
            }
        }
        best.into_hits()
    }
}

/// Ordered by score alone, the best greatest.
struct ByScore(Candidate);

impl Ord for ByScore {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.score.total_cmp(&other.0.score)
    }
}

impl PartialOrd for ByScore {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByScore {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByScore {}
