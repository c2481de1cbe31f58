//! What the scheduler advises, in words.

use cotenant_api::SetJob;
use cotenant_sched::CardLack;
use cotenant_sched::advise::{Faults, Hold, Kept, Latency, LayoutKind, Misfit, Way, Why};
use cotenant_types::{CardShare, Class, MemoryAsk, Policy, Rung};

use crate::words::{count, memory, percent};

/// What a job asks of each card.
pub(super) fn asks(job: &SetJob) -> String {
    let ask = &job.job.terms.ask;
    let each = match &ask.share {
        CardShare::Whole => "whole".to_owned(),
        CardShare::Part { memory: asked, compute } => {
            let memory = match asked.request {
                MemoryAsk::Mib(amount) => memory(amount.0),
                MemoryAsk::Part(share) => format!("{} of memory", percent(share.per_mille())),
            };
            format!("{memory}, {}", percent(compute.request.per_mille()))
        }
    };
    let cards = match ask.cards {
        1 => each,
        cards => format!("{cards} x {each}"),
    };
    match ask.members {
        1 => cards,
        members => format!("{} of {cards}", count(members.into(), "member")),
    }
}

pub(in crate::commands) fn class(class: Class) -> &'static str {
    match class {
        Class::Online => "online",
        Class::Offline => "offline",
    }
}

pub(super) fn way(way: Way) -> &'static str {
    match way {
        Way::Shared(rung) => rung.name(),
        Way::Whole => "whole",
        Way::Nowhere(_) => "nowhere",
    }
}

pub(super) fn why(job: &SetJob, (way, why): (Way, Why)) -> String {
    let words = match why {
        Why::AsksForWhole => "it asks for whole cards",
        Why::LeavesWholeIdle => {
            "it asks for whole cards and is idle most of the time: give it memory and compute, \
             and the rest is free for others"
        }
        Why::Untrusted => "hardware holds it, and nothing less holds code that is not trusted",
        Why::UntrustedAlone => {
            "nothing here but cards of its own keeps code that is not trusted from its neighbours"
        }
        Why::Steady => "a partition of about its size keeps its answers as steady as alone",
        Why::PartitionTooLarge => {
            "a partition would be steadier, but more than a quarter of it would lie idle"
        }
        Why::Held => "its memory and compute are held, and what it leaves idle serves others",
        Why::OnlyPartition => "a partition is all that holds it here",
        Why::MemoryHeld => "its memory is held; its compute is not, and nobody waits for it",
        Why::GoodWill => {
            "nothing holds it here, and nobody waits for it: it must keep to its share"
        }
        Why::NothingHolds => "somebody waits for it, and nothing here holds its neighbours",
        Why::NoRoom => match way {
            Way::Nowhere(lack) => return lacks(job, (None, lack)).to_owned(),
            Way::Shared(_) | Way::Whole => "there is no room",
        },
    };
    words.to_owned()
}

/// What such a card lacks for a job, on a rung if one is meant.
pub(in crate::commands) fn lacks(
    job: &SetJob,
    (rung, lack): (Option<Rung>, CardLack),
) -> &'static str {
    let lends = job.job.terms.ask.policy != Policy::Fixed;
    match lack {
        CardLack::Enforcement if lends && rung == Some(Rung::Mig) => "cannot lend or borrow",
        CardLack::Enforcement => "holds too little",
        CardLack::Size => "too small",
        CardLack::Partition => "no partition fits",
        CardLack::Together => "too few on a node",
        CardLack::Model => "another model",
        CardLack::Unusable => "out of use",
        CardLack::Whole | CardLack::Shared | CardLack::Memory | CardLack::Compute => "too full",
    }
}

/// What a rung keeps for a job, where that is more than it asks for.
pub(super) fn kept(kept: &Kept) -> String {
    let lost = match (kept.memory_lost.0, kept.compute_lost.per_mille()) {
        (0, 0) => None,
        (mib, 0) => Some(memory(mib)),
        (0, compute) => Some(percent(compute)),
        (mib, compute) => Some(format!("{}, {}", memory(mib), percent(compute))),
    };
    match (&kept.partition, lost) {
        (Some(partition), Some(lost)) => format!("{partition}, {lost} lost"),
        (Some(partition), None) => partition.clone(),
        (None, Some(lost)) => format!("{lost} lost"),
        (None, None) => "fits".to_owned(),
    }
}

pub(super) fn hold(hold: Hold) -> &'static str {
    match hold {
        Hold::Hardware => "hardware of its own",
        Hold::Limit => "a limit",
        Hold::Library => "a library in the job",
        Hold::Nothing => "nothing",
    }
}

pub(super) fn faults(faults: Faults) -> &'static str {
    match faults {
        Faults::Contained => "the job",
        Faults::Shared => "its neighbours, too",
    }
}

pub(super) fn latency(latency: Latency) -> &'static str {
    match latency {
        Latency::Steady => "as alone",
        Latency::Stretched => "slower",
        Latency::Turns => "in turns",
    }
}

pub(super) fn layout(kind: LayoutKind) -> &'static str {
    match kind {
        LayoutKind::Whole => "no card shared",
        LayoutKind::Shared => "all shared, as the cards are",
        LayoutKind::Partitioned => "all shared, in MIG mode",
        LayoutKind::Advised => "each job where it should be",
        LayoutKind::Apart => "the same, online jobs apart",
    }
}

/// Why there is no such layout.
pub(super) fn misfit(jobs: &[SetJob], kind: LayoutKind, misfit: &Misfit) -> String {
    match *misfit {
        Misfit::Job { job, lack } => {
            let rung = (kind == LayoutKind::Partitioned).then_some(Rung::Mig);
            format!("{}: {}", jobs[job].job.name, lacks(&jobs[job], (rung, lack)))
        }
        Misfit::Limit { cards_max } => format!("more than {}", count(cards_max.into(), "card")),
    }
}
