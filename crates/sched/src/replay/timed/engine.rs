//! Lets time pass: departures, then arrivals, then whoever fits starts.

use std::collections::BTreeSet;

use crate::keyed::keyed;
use crate::policy::{Cards, Demand, Offer, PlacementPolicy};
use crate::replay::cluster::Cluster;
use crate::replay::placer::Placer;
use crate::replay::timed::beyond::Beyond;
use crate::replay::timed::findings::{Ended, TimedFindings};
use crate::replay::timed::lifetimes::Lifetimes;
use crate::replay::timed::queue::Queue;
use crate::replay::timed::ratio::FRESH;
use crate::replay::timed::stream::{Job, Stream};
use crate::replay::timed::tally::Tally;
use crate::replay::workload::Workload;

/// Jobs that are moved at most to make room for one. More moves helped no more on seeds 1001 to 1010,
/// and cost more where the queue was long.
pub const MOVES_MAX: usize = 1;

/// Tells ranks of nodes from what else a seed fixes.
const RANKS: u64 = 0x0052_414E_4B53;

/// What a replay in time is of.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// The nodes.
    pub cluster: &'a Cluster,
    /// The jobs.
    pub workload: &'a Workload,
    /// When they come and how long they run.
    pub stream: &'a Stream,
    /// What a node costs a job.
    pub policy: &'a dyn PlacementPolicy,
    /// Ranks the nodes; the lowest rank wins ties.
    pub seed: u64,
    /// What is done beside.
    pub beyond: Beyond,
    /// What a move costs the job that is moved, in seconds of its work.
    pub move_s: u64,
}

/// A job that took its place, or gave it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at_s: u64,
    /// Which, by its number in the stream.
    pub job: u32,
    /// Which node: what its number says is its own affair, but it is the same each time.
    pub node: usize,
    /// Which of its cards.
    pub cards: Cards,
    /// Which of both.
    pub kind: ChangeKind,
}

/// What became of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The job took it.
    Taken,
    /// The job gave it back, because it has ended or goes elsewhere.
    GivenBack,
}

/// A replay under way.
pub(super) struct Timed<'a> {
    pub(super) setting: Setting<'a>,
    pub(super) placer: Placer<'a>,
    pub(super) now_s: u64,
    pub(super) queue: Queue,
    /// Where each job runs, by its number in the stream.
    pub(super) running: Vec<Option<Running>>,
    /// Jobs of each node.
    pub(super) on_node: Vec<Vec<u32>>,
    pub(super) lifetimes: Lifetimes,
    pub(super) tally: Tally,
    departures: BTreeSet<(u64, u32)>,
    ended: Vec<Ended>,
    observe: &'a mut dyn FnMut(Change),
}

/// A job that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) node: usize,
    pub(super) cards: Cards,
    pub(super) begun_s: u64,
    pub(super) ends_s: u64,
    pub(super) moves: u32,
}

/// Replays a stream from the first arrival to the last departure.
pub fn replay(setting: Setting<'_>) -> TimedFindings {
    replay_observed(setting, &mut |_| ())
}

/// The same, and tells of each place that is taken or given back.
pub fn replay_observed(setting: Setting<'_>, observe: &mut dyn FnMut(Change)) -> TimedFindings {
    replay_until(setting, observe, u128::MAX).expect("no wait is longer than all")
}

/// The same; none as soon as the mean wait is sure to pass so many seconds.
pub fn replay_within(setting: Setting<'_>, wait_s: u64) -> Option<TimedFindings> {
    let waits_s = u128::from(wait_s) * setting.stream.jobs().len() as u128;
    let found = replay_until(setting, &mut |_| (), waits_s)?;
    (found.waits.mean_ms <= wait_s.saturating_mul(1000)).then_some(found)
}

/// None as soon as all waits together pass so many seconds.
fn replay_until<'a>(
    setting: Setting<'a>,
    observe: &'a mut dyn FnMut(Change),
    waits_s: u128,
) -> Option<TimedFindings> {
    let mut timed = Timed::new(setting, observe);
    let mut arrivals = setting.stream.jobs().iter().zip(0u32..).peekable();
    loop {
        let arrives_s = arrivals.peek().map(|(job, _)| job.arrives_s);
        let ends_s = timed.departures.first().map(|&(ends_s, _)| ends_s);
        let Some(now_s) = arrives_s.into_iter().chain(ends_s).min() else { break };
        timed.pass(now_s);
        if timed.tally.waited_s > waits_s {
            return None;
        }
        timed.end_due();
        while let Some((job, number)) = arrivals.next_if(|(job, _)| job.arrives_s == now_s) {
            if can_ever_run(setting.cluster, setting.workload.demand(job.pod)) {
                timed.queue.push((number, setting.workload.kind(job.pod)));
            }
        }
        timed.start_waiting();
    }
    assert_eq!(timed.queue.length(), 0, "an empty cluster has room for all that wait");
    let compute = setting.cluster.fleet().compute();
    let findings = TimedFindings::new(&timed.ended, &timed.tally, compute);
    let unplaceable = unplaceable(&setting);
    Some(TimedFindings { unplaceable, ended_s: timed.now_s, ..findings })
}

/// Jobs that no empty node of the cluster could run.
pub fn unplaceable(setting: &Setting<'_>) -> u64 {
    let demands = setting.stream.jobs().iter().map(|job| setting.workload.demand(job.pod));
    demands.filter(|demand| !can_ever_run(setting.cluster, demand)).count() as u64
}

fn can_ever_run(cluster: &Cluster, demand: &Demand) -> bool {
    cluster.fleet().shapes().iter().any(|shape| shape.fits(demand))
}

impl<'a> Timed<'a> {
    fn new(setting: Setting<'a>, observe: &'a mut dyn FnMut(Change)) -> Self {
        let nodes = setting.cluster.nodes();
        let key = |at: usize| (keyed(&[setting.seed, at as u64, RANKS]), at);
        let mut order: Vec<usize> = (0..nodes).collect();
        order.sort_by_key(|&at| key(at));
        let mut ranks = vec![0; nodes];
        for (rank, at) in (0..).zip(order) {
            ranks[at] = rank;
        }
        Self {
            placer: Placer::new(setting.cluster, setting.workload, (&ranks, setting.policy)),
            now_s: 0,
            queue: Queue::default(),
            running: vec![None; setting.stream.jobs().len()],
            on_node: vec![Vec::new(); nodes],
            lifetimes: Lifetimes::default(),
            tally: Tally::new(setting.stream.window()),
            departures: BTreeSet::new(),
            ended: Vec::new(),
            observe,
            setting,
        }
    }

    /// A job by its number.
    pub(super) fn job(&self, number: u32) -> Job {
        self.setting.stream.jobs()[number as usize]
    }

    /// The kind of a job, by its number.
    pub(super) fn kind(&self, number: u32) -> u32 {
        self.setting.workload.kind(self.job(number).pod)
    }

    /// What a job asks for, by its number.
    pub(super) fn demand(&self, number: u32) -> &'a Demand {
        self.setting.workload.demand(self.job(number).pod)
    }

    fn pass(&mut self, now_s: u64) {
        self.tally.advance(now_s, self.queue.length());
        self.now_s = now_s;
    }

    /// Ends the jobs whose time is over.
    fn end_due(&mut self) {
        let mut any = false;
        while let Some(&(ends_s, number)) = self.departures.first() {
            if ends_s > self.now_s {
                break;
            }
            self.departures.pop_first();
            self.leave(number);
            self.running[number as usize] = None;
            let Job { arrives_s, runs_s, .. } = self.job(number);
            self.lifetimes.learn(self.kind(number), runs_s);
            self.ended.push(Ended { waited_s: ends_s - arrives_s - runs_s, runs_s });
            any = true;
        }
        if any {
            self.retry();
        }
    }

    /// Lets all that wait be tried again.
    fn retry(&mut self) {
        let mut queue = std::mem::take(&mut self.queue);
        queue.retry(|number| self.rank(number));
        self.queue = queue;
    }

    /// Starts all that have room, and makes room by moves.
    fn start_waiting(&mut self) {
        loop {
            while let Some((number, kind)) = self.queue.next() {
                if let Some((node, offer)) = self.choose(kind) {
                    self.start(number, (node, offer.cards));
                }
            }
            if !self.setting.beyond.moves || !self.make_room() {
                break;
            }
            self.retry();
        }
        self.tally.queue_peak = self.tally.queue_peak.max(self.queue.length());
    }

    /// Where a job of a kind goes.
    pub(super) fn choose(&mut self, kind: u32) -> Option<(usize, Offer)> {
        match self.setting.beyond.departures {
            false => self.placer.cheapest(kind as usize),
            true => self.cheapest_by_departure(kind),
        }
    }

    /// Starts the first waiting job of its kind.
    pub(super) fn start(&mut self, number: u32, (node, cards): (usize, Cards)) {
        let ends_s = self.now_s + self.job(number).runs_s;
        let begun_s = self.now_s;
        self.running[number as usize] = Some(Running { node, cards, begun_s, ends_s, moves: 0 });
        self.departures.insert((ends_s, number));
        self.enter(number, (node, cards));
        let kind = self.kind(number);
        let rank = self.queue.second(kind).map_or(FRESH, |next| self.rank(next));
        self.queue.remove_first(kind, rank);
    }

    /// Takes the place of a job; its record says where that is.
    pub(super) fn enter(&mut self, number: u32, (node, cards): (usize, Cards)) {
        self.placer.take(node, (self.kind(number) as usize, cards));
        self.on_node[node].push(number);
        self.tally.take(self.demand(number).compute_all());
        self.tell(number, (node, cards), ChangeKind::Taken);
    }

    /// Gives the place of a job back; its record stays.
    pub(super) fn leave(&mut self, number: u32) {
        let running = self.running[number as usize].expect("only a job that runs leaves");
        self.on_node[running.node].retain(|&other| other != number);
        self.give_back(number, (running.node, running.cards));
        self.tally.give_back(self.demand(number).compute_all());
        self.tell(number, (running.node, running.cards), ChangeKind::GivenBack);
    }

    /// Frees the room of a job that is none of its node's any more.
    pub(super) fn give_back(&mut self, number: u32, (node, cards): (usize, Cards)) {
        let others = self.on_node[node].iter();
        let hosted = others.fold(0, |bits, &other| bits | self.demand(other).hosted_bit());
        self.placer.give_back(node, (self.kind(number) as usize, cards), hosted);
    }

    fn tell(&mut self, job: u32, (node, cards): (usize, Cards), kind: ChangeKind) {
        (self.observe)(Change { at_s: self.now_s, job, node, cards, kind });
    }

    /// Lets a job end later.
    pub(super) fn delay(&mut self, number: u32, by_s: u64) {
        let running = self.running[number as usize].as_mut().expect("only a job that runs is late");
        self.departures.remove(&(running.ends_s, number));
        running.ends_s += by_s;
        running.moves += 1;
        self.departures.insert((running.ends_s, number));
    }
}

impl std::fmt::Debug for Setting<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Setting")
            .field("nodes", &self.cluster.nodes())
            .field("jobs", &self.stream.jobs().len())
            .field("policy", &self.policy.name())
            .field("seed", &self.seed)
            .field("beyond", &self.beyond)
            .field("move_s", &self.move_s)
            .finish()
    }
}
