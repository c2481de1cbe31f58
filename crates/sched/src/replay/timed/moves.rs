//! Makes room for a job that waits by moving a few offline jobs.
//!
//! A move costs the job that is moved some seconds of its work, on all of its cards. It is paid only
//! once the job that waits has waited, times its cards, for as long as the moves cost: whatever comes,
//! moving then costs at most about as much again as waiting did. Of all nodes the cheapest moves are taken;
//! each job moves once at most, and only if all that are moved have room elsewhere at once.

use crate::policy::{Cards, SizeClass, WHOLE};
use crate::replay::timed::engine::{MOVES_MAX, Running, Timed};
use crate::replay::trace::Service;

/// Nodes that are tried for a job, the cheapest first.
const TRIED_MAX: usize = 8;

/// Jobs that wait for which room is sought at a time: the first of so many kinds.
const SOUGHT_MAX: usize = 4;

/// Jobs that could be moved away from a node.
struct Candidate {
    price: u64,
    node: usize,
    moved: Vec<u32>,
}

impl Timed<'_> {
    /// Makes room for one of the first jobs that wait, and starts it; false if none is worth it.
    pub(super) fn make_room(&mut self) -> bool {
        let firsts: Vec<u32> = self.queue.firsts().into_iter().map(|(job, _)| job).collect();
        firsts.into_iter().take(SOUGHT_MAX).any(|number| self.make_room_for(number))
    }

    fn make_room_for(&mut self, number: u32) -> bool {
        let waited_s = self.now_s - self.job(number).arrives_s;
        let worth = waited_s * self.weight(number);
        if worth < self.setting.move_s {
            return false;
        }
        let nodes = 0..self.on_node.len();
        let mut candidates: Vec<Candidate> =
            nodes.filter_map(|node| self.candidate(number, node)).collect();
        candidates.retain(|candidate| candidate.price <= worth);
        candidates.sort_by_key(|candidate| (candidate.price, candidate.node));
        candidates.truncate(TRIED_MAX);
        candidates.into_iter().any(|candidate| self.try_moves(number, &candidate))
    }

    /// What a job counts for: its cards, in thousandths, and a tenth of a card without any.
    fn weight(&self, number: u32) -> u64 {
        self.demand(number).compute_all().max(u64::from(WHOLE) / 10)
    }

    /// The jobs of a node that have to go so that the job fits; none if they may not.
    fn candidate(&self, number: u32, node: usize) -> Option<Candidate> {
        let demand = self.demand(number);
        if !demand.models.allow(self.placer.nodes()[node].model) {
            return None;
        }
        let mut trial = self.placer.nodes()[node].clone();
        let mut moved: Vec<u32> = Vec::new();
        let mut movable: Vec<u32> = self.on_node[node].clone();
        movable.retain(|&other| self.may_move(other));
        movable.sort_by_key(|&other| (self.weight(other), other));
        let cards = self.cards_to_free(number, node)?;
        let is_on = |other: &u32| self.cards_of(*other).0 & cards.0 != 0;
        let (needed, spare): (Vec<u32>, Vec<u32>) = movable.into_iter().partition(is_on);
        for other in needed.into_iter().chain(spare) {
            // Jobs on the cards go all for a job of whole cards; else only until there is room.
            let is_enough = self.placer.policy.offer(&trial, demand, 0).is_some();
            if is_enough {
                break;
            }
            if moved.len() == MOVES_MAX {
                return None;
            }
            let hosted = trial.hosted;
            trial.give_back((self.demand(other), self.cards_of(other)), hosted);
            moved.push(other);
        }
        self.placer.policy.offer(&trial, demand, 0)?;
        let price = moved.iter().map(|&other| self.setting.move_s * self.weight(other)).sum();
        Some(Candidate { price, node, moved })
    }

    /// The cards of a node that cost least to free; none if they hold what may not be moved.
    fn cards_to_free(&self, number: u32, node: usize) -> Option<Cards> {
        let demand = self.demand(number);
        let free = &self.placer.nodes()[node];
        let wanted = match demand.class() {
            SizeClass::CpuOnly => return Some(Cards(0)),
            SizeClass::Share => 1,
            SizeClass::Whole(cards) => cards as usize,
        };
        let price = |card: usize| {
            let on_card = self.on_node[node].iter();
            let mut on_card = on_card.filter(|other| self.cards_of(**other).0 >> card & 1 == 1);
            let is_free = match demand.class() {
                SizeClass::CpuOnly => true,
                SizeClass::Share => on_card.clone().any(|&other| self.may_move(other)),
                SizeClass::Whole(_) => on_card.all(|&other| self.may_move(other)),
            };
            is_free.then(|| (WHOLE - free.cards[card].compute, card))
        };
        let mut prices: Vec<(u32, usize)> = (0..free.cards.len()).filter_map(price).collect();
        prices.sort_unstable();
        let cards = prices.iter().take(wanted).fold(0, |bits, (_, card)| bits | 1 << card);
        (prices.len() >= wanted).then_some(Cards(cards))
    }

    fn cards_of(&self, number: u32) -> Cards {
        self.running[number as usize].map_or(Cards(0), |running| running.cards)
    }

    fn may_move(&self, number: u32) -> bool {
        let is_offline = match self.setting.workload.service(self.job(number).pod) {
            Service::Offline => true,
            Service::Online => false,
        };
        is_offline && self.running[number as usize].is_some_and(|running| running.moves == 0)
    }

    /// Moves the jobs and starts the one that waits; leaves all as it was if somebody has no room.
    fn try_moves(&mut self, number: u32, candidate: &Candidate) -> bool {
        let before: Vec<_> =
            candidate.moved.iter().map(|&other| (other, self.running[other as usize])).collect();
        for &other in &candidate.moved {
            self.leave(other);
        }
        let kind = self.kind(number) as usize;
        let Some(offer) = self.placer.offer(candidate.node, kind) else {
            self.put_back(&before);
            return false;
        };
        // The room is taken before others look for theirs.
        self.placer.take(candidate.node, (kind, offer.cards));
        let mut placed = 0;
        for &other in &candidate.moved {
            let Some((node, offer)) = self.choose(self.kind(other)) else { break };
            if let Some(running) = &mut self.running[other as usize] {
                (running.node, running.cards) = (node, offer.cards);
            }
            self.enter(other, (node, offer.cards));
            placed += 1;
        }
        self.give_back(number, (candidate.node, offer.cards));
        if placed < candidate.moved.len() {
            for &other in &candidate.moved[..placed] {
                self.leave(other);
            }
            self.put_back(&before);
            return false;
        }
        for &other in &candidate.moved {
            self.delay(other, self.setting.move_s);
            self.tally.moves += 1;
            let compute = u128::from(self.demand(other).compute_all());
            self.tally.lost += u128::from(self.setting.move_s) * compute;
        }
        self.start(number, (candidate.node, offer.cards));
        true
    }

    fn put_back(&mut self, before: &[(u32, Option<Running>)]) {
        for &(other, running) in before {
            self.running[other as usize] = running;
            if let Some(running) = running {
                self.enter(other, (running.node, running.cards));
            }
        }
    }
}
