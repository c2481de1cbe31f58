//! What is in memory, and what is brought there before anybody asks.
//!
//! An adapter that is expected is loaded into room that nobody needs: free memory, or that of
//! adapters that no request holds, that were not used for a while, and that are not expected sooner
//! themselves. Where there is no such room, memory is short, and nothing is loaded ahead.

use std::collections::HashSet;
use std::sync::Arc;

use super::foresight::Foresight;
use super::lru::{Brought, Keep, Lru};

/// For how long an adapter was not used whose room may be taken for one that is expected.
const UNUSED_MS: u64 = 60_000;

/// Names, sizes and habits of adapters; the adapters themselves are elsewhere.
#[derive(Debug)]
pub(super) struct Shelf {
    lru: Lru,
    foresight: Foresight,
    /// What was loaded ahead and not used since.
    ahead: HashSet<Arc<str>>,
    counts: Ahead,
}

/// What became of adapters that were loaded ahead, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::serve) struct Ahead {
    /// All of them.
    pub(in crate::serve) loaded: u64,
    /// Those that were used then.
    pub(in crate::serve) used: u64,
    /// Those that went unused.
    pub(in crate::serve) wasted: u64,
}

impl Shelf {
    pub(super) fn new(bytes_max: u64) -> Self {
        let (foresight, ahead) = (Foresight::default(), HashSet::new());
        Self { lru: Lru::new(bytes_max), foresight, ahead, counts: Ahead::default() }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.lru.bytes()
    }

    pub(super) fn len(&self) -> usize {
        self.lru.len()
    }

    pub(super) fn ahead(&self) -> Ahead {
        self.counts
    }

    /// Somebody asks for an adapter, whether it is in memory or not.
    pub(super) fn on_asked(&mut self, name: &str, now: u64) {
        self.lru.touch(name);
        self.foresight.on_use(name, now);
        // One that was brought by hand is there before it is asked for the first time.
        if let Some(bytes) = self.lru.bytes_of(name) {
            self.foresight.on_loaded(name, bytes);
        }
        if self.ahead.remove(name) {
            self.counts.used += 1;
        }
    }

    /// Takes an adapter in that somebody asked for.
    pub(super) fn bring(&mut self, name: &Arc<str>, bytes: u64, keep: Keep) -> Brought {
        let brought = self.lru.bring(name, bytes, keep);
        if let Brought::Held(gone) = &brought {
            self.foresight.on_loaded(name, bytes);
            self.waste(&[gone.as_slice(), std::slice::from_ref(name)].concat());
        }
        brought
    }

    /// The next adapter that is expected and not there, if there is room for it.
    pub(super) fn next_expected(
        &mut self,
        now: u64,
        is_held: impl Fn(&str) -> bool,
    ) -> Option<Arc<str>> {
        loop {
            let (name, bytes) = self.foresight.next(now)?;
            if !self.lru.holds(&name) && self.room(&name, bytes, (now, &is_held)).is_some() {
                return Some(name);
            }
        }
    }

    /// Takes an adapter in that is expected, and puts out what need not be there; `None` if there
    /// is no such room.
    pub(super) fn bring_ahead(
        &mut self,
        name: &Arc<str>,
        (bytes, keep): (u64, Keep),
        (now, is_held): (u64, impl Fn(&str) -> bool),
    ) -> Option<Vec<Arc<str>>> {
        let gone = self.room(name, bytes, (now, &is_held))?;
        gone.iter().for_each(|name| self.lru.remove(name));
        self.waste(&gone);
        match self.lru.bring(name, bytes, keep) {
            Brought::NoRoom => None,
            Brought::Held(more) => {
                debug_assert!(more.is_empty(), "room was made");
                self.foresight.on_loaded(name, bytes);
                self.ahead.insert(name.clone());
                self.counts.loaded += 1;
                Some(gone)
            }
        }
    }

    /// Forgets an adapter.
    pub(super) fn remove(&mut self, name: &str) {
        self.lru.remove(name);
        self.foresight.forget(name);
        self.waste(&[name.into()]);
    }

    /// What would go for an adapter that is expected.
    fn room(
        &self,
        name: &str,
        bytes: u64,
        (now, is_held): (u64, &impl Fn(&str) -> bool),
    ) -> Option<Vec<Arc<str>>> {
        let until = self.foresight.expected(name)?.until;
        self.lru.room(bytes, |other| {
            let used = self.foresight.used(other).unwrap_or(0);
            let sooner = self.foresight.expected(other);
            let is_sooner = sooner.is_some_and(|it| now <= it.until && it.from <= until);
            now.saturating_sub(used) >= UNUSED_MS && !is_sooner && !is_held(other)
        })
    }

    fn waste(&mut self, gone: &[Arc<str>]) {
        for name in gone {
            self.counts.wasted += u64::from(self.ahead.remove(name));
        }
    }
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "a random test prints its seed, and what it found")]
mod tests {
    use cotenant_transformer::random::{mix, unit};

    use super::*;

    const SEED: u64 = 20_261_128;
    const BYTES: u64 = 10;

    /// Cold loads of the second half of a day of visits, and what was loaded ahead in it.
    fn run(visits: &[(u64, usize)], room: u64, looks: Looks) -> (u64, Ahead) {
        let mut shelf = Shelf::new(room * BYTES);
        let (mut cold, mut at_half, mut now) = (0, Ahead::default(), 0);
        for (place, &(at, who)) in visits.iter().enumerate() {
            while looks == Looks::Ahead && now + 1000 < at {
                now += 1000;
                while let Some(name) = shelf.next_expected(now, |_| false) {
                    let bring = (BYTES, Keep::WhileUsed);
                    assert!(shelf.bring_ahead(&name, bring, (now, |_: &str| false)).is_some());
                    assert!(shelf.bytes() <= room * BYTES);
                }
            }
            let name: Arc<str> = format!("t{who}").into();
            shelf.on_asked(&name, at);
            let is_cold = !shelf.lru.holds(&name);
            if is_cold {
                shelf.bring(&name, BYTES, Keep::WhileUsed);
            }
            if place < visits.len() / 2 {
                at_half = shelf.ahead();
            } else {
                cold += u64::from(is_cold);
            }
        }
        let all = shelf.ahead();
        let since = |now: u64, then: u64| now - then;
        let ahead = Ahead {
            loaded: since(all.loaded, at_half.loaded),
            used: since(all.used, at_half.used),
            wasted: since(all.wasted, at_half.wasted),
        };
        (cold, ahead)
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Looks {
        Ahead,
        Never,
    }

    const DAY_MS: u64 = 24 * 3_600_000;

    /// 60 tenants, of whom each comes every 20 to 60 minutes, off by up to two minutes.
    fn periodic() -> Vec<(u64, usize)> {
        let mut visits = Vec::new();
        for who in 0..60 {
            let draw = |what: u64| unit(mix(&[SEED, who, what]));
            let period = 1_200_000.0 + 2_400_000.0 * f64::from(draw(0));
            let mut at = period * f64::from(draw(1));
            for visit in 2.. {
                let off = 120_000.0 * f64::from(draw(visit));
                if at + off > DAY_MS as f64 {
                    break;
                }
                visits.push(((at + off) as u64, who as usize));
                at += period;
            }
        }
        visits.sort_unstable();
        visits
    }

    /// The same tenants, each as often, at random.
    fn random() -> Vec<(u64, usize)> {
        let time = |place: u64| (f64::from(unit(mix(&[SEED, place, 7]))) * DAY_MS as f64) as u64;
        let who = |place: u64| (mix(&[SEED, place, 8]) % 60) as usize;
        let mut visits: Vec<_> = (0..2200).map(|place| (time(place), who(place))).collect();
        visits.sort_unstable();
        visits
    }

    #[test]
    fn tenants_that_come_at_even_times_find_their_adapters_there() {
        let visits = periodic();
        let (before, _) = run(&visits, 20, Looks::Never);
        let (after, ahead) = run(&visits, 20, Looks::Ahead);
        assert!(before > 300, "without it they are cold: {before} of {}", visits.len() / 2);
        assert!(after * 4 <= before, "{after} cold of {before}, {ahead:?}, seed {SEED}");
        assert!(ahead.wasted * 10 <= ahead.loaded, "{ahead:?}, seed {SEED}");
    }

    #[test]
    fn tenants_that_come_at_random_waste_little() {
        let visits = random();
        let (before, _) = run(&visits, 20, Looks::Never);
        let (after, ahead) = run(&visits, 20, Looks::Ahead);
        assert!(ahead.loaded * 20 <= before, "{ahead:?} beside {before} cold, seed {SEED}");
        assert!(after * 20 <= before * 21, "{after} cold of {before}, seed {SEED}");
    }

    #[test]
    fn what_was_brought_before_anybody_asked_is_known_by_its_size() {
        let mut shelf = Shelf::new(2 * BYTES);
        let [even, a, b] = ["even", "a", "b"].map(Arc::<str>::from);
        shelf.bring(&even, BYTES, Keep::WhileUsed);
        (0..6).for_each(|visit| shelf.on_asked("even", visit * 600_000));
        shelf.bring(&a, BYTES, Keep::Pinned);
        shelf.bring(&b, BYTES, Keep::Pinned);
        assert!(!shelf.lru.holds("even"));
        let now = shelf.foresight.expected("even").unwrap().from;
        assert_eq!(
            shelf.next_expected(now, |_| false),
            None,
            "there is no room, so it is not read"
        );
    }

    #[test]
    fn what_is_pinned_held_just_used_or_expected_sooner_makes_no_room() {
        let mut shelf = Shelf::new(2 * BYTES);
        let name = |name: &str| -> Arc<str> { name.into() };
        for visit in 0..6 {
            shelf.on_asked("even", visit * 600_000);
            shelf.bring(&name("even"), BYTES, Keep::WhileUsed);
        }
        let next = 6 * 600_000;
        let now = shelf.foresight.expected("even").unwrap().from;
        shelf.lru.remove("even");
        let mut ahead = |others: [(&str, Keep, u64); 2], held: &str| {
            for (other, keep, used) in others {
                shelf.remove(other);
                shelf.on_asked(other, used);
                shelf.bring(&name(other), BYTES, keep);
            }
            let is_held = |other: &str| other == held;
            let gone = shelf.bring_ahead(&name("even"), (BYTES, Keep::WhileUsed), (now, is_held));
            shelf.lru.remove("even");
            gone.map(|gone| gone.iter().map(|name| name.to_string()).collect::<Vec<_>>())
        };
        use Keep::{Pinned, WhileUsed};
        let old = now - UNUSED_MS;
        assert_eq!(
            ahead([("a", WhileUsed, old), ("b", WhileUsed, old)], ""),
            Some(vec!["a".into()])
        );
        assert_eq!(
            ahead([("a", WhileUsed, old), ("b", WhileUsed, old)], "a"),
            Some(vec!["b".into()])
        );
        assert_eq!(ahead([("a", WhileUsed, old), ("b", Pinned, old)], "a"), None);
        assert_eq!(ahead([("a", WhileUsed, old + 1), ("b", WhileUsed, old + 1)], ""), None);
        assert_eq!(ahead([("a", Pinned, old), ("b", Pinned, old)], ""), None);
        assert_eq!(ahead([("a", Pinned, old), ("b", WhileUsed, old)], ""), Some(vec!["b".into()]));
        // Another one that is expected as soon.
        let mut shelf = Shelf::new(BYTES);
        for visit in 0..6 {
            for who in ["one", "other"] {
                shelf.on_asked(who, visit * 600_000);
            }
            shelf.bring(&name("one"), BYTES, WhileUsed);
            shelf.bring(&name("other"), BYTES, WhileUsed);
        }
        assert!(shelf.lru.holds("other"));
        assert_eq!(shelf.next_expected(next, |_| false), None, "it would come for its like");
    }
}
