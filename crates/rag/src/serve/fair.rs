//! Whose texts are computed next: a bounded queue with a counter of served tokens for each tenant.
//!
//! The tenant that was served the fewest tokens goes first (the virtual token counter of Sheng et
//! al., "Fairness in Serving Large Language Models", OSDI 2024, as S-LoRA uses it). A tenant that
//! comes back starts no lower than those that wait, so that idling saves nothing up.
//!
//! A tenant may fill as much of the queue as is then still free, so that one fills half of it, two a
//! third each, and there is always room for who comes next (Choudhury and Hahne, "Dynamic Queue
//! Length Thresholds for Shared-Memory Packet Switches", 1998).
//!
//! A batch that has begun is not broken off, so who waits most of all would keep others waiting by the
//! size of its batches. While one tenant has more than half of what waits and others come too, its
//! batches are small, and those of others are not filled up with its texts.
//!
//! No clock is in here: `now` is an argument, in microseconds of any origin.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Texts that wait, by tenant.
pub(super) struct FairQueue<T> {
    tokens_max: u64,
    lanes: BTreeMap<Arc<str>, Lane<T>>,
    /// Lanes with texts, the next one first.
    waiting: BTreeSet<Turn>,
    /// Lanes without texts whose counters are still above the floor.
    idle: BTreeSet<Turn>,
    /// Tokens of all texts that wait.
    tokens: u64,
    /// No tenant starts lower.
    floor: u64,
    /// Texts taken so far.
    taken: u64,
    /// Whose text was taken last.
    last: Option<Arc<str>>,
    /// When texts of two tenants last followed each other.
    turned: Option<u64>,
}

/// How large a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// Tokens.
    pub tokens: u64,
    /// Tokens while one tenant has most of what waits and others come too; `None` makes no
    /// difference between them.
    pub crowded: Option<u64>,
}

/// A text that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item<T> {
    /// Its tokens.
    pub tokens: u64,
    /// After this it is left out, in microseconds.
    pub deadline: u64,
    /// What it is.
    pub work: T,
}

/// What was taken for one batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken<T> {
    /// What is computed, in the order of turns.
    pub batch: Vec<T>,
    /// What came too late.
    pub late: Vec<T>,
    /// How much nobody waits for any more.
    pub gone: u64,
}

/// Why texts were not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// There is no room now.
    Now {
        /// Tokens before these.
        ahead: u64,
    },
    /// There would be none in an empty queue.
    Ever {
        /// Tokens that there would be room for.
        tokens_max: u64,
    },
}

struct Lane<T> {
    items: VecDeque<Item<T>>,
    tokens: u64,
    served: u64,
    /// The number of its last turn: of equal counters the one that waits longer goes first.
    last: u64,
}

/// A lane's place in the order: its counter, its last turn, its tenant.
type Turn = (u64, u64, Arc<str>);

/// How long others are remembered to come too, in microseconds.
const OTHERS_MICROS: u64 = 2_000_000;

impl<T> FairQueue<T> {
    /// An empty queue for so many tokens.
    pub(super) fn new(tokens_max: u64) -> Self {
        Self {
            tokens_max,
            lanes: BTreeMap::new(),
            waiting: BTreeSet::new(),
            idle: BTreeSet::new(),
            tokens: 0,
            floor: 0,
            taken: 0,
            last: None,
            turned: None,
        }
    }

    /// Tokens that wait.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether so many tokens of a tenant would be taken in.
    pub(super) fn check(&self, tenant: &str, tokens: u64) -> Result<(), Full> {
        let alone = self.tokens_max / 2;
        if tokens > alone {
            return Err(Full::Ever { tokens_max: alone });
        }
        let own = self.lanes.get(tenant).map_or(0, |lane| lane.tokens);
        let free = self.tokens_max.saturating_sub(self.tokens + tokens);
        match own + tokens <= free {
            true => Ok(()),
            false => Err(Full::Now { ahead: self.tokens }),
        }
    }

    /// Takes in all of these texts or none.
    pub(super) fn push(&mut self, tenant: &Arc<str>, items: Vec<Item<T>>) -> Result<(), Full> {
        let tokens = items.iter().map(|item| item.tokens).sum();
        self.check(tenant, tokens)?;
        if items.is_empty() {
            return Ok(());
        }
        let new = || Lane { items: VecDeque::new(), tokens: 0, served: 0, last: 0 };
        let lane = self.lanes.entry(tenant.clone()).or_insert_with(new);
        if lane.items.is_empty() {
            self.idle.remove(&(lane.served, lane.last, tenant.clone()));
            lane.served = lane.served.max(self.floor);
            self.waiting.insert((lane.served, lane.last, tenant.clone()));
        }
        lane.items.extend(items);
        lane.tokens += tokens;
        self.tokens += tokens;
        Ok(())
    }

    /// The next batch: texts in the order of turns until one does not fit any more. A text that is
    /// longer than the budget goes alone. Late and unwanted ones cost their tenant nothing.
    pub(super) fn take(
        &mut self,
        now: u64,
        budget: Budget,
        is_gone: impl Fn(&T) -> bool,
    ) -> Taken<T> {
        let mut taken = Taken { batch: Vec::new(), late: Vec::new(), gone: 0 };
        let most = self.most(now).filter(|_| budget.crowded.is_some());
        let mut left = match (&most, budget.crowded) {
            (Some(_), Some(crowded)) => crowded.min(budget.tokens),
            (Some(_) | None, _) => budget.tokens,
        };
        let mut first: Option<Arc<str>> = None;
        while let Some(turn) = self.waiting.pop_first() {
            let lane = self.lanes.get_mut(&turn.2).expect("who waits has a lane");
            let item = lane.items.front().expect("a lane that waits has texts");
            let (is_late, is_gone) = (item.deadline < now, is_gone(&item.work));
            let is_wanted = !is_late && !is_gone;
            let fills_up = most.as_ref() == Some(&turn.2) && first.as_ref() != most.as_ref();
            let is_over = item.tokens > left || fills_up;
            if is_wanted && is_over && !taken.batch.is_empty() {
                self.waiting.insert(turn);
                break;
            }
            let item = lane.items.pop_front().expect("it was seen");
            lane.tokens -= item.tokens;
            self.tokens -= item.tokens;
            if is_wanted {
                self.taken += 1;
                lane.served += item.tokens;
                lane.last = self.taken;
                left = left.saturating_sub(item.tokens);
                if self.last.as_ref().is_some_and(|last| *last != turn.2) {
                    self.turned = Some(now);
                }
                self.last = Some(turn.2.clone());
                first.get_or_insert_with(|| turn.2.clone());
            }
            let turn = (lane.served, lane.last, turn.2);
            match lane.items.is_empty() {
                true => self.idle.insert(turn),
                false => self.waiting.insert(turn),
            };
            // Who waited until the deadline is gone then too.
            match (is_late, is_gone) {
                (true, _) => taken.late.push(item.work),
                (false, true) => taken.gone += 1,
                (false, false) => taken.batch.push(item.work),
            }
        }
        self.raise_floor();
        taken
    }

    /// The tenant that has more than half of what waits, while others come too.
    fn most(&self, now: u64) -> Option<Arc<str>> {
        let turned = self.turned?;
        let others_come = now.saturating_sub(turned) <= OTHERS_MICROS;
        let has_most = |turn: &&Turn| self.lanes[&turn.2].tokens * 2 > self.tokens;
        let most = self.waiting.iter().find(has_most).filter(|_| others_come)?;
        Some(most.2.clone())
    }

    /// The floor is what the least served of those that wait has; where nobody waits, what the most
    /// served has. Idle lanes at or below it would start there anyway, and are forgotten.
    fn raise_floor(&mut self) {
        let least = self.waiting.first().or(self.idle.last()).map_or(0, |turn| turn.0);
        self.floor = self.floor.max(least);
        while let Some(turn) = self.idle.first()
            && turn.0 <= self.floor
        {
            self.lanes.remove(&turn.2);
            self.idle.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> Arc<str> {
        name.into()
    }

    fn plain(tokens: u64) -> Budget {
        Budget { tokens, crowded: None }
    }

    fn items(tokens: &[u64], deadline: u64) -> Vec<Item<(u64, u64)>> {
        let item = |(at, &tokens)| Item { tokens, deadline, work: (at, tokens) };
        (0..).zip(tokens).map(item).collect()
    }

    /// Texts of tenants as `name:tokens`, in the order in which batches take them.
    fn check(pushed: &[(&str, &[u64])], budget: u64, batches: &[&[(&str, u64)]]) {
        let mut queue: FairQueue<(&str, u64)> = FairQueue::new(10_000);
        for &(name, tokens) in pushed {
            let item = |&tokens| Item { tokens, deadline: 9, work: (name, tokens) };
            queue.push(&tenant(name), tokens.iter().map(item).collect()).unwrap();
        }
        for batch in batches {
            assert_eq!(queue.take(9, plain(budget), |_| false).batch, *batch, "{pushed:?}");
        }
        assert!(queue.is_empty() && queue.tokens() == 0, "{pushed:?}");
    }

    #[test]
    fn the_least_served_tenant_goes_first() {
        check(&[], 100, &[&[]]);
        check(&[("a", &[60, 40, 1])], 100, &[&[("a", 60), ("a", 40)], &[("a", 1)]]);
        check(&[("a", &[500]), ("b", &[5])], 100, &[&[("a", 500)], &[("b", 5)]]);
        check(
            &[("a", &[30, 30, 30]), ("b", &[10, 10])],
            60,
            &[&[("a", 30), ("b", 10), ("b", 10)], &[("a", 30), ("a", 30)]],
        );
        // Each gets the same tokens, not the same texts.
        check(
            &[("a", &[40, 40]), ("b", &[10, 10, 10, 10, 10])],
            90,
            &[&[("a", 40), ("b", 10), ("b", 10), ("b", 10), ("b", 10)], &[("a", 40), ("b", 10)]],
        );
    }

    #[test]
    fn idling_saves_nothing_up() {
        let mut queue = FairQueue::new(100_000);
        let (old, new) = (tenant("old"), tenant("new"));
        queue.push(&old, items(&[10; 100], 9)).unwrap();
        (0..50).for_each(|_| assert_eq!(queue.take(0, plain(10), |_| false).batch.len(), 1));
        queue.push(&new, items(&[10; 100], 9)).unwrap();
        // Whoever comes anew goes first, and from then on they take turns.
        let mut turns = Vec::new();
        for _ in 0..6 {
            let before = queue.lanes[&new].items.len();
            queue.take(0, plain(10), |_| false);
            turns.push(if queue.lanes[&new].items.len() < before { "new" } else { "old" });
        }
        assert_eq!(turns, ["new", "old", "new", "old", "new", "old"]);
    }

    #[test]
    fn late_and_unwanted_texts_are_left_out_and_cost_nothing() {
        let mut queue = FairQueue::new(1000);
        queue.push(&tenant("a"), items(&[10, 20], 5)).unwrap();
        queue.push(&tenant("a"), items(&[30, 40, 50], 9)).unwrap();
        let taken = queue.take(6, plain(30), |&(_, tokens)| tokens == 40);
        assert_eq!(taken, Taken { batch: vec![(0, 30)], late: vec![(0, 10), (1, 20)], gone: 1 });
        assert_eq!(queue.lanes["a"].served, 30);
        assert_eq!(queue.tokens(), 50);
    }

    #[test]
    fn there_is_always_room_for_who_comes_next() {
        let mut queue = FairQueue::new(800);
        let mut fill = |name: &str| {
            let mut own = 0;
            while queue.push(&tenant(name), items(&[10], 9)).is_ok() {
                own += 10;
            }
            own
        };
        assert_eq!([fill("a"), fill("b"), fill("c")], [400, 200, 100]);
        let full = queue.push(&tenant("a"), items(&[10], 9));
        assert_eq!(full, Err(Full::Now { ahead: 700 }));
        assert_eq!(queue.check("d", 401), Err(Full::Ever { tokens_max: 400 }));
        assert_eq!(queue.check("d", 50), Ok(()));
    }

    #[test]
    fn who_has_most_of_what_waits_gets_small_batches_while_others_come() {
        let mut queue = FairQueue::new(100_000);
        let (heavy, light) = (tenant("heavy"), tenant("light"));
        let budget = Budget { tokens: 100, crowded: Some(30) };
        let taken = |queue: &mut FairQueue<(u64, u64)>, now| -> Vec<u64> {
            queue.take(now, budget, |_| false).batch.iter().map(|(_, tokens)| *tokens).collect()
        };
        queue.push(&heavy, items(&[10; 1000], u64::MAX)).unwrap();
        assert_eq!(taken(&mut queue, 0), [10; 10], "alone it fills its batches");
        queue.push(&light, items(&[7], u64::MAX)).unwrap();
        assert_eq!(taken(&mut queue, 1)[..2], [7, 10], "nobody knew of the other");
        queue.push(&light, items(&[7, 7], u64::MAX)).unwrap();
        assert_eq!(taken(&mut queue, 2), [7], "not filled up with texts of the heavy one");
        assert_eq!(taken(&mut queue, 3), [10, 7, 10], "small where it is its turn");
        assert_eq!(taken(&mut queue, 4), [10; 3]);
        assert_eq!(taken(&mut queue, 5 + OTHERS_MICROS), [10; 10], "the other comes no more");
    }

    proptest! {
        #[test]
        fn batches_are_full_and_nothing_is_lost(
            pushes in prop::collection::vec((0u8..6, prop::collection::vec(1u64..60, 1..12)), 1..40),
            budget in 1u64..100,
        ) {
            let mut queue = FairQueue::new(4000);
            let (mut expected, mut got) = (0, 0);
            for (name, tokens) in &pushes {
                let pushed = queue.push(&tenant(&name.to_string()), items(tokens, 9));
                if pushed.is_ok() {
                    expected += tokens.iter().sum::<u64>();
                }
                prop_assert!(queue.tokens() <= 4000);
                let next = queue.waiting.first().map(|turn| turn.2.clone());
                let taken = queue.take(0, plain(budget), |_| false);
                let sum: u64 = taken.batch.iter().map(|(_, tokens)| tokens).sum();
                got += sum;
                prop_assert!(sum <= budget || taken.batch.len() == 1);
                // Work conserving: who waits is served, and a batch ends only where the next text
                // does not fit.
                prop_assert_eq!(next.is_some(), !taken.batch.is_empty());
                if let Some(turn) = queue.waiting.first() {
                    let following = queue.lanes[&turn.2].items[0].tokens;
                    prop_assert!(sum + following > budget);
                }
            }
            while !queue.is_empty() {
                got += queue.take(0, plain(budget), |_| false).batch.iter().map(|(_, t)| t).sum::<u64>();
            }
            prop_assert_eq!(got, expected);
            prop_assert!(queue.lanes.is_empty() && queue.idle.is_empty(), "nothing is remembered");
        }

        #[test]
        fn tenants_that_wait_get_the_same_tokens(
            lengths in prop::collection::vec(prop::collection::vec(1u64..80, 60..80), 2..5),
            budget in 80u64..300,
        ) {
            let mut queue = FairQueue::new(1 << 20);
            for (name, lengths) in lengths.iter().enumerate() {
                queue.push(&tenant(&name.to_string()), items(lengths, 9)).unwrap();
            }
            while queue.waiting.len() == lengths.len() {
                queue.take(0, plain(budget), |_| false);
                let served = || queue.lanes.values().map(|lane| lane.served);
                // The bound of the paper: no further apart than the longest text.
                if queue.waiting.len() == lengths.len() {
                    prop_assert!(served().max().unwrap() - served().min().unwrap() <= 80);
                }
            }
        }

        #[test]
        fn a_light_tenant_waits_for_the_batch_under_way_alone(
            heavy in prop::collection::vec(41u64..100, 50..100),
            light in prop::collection::vec(1u64..=40, 1..20),
            rounds in 1usize..10,
        ) {
            let mut queue = FairQueue::new(1 << 20);
            for _ in 0..8 {
                queue.push(&tenant("heavy"), items(&heavy, 9)).unwrap();
            }
            for tokens in light {
                // At least as much of the heavy one's is served between two of the light one's.
                (0..rounds).for_each(|_| drop(queue.take(0, plain(100), |_| false)));
                prop_assume!(queue.lanes["heavy"].items.len() > 50);
                queue.push(&tenant("light"), items(&[tokens], 9)).unwrap();
                let batch = queue.take(0, plain(100), |_| false).batch;
                prop_assert_eq!(batch[0], (0, tokens), "it goes first in the next batch");
            }
        }
    }
}
