//! A reranker of this server, for what learns how to search: it reads through the queue, as all do.

use std::borrow::Cow;
use std::sync::Mutex;
use std::time::Instant;

use tokio::runtime::Handle;

use super::fault::{Fault, Kind};
use super::shared::{Chosen, Shared};
use crate::retrieval::pipeline::{Reranker, RetrievalError};
use crate::serve::access::Caller;
use crate::serve::documents::{Maker, model_of};

/// For threads that may wait.
pub(super) struct Rereader {
    shared: Shared,
    chosen: Chosen,
    maker: Maker,
    deadline: Instant,
    handle: Handle,
    /// Why it read nothing more.
    fault: Mutex<Option<Fault>>,
}

impl Rereader {
    /// The reranker of this name.
    pub(super) async fn new(
        shared: &Shared,
        caller: &Caller,
        (name, deadline): (&str, Instant),
    ) -> Result<Self, Fault> {
        let chosen = shared.choose(caller, Some(name)).await?;
        chosen.check_scores()?;
        let maker = Maker::new(&shared.model, chosen.adapter.as_deref());
        let (shared, handle) = (shared.clone(), Handle::current());
        Ok(Self { shared, chosen, maker, deadline, handle, fault: Mutex::default() })
    }

    /// Its name and content.
    pub(super) fn maker(&self) -> &str {
        self.maker.embedding()
    }

    /// Why it did not read, if it did not.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.lock().expect("no thread panicked").take()
    }
}

impl Reranker for Rereader {
    fn scores(&self, query: &str, texts: &[Cow<'_, str>]) -> Result<Vec<f32>, RetrievalError> {
        let texts = texts.iter().map(|text| text.clone().into_owned()).collect();
        let asked = self.shared.reread(&self.chosen, (query.to_owned(), texts), self.deadline);
        self.handle.block_on(asked).map_err(|fault| {
            *self.fault.lock().expect("no thread panicked") = Some(fault);
            RetrievalError::Reranker("the reranker did not read".to_owned())
        })
    }
}

impl Shared {
    /// The reranker with which searches were learnt, if it is still the one that it was.
    pub(super) async fn reranker(&self, caller: &Caller, learnt: &str) -> Result<Chosen, Fault> {
        let hint = "hint: POST /v1/tune learns anew, with another reranker or with none";
        let Some(name) = model_of(learnt) else {
            let message =
                format!("{learnt:?}, with which searches were learnt, is no name\n{hint}");
            return Err(Fault::new(Kind::Conflict, message));
        };
        let chosen = self.choose(caller, Some(name)).await?;
        let maker = Maker::new(&self.model, chosen.adapter.as_deref());
        if maker.embedding() != learnt || chosen.reranker().is_none() {
            let message = format!(
                "searches were learnt with the reranker {learnt}, and {name:?} is {} by now\n{hint}",
                maker.embedding()
            );
            return Err(Fault::new(Kind::Conflict, message));
        }
        Ok(chosen)
    }
}
