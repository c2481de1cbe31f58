//! What a pool shows, as JSON that the tests change where they want to.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Milliseconds since 1970-01-01 UTC, so long ago.
pub(crate) fn ago_ms(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_millis() as u64 - seconds * 1000
}

/// An error as the pool tells it.
pub(crate) fn problem(code: &str, message: &str, hint: Option<&str>) -> Value {
    let mut problem = json!({ "code": code, "message": message });
    if let Some(hint) = hint {
        problem["hint"] = hint.into();
    }
    problem
}

/// The value with these keys in place of its own.
pub(crate) fn with(mut value: Value, changes: Value) -> Value {
    for (key, change) in changes.as_object().unwrap() {
        value[key] = change.clone();
    }
    value
}

/// A job in a list, which has waited for 2 h 5 min.
pub(crate) fn row(id: u64) -> Value {
    json!({
        "id": id, "name": "train.py", "tenant": "law", "kind": "command", "class": "offline",
        "priority": 0, "state": "queued", "asks": "1 card, 6GiB and 30% of it",
        "submitted_ms": ago_ms(7530),
    })
}

/// The same job, whole.
pub(crate) fn job(id: u64) -> Value {
    let rest = json!({
        "request": { "command": ["python", "train.py"], "memory": "6GiB", "compute": "30%" },
        "generation": 0, "retries_left": 2, "members": [], "life": [],
    });
    with(row(id), rest)
}

/// A job that ended so after 200 s.
pub(crate) fn ended(id: u64, outcome: &str) -> Value {
    let end = json!({
        "state": "ended", "outcome": outcome, "started_ms": 1_000_000, "ended_ms": 1_200_000,
        "exit": "exit status 1",
    });
    with(job(id), end)
}

/// A job that runs on two cards.
pub(crate) fn running(id: u64) -> Value {
    let life = json!([
        { "seq": 1, "at_ms": 951_827_696_000_u64, "kind": "job-queued", "job": id, "text": "queued" },
        { "seq": 4, "at_ms": 951_827_699_000_u64, "kind": "job-started", "job": id, "text": "started on n1" },
    ]);
    let request = json!({
        "name": "it's a job", "command": ["python", "train.py", "--note", "it's"],
        "folder": "/data/law", "env": { "A": "" }, "memory": "6GiB", "compute": "30%",
        "models": ["H100"], "time_limit_s": 3600, "preempt": { "grace_s": 60 },
        "idle": { "after_s": 600, "notice_s": 60 },
    });
    let runs = json!({
        "state": "running", "started_ms": ago_ms(3630), "generation": 1, "request": request,
        "members": [{ "node": "n1", "slices": [slice(id, "n1-0"), slice(id, "n1-1")] }],
        "usage": { "at_ms": 1, "compute_per_mille": 255, "memory_mib": 5120 }, "life": life,
    });
    with(job(id), runs)
}

/// 30 % of a card.
pub(crate) fn slice(job: u64, card: &str) -> Value {
    json!({
        "job": job, "tenant": "law", "card": card, "memory_mib": 6144, "memory_limit_mib": 8192,
        "compute_per_mille": 300, "compute_limit_per_mille": 300, "whole": false,
        "enforced_by": "mps",
    })
}

/// The same, a fifth of it in use.
pub(crate) fn used_slice(job: u64, card: &str) -> Value {
    let usage = json!({ "at_ms": 1, "compute_per_mille": 255, "memory_mib": 1638 });
    with(slice(job, card), json!({ "usage": usage }))
}

/// A card with two slices, of one of which it is known what is in use.
pub(crate) fn card(node: &str, index: u32) -> Value {
    let id = format!("{node}-{index}");
    json!({
        "id": id, "node": node, "index": index, "kind": "nvidia",
        "model": "NVIDIA H100 80GB HBM3", "memory_mib": 81_559, "cores": 0, "rack": "r1",
        "health": "ok", "rungs": ["mps", "shim"], "slices": [used_slice(17, &id), slice(18, &id)],
        "usage": {
            "at_ms": 1, "compute_per_mille": 560, "memory_mib": 10_240, "temperature_c": 47,
            "power_mw": 350_500,
        },
    })
}

/// A page of cards.
pub(crate) fn cards(cards: &[Value], total: usize, next_after: Option<&str>) -> Value {
    let mut page = json!({ "cards": cards, "total": total });
    if let Some(after) = next_after {
        page["next_after"] = after.into();
    }
    page
}

/// The pool at a glance.
pub(crate) fn pool() -> Value {
    json!({
        "version": "0.1.0", "started_ms": ago_ms(7530), "nodes": 1, "cards": 2,
        "capacity": { "compute_milli": 2000, "memory_mib": 163_118 },
        "used": { "compute_milli": 1200, "memory_mib": 24_576 },
        "jobs": { "queued": 3, "running": 2 },
        "savings": { "jobs": 9, "cards_alone": 9, "cards_held": 2 },
    })
}

/// A tenant with all that it can have.
pub(crate) fn tenant(name: &str) -> Value {
    json!({
        "name": name, "parent": "firm", "weight": 3,
        "guaranteed": { "compute_milli": 2500, "memory_mib": 40_960 },
        "limit": { "compute_milli": 4000, "memory_mib": u64::MAX },
        "used": { "compute_milli": 300, "memory_mib": 6144 },
        "jobs_running": 1, "jobs_waiting": 2,
    })
}
