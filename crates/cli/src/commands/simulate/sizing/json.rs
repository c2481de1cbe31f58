//! How many cards jobs need, as a program reads it.

use cotenant_sched::sizing::{Findings, Waits};
use cotenant_types::Class;
use serde_json::{Value, json};

use super::{Answer, Sized};

/// The whole of it.
pub(super) fn of(sized: &Sized<'_>) -> Value {
    let pools = sized
        .answers()
        .into_iter()
        .flat_map(|answer| answer.pools.iter().map(move |it| pool(sized, answer, it)));
    let Sized { arguments, demand, card, .. } = sized;
    json!({
        "card": { "model": card.model, "memory_mib": card.memory, "per_node": sized.per_node },
        "seeds": demand.seeds,
        "hours": arguments.hours,
        "warm_up_s": demand.warm_up(),
        "target": { "offline_s": demand.target.offline, "online_s": demand.target.online },
        "cards": { "shared": sized.shared.cards.ok(), "whole": sized.whole.cards.ok() },
        "cards_saved": sized.saved(),
        "cards_max": arguments.cards_max,
        "price_millionths_per_hour": arguments.price.map(|price| price.millionths()),
        "currency": arguments.currency,
        "pools": pools.collect::<Vec<_>>(),
    })
}

fn pool(sized: &Sized<'_>, answer: &Answer<'_>, (cards, found): &(u32, Findings)) -> Value {
    let class = |class: Class| {
        let mut value = waits(&found.of_class(answer.demand, class));
        value["class"] = json!(class);
        value
    };
    let classes = [Class::Online, Class::Offline].map(class);
    let job = |(job, of_job): (&cotenant_api::SetJob, &Waits)| {
        let mut value = waits(of_job);
        value["name"] = json!(job.job.name);
        value["class"] = json!(job.job.terms.class);
        value
    };
    let jobs = sized.jobs.iter().zip(&found.waits).map(job);
    json!({
        "sharing": answer.sharing.name(),
        "cards": cards,
        "is_enough": found.is_enough,
        "is_overrun": found.is_overrun,
        "kept_per_mille": found.kept_per_mille,
        "month_hundredths": sized.arguments.price.map(|price| price.month_hundredths(*cards)),
        "classes": classes,
        "jobs": jobs.collect::<Vec<_>>(),
    })
}

fn waits(waits: &Waits) -> Value {
    json!({
        "came": waits.count(),
        "mean_wait_ms": waits.mean_ms(),
        "p95_wait_ms": waits.p95_ms(),
        "longest_wait_ms": waits.longest_ms(),
        "still_wait": waits.waiting,
    })
}
