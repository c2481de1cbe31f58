//! Online experiments over HTTP, and their part in a search.

mod wire;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

pub(super) use wire::{ExperimentView, FeedbackRequest, FeedbackView, TrialView};

use super::body::Body;
use super::documents::{InQuery, blocking, tenant};
use super::fault::{Fault, Kind};
use super::search::check_settings;
use super::shared::Shared;
use super::wire::{SearchResponse, SearchSettings, TenantQuery};
use crate::serve::access::Caller;
use crate::serve::experiments::{
    Enrolled, ExperimentError, ExperimentRequest, Experiments, Plan, Said,
};

/// Longest name of a user, in bytes.
const USER_BYTES_MAX: usize = 256;
/// Longest id of feedback that is looked at, in bytes.
const ID_BYTES_MAX: usize = 128;

pub(super) async fn begin(
    State(shared): State<Shared>,
    caller: Caller,
    Body(request): Body<ExperimentRequest>,
) -> Result<Json<ExperimentView>, Fault> {
    let tenant = tenant(&caller, request.tenant.clone())?;
    check_request(&request)?;
    // Who has no documents has no searches, and any number of names would be a way to fill a disk.
    shared.space(&caller, &tenant).await?;
    let plan = Plan::decide(request).map_err(|error| of_experiment(&error, &caller))?;
    let experiments = shared.experiments()?;
    let owned = tenant.clone();
    let begun = blocking(move || experiments.begin(&owned, &plan, now_s())).await?;
    let standing = begun.map_err(|error| of_experiment(&error, &caller))?;
    Ok(Json(ExperimentView::new(tenant, standing)))
}

/// Checks how searches are to be answered.
pub(super) fn check_request(request: &ExperimentRequest) -> Result<(), Fault> {
    check_settings(&request.control)?;
    check_settings(&request.treatment)?;
    match request.control == request.treatment {
        true => Err(Fault::invalid(
            "control and treatment are the same\nhint: name what is to be compared",
        )),
        false => Ok(()),
    }
}

pub(super) async fn show(
    State(shared): State<Shared>,
    caller: Caller,
    InQuery(query): InQuery<TenantQuery>,
) -> Result<Json<ExperimentView>, Fault> {
    let tenant = tenant(&caller, query.tenant)?;
    let (experiments, owned) = (shared.experiments()?, tenant.clone());
    let shown = blocking(move || experiments.show(&owned, now_s())).await?;
    let standing = shown.map_err(|error| of_experiment(&error, &caller))?;
    Ok(Json(ExperimentView::new(tenant, standing)))
}

pub(super) async fn end(
    State(shared): State<Shared>,
    caller: Caller,
    InQuery(query): InQuery<TenantQuery>,
) -> Result<StatusCode, Fault> {
    let tenant = tenant(&caller, query.tenant)?;
    let experiments = shared.experiments()?;
    let forgotten = blocking(move || experiments.forget(&tenant)).await?;
    forgotten.map_err(|error| of_experiment(&error, &caller))?;
    Ok(StatusCode::OK)
}

pub(super) async fn feedback(
    State(shared): State<Shared>,
    caller: Caller,
    Body(request): Body<FeedbackRequest>,
) -> Result<Json<FeedbackView>, Fault> {
    let tenant = tenant(&caller, request.tenant)?;
    let experiments = shared.experiments()?;
    if request.feedback_id.len() > ID_BYTES_MAX {
        return Err(of_experiment(&ExperimentError::UnknownId, &caller));
    }
    let (clicked_rank, value) = (request.clicked_rank, request.value);
    let said = Said { clicked_rank, value, guardrail: request.guardrail };
    let taken =
        blocking(move || experiments.feedback(&tenant, (&request.feedback_id, &said), now_s()));
    let recorded = taken.await?.map_err(|error| of_experiment(&error, &caller))?;
    Ok(Json(FeedbackView { result: recorded.into() }))
}

/// A search that an experiment decides about.
pub(super) struct Turn {
    tenant: String,
    enrolled: Enrolled,
    begun: Instant,
}

impl Turn {
    pub(super) fn settings(&self) -> &SearchSettings {
        &self.enrolled.settings
    }
}

impl Shared {
    fn experiments(&self) -> Result<Arc<Experiments>, Fault> {
        self.experiments.clone().ok_or_else(|| {
            let message = "this server runs no experiments\n\
                           hint: start it with --index FOLDER and --experiments FOLDER";
            Fault::new(Kind::NotFound, message)
        })
    }

    /// How a search is to be answered, where its tenant has an experiment and it names a user.
    pub(super) fn enrol(&self, tenant: &str, user: Option<&str>) -> Result<Option<Turn>, Fault> {
        let Some(user) = user else { return Ok(None) };
        if !(1..=USER_BYTES_MAX).contains(&user.len()) {
            let (bytes, max) = (user.len(), USER_BYTES_MAX);
            return Err(Fault::invalid(format!(
                "user has {bytes} bytes, and must have 1 to {max}"
            )));
        }
        let Some(experiments) = &self.experiments else { return Ok(None) };
        let begun = Instant::now();
        let enrolled = experiments.enrol(tenant, user, now_s());
        Ok(enrolled.map(|enrolled| Turn { tenant: tenant.to_owned(), enrolled, begun }))
    }

    /// Tells a search's client what was decided and how to answer; notes a search that failed.
    pub(super) async fn conclude(
        &self,
        turn: Turn,
        found: Result<SearchResponse, Fault>,
    ) -> Result<SearchResponse, Fault> {
        let Turn { tenant, enrolled, begun } = turn;
        match found {
            Ok(mut response) => {
                let feedback_id = enrolled.ticket(begun.elapsed());
                let (name, variant) = (enrolled.name, enrolled.variant);
                response.experiment = Some(TrialView { name, variant, feedback_id });
                Ok(response)
            }
            Err(fault) => {
                if fault.is_the_servers() {
                    let experiments = self.experiments()?;
                    // What the client is told is why its search failed, whatever becomes of this.
                    let _ = blocking(move || experiments.fail(&tenant, &enrolled, now_s())).await;
                }
                Err(fault)
            }
        }
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What an experiment could not do; what is on the server's disk is told to who may see it.
fn of_experiment(error: &ExperimentError, caller: &Caller) -> Fault {
    let kind = match error {
        ExperimentError::Unusable(_) | ExperimentError::UnknownId => Kind::Invalid,
        ExperimentError::Absent => Kind::NotFound,
        ExperimentError::Taken { .. } => Kind::Conflict,
        ExperimentError::TooMany { .. } => Kind::NoRoom,
        ExperimentError::Disk { source, .. } if source.kind() == ErrorKind::StorageFull => {
            return Fault::no_room();
        }
        ExperimentError::Disk { .. }
        | ExperimentError::Damaged { .. }
        | ExperimentError::InUse { .. }
        | ExperimentError::Stopped { .. } => {
            return match caller {
                Caller::Anybody | Caller::Admin => Fault::new(Kind::Unavailable, error),
                Caller::Tenant(_) => Fault::new(
                    Kind::Unavailable,
                    "the experiment cannot be had now\nhint: tell who runs the server",
                ),
            };
        }
    };
    Fault::new(kind, error)
}
