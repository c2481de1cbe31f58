//! `cotenant job show` and `cotenant job explain`

use std::process::ExitCode;

use cotenant_api::{EventView, ExplainView, JobState, JobView, MemberView, ReasonView};

use super::state;
use crate::commands::Ended;
use crate::commands::pool::amounts::share;
use crate::commands::pool::link::Pool;
use crate::console::Console;
use crate::words::{duration, memory, moment, now_ms, percent, plain};

/// Shows all that is known of a job.
pub(super) fn show(pool: &Pool, id: u64, console: &Console) -> Ended {
    let view = pool.ask(&format!("show job {id}"), |client| client.job(id))?;
    console.data(&view, || text(&view))?;
    Ok(ExitCode::SUCCESS)
}

/// Says what a job waits for, and what would help.
pub(super) fn explain(pool: &Pool, id: u64, console: &Console) -> Ended {
    let view = pool.ask(&format!("explain job {id}"), |client| client.explain(id))?;
    console.data(&view, || explanation(&view))?;
    Ok(ExitCode::SUCCESS)
}

fn text(view: &JobView) -> String {
    let mut lines = vec![format!("job {}: {}", view.row.id, plain(&view.row.name))];
    let facts = facts(view).into_iter().chain(wishes(view));
    lines.extend(facts.map(|(key, value)| format!("  {key:<12}  {}", plain(&value))));
    if !view.members.is_empty() {
        lines.push("slices".to_owned());
        lines.extend(view.members.iter().zip(0..).flat_map(slices));
    }
    if !view.life.is_empty() {
        lines.push("life".to_owned());
        lines.extend(view.life.iter().map(event));
    }
    lines.join("\n")
}

/// What became of the job so far.
fn facts(view: &JobView) -> Vec<(&'static str, String)> {
    let row = &view.row;
    let now = now_ms();
    let ago = |ms: u64| format!("{}, {} ago", moment(ms), duration(now.saturating_sub(ms)));
    let mut facts = vec![("state", state(row).to_owned())];
    facts.extend(row.waits.clone().map(|waits| ("waits for", waits)));
    facts.extend(view.exit.clone().map(|exit| ("exit", exit)));
    facts.push(("tenant", row.tenant.clone()));
    facts.push(("kind", format!("{}, {}, priority {}", row.kind, row.class, row.priority)));
    facts.push(("asks for", row.asks.clone()));
    facts.extend(view.usage.as_ref().map(|usage| {
        let (compute, memory) = (percent(usage.compute_per_mille), memory(usage.memory_mib));
        ("uses", format!("{compute} of compute, {memory}"))
    }));
    facts.extend(view.peak_memory_mib.map(|mib| ("took", format!("{} at most", memory(mib)))));
    facts.push(("submitted", ago(row.submitted_ms)));
    facts.extend(row.started_ms.map(|ms| ("started", ago(ms))));
    facts.extend(row.ended_ms.map(|ms| ("ended", ago(ms))));
    if let (Some(from), Some(to)) = (row.started_ms, row.ended_ms) {
        facts.push(("ran for", duration(to.saturating_sub(from))));
    }
    facts.push(("starts", format!("{}, {} retries left", view.generation, view.retries_left)));
    facts
}

/// What the job was submitted with, but for amounts, which its ask has in words.
fn wishes(view: &JobView) -> Vec<(&'static str, String)> {
    let request = &view.request;
    let quoted =
        |words: &[String]| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let seconds = |s: u32| duration(u64::from(s) * 1000);
    let mut wishes = Vec::new();
    if !request.command.is_empty() {
        wishes.push(("command", quoted(&request.command)));
    }
    wishes.extend(request.train.clone().map(|workspace| ("trains", workspace)));
    wishes.extend(request.folder.clone().map(|folder| ("folder", folder)));
    if !request.env.is_empty() {
        let names: Vec<&str> = request.env.keys().map(String::as_str).collect();
        wishes.push(("environment", names.join(" ")));
    }
    wishes.extend(request.policy.clone().map(|policy| ("policy", policy)));
    wishes.extend(request.place.clone().map(|place| ("place", place)));
    wishes.extend(request.same.clone().map(|near| ("same", near)));
    wishes.extend(request.prefer.clone().map(|near| ("prefers", near)));
    wishes.extend(request.estimate.clone().map(|estimate| ("foretold", estimate)));
    if !request.models.is_empty() {
        wishes.push(("models", request.models.join(", ")));
    }
    wishes.extend(request.enforced_by.clone().map(|rung| ("enforced by", rung)));
    wishes.extend(request.time_limit_s.map(|s| ("time limit", seconds(s))));
    wishes.extend(
        request.deadline_s.map(|s| ("deadline", format!("{} after it was submitted", seconds(s)))),
    );
    wishes.extend(request.preempt.as_ref().map(|preempt| {
        let signal = preempt.signal.as_deref().unwrap_or("SIGTERM");
        let grace = preempt.grace_s.map_or_else(String::new, |s| format!(", then {}", seconds(s)));
        ("makes room", format!("{signal}{grace}"))
    }));
    wishes.extend(request.idle.as_ref().map(|idle| {
        let (after, notice) = (seconds(idle.after_s), seconds(idle.notice_s));
        ("idle", format!("after {after}, with {notice} of notice"))
    }));
    wishes.extend(request.watermark.as_ref().map(|mark| {
        let latency = mark.latency_ms.map(|ms| format!("answers within {ms} ms"));
        let usage = mark.usage.as_ref().map(|usage| format!("use up to {usage}"));
        ("watermark", latency.into_iter().chain(usage).collect::<Vec<_>>().join(", "))
    }));
    wishes
}

/// A word as a shell would take it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "-_./=:,@%+".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

fn slices((member, number): (&MemberView, u32)) -> impl Iterator<Item = String> {
    member.slices.iter().map(move |slice| {
        let by = plain(&slice.enforced_by);
        let (node, card) = (plain(&member.node), plain(&slice.card));
        format!("  member {number}  {node}  {card}  {}  held by {by}", plain(&share(slice)))
    })
}

fn event(event: &EventView) -> String {
    format!("  {}  {}", moment(event.at_ms), plain(&event.text))
}

fn explanation(view: &ExplainView) -> String {
    let id = view.id;
    let first = match (view.state, view.reasons.is_empty()) {
        (JobState::Queued, true) => format!("job {id} waits, and nothing stands in its way"),
        (JobState::Queued, false) => format!("job {id} waits:"),
        (JobState::Starting, _) => format!("job {id} has its slices and is starting"),
        (JobState::Running, _) => format!("job {id} runs"),
        (JobState::Stopping, _) => format!("job {id} is stopping"),
        (JobState::Ended, _) => format!("job {id} has ended"),
    };
    let reasons = view.reasons.iter().map(reason);
    std::iter::once(first).chain(reasons).collect::<Vec<_>>().join("\n")
}

fn reason(reason: &ReasonView) -> String {
    let help = reason.help.iter().map(|help| format!("\n    try: {}", plain(help)));
    format!("  {}{}", plain(&reason.message), help.collect::<String>())
}
