//! What every handler works with, and how a request finds its model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use cotenant_transformer::{Adapter, Head};
use tokio::sync::Semaphore;

use super::connections::Waits;
use super::fault::{Fault, Kind};
use super::room::Room;
use crate::serve::access::{Access, Caller, owner};
use crate::serve::adapters::{AdapterError, Adapters, Loaded};
use crate::serve::documents::Documents;
use crate::serve::engine::Engine;
use crate::serve::experiments::Experiments;
use crate::serve::meters::Meters;
use crate::serve::model::Model;

/// Another name of the base model, and whose its texts are where there are no tokens.
pub(crate) use crate::index::BASE;
/// How long a request may take if it does not say.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long it may take at most.
const DEADLINE_MS_MAX: u64 = 600_000;
/// The header that says so.
const DEADLINE_HEADER: &str = "x-deadline-ms";

/// Cheap to copy: each request has one.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

/// What is behind it.
pub(crate) struct Inner {
    pub(crate) model: Arc<Model>,
    pub(crate) engine: Engine,
    pub(crate) adapters: Adapters,
    pub(crate) meters: Arc<Meters>,
    pub(crate) access: Access,
    /// `None` where there is no index.
    pub(crate) documents: Option<Arc<Documents>>,
    /// `None` where there are none.
    pub(crate) experiments: Option<Arc<Experiments>>,
    /// Threads that tokenise at a time; who waits is served in turn.
    pub(crate) tokenizing: Arc<Semaphore>,
    /// Room for bodies, and for answers that were not read yet, in KiB.
    pub(crate) bodies: Room,
    pub(crate) batch_tokens: usize,
    /// Seconds since 1970.
    pub(crate) started_s: u64,
    /// Room for requests that are being answered.
    pub(crate) requests: Room,
    /// How long others are waited for.
    pub(crate) waits: Waits,
}

/// Which model a request means, and whose turn it takes.
#[derive(Clone)]
pub(super) struct Chosen {
    /// What the answer calls it.
    pub(super) name: String,
    pub(super) tenant: Arc<str>,
    pub(super) adapter: Option<Arc<Loaded>>,
}

impl Chosen {
    /// The adapter and its head, if it scores a query and a text that are read together, and embeds
    /// nothing.
    pub(super) fn reranker(&self) -> Option<(&Adapter, &Head)> {
        let adapter = &self.adapter.as_ref()?.adapter;
        Some((adapter, adapter.layout.head()?))
    }

    /// The same, or why it scores nothing.
    pub(super) fn check_scores(&self) -> Result<(&Adapter, &Head), Fault> {
        self.reranker().ok_or_else(|| {
            Fault::invalid(format!(
                "{:?} is no reranker: it embeds texts, and scores none together with a query\n\
                 hint: train one with task = \"rerank\"",
                self.name
            ))
        })
    }

    /// Whether it embeds texts.
    pub(super) fn check_embeds(&self) -> Result<(), Fault> {
        match self.reranker() {
            None => Ok(()),
            Some(_) => Err(Fault::invalid(format!(
                "{:?} is a reranker and embeds nothing\n\
                 hint: ask POST /rerank, or name another model",
                self.name
            ))),
        }
    }
}

impl Shared {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Finds the model that a request names: the base model, or an adapter that the caller may use.
    /// Without a name it is the tenant's own adapter where there is one, else the base model.
    pub(super) async fn choose(
        &self,
        caller: &Caller,
        model: Option<&str>,
    ) -> Result<Chosen, Fault> {
        let own = || caller.tenant().filter(|tenant| self.adapters.knows(tenant));
        let name = match model {
            Some(name) => name,
            None => own().map_or(BASE, |tenant| tenant),
        };
        if name == BASE || name == self.model.name {
            let tenant = caller.tenant().cloned().unwrap_or_else(|| BASE.into());
            return Ok(Chosen { name: self.model.name.clone(), tenant, adapter: None });
        }
        if !caller.may_use_adapter(name) {
            // Whether another tenant has it is nobody's business.
            let error = AdapterError::Unknown { name: name.to_owned() };
            return Err(Fault::of_adapter(&error, caller));
        }
        let loaded = self.adapters.get(name).await;
        let adapter = loaded.map_err(|error| Fault::of_adapter(&error, caller))?;
        let tenant = caller.tenant().cloned().unwrap_or_else(|| owner(name).into());
        Ok(Chosen { name: name.to_owned(), tenant, adapter: Some(adapter) })
    }
}

impl std::ops::Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// When nobody waits for an answer any more.
pub(super) fn deadline(headers: &HeaderMap) -> Result<Instant, Fault> {
    let Some(value) = headers.get(DEADLINE_HEADER) else { return Ok(Instant::now() + DEADLINE) };
    let ms = value.to_str().ok().and_then(|value| value.parse::<u64>().ok());
    match ms {
        Some(ms @ 1..=DEADLINE_MS_MAX) => Ok(Instant::now() + Duration::from_millis(ms)),
        _ => Err(Fault::new(
            Kind::Invalid,
            format!("{DEADLINE_HEADER} must be milliseconds from 1 to {DEADLINE_MS_MAX}"),
        )),
    }
}
