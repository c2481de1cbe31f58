//! A pool, its machines, its people, and what goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use cotenant_api::JobRequest;
use cotenant_device::{CardsSpec, Terms, discover};
use cotenant_sched::{Event, Help, Job, Phase, Placing, PoolPolicy, Reason, State};
use cotenant_types::{
    Amount, Ask, Card, CardId, JobId, Load, Mebibytes, Moment, NodeName, Quota, Share, Site,
};
use tokio::sync::oneshot;

use super::dice::Dice;
use super::faults::{Fault, Fired, Odds, Stage};
use super::machines::{Chance, Machines};
use super::{check, people};
use crate::executor::Errand;
use crate::keeper::{Keeper, Message, Submission};
use crate::live::Live;
use crate::store::Store;

const NODES: u64 = 3;
const STEPS: u32 = 150;
/// Steps without faults after which everything must have ended.
const QUIET_STEPS: u32 = 4000;

/// Everything.
pub(super) struct World {
    dice: Dice,
    keeper: Option<Keeper>,
    errands: Receiver<Errand>,
    machines: Machines,
    /// Since when each machine is cut off.
    cut_since: BTreeMap<NodeName, Moment>,
    lost_cards: BTreeSet<CardId>,
    now: Moment,
    odds: Odds,
    acknowledged: BTreeSet<JobId>,
    pub(super) fired: Fired,
    pub(super) log: String,
}

impl World {
    pub(super) fn new(mut dice: Dice) -> Self {
        let odds = Odds::throw(&mut dice);
        let store = Store::open(Path::new(":memory:")).unwrap();
        let (keeper, errands) = keeper(State::default(), store);
        let mut world = Self {
            dice,
            keeper: Some(keeper),
            errands,
            machines: Machines::new((0..NODES).flat_map(|at| cards(&node(at))).collect()),
            cut_since: BTreeMap::new(),
            lost_cards: BTreeSet::new(),
            now: Moment(1_000_000),
            odds,
            acknowledged: BTreeSet::new(),
            fired: BTreeMap::new(),
            log: String::new(),
        };
        let limit = Some(Amount { compute_milli: 4_000, memory: Mebibytes(300_000) });
        let guaranteed = Amount { compute_milli: 2_000, memory: Mebibytes(100_000) };
        let parent = Some("a".parse().unwrap());
        let tenants = [
            ("a", Quota { guaranteed, ..Quota::default() }),
            ("b", Quota { limit, weight: 2, ..Quota::default() }),
            ("c", Quota { parent, ..Quota::default() }),
        ];
        let set = |(name, quota): (&str, Quota)| Event::TenantSet {
            tenant: name.parse().unwrap(),
            quota,
        };
        world.tell(tenants.map(set).to_vec());
        world.report_cards();
        world
    }

    /// Lives for a while with faults, then without until everything has ended.
    pub(super) fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.odds.clear();
        self.cut_since.clear();
        self.machines.cut_off.clear();
        for card in std::mem::take(&mut self.lost_cards) {
            self.machines.find(&card);
        }
        self.report_cards();
        let undrain = |node| Event::DrainSet { node, is_draining: false };
        let mend = |node| Event::FailingReported { node, cards: Vec::new() };
        let mended = (0..NODES).flat_map(|at| [undrain(node(at)), mend(node(at))]);
        self.tell(mended.collect());
        for _ in 0..QUIET_STEPS {
            self.work();
            self.check();
            if self.state().jobs().all(|job| self.is_hopeless(job)) {
                return;
            }
        }
        let left: Vec<_> = self.state().jobs().filter(|job| !self.is_hopeless(job)).collect();
        panic!("these never end: {left:#?}, {:#?}", self.keeper.as_ref().unwrap().live.waits());
    }

    /// Whether a job waits for what can never be, and is told so.
    fn is_hopeless(&self, job: &Job) -> bool {
        let waits = self.keeper.as_ref().unwrap().live.waits();
        let reasons = waits.get(&job.id).filter(|_| matches!(job.phase, Phase::Queued { .. }));
        reasons.into_iter().flat_map(|reasons| reasons.iter()).any(|reason| match reason {
            Reason::Cards { help, .. } => help.contains(&Help::AskLess),
            Reason::Quota { wanted, limit, .. } => !wanted.is_within(*limit),
            Reason::NoCards
            | Reason::Reserved { .. }
            | Reason::MakingRoom { .. }
            | Reason::Backoff { .. } => false,
        })
    }

    fn step(&mut self) {
        match self.dice.below(10) {
            0..=3 => self.submit(),
            4 => self.pester(),
            _ => {}
        }
        if self.strikes(Fault::ClockJumps) {
            let by = self.dice.below(100_000);
            self.now = Moment((self.now.0 + self.dice.below(100_000)).saturating_sub(by));
        }
        if self.strikes(Fault::CardFallsOff) {
            let cards = cards(&node(self.dice.below(NODES)));
            let card = self.dice.pick(&cards).id.clone();
            match self.lost_cards.remove(&card) {
                true => self.machines.find(&card),
                false => {
                    self.machines.lose(&card);
                    self.lost_cards.insert(card);
                }
            }
            self.report_cards();
        }
        if self.strikes(Fault::NodeCutOff) {
            let node = node(self.dice.below(NODES));
            self.machines.cut_off.insert(node.clone());
            self.cut_since.entry(node).or_insert(self.now);
        }
        let (is_full, is_busy) = (self.strikes(Fault::DiskFull), self.strikes(Fault::StoreBusy));
        self.trouble_store(is_full, is_busy);
        self.work();
        self.trouble_store(false, false);
        // What could not even be read is read again before anything else is done.
        self.tell(Vec::new());
        self.check();
    }

    /// Time goes by, machines work and speak, the keeper listens and plans, commands are heard.
    fn work(&mut self) {
        self.now = self.now.after_ms(1 + self.dice.below(15_000));
        self.mend_nodes();
        let said = self.with_machines(|machines, now, chance| machines.pass_time(now, chance));
        self.tell(said);
        if self.dice.happens(150) {
            self.ask_for_reports();
        }
        let now = self.now;
        self.keeper().plan_until_quiet(now);
        self.carry_out();
    }

    /// Commands are heard and answered, and the daemon dies between any two steps of that.
    fn carry_out(&mut self) {
        if self.strikes(Fault::DiesBeforeCommands) {
            return self.die();
        }
        let is_deaf = self.strikes(Fault::DiesBeforeAnswers);
        while let Ok(errand) = self.errands.try_recv() {
            writeln!(self.log, "{} {:?}", self.now.0, errand.command).unwrap();
            let command = &errand.command;
            let said =
                self.with_machines(|machines, now, chance| machines.hear(now, command, chance));
            if is_deaf {
                continue;
            }
            self.tell(said);
            if self.strikes(Fault::DiesAmidCommands) {
                return self.die();
            }
        }
        if is_deaf || self.strikes(Fault::DiesAfterAnswers) {
            self.die();
        }
    }

    fn check(&mut self) {
        let keeper = self.keeper.as_ref().unwrap();
        check::state(&keeper.state);
        check::runs(self.machines.alive());
        check::stored(&keeper.state, &keeper.store.load().unwrap());
        for id in &self.acknowledged {
            let alive = keeper.state.job(*id).is_some();
            assert!(alive != keeper.store.has_ended(*id), "job {id} is lost, or in two states");
        }
    }

    /// The daemon dies with what it had not yet said, and another takes over from the disk, which
    /// by then can be written again.
    fn die(&mut self) {
        self.trouble_store(false, false);
        let Keeper { store, .. } = self.keeper.take().unwrap();
        let state = store.load().unwrap();
        let (keeper, errands) = keeper(state, store);
        (self.keeper, self.errands) = (Some(keeper), errands);
        writeln!(self.log, "{} died", self.now.0).unwrap();
        self.report_cards();
        self.ask_for_reports();
    }

    /// Machines that were cut off for a while are lost; later they come back, without what their
    /// workers ended when the lease was over.
    fn mend_nodes(&mut self) {
        for (node, since) in self.cut_since.clone() {
            let away = self.now - since;
            if away > 150_000 {
                self.machines.lose_lease(&node);
                self.cut_since.remove(&node);
                self.machines.cut_off.remove(&node);
                self.report_cards();
                self.ask_for_reports();
            } else if away > 20_000 {
                // Workers end themselves before the slices are given to others.
                if away > 40_000 {
                    self.machines.lose_lease(&node);
                }
                self.tell(vec![Event::NodeLost { node }]);
            }
        }
    }

    fn ask_for_reports(&mut self) {
        let held: Vec<_> = self.state().jobs().flat_map(Job::runs).collect();
        let nodes = (0..NODES).map(node);
        let said = nodes.flat_map(|node| self.machines.report(&node, &held)).collect();
        self.tell(said);
    }

    fn report_cards(&mut self) {
        let said = (0..NODES).map(node).filter(|node| !self.machines.cut_off.contains(node));
        let said = said.map(|node| {
            let cards = self.machines.found(&node);
            Event::CardsReported { node, cards }
        });
        let said = said.collect();
        self.tell(said);
    }

    fn submit(&mut self) {
        let terms = people::terms(&mut self.dice, self.now);
        let request = JobRequest { command: vec!["true".to_owned()], ..JobRequest::default() };
        let key = self.dice.happens(300).then(|| format!("key-{}", self.dice.below(20)));
        let submission = Submission { name: "job".to_owned(), terms, request, key };
        let (reply, mut answer) = oneshot::channel();
        let now = self.now;
        self.keeper().take_in(now, vec![Message::Submit(Box::new(submission), reply)]);
        if let Ok(Ok(job)) = answer.try_recv() {
            writeln!(self.log, "{} submitted {job}", self.now.0).unwrap();
            self.acknowledged.insert(job);
        }
    }

    /// Somebody cancels, resizes, complains or drains, or a machine finds cards that fail.
    fn pester(&mut self) {
        let jobs: Vec<JobId> = self.state().jobs().map(|job| job.id).collect();
        if jobs.is_empty() {
            return;
        }
        let job = *self.dice.pick(&jobs);
        let event = match self.dice.below(6) {
            0 => Event::CancelRequested { job },
            1 => {
                let usage = Share::from_per_mille(self.dice.below(1001) as u32).ok();
                let latency_ms = self.dice.happens(500).then(|| self.dice.below(200) as u32);
                Event::LoadReported { job, load: Load { latency_ms, usage } }
            }
            2 => Event::JobBusy { job },
            3 => {
                let members = self.state().job(job).unwrap().terms.ask.members;
                let cards = self.state().job(job).unwrap().terms.ask.cards;
                let share = people::share(&mut self.dice);
                let old = self.state().job(job).unwrap().terms.ask.clone();
                Event::ResizeRequested { job, ask: Ask { members, cards, share, ..old } }
            }
            4 => {
                let node = node(self.dice.below(NODES));
                let failing = cards(&node).into_iter().filter(|_| self.dice.happens(200));
                Event::FailingReported { cards: failing.map(|card| card.id).collect(), node }
            }
            _ => {
                let is_draining = self.dice.happens(300);
                Event::DrainSet { node: node(self.dice.below(NODES)), is_draining }
            }
        };
        let (reply, _answer) = oneshot::channel();
        let now = self.now;
        self.keeper().take_in(now, vec![Message::Event(event, Some(reply))]);
    }

    /// Events that machines send; what cannot be written down is taken in again by the keeper.
    fn tell(&mut self, said: Vec<Event>) {
        for event in &said {
            writeln!(self.log, "{} {event:?}", self.now.0).unwrap();
        }
        let now = self.now;
        let messages = said.into_iter().map(|event| Message::Event(event, None)).collect();
        self.keeper().take_in(now, messages);
    }

    fn with_machines<T>(&mut self, act: impl FnOnce(&mut Machines, Moment, Chance<'_>) -> T) -> T {
        let (odds, fired) = (&self.odds, &mut self.fired);
        let state = &self.keeper.as_ref().unwrap().state;
        let mut faults = |fault: Fault, job: JobId, dice: &mut Dice| {
            let strikes = odds.strikes(fault, dice);
            if strikes && let Some(job) = state.job(job) {
                *fired.entry((fault, Stage::of(job))).or_default() += 1;
            }
            strikes
        };
        act(&mut self.machines, self.now, (&mut self.dice, &mut faults))
    }

    /// Whether a fault strikes the whole pool, and so every job in it.
    fn strikes(&mut self, fault: Fault) -> bool {
        let strikes = self.odds.strikes(fault, &mut self.dice);
        if strikes {
            let stages: BTreeSet<Stage> = self.state().jobs().map(Stage::of).collect();
            for stage in stages {
                *self.fired.entry((fault, stage)).or_default() += 1;
            }
        }
        strikes
    }

    fn trouble_store(&mut self, is_full: bool, is_busy: bool) {
        let store = &mut self.keeper().store;
        store.limit_pages(is_full);
        store.is_busy = is_busy;
    }

    fn keeper(&mut self) -> &mut Keeper {
        self.keeper.as_mut().unwrap()
    }

    fn state(&self) -> &State {
        &self.keeper.as_ref().unwrap().state
    }
}

impl Keeper {
    /// Plans until nothing more comes of it; every job that still waits then has a reason.
    fn plan_until_quiet(&mut self, now: Moment) {
        for _ in 0..100 {
            self.plan(now);
            if !self.wants_plan {
                break;
            }
        }
        if self.wants_plan {
            // What is planned cannot be written down, so it was taken back.
            return;
        }
        let waits = self.live.waits();
        for job in self.state.jobs() {
            let waits_now = matches!(job.phase, Phase::Queued { .. });
            assert!(!waits_now || waits.contains_key(&job.id), "job {} waits for nothing", job.id);
        }
        check::reasons(&self.state, &waits);
    }
}

fn keeper(state: State, store: Store) -> (Keeper, Receiver<Errand>) {
    let (errands, received) = mpsc::channel();
    let live = Arc::new(Live::new(store.last_seq()));
    let placing = Placing::new(PoolPolicy::BidPrice);
    (Keeper::new((state, store, placing), live, errands), received)
}

fn node(at: u64) -> NodeName {
    format!("n{at}").parse().unwrap()
}

/// The cards of a machine: of the last, in MIG mode.
fn cards(node: &NodeName) -> Vec<Card> {
    let kind = if node.as_str() == "n2" { "sim:3xH100+mig" } else { "sim:3xH100" };
    let spec: CardsSpec = kind.parse().unwrap();
    let cards = discover(&spec, &Terms::default()).unwrap().cards.into_iter().enumerate();
    let card = |(index, card): (usize, Card)| Card {
        id: format!("{node}-{index}").parse().unwrap(),
        node: node.clone(),
        site: Site { nvlink: index as u32 / 2, numa: 0, rack: "r".to_owned() },
        ..card
    };
    cards.map(card).collect()
}
