//! Everything that can happen to the pool, and everything that it can do about it.

use std::fmt;

use cotenant_types::{
    Ask, Card, CardId, Generation, JobId, JobTerms, Load, Mebibytes, MemberSlices, Moment,
    NodeName, Quota, Seconds, Signal, Slice, TenantName,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::plan::Plan;

/// Something that happened. Past tense: nobody can say no to it but by a [`Refusal`], which changes
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A tenant was added, or its quota changed.
    TenantSet {
        /// Which.
        tenant: TenantName,
        /// What it may have from now on.
        quota: Quota,
    },
    /// A job was submitted.
    JobSubmitted {
        /// Its number: the one that [`State::next_job`](crate::State::next_job) gives.
        job: JobId,
        /// When and where it is to run.
        terms: JobTerms,
    },
    /// Somebody wants a job to end.
    CancelRequested {
        /// Which.
        job: JobId,
    },
    /// Somebody wants a job to have other amounts.
    ResizeRequested {
        /// Which.
        job: JobId,
        /// What it is to have.
        ask: Ask,
    },
    /// A machine said which cards it has; those that it had and does not name are lost.
    CardsReported {
        /// The machine.
        node: NodeName,
        /// Its cards.
        cards: Vec<Card>,
    },
    /// A machine said on which of its cards nothing new should start; its others are well.
    FailingReported {
        /// The machine.
        node: NodeName,
        /// Those cards.
        cards: Vec<CardId>,
    },
    /// An operator wants no new jobs on a machine, or wants them again.
    DrainSet {
        /// The machine.
        node: NodeName,
        /// Whether new jobs stay away from it.
        is_draining: bool,
    },
    /// A machine runs its part of a job.
    Started {
        /// Which job.
        run: Run,
    },
    /// A machine could not start its part of a job, and runs nothing of it.
    StartFailed {
        /// Which job.
        run: Run,
        /// Why.
        why: StartFailure,
    },
    /// A machine's part of a job ended; nothing of it runs there any more.
    Exited {
        /// Which job.
        run: Run,
        /// How.
        exit: Exit,
        /// The most memory of a card that a member had, if anybody measured it.
        peak: Option<Mebibytes>,
    },
    /// A machine said what it runs, whole.
    RunsReported {
        /// The machine.
        node: NodeName,
        /// Which jobs, and which start of each.
        runs: Vec<(JobId, Generation)>,
    },
    /// A machine no longer answers.
    NodeLost {
        /// The machine.
        node: NodeName,
    },
    /// A job did some work.
    JobBusy {
        /// Which.
        job: JobId,
    },
    /// An online job said how it fares, or was seen to fare so.
    LoadReported {
        /// Which.
        job: JobId,
        /// How.
        load: Load,
    },
    /// The planner proposed something.
    Planned(Plan),
    /// Time went by.
    Ticked,
}

/// A machine's part of one start of a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Run {
    /// The job.
    pub job: JobId,
    /// Which start of it.
    pub generation: Generation,
    /// The machine.
    pub node: NodeName,
}

/// Why a machine could not start its part of a job, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFailure {
    /// The program cannot be started there: it counts as an attempt.
    Broken(String),
    /// A card could not be made ready now, as when its partitions are in use: it is not the job's
    /// fault, and it waits for another turn.
    Busy(String),
}

/// How a machine's part of a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// Its program returned.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It reached its memory limit.
    OutOfMemory,
    /// Nobody knows: it was gone.
    Lost,
}

/// Something to do. Whoever does it makes no choices and may do it twice; it is void once the job
/// has another generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Start a machine's part of a job, unless it runs or ran already: then say so again.
    Start {
        /// What to start.
        run: Run,
        /// The number of the first member here.
        first_member: u32,
        /// Members here, in order.
        members: Vec<MemberSlices>,
        /// Members in all.
        members_all: u32,
    },
    /// Tell a machine's part of a job to end, and kill it if it does not.
    Stop {
        /// What to stop.
        run: Run,
        /// What to send it.
        signal: Signal,
        /// How long it then has.
        grace: Seconds,
    },
    /// Kill a machine's part of a job, which nobody wants any more.
    Kill {
        /// What to kill.
        run: Run,
    },
    /// Hold a machine's part of a job to other limits.
    SetLimits {
        /// What to hold.
        run: Run,
        /// Its slices, with the limits that hold from now on.
        members: Vec<MemberSlices>,
    },
    /// Tell a job that its slice will be taken back because it does nothing.
    GiveNotice {
        /// Which.
        run: Run,
        /// When.
        at: Moment,
    },
}

/// How a job's life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Its program returned 0.
    Succeeded,
    /// Its program failed, and no attempt is left.
    Failed,
    /// Somebody ended it.
    Cancelled,
    /// It ran longer than it may.
    TimedOut,
    /// It reached its memory limit, and no attempt is left.
    OutOfMemory,
    /// Its deadline went by.
    Missed,
    /// It did nothing, and its slice was taken back.
    Reclaimed,
    /// Its machine was gone, and no attempt is left.
    Lost,
}

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum News {
    /// A job came in.
    JobSubmitted(JobId),
    /// A job got its slices.
    JobPlaced(JobId),
    /// A job runs.
    JobStarted(JobId),
    /// A job waits again.
    JobRequeued(JobId, String),
    /// A job was told to end.
    JobStopping(JobId, String),
    /// A job has other amounts, or other limits for a while.
    JobResized(JobId, String),
    /// A job was told that it is idle.
    JobIdle(JobId),
    /// A job's life ended.
    JobEnded(JobId, Outcome),
    /// A card came, or came back.
    CardJoined(CardId),
    /// A card is gone.
    CardLost(CardId),
    /// Nothing new starts on a card.
    CardFailing(CardId),
    /// A card that was failing is well.
    CardWell(CardId),
    /// New jobs stay away from a machine, or may come again.
    DrainSet(NodeName, bool),
    /// A tenant may have something else.
    TenantSet(TenantName),
}

/// Why an event was refused. Nothing has changed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody set up the tenant.
    #[error("there is no tenant {0}")]
    UnknownTenant(TenantName),
    /// A tenant would be its own parent, or too many levels deep.
    #[error("{tenant} cannot live on the share of {parent}: {why}")]
    BadParent {
        /// The tenant.
        tenant: TenantName,
        /// The parent that it was to get.
        parent: TenantName,
        /// What is wrong with that.
        why: &'static str,
    },
    /// There is no such job, or it has ended.
    #[error("there is no job {0} that could still change")]
    UnknownJob(JobId),
    /// Too many wait already.
    #[error("{0} jobs wait already, which is the most that this pool keeps")]
    QueueFull(usize),
    /// A job cannot have what it is to have.
    #[error("job {job} cannot be resized: {why}")]
    NoResize {
        /// The job.
        job: JobId,
        /// Why not.
        why: String,
    },
    /// The pool never had a card of such a machine.
    #[error("there is no machine {0}")]
    UnknownNode(NodeName),
    /// Nobody can tell whether the job suffers.
    #[error("job {0} has no watermark; submit it with one")]
    NoWatermark(JobId),
}

/// What a slice of a job is limited to for a while.
pub(crate) fn squeezed(slice: &Slice) -> Slice {
    let mut squeezed = slice.clone();
    squeezed.compute.limit = slice.compute.request;
    squeezed
}

impl Outcome {
    /// Its name in files, on the command line and over HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
            Outcome::TimedOut => "timed-out",
            Outcome::OutOfMemory => "out-of-memory",
            Outcome::Missed => "missed",
            Outcome::Reclaimed => "reclaimed",
            Outcome::Lost => "lost",
        }
    }
}

impl StartFailure {
    /// Why, in words.
    pub fn words(&self) -> &str {
        match self {
            StartFailure::Broken(why) | StartFailure::Busy(why) => why,
        }
    }
}

impl Exit {
    /// How grave it is: the gravest exit of a job's members is the job's.
    pub fn gravity(&self) -> u8 {
        match self {
            Exit::Code(0) => 0,
            Exit::Lost => 1,
            Exit::Code(_) => 2,
            Exit::Signal(_) => 3,
            Exit::OutOfMemory => 4,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "returned {code}"),
            Exit::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Exit::OutOfMemory => f.write_str("reached its memory limit"),
            Exit::Lost => f.write_str("was gone"),
        }
    }
}
