//! The head of the page: what ran, and in a sentence what came of it.

use crate::report::html::Html;
use crate::report::model::{RunReport, Separate};
use crate::report::number;
use crate::report::quality::Verdict;

pub(super) fn draw(html: &mut Html, report: &RunReport) {
    html.element("h1", &[], |heading| heading.foreign(&report.title));
    html.word("p", &[("class", "lead")], &cost_sentence(report));
    if let Some(sentence) = quality_sentence(report) {
        html.word("p", &[("class", "lead")], &sentence);
    }
    let threads = number::count(report.threads as u64);
    let facts = [
        ("Base model", &report.base),
        ("Precision", &report.precision),
        ("Threads", &threads),
        ("Machine", &report.machine),
        ("Date", &report.date),
    ];
    html.element("dl", &[("class", "facts")], |list| {
        for (name, value) in facts {
            list.element("div", &[], |fact| {
                fact.word("dt", &[], name);
                fact.element("dd", &[], |fact| fact.foreign(value));
            });
        }
    });
}

/// "3 tenants trained together in 93.4 s and 412 MiB; apart they would have needed …"
fn cost_sentence(report: &RunReport) -> String {
    let cost = format!(
        "{} and {}",
        number::time(report.cost.wall_s),
        number::memory(report.cost.peak_rss_mib)
    );
    let (who, pronoun) = match report.trained().count() {
        0 => return "No tenant was trained in this run.".to_owned(),
        1 => return format!("1 tenant trained in {cost}."),
        tenants => (format!("{} tenants", number::count(tenants as u64)), "they"),
    };
    let needs = |separate: &Separate| {
        let memory = number::memory(separate.peak_rss_mib_together);
        format!("{} one after another, or {memory} side by side", number::time(separate.wall_s))
    };
    match &report.apart.measured {
        Some(measured) => format!(
            "{who} trained together in {cost}; as separate processes {pronoun} needed {}, as \
             measured.",
            needs(measured)
        ),
        None => format!(
            "{who} trained together in {cost}; as separate processes {pronoun} would have needed \
             an estimated {}.",
            needs(&report.apart.estimated)
        ),
    }
}

/// "On held-out queries 2 tenants retrieve better than before and 1 within noise of before."
fn quality_sentence(report: &RunReport) -> Option<String> {
    let number_of = |verdict: Verdict| {
        let same = report.tenants.iter().filter(|tenant| Verdict::of(tenant) == verdict);
        same.count() as u64
    };
    let parts: Vec<String> = Verdict::ALL
        .into_iter()
        .map(|verdict| (number_of(verdict), verdict))
        .filter(|(number, _)| *number > 0)
        .map(|(number, verdict)| {
            let tenants = if number == 1 { "tenant" } else { "tenants" };
            format!("{} {tenants} {}", number::count(number), verdict.claim(number))
        })
        .collect();
    let (last, others) = parts.split_last()?;
    Some(match others {
        [] => format!("On held-out queries, {last}."),
        others => format!("On held-out queries, {} and {last}.", others.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::fixture;

    #[test]
    fn a_sentence_sums_up_the_cost() {
        let check = |tenants: usize, is_measured: bool, expected: &str| {
            let mut report = fixture::run();
            report.tenants.truncate(tenants);
            report.apart.measured = report.apart.measured.filter(|_| is_measured);
            assert_eq!(cost_sentence(&report).replace('\u{a0}', " "), expected);
        };
        check(0, false, "No tenant was trained in this run.");
        check(1, false, "1 tenant trained in 93.4 s and 412 MiB.");
        let together = "3 tenants trained together in 93.4 s and 412 MiB; as separate processes \
             they";
        let estimated = "would have needed an estimated 2 min 28 s one after another, or 1.18 GiB \
             side by side.";
        check(3, false, &format!("{together} {estimated}"));
        let measured =
            "needed 2 min 41 s one after another, or 1.18 GiB side by side, as measured.";
        check(3, true, &format!("{together} {measured}"));
    }

    #[test]
    fn a_sentence_sums_up_the_quality() {
        let check = |choice: &[usize], expected: Option<&str>| {
            let run = fixture::run();
            let tenants = choice.iter().map(|place| run.tenants[*place].clone()).collect();
            let report = RunReport { tenants, ..run };
            assert_eq!(quality_sentence(&report).as_deref(), expected);
        };
        check(&[], None);
        check(&[0], Some("On held-out queries, 1 tenant retrieves better than before."));
        check(
            &[0, 0, 1],
            Some(
                "On held-out queries, 2 tenants retrieve better than before and 1 tenant changed \
                 no more than chance would.",
            ),
        );
        check(
            &[2, 1, 0],
            Some(
                "On held-out queries, 1 tenant retrieves better than before, 1 tenant changed no \
                 more than chance would and 1 tenant retrieves worse than before.",
            ),
        );
    }
}
