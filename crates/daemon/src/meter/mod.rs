//! The thread that reads what cards and jobs use, and notices jobs that do nothing.
//!
//! ```text
//! cards       NVML, /proc/stat                                   -> use of a card
//! members     their control group, or else their processes       -> use of a slice -> of a job
//! simulated   what its slices use, as nothing else could use it  -> use of a card
//! ```

mod share;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use cotenant_api::UseView;
use cotenant_device::{CardUse, Cgroups, Health, Meter, ProcessUse, Vitals, marked_processes};
use cotenant_sched::{Event, Job, Run};
use cotenant_types::{Card, CardId, CardKind, Load, MemberSlices, NodeName, Rung, Share};
use tokio::sync::watch;

use crate::executor::{Holders, MARK, MEMBER, RunFolder, member_name};
use crate::keeper::{Message, now};
use crate::live::{Condition, Live, Uses};
use crate::store::Reader;
use share::Work;

/// How often.
const PAUSE: Duration = Duration::from_secs(2);
/// How often the driver is asked in between what members do that the preload library holds.
const LOOK: Duration = Duration::from_millis(200);
/// Use below this is none: a program that waits still looks around now and then.
const BUSY_PER_MILLE: u32 = 10;

/// What the thread works with.
pub(crate) struct Metering {
    pub(crate) cards: Vec<Card>,
    pub(crate) reader: Reader,
    pub(crate) runs: PathBuf,
    pub(crate) holders: Holders,
    pub(crate) live: Arc<Live>,
    pub(crate) inbox: Sender<Message>,
    pub(crate) ending: watch::Receiver<bool>,
}

/// A member of a start of a job, by the folder of its run, which no other start has.
type MemberKey = (String, String);

/// What was read of a member.
#[derive(Clone, Debug, Default)]
struct Tally {
    cpu_usec: u64,
    work: Work,
}

/// Each member's processor time when it was last read.
type Before = BTreeMap<MemberKey, (Instant, u64)>;

impl Metering {
    /// Reads until the daemon ends.
    pub(crate) fn run(self) {
        let mut meter = Meter::new(&self.cards);
        let groups = Cgroups::open().ok();
        let cards = self.cards.iter().map(|card| (card.id.clone(), card.clone())).collect();
        let mut before = Before::new();
        let mut told = None;
        while !*self.ending.borrow() {
            let holders = self.reader.holders().unwrap_or_default();
            let tallies = self.tallies(&holders, groups.as_ref());
            let works = works(tallies, &mut before);
            self.holders.served.look();
            let held = self.holders.intercepted.held();
            let reading = meter.read();
            let pids = self.pids(&holders, &works);
            let mut counted = self.holders.intercepted.look(&held, &reading.processes, &pids);
            let counted = members(&holders).filter_map(|(job, number, member)| {
                let name = member_name(&run_of(job, member), number);
                Some(((job.id, number), counted.remove(&name)?))
            });
            let counted = counted.collect();
            let mut uses = Uses { at_ms: now().0, counted, ..Uses::default() };
            for job in &holders {
                self.meter_job(job, (&cards, &works, &reading.processes), &mut uses);
            }
            uses.conditions = conditions(&reading.cards);
            self.tell_failing(&uses.conditions, &mut told);
            uses.partitions = reading.partitions;
            // A lost card does not say what it does.
            let working = reading.cards.into_iter().filter(|card| card.health != Health::Lost);
            uses.cards = working.map(|card| (card.card.clone(), view(card, uses.at_ms))).collect();
            add_simulated(&holders, &cards, &mut uses);
            uses.total = uses.sum(uses.cards.values());
            self.live.set_uses(uses);
            self.wait(&mut meter, &pids);
        }
    }

    /// Waits for the next reading. Where the preload library holds members, it is told meanwhile what
    /// the driver sees of them, since what it charges for a kernel leans on that.
    fn wait(&self, meter: &mut Meter, pids: &BTreeMap<String, Vec<u32>>) {
        let end = Instant::now() + PAUSE;
        while self.holders.intercepted.holds_any() && !*self.ending.borrow() {
            std::thread::park_timeout(LOOK);
            if Instant::now() >= end {
                return;
            }
            let held = self.holders.intercepted.held();
            self.holders.intercepted.look(&held, &meter.read_processes(), pids);
        }
        std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
    }

    /// Tells the loop on which cards nothing new should start: once at the beginning, since it
    /// remembers those of an earlier daemon, and then whenever that changes.
    fn tell_failing(
        &self,
        conditions: &BTreeMap<CardId, Condition>,
        told: &mut Option<BTreeSet<CardId>>,
    ) {
        let failing = conditions.iter().filter(|(_, it)| it.health == Health::Failing);
        let failing: BTreeSet<CardId> = failing.map(|(card, _)| card.clone()).collect();
        if told.as_ref() == Some(&failing) {
            return;
        }
        let nodes: BTreeSet<&NodeName> = self.cards.iter().map(|card| &card.node).collect();
        for node in nodes {
            let here = self.cards.iter().filter(|card| card.node == *node);
            let cards = here.map(|card| card.id.clone()).filter(|card| failing.contains(card));
            let event = Event::FailingReported { node: node.clone(), cards: cards.collect() };
            // Once the loop has ended, so does this thread.
            let _ = self.inbox.send(Message::Event(event, None));
        }
        *told = Some(failing);
    }

    /// What each member has used so far: by its control group where it has one, else by those of
    /// its processes that are there now.
    fn tallies(&self, holders: &[Job], groups: Option<&Cgroups>) -> BTreeMap<MemberKey, Tally> {
        let mut grouped = BTreeMap::new();
        let mut has_others = false;
        for (job, number, member) in members(holders) {
            let is_grouped = member.slices.iter().any(|slice| slice.enforced_by == Rung::Cgroup);
            match groups.filter(|_| is_grouped) {
                Some(groups) => {
                    // A slice of a card beside it is told by processes.
                    has_others |=
                        member.slices.iter().any(|slice| slice.enforced_by == Rung::Intercept);
                    let tally = group_tally(&member_name(&run_of(job, member), number), groups);
                    grouped.extend(tally.map(|tally| (self.key(job, number, member), tally)));
                }
                None => has_others = true,
            }
        }
        let mut tallies = if has_others { process_tallies() } else { BTreeMap::new() };
        // Their processes are marked too, and what they use is counted in the group already.
        for (key, tally) in &mut grouped {
            if let Some(marked) = tallies.get(key) {
                tally.work.pids.clone_from(&marked.work.pids);
            }
        }
        tallies.append(&mut grouped);
        tallies
    }

    /// The processes of each member, by its name.
    fn pids(
        &self,
        holders: &[Job],
        works: &BTreeMap<MemberKey, Work>,
    ) -> BTreeMap<String, Vec<u32>> {
        let of_member = |(job, number, member)| {
            let work = works.get(&self.key(job, number, member))?;
            let name = member_name(&run_of(job, member), number);
            Some((name, work.pids.iter().copied().collect()))
        };
        members(holders).filter_map(of_member).collect()
    }

    fn key(&self, job: &Job, number: u32, member: &MemberSlices) -> MemberKey {
        let folder = RunFolder::of(&self.runs, &run_of(job, member));
        (folder.mark(), number.to_string())
    }

    /// Notes what a job uses, slice by slice, and says so if it does something.
    fn meter_job(
        &self,
        job: &Job,
        (cards, works, processes): (
            &BTreeMap<CardId, Card>,
            &BTreeMap<MemberKey, Work>,
            &[ProcessUse],
        ),
        uses: &mut Uses,
    ) {
        for (job, number, member) in members(std::slice::from_ref(job)) {
            let Some(work) = works.get(&self.key(job, number, member)) else { continue };
            let shares = share::slice_uses(&member.slices, cards, (work, processes));
            let known = member.slices.iter().zip(shares).filter_map(|(slice, used)| {
                Some((slice.card.clone(), UseView { at_ms: uses.at_ms, ..used? }))
            });
            uses.slices.insert((job.id, number), known.collect());
        }
        let slices = uses.slices.range((job.id, 0)..=(job.id, u32::MAX));
        let Some(sum) = share::summed(slices.flat_map(|(_, cards)| cards.values())) else { return };
        if sum.compute_per_mille >= BUSY_PER_MILLE && job.terms.idle.is_some() {
            // If nobody listens any more, the daemon ends.
            let _ = self.inbox.send(Message::Event(Event::JobBusy { job: job.id }, None));
        }
        if let Some(load) = load_of(job, sum.compute_per_mille) {
            let _ =
                self.inbox.send(Message::Event(Event::LoadReported { job: job.id, load }, None));
        }
        uses.jobs.insert(job.id, sum);
    }
}

/// How a job fares that has a mark for its use: the part that it uses of the compute kept for it.
fn load_of(job: &Job, busy_per_mille: u32) -> Option<Load> {
    job.terms.watermark?.usage?;
    let kept = job.placement()?.amount().compute_milli.max(1);
    let part = u64::from(busy_per_mille) * 1000 / kept;
    let usage = Share::from_per_mille(u32::try_from(part).unwrap_or(u32::MAX).min(1000)).ok();
    Some(Load { latency_ms: None, usage })
}

/// Every member of every job that holds slices, with its number.
fn members(holders: &[Job]) -> impl Iterator<Item = (&Job, u32, &MemberSlices)> {
    holders.iter().flat_map(|job| {
        let members = job.placement().map(|placement| placement.0.as_slice()).unwrap_or_default();
        (0..).zip(members).map(move |(number, member)| (job, number, member))
    })
}

/// The run that a member belongs to.
fn run_of(job: &Job, member: &MemberSlices) -> Run {
    Run { job: job.id, generation: job.generation, node: member.node.clone() }
}

/// What a control group's processes have used, those that ended included.
fn group_tally(name: &str, groups: &Cgroups) -> Option<Tally> {
    let used = groups.find(name).ok()??.read_use().ok()?;
    let work = Work { memory_bytes: used.memory_bytes, ..Work::default() };
    Some(Tally { cpu_usec: used.cpu_usec, work })
}

/// What the processes of members have used that are there now.
fn process_tallies() -> BTreeMap<MemberKey, Tally> {
    let mut tallies: BTreeMap<MemberKey, Tally> = BTreeMap::new();
    for process in marked_processes(&[MARK, MEMBER]) {
        let [run, member] = process.marks.as_slice() else { continue };
        let tally = tallies.entry((run.clone(), member.clone())).or_default();
        tally.cpu_usec += process.cpu_usec;
        tally.work.memory_bytes += process.memory_bytes;
        tally.work.pids.insert(process.pid);
    }
    tallies
}

/// What members did since they were last read; of those that are read for the first time nobody
/// knows yet. Time of processes that ended and that nobody waited for is gone, and then less than
/// nothing is nothing.
fn works(tallies: BTreeMap<MemberKey, Tally>, before: &mut Before) -> BTreeMap<MemberKey, Work> {
    let at = Instant::now();
    let mut works = BTreeMap::new();
    let mut read = Before::new();
    for (key, Tally { cpu_usec, mut work }) in tallies {
        read.insert(key.clone(), (at, cpu_usec));
        let Some((since, cpu_before)) = before.get(&key) else { continue };
        let wall_usec = at.duration_since(*since).as_micros().max(1);
        let busy = u128::from(cpu_usec.saturating_sub(*cpu_before)) * 1000 / wall_usec;
        work.busy_per_mille = u64::try_from(busy).unwrap_or(u64::MAX);
        works.insert(key, work);
    }
    *before = read;
    works
}

/// How NVIDIA cards are; others do not say.
fn conditions(cards: &[CardUse]) -> BTreeMap<CardId, Condition> {
    let is_told = |card: &&CardUse| card.vitals != Vitals::default() || card.health != Health::Good;
    let condition = |card: &CardUse| {
        let (health, vitals) = (card.health, card.vitals.clone());
        (card.card.clone(), Condition { health, vitals })
    };
    cards.iter().filter(is_told).map(condition).collect()
}

fn view(card: CardUse, at_ms: u64) -> UseView {
    UseView {
        at_ms,
        compute_per_mille: card.compute.per_mille(),
        memory_mib: card.memory_used.0,
        temperature_c: card.temperature_c,
        power_mw: card.power_mw.map(u64::from),
    }
}

/// Simulated cards that jobs hold are used as much as their slices are.
fn add_simulated(holders: &[Job], cards: &BTreeMap<CardId, Card>, uses: &mut Uses) {
    let mut sums: BTreeMap<&CardId, Vec<&UseView>> = BTreeMap::new();
    for (job, number, member) in members(holders) {
        let Some(known) = uses.slices.get(&(job.id, number)) else { continue };
        for slice in &member.slices {
            sums.entry(&slice.card).or_default().extend(known.get(&slice.card));
        }
    }
    let simulated = sums.into_iter().filter_map(|(id, slices)| {
        let card = cards.get(id).filter(|card| card.kind == CardKind::Sim)?;
        let sum = share::summed(slices.into_iter())?;
        let compute_per_mille = sum.compute_per_mille.min(1000);
        let memory_mib = sum.memory_mib.min(card.memory.0);
        Some((id.clone(), UseView { compute_per_mille, memory_mib, ..sum }))
    });
    let simulated: Vec<_> = simulated.collect();
    uses.cards.extend(simulated);
}
