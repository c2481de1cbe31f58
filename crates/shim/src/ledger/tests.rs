//! The ledger under races and deaths, on a page of this process's own memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use cotenant_types::limits::UsageLayout;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};

use super::*;

/// Processes that live and die as a test says.
struct Village {
    own: Identity,
    dead: RefCell<Vec<u32>>,
}

impl Liveness for Village {
    fn own(&self) -> Identity {
        self.own
    }

    fn lives(&self, process: Identity) -> bool {
        !self.dead.borrow().contains(&process.pid)
    }
}

fn person(pid: u32) -> Identity {
    Identity { pid, start: 7, image: 0, namespace: 1 }
}

fn village(pid: u32) -> Village {
    Village { own: person(pid), dead: RefCell::new(Vec::new()) }
}

fn page() -> Vec<AtomicU64> {
    (0..UsageLayout::COUNT).map(|_| AtomicU64::new(0)).collect()
}

fn card(index: usize) -> CardIndex {
    CardIndex::new(index).unwrap()
}

#[test]
fn a_page_is_taken_once_and_never_of_another_kind() {
    let words = page();
    assert!(Usage::adopt(&words).is_some());
    assert!(Usage::adopt(&words).is_some());
    assert!(Usage::adopt(&words[1..]).is_none());
    words[0].store(3, Ordering::SeqCst);
    assert!(Usage::adopt(&words).is_none());
}

/// Sixteen that ask and give back as fast as they can; a seventeenth adds up all the while.
#[test]
fn racing_processes_never_pass_the_limit() {
    const LIMIT: u64 = 1_000;
    let words = page();
    let usage = Usage::adopt(&words).unwrap();
    let start = Barrier::new(17);
    let running = AtomicU64::new(16);
    let granted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for pid in 0..16u32 {
            let (start, running, granted) = (&start, &running, &granted);
            scope.spawn(move || {
                let slot = join(usage, &village(pid + 1)).unwrap();
                let ledger = Ledger::new(usage, slot);
                let mut state = u64::from(pid) + 1;
                start.wait();
                for _ in 0..5_000 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let bytes = (state >> 33) % 400 + 1;
                    if ledger.reserve(card(0), bytes, Some(LIMIT)).is_ok() {
                        // What was granted, added up by the test itself, at its highest.
                        let now = granted.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        assert!(now <= LIMIT, "{now} granted at once");
                        // Others get their turn while it is held.
                        std::thread::yield_now();
                        granted.fetch_sub(bytes, Ordering::SeqCst);
                        ledger.release(card(0), bytes);
                    }
                }
                running.fetch_sub(1, Ordering::SeqCst);
            });
        }
        start.wait();
        while running.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
    });
    assert_eq!(used(usage, card(0)), 0);
    let peak = usage.card(card(0), CardWord::PEAK_BYTES).load(Ordering::SeqCst);
    assert!(peak > LIMIT / 2, "the race was no race: {peak}");
}

/// Whoever asks for too much, and takes it back, puts nobody else over the limit meanwhile.
#[test]
fn what_others_ask_for_puts_nobody_over() {
    let words = page();
    let usage = Usage::adopt(&words).unwrap();
    let own = Ledger::new(usage, join(usage, &village(1)).unwrap());
    own.reserve(card(0), 60, Some(100)).unwrap();
    let asked = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let other = Ledger::new(usage, join(usage, &village(2)).unwrap());
            while asked.fetch_add(1, Ordering::SeqCst) < 20_000 {
                assert!(other.reserve(card(0), 50, Some(100)).is_err());
            }
        });
        while asked.load(Ordering::SeqCst) < 20_000 {
            assert!(!own.is_over(card(0), 100), "it holds 60 of 100");
        }
    });
    own.reserve(card(0), 41, None).unwrap();
    assert!(own.is_over(card(0), 100));
}

/// All ask at once for what fits in exactly so often; nobody is refused wrongly, or gets too much.
#[test]
fn as_many_are_granted_as_fit() {
    const ROUNDS: usize = 300;
    let words = page();
    let usage = Usage::adopt(&words).unwrap();
    let (start, end) = (Barrier::new(16), Barrier::new(16));
    let granted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for pid in 0..16u32 {
            let (start, end, granted) = (&start, &end, &granted);
            scope.spawn(move || {
                let ledger = Ledger::new(usage, join(usage, &village(pid + 1)).unwrap());
                for round in 0..ROUNDS {
                    start.wait();
                    let is_granted = ledger.reserve(card(1), 30, Some(100)).is_ok();
                    granted.fetch_add(u64::from(is_granted), Ordering::SeqCst);
                    end.wait();
                    assert_eq!(granted.load(Ordering::SeqCst), 3, "round {round}");
                    end.wait();
                    if is_granted {
                        ledger.release(card(1), 30);
                        granted.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
}

#[test]
fn what_the_dead_held_is_credited() {
    let words = page();
    let usage = Usage::adopt(&words).unwrap();
    let first = Ledger::new(usage, join(usage, &village(1)).unwrap());
    first.reserve(card(0), 60, Some(100)).unwrap();
    let people = village(2);
    let slot = join(usage, &people).unwrap();
    let second = Ledger::new(usage, slot);
    assert_eq!(second.reserve(card(0), 60, Some(100)), Err(Refused));
    assert_eq!(reap(usage, &people), 0);
    people.dead.borrow_mut().push(1);
    assert_eq!(reap(usage, &people), 1);
    assert_eq!(second.used(card(0)), 0);
    second.reserve(card(0), 60, Some(100)).unwrap();
    // The slot of the dead is another's now, and empty.
    let third = join(usage, &village(3)).unwrap();
    assert_eq!(Ledger::new(usage, third).own(card(0)), 0);
    assert_eq!(second.used(card(0)), 60);
    leave(usage, slot, person(2));
    assert_eq!(used(usage, card(0)), 0);
}

/// A process that dies after each single step of a reservation holds up nobody.
#[test]
fn dying_inside_a_reservation_leaves_nothing() {
    for step in 0..3 {
        let words = page();
        let usage = Usage::adopt(&words).unwrap();
        let slot = join(usage, &village(1)).unwrap();
        if step >= 1 {
            usage.slot(slot, SlotWord::PENDING).fetch_add(80, Ordering::SeqCst);
        }
        if step >= 2 {
            usage.slot(slot, SlotWord::HELD).fetch_add(80, Ordering::SeqCst);
        }
        let people = village(2);
        people.dead.borrow_mut().push(1);
        let ledger = Ledger::new(usage, join(usage, &people).unwrap());
        assert_eq!(ledger.reserve(card(0), 100, Some(100)), Ok(()), "step {step}");
    }
    // And one that died while it moved in, over what a former owner left.
    let words = page();
    let usage = Usage::adopt(&words).unwrap();
    let slot = SlotIndex::new(0).unwrap();
    usage.header(HeaderWord::SLOTS_USED).store(1, Ordering::SeqCst);
    usage.slot(slot, SlotWord::OWNER).store(1 << 63 | 1 << 32 | 7, Ordering::SeqCst);
    usage.slot(slot, SlotWord::HELD).store(99, Ordering::SeqCst);
    assert_eq!(used(usage, card(0)), 0);
    let people = village(2);
    people.dead.borrow_mut().push(1);
    assert_eq!(join(usage, &people), Some(slot));
    assert_eq!(used(usage, card(0)), 0);
}

#[test]
fn numbers_of_another_namespace_are_left_to_it() {
    let words = page();
    let usage = Usage::adopt(&words).unwrap();
    let inner = Village { own: Identity { namespace: 9, ..person(1) }, dead: RefCell::default() };
    join(usage, &inner).unwrap();
    let people = village(2);
    people.dead.borrow_mut().push(1);
    assert_eq!(reap(usage, &people), 0, "its number means somebody else here");
}

#[test]
fn a_full_page_has_no_room() {
    let words = page();
    let usage = Usage::adopt(&words).unwrap();
    for pid in 0..UsageLayout::SLOTS_MAX as u32 {
        assert!(join(usage, &village(pid + 1)).is_some());
    }
    assert_eq!(join(usage, &village(5000)), None);
}

#[test]
fn hostile_words_never_panic() {
    let words: Vec<AtomicU64> = (0..UsageLayout::COUNT).map(|_| AtomicU64::new(u64::MAX)).collect();
    words[0].store(0, Ordering::SeqCst);
    let usage = Usage::adopt(&words).unwrap();
    let slot = SlotIndex::new(3).unwrap();
    usage.slot(slot, SlotWord::OWNER).store(1 << 32, Ordering::SeqCst);
    let ledger = Ledger::new(usage, slot);
    assert_eq!(ledger.used(card(0)), u64::MAX);
    assert_eq!(ledger.reserve(card(0), 1, Some(10)), Err(Refused));
    ledger.release(card(0), u64::MAX);
    assert_eq!(join(usage, &village(1)), None);
}

#[derive(Clone, Debug)]
enum Step {
    Take { who: usize, card: usize, bytes: u64 },
    Give { who: usize, nth: usize },
    Die { who: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4usize, 0..2usize, 1..60u64)
            .prop_map(|(who, card, bytes)| Step::Take { who, card, bytes }),
        3 => (0..4usize, any::<usize>()).prop_map(|(who, nth)| Step::Give { who, nth }),
        1 => (0..4usize).prop_map(|who| Step::Die { who }),
    ]
}

static POINTERS: PointerTable = PointerTable::new();
static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(10_000))]

    /// The ledger and the table of pointers against a plain model.
    #[test]
    fn sequences_agree_with_a_model(steps in vec(step(), 1..40)) {
        const LIMIT: u64 = 150;
        let _one = ONE_AT_A_TIME.lock().unwrap();
        thread_local!(static WORDS: Vec<AtomicU64> = page());
        WORDS.with(|words| {
            let used_words = UsageLayout::slot(40, 0);
            words[..used_words].iter().for_each(|word| word.store(0, Ordering::SeqCst));
            POINTERS.clear();
            let usage = Usage::adopt(words).unwrap();
            let people = village(1000);
            let mut pids = [1u32, 2, 3, 4];
            let mut next = (5u32, 0x7f00_0000_0000u64);
            let move_in = |pid: u32| {
                let own = Village { own: person(pid), dead: people.dead.clone() };
                Ledger::new(usage, join(usage, &own).unwrap())
            };
            let mut ledgers = pids.map(move_in);
            let mut model: BTreeMap<u64, (usize, usize, u64)> = BTreeMap::new();
            for step in steps {
                let sum = |model: &BTreeMap<u64, (usize, usize, u64)>, card: usize| -> u64 {
                    model.values().filter(|held| held.1 == card).map(|held| held.2).sum()
                };
                match step {
                    Step::Take { who, card: index, bytes } => {
                        let fits = sum(&model, index) + bytes <= LIMIT;
                        let result = ledgers[who].reserve(card(index), bytes, Some(LIMIT));
                        prop_assert_eq!(result.is_ok(), fits);
                        if fits {
                            next.1 += 512;
                            let held = Held { card: card(index), bytes, context: 1 };
                            prop_assert_eq!(POINTERS.insert(next.1, held), Ok(None));
                            model.insert(next.1, (who, index, bytes));
                        }
                    }
                    Step::Give { who, nth } => {
                        let own: Vec<u64> = model.iter().filter(|held| held.1.0 == who)
                            .map(|held| *held.0).collect();
                        let Some(pointer) = own.get(nth % own.len().max(1)) else { continue };
                        let held = POINTERS.remove(*pointer).unwrap();
                        prop_assert_eq!(POINTERS.remove(*pointer), None);
                        ledgers[who].release(held.card, held.bytes);
                        model.remove(pointer);
                    }
                    Step::Die { who } => {
                        people.dead.borrow_mut().push(pids[who]);
                        pids[who] = next.0;
                        next.0 += 1;
                        let own = Village { own: person(pids[who]), dead: people.dead.clone() };
                        ledgers[who] = Ledger::new(usage, join(usage, &own).unwrap());
                        model.retain(|_, held| held.0 != who);
                    }
                }
                for index in 0..2 {
                    prop_assert_eq!(used(usage, card(index)), sum(&model, index));
                }
            }
            Ok(())
        })?;
    }
}

static SHARED: PointerTable = PointerTable::new();

/// Far more pointers than the first level holds, from several threads at once.
#[test]
fn pointers_are_found_again_whatever_their_number() {
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            scope.spawn(move || {
                let pointer = |nth: u64| 0x7000_0000_0000 + (nth * 4 + thread) * 512;
                let held = |nth: u64| Held { card: card(1), bytes: nth + 1, context: thread + 1 };
                for nth in 0..20_000 {
                    assert_eq!(SHARED.insert(pointer(nth), held(nth)), Ok(None));
                }
                for nth in (0..20_000).step_by(2) {
                    assert_eq!(SHARED.remove(pointer(nth)), Some(held(nth)));
                }
                for nth in 0..20_000 {
                    let expected = (nth % 2 == 1).then(|| held(nth));
                    assert_eq!(SHARED.get(pointer(nth)), expected);
                }
            });
        }
    });
    // What went away with a context is credited once, and in full.
    let mut credited = 0;
    SHARED.remove_context(2, |held| credited += held.bytes);
    assert_eq!(credited, (1..20_000u64).step_by(2).map(|nth| nth + 1).sum::<u64>());
    assert_eq!(SHARED.get(0x7000_0000_0000 + 5 * 512), None);
    assert!(SHARED.get(0x7000_0000_0000 + 6 * 512).is_some());
    // A pointer that comes again tells that the old one is gone.
    let again = Held { card: card(0), bytes: 1, context: 0 };
    let old = SHARED.insert(0x7000_0000_0000 + 6 * 512, again).unwrap();
    assert_eq!(old, Some(Held { card: card(1), bytes: 2, context: 3 }));
    assert_eq!(SHARED.insert(0, again), Err(TableFull));
}
