//! Cards with made-up processes, which are only numbers here; the clock is moved by hand.

use proptest::prelude::*;

use super::{advance, advance_to_waiter};
use crate::description::{CardDescription, Description, Sharing};
use crate::process;
use crate::world::{Op, Waiter, op, role, waiter};
use crate::{Cards, ProcessUse};

const MS: u64 = 1_000_000;

struct World {
    cards: Cards,
    _folder: tempfile::TempDir,
}

impl World {
    /// One card of ten multiprocessors, with slices of 2 ms.
    fn new(sharing: Sharing) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cards = vec![CardDescription { sms: 10, ..CardDescription::default() }];
        let description = Description { cards, sharing, ..Description::default() };
        let cards = Cards::create(&folder.path().join("cards"), &description).unwrap();
        Self { cards, _folder: folder }
    }

    fn process(&self) -> usize {
        process::register(&mut self.cards.shared.lock(), 1, |_| false).unwrap()
    }

    fn stream(&self, process: usize, kind: u64) -> usize {
        let mut world = self.cards.shared.lock();
        let index = world.free_stream().unwrap();
        world.streams[index].owner = process as u64 + 1;
        world.streams[index].role = kind;
        world.streams_high = world.streams_high.max(index as u64 + 1);
        index
    }

    fn put(&self, stream: usize, mut op: Op) {
        let mut world = self.cards.shared.lock();
        op.order = world.clock.submissions;
        world.clock.submissions += 1;
        world.streams[stream].push(op);
    }

    fn kernel(&self, stream: usize, ns: u64, sms: u64) {
        let kernel = Op { kind: op::KERNEL, remaining_ns: ns, sms, value: 1, ..Op::default() };
        self.put(stream, kernel);
    }

    /// Records into an event, which has the stream's number.
    fn record(&self, stream: usize, process: usize) {
        let mut world = self.cards.shared.lock();
        world.events[stream].owner = process as u64 + 1;
        world.events_high = world.events_high.max(stream as u64 + 1);
        world.events[stream].recorded += 1;
        let value = world.events[stream].recorded;
        drop(world);
        self.put(stream, Op { kind: op::RECORD, target: stream as u64, value, ..Op::default() });
    }

    fn advance(&self, to_ns: u64) {
        advance(&mut self.cards.shared.lock(), to_ns);
    }

    fn event_ns(&self, stream: usize) -> u64 {
        self.cards.shared.lock().events[stream].done_ns
    }

    fn account(&self, process: usize) -> ProcessUse {
        ProcessUse::of(&self.cards.shared.lock().processes[process].cards[0])
    }
}

#[test]
fn a_stream_does_one_kernel_after_another() {
    let world = World::new(Sharing::Time);
    let process = world.process();
    let stream = world.stream(process, role::BLOCKING);
    world.kernel(stream, 3 * MS, 1);
    world.kernel(stream, 4 * MS, 1);
    world.record(stream, process);
    world.advance(5 * MS);
    let halfway = world.account(process);
    assert_eq!((halfway.kernels, halfway.busy_ns, halfway.sm_ns), (1, 5 * MS, 5 * MS));
    world.advance(20 * MS);
    let account = world.account(process);
    assert_eq!((account.kernels, account.busy_ns), (2, 7 * MS));
    assert_eq!(world.event_ns(stream), 7 * MS);
}

/// Kernels of two streams of one process, by the multiprocessors that each takes.
fn check_overlap(sms: [u64; 2], busy_ns: u64) {
    let world = World::new(Sharing::Time);
    let process = world.process();
    for sms in sms {
        let stream = world.stream(process, role::BLOCKING);
        world.kernel(stream, 4 * MS, sms);
    }
    world.advance(20 * MS);
    assert_eq!(world.account(process).busy_ns, busy_ns, "{sms:?}");
}

#[test]
fn small_kernels_overlap_and_large_ones_wait() {
    check_overlap([4, 6], 4 * MS);
    check_overlap([5, 6], 8 * MS);
    check_overlap([10, 1], 8 * MS);
    check_overlap([u64::from(u32::MAX), 1], 8 * MS);
}

#[test]
fn processes_take_turns_in_slices() {
    let world = World::new(Sharing::Time);
    let processes = [world.process(), world.process()];
    let streams = processes.map(|process| world.stream(process, role::BLOCKING));
    world.kernel(streams[0], 10 * MS, 10);
    world.kernel(streams[1], 3 * MS, 1);
    world.record(streams[1], processes[1]);
    world.advance(6 * MS);
    let busy = processes.map(|process| world.account(process).busy_ns);
    assert_eq!(busy, [4 * MS, 2 * MS]);
    // The second has its third millisecond after the first had two slices.
    world.advance(30 * MS);
    assert_eq!(world.event_ns(streams[1]), 7 * MS);
    let busy = processes.map(|process| world.account(process).busy_ns);
    assert_eq!(busy, [10 * MS, 3 * MS]);
}

#[test]
fn processes_share_a_card_in_space_where_it_is_said() {
    let world = World::new(Sharing::Space);
    let processes = [world.process(), world.process()];
    for process in processes {
        let stream = world.stream(process, role::BLOCKING);
        world.kernel(stream, 4 * MS, 5);
    }
    world.advance(4 * MS);
    let truth = processes.map(|process| world.account(process));
    assert_eq!(truth.map(|one| (one.busy_ns, one.kernels)), [(4 * MS, 1); 2]);
    assert_eq!(world.cards.shared.lock().cards[0].busy_ns, 4 * MS);
}

#[test]
fn the_default_stream_waits_and_is_waited_for() {
    let world = World::new(Sharing::Time);
    let process = world.process();
    let blocking = world.stream(process, role::BLOCKING);
    let legacy = world.stream(process, role::LEGACY);
    let free = world.stream(process, role::NON_BLOCKING);
    world.kernel(blocking, 2 * MS, 1);
    world.kernel(legacy, 3 * MS, 1);
    world.kernel(blocking, 4 * MS, 1);
    world.kernel(free, MS, 1);
    for stream in [blocking, legacy, free] {
        world.record(stream, process);
    }
    world.advance(50 * MS);
    assert_eq!(
        [blocking, legacy, free].map(|stream| world.event_ns(stream)),
        [
            9 * MS,
            // Recorded after the last kernel of the other.
            9 * MS,
            MS
        ]
    );
}

#[test]
fn a_wait_moves_the_clock_no_further_than_it_must() {
    let world = World::new(Sharing::Time);
    let process = world.process();
    let stream = world.stream(process, role::BLOCKING);
    for _ in 0..5 {
        world.kernel(stream, 7 * MS, 10);
    }
    let waiting = Waiter { kind: waiter::STREAM, target: stream as u64, value: 3 };
    let mut locked = world.cards.shared.lock();
    process::wait(&mut locked, process, waiting).unwrap();
    assert_eq!(advance_to_waiter(&mut locked), super::Reached::Waiter);
    assert_eq!(locked.clock.now_ns, 21 * MS);
    locked.processes[process].waiters[0] = Waiter { value: 9, ..waiting };
    assert_eq!(advance_to_waiter(&mut locked), super::Reached::Nothing);
    // It stands at the end of what ran, give or take the sample that is taken on the way.
    assert!(locked.clock.now_ns >= 35 * MS);
}

#[test]
fn samples_say_how_busy_the_last_period_was() {
    let world = World::new(Sharing::Time);
    let process = world.process();
    let stream = world.stream(process, role::BLOCKING);
    world.kernel(stream, 130 * MS, 1);
    world.advance(99 * MS);
    assert_eq!(world.account(process).sampled, (0, 0));
    world.advance(150 * MS);
    assert_eq!(world.account(process).sampled, (100 * MS, 100));
    world.advance(250 * MS);
    assert_eq!(world.account(process).sampled, (200 * MS, 30));
}

#[derive(Clone, Debug)]
struct Launch {
    stream: usize,
    ns: u64,
    sms: u64,
}

fn launches() -> impl Strategy<Value = Vec<Launch>> {
    let one = (0..6usize, 1..5_000_000u64, 1..14u64);
    prop::collection::vec(one.prop_map(|(stream, ns, sms)| Launch { stream, ns, sms }), 1..40)
}

/// Three processes with two streams each; what they and their events have at the end.
fn outcome(launches: &[Launch], stops: &[u64], sharing: Sharing) -> (Vec<ProcessUse>, Vec<u64>) {
    let world = World::new(sharing);
    let processes = [world.process(), world.process(), world.process()];
    let streams: Vec<usize> =
        (0..6).map(|at| world.stream(processes[at / 2], role::BLOCKING)).collect();
    for launch in launches {
        world.kernel(streams[launch.stream], launch.ns, launch.sms);
    }
    for (at, stream) in streams.iter().enumerate() {
        world.record(*stream, processes[at / 2]);
    }
    let mut stops = stops.to_vec();
    stops.sort_unstable();
    for stop in stops {
        world.advance(stop);
    }
    world.advance(1_000 * MS);
    let accounts = processes.map(|process| world.account(process)).to_vec();
    (accounts, streams.iter().map(|stream| world.event_ns(*stream)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Who looks, and when, changes nothing.
    #[test]
    fn the_result_does_not_depend_on_who_asks(
        launches in launches(),
        stops in prop::collection::vec(0..100 * MS, 0..20),
    ) {
        for sharing in [Sharing::Time, Sharing::Space] {
            let whole = outcome(&launches, &[], sharing);
            prop_assert_eq!(outcome(&launches, &stops, sharing), whole);
        }
    }

    /// Every kernel comes to its end, nobody gets time that nobody spent, and the card is never
    /// idle while there is work.
    #[test]
    fn no_work_is_lost_and_none_is_invented(launches in launches()) {
        let (accounts, ends) = outcome(&launches, &[], Sharing::Time);
        let kernels: u64 = accounts.iter().map(|one| one.kernels).sum();
        prop_assert_eq!(kernels, launches.len() as u64);
        for (at, account) in accounts.iter().enumerate() {
            let own = launches.iter().filter(|launch| launch.stream / 2 == at);
            let sm_ns: u64 = own.map(|launch| launch.ns * launch.sms.min(10)).sum();
            prop_assert_eq!(account.sm_ns, sm_ns);
        }
        // In time, one process has the card; so the last end is the sum of what all had.
        let busy: u64 = accounts.iter().map(|one| one.busy_ns).sum();
        prop_assert_eq!(ends.into_iter().max(), Some(busy));
    }
}
