//! Workspace files.

use std::collections::BTreeSet;

use cotenant_rag::workspace::{Place, Workspace, WorkspaceError};

use crate::Verdict;
use crate::memory;
use crate::message;
use crate::scratch::Scratch;

const FILE: &str = "workspace.toml";

/// A workspace file: its tenants differ and say what they need, an error has a place in the file,
/// and a line more in front changes nothing but that place.
pub fn workspace(bytes: &[u8]) -> Verdict {
    let scratch = Scratch::new(&[(FILE, bytes)]);
    let path = scratch.at(FILE);
    let read = memory::bounded(bytes.len(), || Workspace::read(&path));
    let lower = std::str::from_utf8(bytes).ok().filter(|text| !text.starts_with('\u{feff}'));
    let lower = lower.map(|text| Workspace::parse(&path, &format!("\n{text}")));
    match (read, lower) {
        (Ok(workspace), lower) => {
            check(&workspace);
            let lower = lower.map(|lower| lower.expect("a blank line changes nothing"));
            assert!(lower.is_none_or(|lower| lower == workspace), "a blank line changed it");
            Verdict::Accepted
        }
        (Err(error), lower) => {
            message::check(&error, scratch.path());
            if let Some(place) = place(&error) {
                message::check_place(bytes, place.line, place.column);
                let lower = lower.map(|lower| lower.expect_err("a blank line changes nothing"));
                if let Some(lower) = lower {
                    let line = crate::workspace::place(&lower).map(|place| place.line);
                    assert_eq!(line, Some(place.line + 1), "{error}\n{lower}");
                }
            }
            Verdict::Refused
        }
    }
}

fn check(workspace: &Workspace) {
    assert!(!workspace.base.trim().is_empty());
    let names: BTreeSet<_> = workspace.tenants.iter().map(|tenant| &tenant.name).collect();
    assert!(!names.is_empty() && names.len() == workspace.tenants.len(), "{names:?}");
    for tenant in &workspace.tenants {
        assert!(!tenant.data.is_empty() && tenant.data.iter().all(|data| data.exists()));
        let spec = tenant.adapter.spec();
        assert!(spec.rank > 0 && spec.alpha.is_finite() && !spec.targets.is_empty(), "{spec:?}");
        let training = &tenant.training;
        let numbers = [
            tenant.loss.scale,
            training.learning_rate,
            training.weight_decay,
            training.clip_norm,
            tenant.negatives.margin,
        ];
        assert!(numbers.iter().all(|number| number.is_finite()), "{numbers:?}");
        assert!(training.batch > 0 && training.accumulate > 0 && training.weight > 0);
    }
}

fn place(error: &WorkspaceError) -> Option<&Place> {
    match error {
        WorkspaceError::Syntax { place, .. }
        | WorkspaceError::UnknownKey { place, .. }
        | WorkspaceError::Value { place, .. }
        | WorkspaceError::Conflict { place, .. }
        | WorkspaceError::NoData { place, .. } => Some(place),
        WorkspaceError::Missing { .. }
        | WorkspaceError::Io { .. }
        | WorkspaceError::NotText { .. }
        | WorkspaceError::Incomplete { .. } => None,
    }
}
