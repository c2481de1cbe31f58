//! How to go on: commands that work on this run as they stand.

use crate::report::html::Html;
use crate::report::model::{RunReport, TenantReport};

/// Tenants whose search command is spelled out.
const TENANTS_MAX: usize = 8;

/// Longest query that is offered to be asked again.
const QUERY_CHARS_MAX: usize = 80;

const EVAL: &str =
    "Measure an adapter on other data: a BEIR folder, a JSONL file or a folder of pages:";

const MERGED: &str = "--format sentence-transformers";

pub(super) fn draw(html: &mut Html, report: &RunReport) {
    if report.tenants.is_empty() {
        return;
    }
    let run = shell_word(&report.run);
    let of = |tenant: &TenantReport| format!("--run {run} --tenant {}", shell_word(&tenant.name));
    html.element("section", &[], |html| {
        html.word("h2", &[], "How to go on");
        let shown = report.tenants.iter().take(TENANTS_MAX);
        let searches = shown.map(|tenant| {
            format!("cotenant search {} {}", of(tenant), shell_word(question(tenant)))
        });
        let searches = searches.collect::<Vec<_>>().join("\n");
        draw_command(html, "Ask a tenant’s documents:", &searches);
        let trained = report.trained().next();
        let Some((first, adapter)) = trained.and_then(|t| Some((t, t.adapter.as_ref()?))) else {
            return;
        };
        let (base, adapter) = (shell_word(&report.base), shell_word(&adapter.folder));
        let eval = format!("cotenant eval --base {base} --adapter {adapter} DATA");
        draw_command(html, EVAL, &eval);
        let export = format!("cotenant export {}", of(first));
        let export = format!("{export} --format peft --to adapter\n{export} {MERGED} --to model");
        draw_command(html, "Take an adapter along, alone or merged into its base:", &export);
    });
}

fn draw_command(html: &mut Html, what: &'static str, command: &str) {
    html.word("p", &[], what);
    // A wide line scrolls in its box, which a keyboard must be able to reach.
    let attributes = [("tabindex", "0"), ("role", "region"), ("aria-label", what)];
    html.element("pre", &attributes, |pre| pre.word("code", &[], command));
}

/// A query that the tenant's documents can answer and that a command line takes as it is.
fn question(tenant: &TenantReport) -> &str {
    let is_short = |query: &&str| {
        !query.is_empty()
            && !query.starts_with('-')
            && query.chars().count() <= QUERY_CHARS_MAX
            && !query.chars().any(char::is_control)
    };
    let queries = tenant.examples.iter().map(|example| example.query.as_str());
    queries.into_iter().find(is_short).unwrap_or("your question")
}

/// A word that a POSIX shell reads as one argument.
fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Example;
    use crate::report::tests::fixture;

    #[test]
    fn questions_are_short_and_no_flags() {
        let check = |queries: &[&str], expected: &str| {
            let mut tenant = fixture::run().tenants.remove(0);
            let example = tenant.examples[0].clone();
            let asked = |query: &&str| Example { query: (*query).to_owned(), ..example.clone() };
            tenant.examples = queries.iter().map(asked).collect();
            assert_eq!(question(&tenant), expected, "{queries:?}");
        };
        check(&["how", "why"], "how");
        check(&["", "--json", "a\nb", &"x".repeat(81), "why"], "why");
        check(&[], "your question");
    }

    #[test]
    fn words_stay_one_argument() {
        let check = |word: &str, expected: &str| assert_eq!(shell_word(word), expected);
        check("runs/2026-11-21", "runs/2026-11-21");
        check("", "''");
        check("two words", "'two words'");
        check("it's", r"'it'\''s'");
        check("$(rm -rf /); `x`", "'$(rm -rf /); `x`'");
        check("日本", "'日本'");
    }
}
