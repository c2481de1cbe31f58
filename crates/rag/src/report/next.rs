//! How to go on: commands that work on this run as they stand.

use crate::report::html::Html;
use crate::report::model::{RunReport, TenantReport};

/// Tenants whose search command is spelled out.
const TENANTS_MAX: usize = 8;

/// Longest query that is offered to be asked again.
const QUERY_CHARS_MAX: usize = 80;

pub(super) fn draw(html: &mut Html, report: &RunReport) {
    let Some(first) = report.tenants.first() else { return };
    let run = shell_word(&report.run);
    let of = |tenant: &TenantReport| format!("--run {run} --tenant {}", shell_word(&tenant.name));
    html.element("section", &[], |html| {
        html.word("h2", &[], "How to go on");
        let shown = report.tenants.iter().take(TENANTS_MAX);
        let searches = shown.map(|tenant| {
            format!("cotenant search {} {}", of(tenant), shell_word(question(tenant)))
        });
        let searches = searches.collect::<Vec<_>>().join("\n");
        draw_command(html, "Ask a tenant’s documents through its adapter:", &searches);
        let eval = format!("cotenant eval {}", of(first));
        draw_command(html, "Measure an adapter again:", &eval);
        let export = format!("cotenant export {}", of(first));
        draw_command(html, "Take an adapter along, for peft or sentence-transformers:", &export);
    });
}

fn draw_command(html: &mut Html, what: &'static str, command: &str) {
    html.word("p", &[], what);
    // A wide line scrolls in its box, which a keyboard must be able to reach.
    let attributes = [("tabindex", "0"), ("role", "region"), ("aria-label", what)];
    html.element("pre", &attributes, |pre| pre.word("code", &[], command));
}

/// A query that the tenant's documents can answer.
fn question(tenant: &TenantReport) -> &str {
    let is_short = |query: &&str| {
        !query.is_empty()
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
