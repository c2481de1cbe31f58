//! How many cards jobs need, as a person reads it: the sum first, then each pool, then each job.

use cotenant_sched::sizing::{Findings, QUEUE_MAX, Waits};
use cotenant_types::Class;

use super::{Answer, Sharing, Sized};
use crate::commands::advise;
use crate::table::{Side, table_of};
use crate::words::{count, duration, memory, percent};

/// The whole of it.
pub(super) fn of(sized: &Sized<'_>) -> String {
    [sum(sized), pools(sized), jobs(sized)].join("\n\n")
}

/// How many cards, and what was asked, in a few sentences.
fn sum(sized: &Sized<'_>) -> String {
    let are = |cards: u32| match cards {
        1 => "1 card is".to_owned(),
        _ => format!("{cards} cards are"),
    };
    let enough = match (sized.shared.cards, sized.whole.cards) {
        (Ok(shared), Ok(whole)) if shared < whole => format!(
            "{} enough; without sharing {whole}, so that sharing saves {}{}",
            are(shared),
            whole - shared,
            sized.arguments.price.map_or(String::new(), |price| {
                let saved = money(price.month_hundredths(whole - shared));
                format!(", or {} a month", with_currency(sized, saved))
            })
        ),
        (Ok(shared), Ok(whole)) if shared == whole => {
            format!("{} enough, with sharing and without", are(shared))
        }
        (Ok(shared), Ok(whole)) => {
            format!("{} enough; without sharing {whole} would be", are(shared))
        }
        (Ok(shared), Err(most)) => {
            format!("{} enough; without sharing more than {most} would be needed", are(shared))
        }
        (Err(most), Ok(whole)) => {
            format!("more than {most} would be needed with sharing; without {} enough", are(whole))
        }
        (Err(most), Err(_)) => format!("more than {} would be needed", count(most.into(), "card")),
    };
    let demand = sized.demand;
    let target = demand.target;
    let goal = format!(
        "of the jobs of each kind, 95 of 100 start within {}, online ones within {}; of those that \
         run for ever, all",
        target.offline, target.online
    );
    let times = match demand.seeds.len() {
        1 => "once".to_owned(),
        many => format!("{many} times over"),
    };
    let (horizon, warm_up) = (demand.horizon, demand.warm_up());
    let counted = format!("in the first {warm_up} only jobs that come once are counted");
    let per_node = sized.per_node;
    let card = format!("{} with {}", sized.card.model, memory(sized.card.memory.0));
    format!(
        "{enough}.\nThe goal: {goal}.\nSimulated: {horizon}, {times}; {counted}.\nThe cards: {card}, \
         {per_node} in a node."
    )
}

/// Each pool that was looked at closely.
fn pools(sized: &Sized<'_>) -> String {
    let classes: Vec<Class> = [Class::Online, Class::Offline]
        .into_iter()
        .filter(|class| sized.jobs.iter().any(|job| job.job.terms.class == *class))
        .collect();
    let mut columns: Vec<(String, Side)> = vec![
        ("the pool".to_owned(), Side::Left),
        ("cards".to_owned(), Side::Right),
        ("enough".to_owned(), Side::Left),
        ("compute kept".to_owned(), Side::Right),
    ];
    for &class in &classes {
        let name = advise::class(class);
        columns.push((format!("{name} wait: mean"), Side::Right));
        columns.push(("95 of 100".to_owned(), Side::Right));
    }
    if sized.arguments.price.is_some() {
        columns
            .push((format!("{} a month", with_currency(sized, String::new()).trim()), Side::Right));
    }
    let row = |answer: &Answer<'_>, (cards, found): &(u32, Findings)| {
        let name = match answer.sharing {
            Sharing::Shared => "shared as asked for",
            Sharing::Whole => "not shared",
        };
        let mut row = vec![name.to_owned(), cards.to_string(), enough(found), kept(found)];
        for &class in &classes {
            let waits = found.of_class(answer.demand, class);
            row.push(time(waits.mean_ms()));
            row.push(time(waits.p95_ms()));
        }
        row.extend(sized.arguments.price.map(|price| money(price.month_hundredths(*cards))));
        row
    };
    let rows = sized
        .answers()
        .into_iter()
        .flat_map(|answer| answer.pools.iter().map(|pool| row(answer, pool)).collect::<Vec<_>>());
    let columns: Vec<(&str, Side)> =
        columns.iter().map(|(name, to)| (name.as_str(), *to)).collect();
    table_of(&columns, &rows.collect::<Vec<_>>())
}

fn enough(found: &Findings) -> String {
    match (found.is_enough, found.is_overrun) {
        (true, _) => "yes".to_owned(),
        (false, false) => "no".to_owned(),
        (false, true) => format!("no: more than {QUEUE_MAX} waited"),
    }
}

fn kept(found: &Findings) -> String {
    match found.is_overrun {
        true => "–".to_owned(),
        false => percent(found.kept_per_mille),
    }
}

/// How long the jobs of each kind wait in the smallest pool, with sharing and without.
fn jobs(sized: &Sized<'_>) -> String {
    let mut columns = vec![("job", Side::Left), ("class", Side::Left), ("came", Side::Right)];
    for first in ["shared: mean", "not shared: mean"] {
        columns.extend([
            (first, Side::Right),
            ("95 of 100", Side::Right),
            ("longest", Side::Right),
        ]);
    }
    let rows = sized.jobs.iter().enumerate().map(|(number, job)| {
        let name = job.job.name.clone();
        let mut row = vec![name, advise::class(job.job.terms.class).to_owned()];
        let found =
            |answer: &Answer<'_>| answer.pools.last().map(|(_, it)| it.waits[number].clone());
        let waits = [&sized.shared, &sized.whole].map(|side| found(side).unwrap_or_default());
        row.push(waits[0].count().to_string());
        for waits in waits {
            row.extend([time(waits.mean_ms()), time(waits.p95_ms()), longest(&waits)]);
        }
        row
    });
    table_of(&columns, &rows.collect::<Vec<_>>())
}

/// The longest wait; more, if a job still waited at the end.
fn longest(waits: &Waits) -> String {
    match waits.waiting {
        0 => time(waits.longest_ms()),
        _ => format!("over {}", time(waits.longest_ms())),
    }
}

fn time(ms: Option<u64>) -> String {
    ms.map_or("–".to_owned(), duration)
}

fn money(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn with_currency(sized: &Sized<'_>, amount: String) -> String {
    match &sized.arguments.currency {
        Some(currency) => format!("{amount} {currency}"),
        None => amount,
    }
}
