//! A pool in virtual time: the production decisions, on machines that do at once what they are told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cotenant_types::{Card, JobId, JobTerms, Moment, Quota};

use super::demand::{Arrival, Demand};
use super::findings::Tally;
use crate::{Command, Event, Exit, News, Placing, Plan, State, plan, step};

/// Most jobs that wait at a time: a pool where more do is given up as too small.
pub const QUEUE_MAX: u64 = 5_000;

/// Plans at one moment: each but the first was asked for by what the one before brought about. What
/// the last one left is planned at the next moment.
const ROUNDS_MAX: u32 = 1_000;

/// How long a simulation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Until it is known whether the pool is enough.
    Decided,
    /// Until the end, so that what is counted is of the whole time.
    End,
}

/// Simulates the course of one seed on these cards, and adds to what is counted.
pub(super) fn simulate(
    (demand, arrivals): (&Demand, &[Arrival]),
    (cards, until): (&[Card], Until),
    tally: &mut Tally,
) {
    let mut pool = Pool::new(demand, arrivals, tally);
    pool.set_up(cards);
    pool.run(until);
}

/// A job that has come in and not ended.
struct Living {
    arrival: usize,
    /// What it still has to do; for ever, if there is no number.
    left_ms: Option<u64>,
    waited_ms: u64,
    phase: Phase,
}

#[derive(Clone, Copy)]
enum Phase {
    /// Since when, and from when on it has waited longer than it may, if that counts and is not
    /// known already.
    Waits { since: Moment, late: Option<Moment> },
    /// Since when, and when it will end by itself, if ever.
    Runs { since: Moment, end: Option<Moment> },
}

struct Pool<'a> {
    demand: &'a Demand,
    arrivals: &'a [Arrival],
    tally: &'a mut Tally,
    state: State,
    now: Moment,
    /// Arrivals that have come in.
    come: usize,
    jobs: BTreeMap<JobId, Living>,
    ends: BTreeSet<(Moment, JobId)>,
    lates: BTreeSet<(Moment, JobId)>,
    waiting: u64,
    wants_plan: bool,
    /// Compute that is kept for jobs, in thousandths of a card.
    kept_milli: u64,
}

impl<'a> Pool<'a> {
    fn new(demand: &'a Demand, arrivals: &'a [Arrival], tally: &'a mut Tally) -> Self {
        Self {
            demand,
            arrivals,
            tally,
            state: State::default(),
            now: Moment(0),
            come: 0,
            jobs: BTreeMap::new(),
            ends: BTreeSet::new(),
            lates: BTreeSet::new(),
            waiting: 0,
            wants_plan: false,
            kept_milli: 0,
        }
    }

    fn set_up(&mut self, cards: &[Card]) {
        for tenant in self.demand.tenants() {
            self.tell(Event::TenantSet { tenant, quota: Quota::default() });
        }
        for cards in cards.chunk_by(|a, b| a.node == b.node) {
            let node = cards[0].node.clone();
            self.tell(Event::CardsReported { node, cards: cards.to_vec() });
        }
    }

    fn run(&mut self, until: Until) {
        let end = self.demand.end();
        while let Some(moment) = self.next_moment().filter(|&moment| moment <= end) {
            self.advance(moment);
            if until == Until::Decided && self.tally.is_missed() {
                return;
            }
            self.end_jobs();
            self.take_in();
            if self.state.next_wake() <= moment {
                self.tell(Event::Ticked);
            }
            self.settle();
            if self.waiting > QUEUE_MAX {
                self.tally.is_overrun = true;
                return self.close();
            }
        }
        self.advance(end);
        self.close();
    }

    /// When something happens next.
    fn next_moment(&self) -> Option<Moment> {
        let arrival = self.arrivals.get(self.come).map(|arrival| arrival.at);
        let end = self.ends.first().map(|&(end, _)| end);
        let wake = Some(self.state.next_wake()).filter(|&wake| wake > self.now);
        [arrival, end, wake].into_iter().flatten().min()
    }

    /// Lets time go by in which nothing is decided.
    fn advance(&mut self, to: Moment) {
        let counted = |moment: Moment| {
            let (from, until) = (self.demand.warm_up().to_ms(), self.demand.horizon.to_ms());
            moment.0.clamp(from, until)
        };
        let ms = counted(to) - counted(self.now);
        self.tally.kept += u128::from(self.kept_milli) * u128::from(ms);
        self.now = to;
        while let Some(&(late, id)) = self.lates.first()
            && late <= to
        {
            self.lates.pop_first();
            let job = self.jobs.get_mut(&id).expect("only living jobs wait");
            if let Phase::Waits { since, .. } = job.phase {
                job.phase = Phase::Waits { since, late: None };
            }
            self.tally.add_late(self.arrivals[job.arrival].stream);
        }
    }

    fn end_jobs(&mut self) {
        while let Some(&(end, id)) = self.ends.first()
            && end <= self.now
        {
            self.ends.pop_first();
            let job = self.state.job(id).expect("what is to end has not ended");
            for run in job.runs() {
                self.tell(Event::Exited { run, exit: Exit::Code(0), peak: None });
            }
        }
    }

    fn take_in(&mut self) {
        while let Some(arrival) = self.arrivals.get(self.come)
            && arrival.at <= self.now
        {
            let id = self.state.next_job();
            let phase = self.waits(self.come, 0);
            let left_ms = arrival.runs_ms;
            let job = Living { arrival: self.come, left_ms, waited_ms: 0, phase };
            self.enqueue(id, job);
            self.come += 1;
            let terms = &self.demand.streams[arrival.stream].terms;
            // A simulated program neither rests nor knows the time of day.
            let terms = JobTerms { deadline: None, idle: None, ..terms.clone() };
            self.tell(Event::JobSubmitted { job: id, terms });
        }
    }

    /// The phase of a job that begins to wait after it has waited so long already.
    fn waits(&self, arrival: usize, waited_ms: u64) -> Phase {
        let arrival = &self.arrivals[arrival];
        let left = self.demand.wait_max_ms(arrival).checked_sub(waited_ms);
        let counts = self.demand.counts(arrival);
        let late = left.filter(|_| counts).map(|left| self.now.after_ms(left).after_ms(1));
        Phase::Waits { since: self.now, late }
    }

    fn enqueue(&mut self, id: JobId, job: Living) {
        if let Phase::Waits { late: Some(late), .. } = job.phase {
            self.lates.insert((late, id));
        }
        self.jobs.insert(id, job);
        self.waiting += 1;
    }

    /// Plans until nothing is left to do at this moment.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if !std::mem::take(&mut self.wants_plan) || self.waiting == 0 {
                break;
            }
            let plan = self.proposal();
            self.tell(Event::Planned(plan));
        }
        self.kept_milli = self.state.held().values().map(|held| held.compute_milli).sum();
    }

    /// What the production planner proposes.
    fn proposal(&self) -> Plan {
        // A pool without a history chooses cards as this does, whatever its policy.
        plan(&self.state, self.now, &mut Placing::default())
    }

    /// Tells the pool what happened, and what its machines answer to what they are told then.
    fn tell(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let effects = step(&mut self.state, self.now, event)
                .expect("tenants are set up first, and far fewer jobs wait than may");
            self.wants_plan |= effects.wants_plan;
            effects.news.iter().for_each(|news| self.hear(news));
            events.extend(effects.commands.into_iter().filter_map(answer));
        }
    }

    fn hear(&mut self, news: &News) {
        match news {
            News::JobStarted(id) => self.on_started(*id),
            News::JobRequeued(id, _) => self.on_requeued(*id),
            News::JobEnded(id, _) => self.on_ended(*id),
            News::JobSubmitted(_)
            | News::JobPlaced(_)
            | News::JobStopping(..)
            | News::JobResized(..)
            | News::JobIdle(_)
            | News::CardJoined(_)
            | News::CardLost(_)
            | News::CardFailing(_)
            | News::CardWell(_)
            | News::DrainSet(..)
            | News::TenantSet(_) => {}
        }
    }

    fn on_started(&mut self, id: JobId) {
        let job = self.jobs.get_mut(&id).expect("what starts has come in");
        let Phase::Waits { since, late } = job.phase else { return };
        late.map(|late| self.lates.remove(&(late, id)));
        job.waited_ms += self.now - since;
        let end = job.left_ms.map(|left| self.now.after_ms(left));
        job.phase = Phase::Runs { since: self.now, end };
        self.ends.extend(end.map(|end| (end, id)));
        self.waiting -= 1;
    }

    /// It was pushed aside: it goes on later where it stopped.
    fn on_requeued(&mut self, id: JobId) {
        let mut job = self.jobs.remove(&id).expect("what is pushed aside has not ended");
        if let Phase::Runs { since, end } = job.phase {
            end.map(|end| self.ends.remove(&(end, id)));
            let ran = self.now - since;
            job.left_ms = job.left_ms.map(|left| left.saturating_sub(ran).max(1));
        }
        job.phase = self.waits(job.arrival, job.waited_ms);
        self.enqueue(id, job);
    }

    fn on_ended(&mut self, id: JobId) {
        let job = self.jobs.remove(&id).expect("what ends has come in");
        if let Phase::Runs { end: Some(end), .. } = job.phase {
            self.ends.remove(&(end, id));
        }
        self.count(&job);
    }

    /// Counts those that have not ended.
    fn close(&mut self) {
        for job in std::mem::take(&mut self.jobs).into_values() {
            self.count(&job);
        }
    }

    fn count(&mut self, job: &Living) {
        let arrival = &self.arrivals[job.arrival];
        if !self.demand.counts(arrival) {
            return;
        }
        let waits = &mut self.tally.waits[arrival.stream];
        match job.phase {
            Phase::Waits { since, .. } => {
                waits.waiting += 1;
                waits.add(job.waited_ms + (self.now - since));
            }
            Phase::Runs { .. } => waits.add(job.waited_ms),
        }
    }
}

/// What a machine says to what it is told: it starts and ends everything at once.
fn answer(command: Command) -> Option<Event> {
    match command {
        Command::Start { run, .. } => Some(Event::Started { run }),
        Command::Stop { run, signal: _, grace: _ } => {
            const SIGTERM: i32 = 15;
            Some(Event::Exited { run, exit: Exit::Signal(SIGTERM), peak: None })
        }
        Command::Kill { .. } | Command::SetLimits { .. } | Command::GiveNotice { .. } => None,
    }
}
