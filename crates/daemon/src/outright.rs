//! What an event changes that the effects of its step do not list.

use cotenant_sched::{Event, State};
use cotenant_types::{JobId, Mebibytes, NodeName, TenantName};

use crate::store::Change;
use crate::words;

/// What is read off the event itself.
pub(crate) enum ChangedOutright {
    Nothing,
    Tenant(TenantName),
    Cards(NodeName),
    Drain(NodeName, bool),
    Asks(JobId),
    Exit(JobId, String, Option<Mebibytes>),
}

impl ChangedOutright {
    pub(crate) fn of(event: &Event) -> Self {
        match event {
            Event::TenantSet { tenant, .. } => Self::Tenant(tenant.clone()),
            Event::CardsReported { node, .. }
            | Event::FailingReported { node, .. }
            | Event::NodeLost { node } => Self::Cards(node.clone()),
            Event::DrainSet { node, is_draining } => Self::Drain(node.clone(), *is_draining),
            Event::ResizeRequested { job, .. } => Self::Asks(*job),
            Event::Exited { run, exit, peak } => {
                Self::Exit(run.job, format!("on {} it {exit}", run.node), *peak)
            }
            Event::StartFailed { run, why } => Self::Exit(run.job, why.words().to_owned(), None),
            Event::JobSubmitted { .. }
            | Event::CancelRequested { .. }
            | Event::Started { .. }
            | Event::RunsReported { .. }
            | Event::JobBusy { .. }
            | Event::LoadReported { .. }
            | Event::Planned(_)
            | Event::Ticked => Self::Nothing,
        }
    }

    pub(crate) fn changes(self, state: &State) -> Option<Change> {
        match self {
            Self::Nothing => None,
            Self::Tenant(name) => {
                let quota = state.tenants()[&name].clone();
                Some(Change::Tenant(name, quota))
            }
            Self::Cards(node) => {
                let records = state.cards().filter(|record| record.card.node == node);
                Some(Change::Cards(records.cloned().collect()))
            }
            Self::Drain(node, is_draining) => Some(Change::Drain(node, is_draining)),
            Self::Asks(job) => {
                let asks = words::asks(&state.job(job)?.terms.ask);
                Some(Change::Asks(job, asks))
            }
            Self::Exit(job, text, peak) => Some(Change::Exit(job, text, peak)),
        }
    }
}
