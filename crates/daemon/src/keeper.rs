//! The thread that owns the state: takes in events, commits what they changed, then lets it be
//! done.
//!
//! Whatever waits is taken in together and committed at once, so that many submissions share one
//! sync of the disk. Whoever sent an event is answered only after that.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cotenant_api::JobRequest;
use cotenant_sched::{Command, Effects, Event, Placing, Plan, Refusal, State, plan, step};
use cotenant_types::{JobId, JobTerms, Moment, Seconds, TenantName};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::executor::Errand;
use crate::fail_at::Point;
use crate::live::Live;
use crate::outright::ChangedOutright;
use crate::store::{Change, NewJob, Store, StoreError};
use crate::words;

/// Most messages that are committed together.
const BATCH_MAX: usize = 256;
/// Longest time between two looks at the clock.
const LOOK_MAX: Duration = Duration::from_secs(1);
/// Shortest time between two plans, so that a long queue does not hold up answers.
const PLAN_PAUSE: Duration = Duration::from_millis(20);

/// Longest time for which the expected jobs stay what they were found to be.
const LEARN_EVERY: Seconds = Seconds(5 * 60);
/// Jobs that were submitted longer ago say nothing of those that are expected.
const LEARN_FROM: Seconds = Seconds(14 * 24 * 60 * 60);
/// The newest jobs that are looked at.
const LEARN_FROM_MAX: u32 = 10_000;

/// Something for the loop.
pub(crate) enum Message {
    /// Something happened, and somebody may wait until it is committed.
    Event(Event, Option<Reply<()>>),
    /// Somebody submits a job.
    Submit(Box<Submission>, Reply<JobId>),
    /// A tenant is to have another token, with this hash.
    Token(TenantName, String, Reply<()>),
    /// The daemon ends.
    End,
}

/// A job that somebody submits.
pub(crate) struct Submission {
    pub(crate) name: String,
    pub(crate) terms: JobTerms,
    pub(crate) request: JobRequest,
    pub(crate) key: Option<String>,
}

/// Where the answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, NotDone>>;

/// Why something was not done.
#[derive(Clone, Debug, Error)]
pub(crate) enum NotDone {
    /// It cannot be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be written down.
    #[error("{0}")]
    NotKept(String),
}

/// The loop and what it works with.
pub(crate) struct Keeper {
    pub(crate) state: State,
    pub(crate) store: Store,
    pub(crate) live: Arc<Live>,
    errands: Sender<Errand>,
    pub(crate) wants_plan: bool,
    planned: Instant,
    placing: Placing,
    /// When it was last found out which jobs to expect.
    learned: Option<Moment>,
    /// What machines said and could not be written down: taken in again.
    again: Vec<Event>,
    /// Whether the state is not what is on the disk, which could not be read either.
    is_behind: bool,
}

/// An answer that is given once the batch is committed.
type Answer = Box<dyn FnOnce(Result<(), NotDone>)>;

/// What a batch leads to once it is committed.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    commands: Vec<Command>,
    answers: Vec<Answer>,
    /// What nobody sends again if it is not written down.
    told_once: Vec<Event>,
}

impl Keeper {
    /// A loop that has taken in nothing yet.
    pub(crate) fn new(
        (state, store, placing): (State, Store, Placing),
        live: Arc<Live>,
        errands: Sender<Errand>,
    ) -> Self {
        Self {
            state,
            store,
            live,
            errands,
            wants_plan: true,
            planned: Instant::now(),
            placing,
            learned: None,
            again: Vec::new(),
            is_behind: false,
        }
    }

    /// Takes in messages until the end.
    pub(crate) fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            let first = match inbox.recv_timeout(self.patience()) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let rest = std::iter::from_fn(|| inbox.try_recv().ok());
            let messages: Vec<Message> = first.into_iter().chain(rest).take(BATCH_MAX).collect();
            let is_last = messages.iter().any(|message| matches!(message, Message::End));
            self.take_in(now(), messages);
            if is_last {
                return;
            }
            if self.wants_plan && !self.is_behind && self.planned.elapsed() >= PLAN_PAUSE {
                self.plan(now());
                self.planned = Instant::now();
            }
        }
    }

    /// Takes in messages together, and what time brought about.
    pub(crate) fn take_in(&mut self, now: Moment, messages: Vec<Message>) {
        if self.is_behind && !self.catch_up() {
            return self.put_off(messages);
        }
        let mut batch = Batch::default();
        for event in std::mem::take(&mut self.again) {
            self.take(now, Message::Event(event, None), &mut batch);
        }
        for message in messages {
            self.take(now, message, &mut batch);
        }
        if self.state.next_wake() <= now {
            self.event(now, Event::Ticked, &mut batch).expect("time is never refused");
        }
        self.conclude(now, batch);
    }

    /// Takes the state from the disk again; false if that fails.
    fn catch_up(&mut self) -> bool {
        let loaded = self.store.load();
        self.is_behind = loaded.is_err();
        if let Ok(state) = loaded {
            self.state = state;
        }
        !self.is_behind
    }

    /// Refuses what people want, and keeps what machines say, until the disk can be read again.
    fn put_off(&mut self, messages: Vec<Message>) {
        let why = || NotDone::NotKept("the pool's store cannot be read".to_owned());
        for message in messages {
            match message {
                Message::Event(event, None) => self.again.push(event),
                // Whoever asked may have gone.
                Message::Event(_, Some(reply)) => drop(reply.send(Err(why()))),
                Message::Submit(_, reply) => drop(reply.send(Err(why()))),
                Message::Token(_, _, reply) => drop(reply.send(Err(why()))),
                Message::End => {}
            }
        }
    }

    /// How long to wait for a message.
    fn patience(&self) -> Duration {
        if self.is_behind {
            return LOOK_MAX;
        }
        let wake = Duration::from_millis(self.state.next_wake() - now()).min(LOOK_MAX);
        match self.wants_plan {
            true => wake.min(PLAN_PAUSE.saturating_sub(self.planned.elapsed())),
            false => wake,
        }
    }

    /// Makes a plan and carries it out.
    pub(crate) fn plan(&mut self, now: Moment) {
        self.learn(now);
        let proposed: Plan = plan(&self.state, now, &mut self.placing);
        self.live.set_waits(proposed.waits.clone());
        self.wants_plan = !proposed.is_empty();
        if !proposed.is_empty() {
            let mut batch = Batch::default();
            let taken = self.event(now, Event::Planned(proposed), &mut batch);
            taken.expect("plans are never refused");
            self.conclude(now, batch);
        }
    }

    /// Finds out from time to time which jobs to expect: those like the ones before. If they cannot
    /// be read, what was expected still is, until the next plan.
    fn learn(&mut self, now: Moment) {
        // The clock may have been set back, too.
        let is_fresh = |learned: Moment| learned <= now && now - learned < LEARN_EVERY.to_ms();
        if self.learned.is_some_and(is_fresh) {
            return;
        }
        let since = Moment(now.0.saturating_sub(LEARN_FROM.to_ms()));
        if let Ok(asks) = self.store.asks(since, LEARN_FROM_MAX) {
            self.placing.expect_asks(asks);
            self.learned = Some(now);
        }
    }

    fn take(&mut self, now: Moment, message: Message, batch: &mut Batch) {
        match message {
            Message::Event(event, reply) => {
                if reply.is_none() {
                    batch.told_once.push(event.clone());
                }
                let answer = self.event(now, event, batch);
                reply.into_iter().for_each(|reply| batch.answer(reply, answer.clone()));
            }
            Message::Submit(submission, reply) => {
                let answer = self.submit(now, *submission, batch);
                batch.answer(reply, answer);
            }
            Message::Token(tenant, hash, reply) => {
                let is_known = tenant.as_str() == crate::http::OPERATOR
                    || self.state.tenants().contains_key(&tenant);
                let answer = match is_known {
                    true => {
                        batch.changes.push(Change::Token(tenant.to_string(), hash));
                        Ok(())
                    }
                    false => Err(Refusal::UnknownTenant(tenant).into()),
                };
                batch.answer(reply, answer);
            }
            Message::End => {}
        }
    }

    fn submit(
        &mut self,
        now: Moment,
        submission: Submission,
        batch: &mut Batch,
    ) -> Result<JobId, NotDone> {
        let Submission { name, terms, request, key } = submission;
        if let Some(key) = &key
            && let Some(job) = self.known_key(&terms.tenant, key, batch)?
        {
            return Ok(job);
        }
        let job = self.state.next_job();
        let asks = words::asks(&terms.ask);
        let kind = if request.train.is_some() { "train" } else { "command" };
        // The row comes before all that refers to it.
        let at = batch.changes.len();
        self.event(now, Event::JobSubmitted { job, terms }, batch)?;
        let record = self.state.job(job).expect("it was just taken in").clone();
        let new = NewJob { job: record, name, kind, asks, request, key };
        batch.changes.insert(at, Change::Submitted(Box::new(new)));
        Ok(job)
    }

    /// The job that was submitted with the key, before or in this batch.
    fn known_key(
        &self,
        tenant: &TenantName,
        key: &str,
        batch: &Batch,
    ) -> Result<Option<JobId>, NotDone> {
        let in_batch = batch.changes.iter().find_map(|change| match change {
            Change::Submitted(new)
                if new.key.as_deref() == Some(key) && new.job.terms.tenant == *tenant =>
            {
                Some(new.job.id)
            }
            _ => None,
        });
        match in_batch {
            Some(job) => Ok(Some(job)),
            None => {
                self.store.job_of_key(tenant, key).map_err(|error| NotDone::NotKept(told(&error)))
            }
        }
    }

    fn event(&mut self, now: Moment, event: Event, batch: &mut Batch) -> Result<(), NotDone> {
        let changed = ChangedOutright::of(&event);
        let effects = step(&mut self.state, now, event)?;
        self.wants_plan |= effects.wants_plan;
        batch.changes.extend(changed.changes(&self.state));
        self.keep(effects, batch);
        Ok(())
    }

    fn keep(&self, effects: Effects, batch: &mut Batch) {
        for id in effects.touched {
            let job = self.state.job(id).expect("touched jobs are alive").clone();
            batch.changes.push(Change::Job(Box::new(job)));
        }
        let ended = effects.ended;
        let tenant_of = |news: &cotenant_sched::News| {
            let job = words::job_of(news)?;
            let alive = self.state.job(job);
            let job = alive
                .or_else(|| ended.iter().map(|ended| &ended.job).find(|ended| ended.id == job));
            job.map(|job| job.terms.tenant.clone())
        };
        let lines = effects
            .news
            .iter()
            .map(|news| Change::Line(words::line(news, tenant_of(news).as_ref(), &self.state)));
        let lines: Vec<Change> = lines.collect();
        for ended in ended {
            batch.changes.push(Change::Ended(Box::new(ended.job), ended.outcome));
        }
        batch.changes.extend(lines);
        batch.commands.extend(effects.commands);
    }

    /// Commits a batch, tells who waits, and sends the commands on their way.
    fn conclude(&mut self, now: Moment, batch: Batch) {
        let Batch { changes, commands, answers, told_once } = batch;
        let kept = match changes.is_empty() {
            true => Ok(()),
            false => {
                Point::BeforeCommit.pass();
                self.store.commit(now, &changes)
            }
        };
        if let Err(error) = kept {
            // Nothing of the batch has happened.
            self.again = told_once;
            let why = NotDone::NotKept(told(&error));
            answers.into_iter().for_each(|answer| answer(Err(why.clone())));
            self.catch_up();
            return;
        }
        if !changes.is_empty() {
            Point::AfterCommit.pass();
        }
        let had_answers = !answers.is_empty();
        answers.into_iter().for_each(|answer| answer(Ok(())));
        if had_answers {
            Point::AfterAnswers.pass();
        }
        self.live.seq.send_replace(self.store.last_seq());
        for command in commands {
            let request = match &command {
                Command::Start { run, .. } => self.store.request(run.job).ok().map(Box::new),
                Command::Stop { .. }
                | Command::Kill { .. }
                | Command::SetLimits { .. }
                | Command::GiveNotice { .. } => None,
            };
            // Without its request a start is told again later; without an executor all ends.
            if request.is_some() || !matches!(command, Command::Start { .. }) {
                let _ = self.errands.send(Errand { command, request });
            }
        }
    }
}

impl Batch {
    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, answer: Result<T, NotDone>) {
        match answer {
            Ok(value) => self.answers.push(Box::new(|kept| {
                // Whoever asked may have gone.
                let _ = reply.send(kept.map(|()| value));
            })),
            Err(error) => drop(reply.send(Err(error))),
        }
    }
}

/// An error with its causes, for people.
pub(crate) fn told(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// The clock of the machine.
pub(crate) fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
