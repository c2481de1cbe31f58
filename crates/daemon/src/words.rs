//! What the pool decides, in words for people.

use std::collections::BTreeMap;

use cotenant_api::ReasonView;
use cotenant_sched::{CardLack, Help, ModelLack, News, Phase, Reason, State, in_words};
use cotenant_types::{Ask, CardShare, Class, JobId, Mebibytes, MemoryAsk, Policy, TenantName};

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) kind: &'static str,
    pub(crate) job: Option<JobId>,
    pub(crate) tenant: Option<TenantName>,
    pub(crate) text: String,
}

pub(crate) fn class(class: Class) -> &'static str {
    match class {
        Class::Online => "online",
        Class::Offline => "offline",
    }
}

pub(crate) fn state(phase: &Phase) -> &'static str {
    match phase {
        Phase::Queued { .. } => "queued",
        Phase::Starting { .. } => "starting",
        Phase::Running { .. } => "running",
        Phase::Stopping { .. } => "stopping",
    }
}

/// The job that a piece of news is about.
pub(crate) fn job_of(news: &News) -> Option<JobId> {
    match news {
        News::JobSubmitted(job)
        | News::JobPlaced(job)
        | News::JobStarted(job)
        | News::JobRequeued(job, _)
        | News::JobStopping(job, _)
        | News::JobResized(job, _)
        | News::JobIdle(job)
        | News::JobEnded(job, _) => Some(*job),
        News::CardJoined(_)
        | News::CardLost(_)
        | News::CardFailing(_)
        | News::CardWell(_)
        | News::DrainSet(..)
        | News::TenantSet(_) => None,
    }
}

/// The line of a piece of news; `tenant` is that of the job that it is about.
pub(crate) fn line(news: &News, tenant: Option<&TenantName>, state: &State) -> Line {
    let (kind, job, text) = match news {
        News::JobSubmitted(job) => ("job-submitted", Some(*job), format!("job {job} came in")),
        News::JobPlaced(job) => {
            let cards = state.job(*job).and_then(|job| job.placement()).map(|placement| {
                let cards: Vec<&str> =
                    placement.slices().map(|slice| slice.card.as_str()).collect();
                cards.join(", ")
            });
            let cards = cards.unwrap_or_default();
            ("job-placed", Some(*job), format!("job {job} got its slices of {cards}"))
        }
        News::JobStarted(job) => ("job-started", Some(*job), format!("job {job} runs")),
        News::JobRequeued(job, why) => {
            ("job-requeued", Some(*job), format!("job {job} waits again: {why}"))
        }
        News::JobStopping(job, why) => {
            ("job-stopping", Some(*job), format!("job {job} was told to end: {why}"))
        }
        News::JobResized(job, why) => {
            ("job-resized", Some(*job), format!("job {job} has other limits: {why}"))
        }
        News::JobIdle(job) => {
            ("job-idle", Some(*job), format!("job {job} does nothing and was given notice"))
        }
        News::JobEnded(job, outcome) => {
            ("job-ended", Some(*job), format!("job {job} ended: {}", outcome.name()))
        }
        News::CardJoined(card) => ("card-joined", None, format!("card {card} joined the pool")),
        News::CardLost(card) => ("card-lost", None, format!("card {card} is gone")),
        News::CardFailing(card) => {
            ("card-failing", None, format!("card {card} fails: new jobs stay away from it"))
        }
        News::CardWell(card) => {
            ("card-well", None, format!("card {card} is well again and takes new jobs"))
        }
        News::DrainSet(node, true) => {
            ("node-draining", None, format!("new jobs stay away from machine {node}"))
        }
        News::DrainSet(node, false) => {
            ("node-resumed", None, format!("machine {node} takes new jobs again"))
        }
        News::TenantSet(name) => {
            let text = format!("tenant {name} has a new quota");
            return Line { kind: "tenant-set", job: None, tenant: Some(name.clone()), text };
        }
    };
    Line { kind, job, tenant: tenant.cloned(), text }
}

/// What a job asks for: `2 cards, 6144MiB and 30% of each`.
pub(crate) fn asks(ask: &Ask) -> String {
    let cards = count(ask.cards, "card");
    let each = if ask.cards == 1 { "" } else { " of each" };
    let share = match &ask.share {
        CardShare::Whole => format!("{cards}, whole"),
        CardShare::Part { memory, compute } => {
            let amount = |ask: &MemoryAsk| match ask {
                MemoryAsk::Mib(amount) => amount.to_string(),
                MemoryAsk::Part(share) => format!("{share} of its memory"),
            };
            let range = |request: String, limit: String| match request == limit {
                true => request,
                false => format!("{request} to {limit}"),
            };
            let memory = range(amount(&memory.request), amount(&memory.limit));
            let compute = range(compute.request.to_string(), compute.limit.to_string());
            format!("{cards}, {memory} and {compute}{each}")
        }
    };
    let members = match ask.members {
        1 => String::new(),
        members => format!("{members} members with "),
    };
    let policy = match ask.policy {
        Policy::Fixed => "",
        Policy::Burst => ", burst",
        Policy::Contend => ", contend",
    };
    format!("{members}{share}{policy}")
}

/// A reason with its figures, its words, and what would help.
pub(crate) fn reason(reason: &Reason) -> ReasonView {
    let figures = serde_json::to_value(reason).unwrap_or_default();
    let inner = figures.as_object().and_then(|object| object.values().next()).cloned();
    let facts: BTreeMap<String, serde_json::Value> = match inner {
        Some(serde_json::Value::Object(facts)) => facts.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    let view = |message: String, help: &[&str]| ReasonView {
        code: reason.code().to_owned(),
        message,
        help: help.iter().map(|&help| help.to_owned()).collect(),
        facts: facts.clone(),
    };
    match reason {
        Reason::NoCards => view(
            "the pool has no card".to_owned(),
            &["start the daemon with --cards auto, or --cards sim:8xH100 to try things out"],
        ),
        Reason::Cards { members_placed, members, cards, lacks, help } => {
            let needs = match members {
                1 => format!("{} on one node", count(*cards, "card")),
                _ => format!(
                    "{members} members of {} each, and {members_placed} have room",
                    count(*cards, "card")
                ),
            };
            let lacks: Vec<String> = lacks.iter().map(lack).collect();
            let message = format!("it needs {needs}: {}", lacks.join("; "));
            view(message, &help.iter().map(help_words).collect::<Vec<_>>())
        }
        Reason::Quota { tenant, held, wanted, limit } => {
            let words = |amount: &cotenant_types::Amount| match amount.memory {
                Mebibytes(u64::MAX) => format!("{} cards", amount.compute_milli / 1000),
                memory => in_words(amount.compute_milli, memory),
            };
            let message = format!(
                "tenant {tenant} holds {} and would hold {} more, beyond its limit of {}",
                words(held),
                words(wanted),
                words(limit)
            );
            view(message, &["wait for the tenant's other jobs, or raise its limit"])
        }
        Reason::Reserved { job, at } => {
            let when = match at.0 {
                u64::MAX => "as soon as the others end".to_owned(),
                _ => format!("at {} at the latest", at.to_utc()),
            };
            let message =
                format!("there is room, but it is kept for job {job}, which starts {when}");
            view(message, &["give the job a time limit: one that ends before that may start now"])
        }
        Reason::MakingRoom { victims } => {
            let victims: Vec<String> = victims.iter().map(JobId::to_string).collect();
            let message = format!("others make room for it: job {}", victims.join(", "));
            view(message, &[])
        }
        Reason::Backoff { until } => {
            let message =
                format!("its last start came to nothing; the next is due at {}", until.to_utc());
            view(message, &["what happened then is in its life: cotenant job show"])
        }
    }
}

fn lack(lack: &ModelLack) -> String {
    let cards = match lack.model.is_empty() {
        true => count(lack.cards, "card"),
        false => format!("{} {}", count(lack.cards, "card"), lack.model),
    };
    let what = match lack.lack {
        CardLack::Unusable => "out of use",
        CardLack::Model => "not of a model that it takes",
        CardLack::Enforcement => "without enforcement as strong as it wants",
        CardLack::Size => "too small even when idle",
        CardLack::Whole => "held whole by another job",
        CardLack::Shared => "shared by others, and it wants a card whole",
        CardLack::Memory => "with too little free memory",
        CardLack::Compute => "with too little free compute",
        CardLack::Partition => "without a free partition that fits",
        CardLack::Together => "with room, but too few of them near each other",
    };
    format!("{cards} {what}")
}

fn help_words(help: &Help) -> &'static str {
    match help {
        Help::OthersEnd => {
            "it fits once others end; a higher priority puts it before those waiting"
        }
        Help::CardsReturn => {
            "it fits once lost and failing cards are back and no machine is drained"
        }
        Help::AskLess => "no pool of these cards can ever hold it: ask for less, or add cards",
    }
}

fn count(number: u32, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}
