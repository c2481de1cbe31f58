//! The advice as a program reads it.

use cotenant_api::SetJob;
use cotenant_sched::advise::{JobAdvice, Layout, Part, RungAdvice, Trust, Way};
use serde_json::{Value, json};

use super::{Advised, words};

/// The whole of it.
pub(super) fn of(advised: &Advised<'_>) -> Value {
    let shape = advised.choice.as_found();
    let card = shape.card();
    let jobs = advised.jobs.iter().zip(&advised.advice.jobs).map(job);
    let layouts = advised.advice.layouts.iter().map(|it| layout(advised.jobs, it));
    json!({
        "card": {
            "model": card.model,
            "memory_mib": card.memory,
            "per_node": shape.cards_per_node(),
            "found": advised.cards.len(),
        },
        "jobs": jobs.collect::<Vec<_>>(),
        "layouts": layouts.collect::<Vec<_>>(),
        "cards_saved": advised.advice.cards_saved(),
        "busy_milli": advised.advice.busy_milli,
    })
}

fn job((job, advice): (&SetJob, &JobAdvice)) -> Value {
    let ask = &job.job.terms.ask;
    let lack = match advice.way {
        Way::Nowhere(lack) => Some(lack),
        Way::Shared(_) | Way::Whole => None,
    };
    json!({
        "name": job.job.name,
        "copies": job.copies,
        "class": job.job.terms.class,
        "trust": if job.trusted { Trust::Trusted } else { Trust::Untrusted },
        "busy_per_mille": job.busy,
        "members": ask.members,
        "cards": ask.cards,
        "share": ask.share,
        "policy": ask.policy,
        "runs": words::way(advice.way),
        "why": advice.why,
        "because": words::why(job, (advice.way, advice.why)),
        "lack": lack,
        "rungs": advice.rungs.iter().map(rung).collect::<Vec<_>>(),
    })
}

fn rung(advice: &RungAdvice) -> Value {
    let mut value = json!({ "rung": advice.rung, "facts": advice.facts });
    match &advice.kept {
        Ok(kept) => {
            value["kept"] = json!({
                "partition": kept.partition,
                "memory_mib": kept.memory,
                "compute_per_mille": kept.compute,
                "memory_lost_mib": kept.memory_lost,
                "compute_lost_per_mille": kept.compute_lost,
            });
        }
        Err(lack) => value["lack"] = json!(lack),
    }
    value
}

fn layout(jobs: &[SetJob], layout: &Layout) -> Value {
    let mut value = json!({ "kind": layout.kind, "cards": layout.cards() });
    match &layout.parts {
        Ok(parts) => {
            value["parts"] = parts.iter().map(|it| part(jobs, it)).collect::<Vec<_>>().into();
        }
        Err(misfit) => value["why"] = words::misfit(jobs, layout.kind, misfit).into(),
    }
    value
}

fn part(jobs: &[SetJob], part: &Part) -> Value {
    let on_cards = part.on_cards().into_iter().map(|(card, on)| {
        let names: Vec<&str> = on.jobs.iter().map(|&job| jobs[job].job.name.as_str()).collect();
        json!({
            "card": card,
            "jobs": names,
            "compute_per_mille": on.kept.compute_milli,
            "memory_mib": on.kept.memory,
        })
    });
    json!({
        "mode": part.mode,
        "class": part.class,
        "cards": part.pool.cards,
        "nodes": part.pool.nodes,
        "on_cards": on_cards.collect::<Vec<_>>(),
    })
}
