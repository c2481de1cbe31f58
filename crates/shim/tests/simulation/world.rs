//! A card, programs on it, and a pool that looks after them every few milliseconds.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cotenant_shim::compute::{
    Asked, Costs, Flight, Meter, Sample, Shape, Taken, Terms, Ticket, Verdict,
};
use cotenant_shim::page::{CardIndex, Usage};
use cotenant_types::limits::{CardLimit, CardWord, Neighbours, UsageLayout};
use cotenant_types::{Bytes, Policy, Share, Span};

pub(crate) const US: u64 = 1_000;
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;

/// Time that the card gives one process before it turns to the next.
const TIME_SLICE_NS: u64 = 2 * MS;
/// A launch costs the host this much.
const LAUNCH_NS: u64 = 4 * US;
/// Whoever sleeps wakes this much late.
const OVERSHOOT_NS: u64 = 60 * US;
/// Waits are cut into pieces of this length, as in the library.
const WAIT_NS_MAX: u64 = 5 * MS;
/// Launches that the driver queues before it blocks.
const QUEUE_MAX: usize = 1_000;
/// The pool looks at activity this often.
const TICK_NS: u64 = 10 * MS;
/// Who has not wished for the card for so long is idle.
const IDLE_NS: u64 = 50 * MS;

/// What a process does again and again.
#[derive(Clone)]
pub(crate) struct Program {
    /// Durations of its submissions, in turn.
    pub(crate) kernels_ns: Vec<u64>,
    /// It waits for the card after each so many submissions; 0 for never.
    pub(crate) sync_every: usize,
    /// Host time after each such wait.
    pub(crate) think_ns: u64,
    /// When it begins.
    pub(crate) from_ns: u64,
    /// Whether each submission has a duration up to a third off, by turns.
    pub(crate) is_uneven: bool,
}

pub(crate) struct Tenant {
    pub(crate) facts: CardLimit,
    pub(crate) programs: Vec<Program>,
}

struct Job {
    remaining_ns: u64,
    started_ns: Option<u64>,
    sample: Option<Taken>,
}

struct Process {
    tenant: usize,
    program: Program,
    costs: Box<Costs<256>>,
    flight: Flight<16>,
    took: [Option<u64>; 16],
    queue: VecDeque<Job>,
    ready_at: Option<u64>,
    submitted: usize,
    waits_for_room: bool,
}

struct Book {
    words: Vec<AtomicU64>,
    facts: CardLimit,
    busy_ns: u64,
    /// What it had been busy when the pool looked last, and when that was.
    looked: (u64, u64),
}

/// How the pool comes to know what the driver saw.
#[derive(Clone, Copy)]
pub(crate) enum Looks {
    /// To the nanosecond, each 200 ms.
    Exact,
    /// As it is: each two seconds, in whole per cents of the card.
    OfPool,
}

impl Looks {
    /// Ticks between two looks.
    fn every(self) -> u64 {
        match self {
            Looks::Exact => 20,
            Looks::OfPool => 200,
        }
    }
}

pub(crate) struct World {
    pub(crate) now: u64,
    /// Without it, nobody is ever held.
    pub(crate) is_limited: bool,
    /// Whether the driver's figures reach the tenants.
    pub(crate) is_observed: bool,
    pub(crate) looks: Looks,
    /// What a pair of marks adds to what it measures.
    pub(crate) mark_ns: u64,
    books: Vec<Book>,
    processes: Vec<Process>,
    turn: usize,
    slice_left: u64,
    tick: u64,
    pub(crate) launches: u64,
}

/// A tenant's facts.
pub(crate) fn facts(policy: Policy, request: u32, limit: u32) -> CardLimit {
    let share = |milli| Share::from_per_mille(milli).unwrap();
    CardLimit {
        uuid: [0; 16],
        memory: None,
        overhead: Bytes(0),
        policy,
        compute: Span { request: share(request), limit: share(limit) },
        neighbours: Neighbours::default(),
        hold_until_ns: 0,
        seen_busy_ns: 0,
        seen_at_ns: 0,
    }
}

/// A program that launches kernels of one duration without ever waiting for them.
pub(crate) fn stream_of(kernel_ns: u64) -> Program {
    Program {
        kernels_ns: vec![kernel_ns],
        sync_every: 0,
        think_ns: 0,
        from_ns: 0,
        is_uneven: false,
    }
}

impl World {
    pub(crate) fn new(tenants: Vec<Tenant>) -> Self {
        let count = tenants.len() as u32;
        let mut world = Self {
            // No test is to depend on the clock beginning at zero.
            now: 100 * SECOND,
            is_limited: true,
            is_observed: true,
            looks: Looks::Exact,
            mark_ns: 0,
            books: Vec::new(),
            processes: Vec::new(),
            turn: 0,
            slice_left: TIME_SLICE_NS,
            tick: 0,
            launches: 0,
        };
        for (index, tenant) in tenants.into_iter().enumerate() {
            for program in tenant.programs {
                world.processes.push(Process::new(index, program, world.now));
            }
            let mut facts = tenant.facts;
            facts.neighbours.count = count - 1;
            let words = (0..UsageLayout::COUNT).map(|_| AtomicU64::new(0)).collect();
            world.books.push(Book { words, facts, busy_ns: 0, looked: (0, world.now) });
        }
        world.look_after();
        world
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, span_ns: u64) {
        let end = self.now + span_ns;
        while self.now < end {
            let host = self.processes.iter().filter_map(|process| process.ready_at).min();
            let tick = (self.now / TICK_NS + 1) * TICK_NS;
            let card = self.serving().map(|job_ns| self.now + job_ns.min(self.slice_left));
            let next = host.into_iter().chain(card).chain([tick, end]).min();
            let next = next.expect("there is always a tick").max(self.now);
            self.serve(next - self.now);
            self.now = next;
            if next == tick {
                self.look_after();
            }
            for index in 0..self.processes.len() {
                if self.processes[index].ready_at.is_some_and(|at| at <= self.now) {
                    self.step(index);
                }
            }
        }
    }

    /// The parts of the card that tenants get in the time to come, in thousandths of it.
    pub(crate) fn shares(&mut self, span_ns: u64) -> Vec<f64> {
        let before: Vec<u64> = self.books.iter().map(|book| book.busy_ns).collect();
        self.run(span_ns);
        let of =
            |(book, before): (&Book, u64)| (book.busy_ns - before) as f64 * 1000.0 / span_ns as f64;
        self.books.iter().zip(before).map(of).collect()
    }

    pub(crate) fn facts_mut(&mut self, tenant: usize) -> &mut CardLimit {
        &mut self.books[tenant].facts
    }

    pub(crate) fn word(&self, tenant: usize, word: usize) -> u64 {
        let card = CardIndex::new(0).unwrap();
        Usage::adopt(&self.books[tenant].words).unwrap().card(card, word).load(Relaxed)
    }

    /// What the process at whose turn it is still needs for its first job.
    fn serving(&mut self) -> Option<u64> {
        let count = self.processes.len();
        if self.processes[self.turn].queue.is_empty() || self.slice_left == 0 {
            let next = (1..=count).map(|step| (self.turn + step) % count);
            let busy = next.into_iter().find(|index| !self.processes[*index].queue.is_empty());
            self.turn = busy?;
            self.slice_left = TIME_SLICE_NS;
        }
        self.processes[self.turn].queue.front().map(|job| job.remaining_ns)
    }

    fn serve(&mut self, span_ns: u64) {
        let now = self.now;
        let process = &mut self.processes[self.turn];
        let Some(job) = process.queue.front_mut() else { return };
        let started = *job.started_ns.get_or_insert(now);
        job.remaining_ns -= span_ns;
        self.slice_left -= span_ns;
        self.books[process.tenant].busy_ns += span_ns;
        if job.remaining_ns > 0 {
            return;
        }
        let job = process.queue.pop_front().expect("it was there");
        if let Some(taken) = job.sample {
            process.took[taken.0] = Some(now + span_ns - started + self.mark_ns);
        }
        let is_empty = process.queue.is_empty();
        if process.ready_at.is_none() && (is_empty || process.waits_for_room) {
            let think = if process.waits_for_room { 0 } else { process.program.think_ns };
            process.waits_for_room = false;
            process.ready_at = Some(now + span_ns + think + US);
        }
    }

    fn step(&mut self, index: usize) {
        let now = self.now;
        let process = &mut self.processes[index];
        let book = &self.books[process.tenant];
        let terms = Terms::of(&book.facts);
        let usage = Usage::adopt(&book.words).unwrap();
        let card = CardIndex::new(0).unwrap();
        let Process { costs, flight, took, .. } = process;
        let meter = Meter { usage, card, costs, flight };
        let look = |taken: Taken| took[taken.0].take().map_or(Verdict::NotYet, Verdict::Took);
        flight.collect(look, |sample, measured| meter.learn(terms, sample, measured));
        meter.observe(&book.facts);
        if process.queue.len() >= QUEUE_MAX {
            process.waits_for_room = true;
            process.ready_at = None;
            return;
        }
        let nth = process.submitted;
        let kernel = process.program.kernels_ns[nth % process.program.kernels_ns.len()];
        let shape = Shape::of(&[kernel]);
        let ticket = match self.is_limited {
            true => {
                let asked = Asked { shape, default_ns: 10 * US, is_measurable: true };
                meter.admit(terms, asked, now)
            }
            false => Ticket::Go { charged_ns: 0, is_sampled: false },
        };
        let (charged_ns, is_sampled) = match ticket {
            Ticket::Go { charged_ns, is_sampled } => (charged_ns, is_sampled),
            Ticket::WaitUntil(at) | Ticket::DrainUntil(at) => {
                process.ready_at = Some(at.min(now + WAIT_NS_MAX) + OVERSHOOT_NS);
                return;
            }
        };
        let sample = if is_sampled { flight.take(|_| true) } else { None };
        match sample {
            Some(taken) => meter.arm(taken, Sample { shape, charged_ns, card }, now),
            None if is_sampled => meter.note_unmeasured(shape, charged_ns),
            None => {}
        }
        let uneven = [kernel, kernel * 2 / 3, kernel * 4 / 3][nth % 3];
        let remaining_ns = if process.program.is_uneven { uneven } else { kernel };
        process.queue.push_back(Job { remaining_ns, started_ns: None, sample });
        process.submitted += 1;
        self.launches += 1;
        let syncs = process.program.sync_every;
        let waits = syncs > 0 && process.submitted.is_multiple_of(syncs);
        process.ready_at = (!waits).then_some(now + LAUNCH_NS);
    }

    /// What a pool does: says who is active, and now and then what the driver saw.
    fn look_after(&mut self) {
        self.tick += 1;
        let is_active: Vec<bool> = (0..self.books.len())
            .map(|tenant| self.word(tenant, CardWord::WANTED_AT_NS) + IDLE_NS >= self.now)
            .collect();
        let requests: Vec<(u32, bool)> = self
            .books
            .iter()
            .map(|book| {
                (book.facts.compute.request.per_mille(), book.facts.policy != Policy::Fixed)
            })
            .collect();
        for (index, book) in self.books.iter_mut().enumerate() {
            let others = || (0..requests.len()).filter(|o| *o != index && is_active[*o]);
            book.facts.neighbours.active_milli = others().map(|o| requests[o].0).sum();
            book.facts.neighbours.elastic_milli =
                others().filter(|o| requests[*o].1).map(|o| requests[o].0).sum();
            if self.is_observed && self.tick.is_multiple_of(self.looks.every()) {
                let (busy_before, before) = book.looked;
                let (busy, span) = (book.busy_ns - busy_before, self.now - before);
                book.facts.seen_busy_ns += match self.looks {
                    Looks::Exact => busy,
                    Looks::OfPool => busy * 100 / span.max(1) * span / 100,
                };
                book.facts.seen_at_ns = self.now;
                book.looked = (book.busy_ns, self.now);
            }
        }
    }
}

impl Process {
    fn new(tenant: usize, program: Program, now: u64) -> Self {
        let ready_at = Some(now + program.from_ns);
        Self {
            tenant,
            program,
            costs: Box::default(),
            flight: Flight::new(),
            took: [None; 16],
            queue: VecDeque::new(),
            ready_at,
            submitted: 0,
            waits_for_room: false,
        }
    }
}
