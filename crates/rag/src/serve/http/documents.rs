//! Documents of tenants: added with their vectors, shown, deleted, embedded anew.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use cotenant_index::{Document, IndexError};
use serde::de::DeserializeOwned;

use super::body::Body;
use super::fault::{Fault, Kind};
use super::shared::{Chosen, Shared, deadline};
use super::stay::on_thread;
use super::texts::{Prompt, TEXTS_MAX};
use super::wire::{
    AddDocumentsRequest, CoverageView, DeleteDocumentsRequest, DocumentView, EmbedDocumentsRequest,
    NamespaceView, ReceiptView, TenantQuery,
};
use crate::serve::access::Caller;
use crate::serve::documents::{Documents, Maker, NotDone, Space, model_of};

/// Whose documents they are where nobody says and there are no tokens.
const DEFAULT: &str = "default";
/// Documents that are embedded anew at a time.
const EMBED_AT_A_TIME: usize = 64;

pub(super) async fn add(
    State(shared): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Body(request): Body<AddDocumentsRequest>,
) -> Result<Json<ReceiptView>, Fault> {
    let deadline = deadline(&headers)?;
    let tenant = tenant(&caller, request.tenant)?;
    if request.documents.is_empty() {
        return Err(Fault::new(Kind::Empty, "there is no document"));
    }
    if request.documents.len() > TEXTS_MAX {
        let message = format!("a request may have {TEXTS_MAX} documents; send the others after it");
        return Err(Fault::new(Kind::TooLarge, message));
    }
    let (space, maker) = shared.space_for(&caller, &tenant, request.model.as_deref()).await?;
    let mut documents: Vec<Document> =
        request.documents.into_iter().map(DocumentView::into_document).collect();
    let texts = documents.iter().map(|it| it.text.clone()).collect();
    let vectors = match &maker {
        None => vec![None; documents.len()],
        Some((chosen, _)) => {
            let vectors =
                shared.embed_for_search(chosen, (Prompt::Document, texts), deadline).await?;
            vectors.into_iter().map(Some).collect()
        }
    };
    for (document, vector) in documents.iter_mut().zip(vectors) {
        document.vector = vector;
    }
    let embedding = maker.map(|(_, maker)| maker.embedding().to_owned());
    let added = blocking(move || space.add(&documents, embedding.as_deref())).await?;
    let receipt = added.map_err(|why| of_not_done(why, &caller))?;
    Ok(Json(ReceiptView { added: receipt.added, replaced: receipt.replaced, deleted: 0 }))
}

pub(super) async fn show(
    State(shared): State<Shared>,
    caller: Caller,
    InQuery(query): InQuery<TenantQuery>,
) -> Result<Json<NamespaceView>, Fault> {
    let tenant = tenant(&caller, query.tenant)?;
    let space = shared.space(&caller, &tenant).await?;
    let stats = blocking(move || space.namespace.stats()).await?;
    let stats = stats.map_err(|error| of_index(&error, &caller))?;
    let active = stats.embeddings.iter().find(|embedding| embedding.is_active);
    let failure = stats.failure.map(|failure| match caller {
        Caller::Anybody | Caller::Admin => failure,
        // Where files are on the server's disk is not a tenant's business.
        Caller::Tenant(_) => {
            "the work behind writes failed\nhint: tell who runs the server".to_owned()
        }
    });
    Ok(Json(NamespaceView {
        tenant,
        documents: stats.documents,
        embedding: active.map(|active| active.spec.name.clone()),
        kind: active.map(|active| active.kind),
        memory_bytes: active.map_or(0, |active| active.memory_bytes as u64),
        disk_bytes: stats.disk_bytes,
        failure,
    }))
}

pub(super) async fn drop_all(
    State(shared): State<Shared>,
    caller: Caller,
    InQuery(query): InQuery<TenantQuery>,
) -> Result<StatusCode, Fault> {
    let tenant = tenant(&caller, query.tenant)?;
    let documents = shared.documents()?;
    let dropped = blocking(move || documents.drop_all(&tenant)).await?;
    dropped.map_err(|error| of_index(&error, &caller))?;
    Ok(StatusCode::OK)
}

pub(super) async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<TenantQuery>,
) -> Result<Json<DocumentView>, Fault> {
    let space = shared.space(&caller, &tenant(&caller, query.tenant)?).await?;
    let wanted = id.clone();
    let found = blocking(move || space.namespace.get(&wanted)).await?;
    match found.map_err(|error| of_index(&error, &caller))? {
        Some(document) => Ok(Json(document.into())),
        None => Err(Fault::new(Kind::NotFound, format!("there is no document {id:?}"))),
    }
}

pub(super) async fn delete_one(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<TenantQuery>,
) -> Result<Json<ReceiptView>, Fault> {
    let tenant = tenant(&caller, query.tenant)?;
    let receipt = shared.delete(&caller, &tenant, vec![id.clone()]).await?;
    match receipt.deleted {
        0 => Err(Fault::new(Kind::NotFound, format!("there is no document {id:?}"))),
        _ => Ok(Json(receipt)),
    }
}

pub(super) async fn delete(
    State(shared): State<Shared>,
    caller: Caller,
    Body(request): Body<DeleteDocumentsRequest>,
) -> Result<Json<ReceiptView>, Fault> {
    let tenant = tenant(&caller, request.tenant)?;
    Ok(Json(shared.delete(&caller, &tenant, request.ids).await?))
}

/// Embeds what has no vector of the embedding yet, and switches once all have one. Searches go on
/// under the one before; where the deadline comes first, the next such request goes on.
pub(super) async fn embed(
    State(shared): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Body(request): Body<EmbedDocumentsRequest>,
) -> Result<Json<CoverageView>, Fault> {
    let deadline = deadline(&headers)?;
    let tenant = tenant(&caller, request.tenant)?;
    let space = shared.space(&caller, &tenant).await?;
    let name = shared.model_for(&tenant, request.model.as_deref());
    let chosen = shared.choose(&caller, Some(&name)).await?;
    chosen.check_embeds()?;
    let maker = Maker::new(&shared.model, chosen.adapter.as_deref());
    let (spec, beginning) = (maker.spec(shared.model.width()), space.clone());
    let begun = blocking(move || beginning.begin(&spec)).await?;
    begun.map_err(|error| of_index(&error, &caller))?;
    loop {
        let (looked, name) = (space.clone(), maker.embedding().to_owned());
        let missing = blocking(move || looked.namespace.missing(&name, EMBED_AT_A_TIME)).await?;
        let missing = missing.map_err(|error| of_index(&error, &caller))?;
        let is_late = Instant::now() >= deadline;
        if missing.is_empty() || is_late {
            let active = missing.is_empty() && shared.switch(&space, &maker, &caller).await?;
            if active || is_late {
                return shared.coverage(&space, (&maker, active), &caller).await.map(Json);
            }
            continue;
        }
        let (ids, texts): (Vec<String>, Vec<String>) = missing.into_iter().unzip();
        let vectors = shared.embed_for_search(&chosen, (Prompt::Document, texts), deadline).await?;
        let (to, name) = (space.clone(), maker.embedding().to_owned());
        let vectors: Vec<(String, Vec<f32>)> = ids.into_iter().zip(vectors).collect();
        let put = blocking(move || to.namespace.put_vectors(&name, &vectors)).await?;
        put.map_err(|error| of_index(&error, &caller))?;
    }
}

impl Shared {
    pub(super) fn documents(&self) -> Result<Arc<Documents>, Fault> {
        self.documents.clone().ok_or_else(|| {
            let message = "this server has no index\nhint: start it with --index FOLDER";
            Fault::new(Kind::NotFound, message)
        })
    }

    pub(super) async fn space(&self, caller: &Caller, tenant: &str) -> Result<Arc<Space>, Fault> {
        let (documents, tenant) = (self.documents()?, tenant.to_owned());
        let space = blocking(move || documents.space(&tenant)).await?;
        space.map_err(|error| of_index(&error, caller))
    }

    /// A tenant's documents, made if need be, and what embeds them, unless they have no vectors.
    async fn space_for(
        &self,
        caller: &Caller,
        tenant: &str,
        model: Option<&str>,
    ) -> Result<(Arc<Space>, Option<(Chosen, Maker)>), Fault> {
        let documents = self.documents()?;
        let name = self.model_for(tenant, model);
        let (owned, known) = (tenant.to_owned(), documents.clone());
        let space = match blocking(move || known.space(&owned)).await? {
            Ok(space) => space,
            Err(IndexError::UnknownNamespace { .. }) => {
                let chosen = self.choose(caller, Some(&name)).await?;
                chosen.check_embeds()?;
                let maker = Maker::new(&self.model, chosen.adapter.as_deref());
                let (spec, owned) = (maker.spec(self.model.width()), tenant.to_owned());
                let made = blocking(move || documents.space_or_new(&owned, &spec)).await?;
                made.map_err(|error| of_index(&error, caller))?
            }
            Err(error) => return Err(of_index(&error, caller)),
        };
        let maker = self.maker(&space, caller).await?;
        let used = maker.as_ref().and_then(|(_, maker)| model_of(maker.embedding()));
        if let (Some(asked), Some(used)) = (model, used)
            && name != used
        {
            return Err(Fault::new(
                Kind::Conflict,
                format!(
                    "the documents are embedded by {used:?}, not by {asked:?}\n\
                     hint: POST /v1/embed_documents embeds them anew"
                ),
            ));
        }
        Ok((space, maker))
    }

    /// What makes vectors that go with those of the documents, unless these have none.
    pub(super) async fn maker(
        &self,
        space: &Arc<Space>,
        caller: &Caller,
    ) -> Result<Option<(Chosen, Maker)>, Fault> {
        let looked = space.clone();
        let active = blocking(move || looked.namespace.embedding()).await?;
        let Some(spec) = active.map_err(|error| of_index(&error, caller))? else { return Ok(None) };
        let Some(model) = model_of(&spec.name) else {
            let message = format!(
                "the documents' embedding {:?} names no model of this server\n\
                 hint: POST /v1/embed_documents embeds them anew",
                spec.name
            );
            return Err(Fault::new(Kind::Conflict, message));
        };
        if model != super::BASE && !self.adapters.knows(model) {
            let message = format!(
                "the documents were embedded by {model:?}, which is not loaded\n\
                 hint: load it, embed them anew by another model with POST /v1/embed_documents, or \
                 search with mode \"text\""
            );
            return Err(Fault::new(Kind::Conflict, message));
        }
        let chosen = self.choose(caller, Some(model)).await?;
        let maker = Maker::new(&self.model, chosen.adapter.as_deref());
        if maker.embedding() != spec.name {
            let message = format!(
                "the documents were embedded by {}, and {model:?} is {} by now\n\
                 hint: POST /v1/embed_documents embeds them anew; load a new version under a name \
                 of its own to search meanwhile",
                spec.name,
                maker.embedding()
            );
            return Err(Fault::new(Kind::Conflict, message));
        }
        Ok(Some((chosen, maker)))
    }

    /// The model that embeds a tenant's documents: the one that is named, else its own adapter where
    /// there is one, else the base model.
    fn model_for(&self, tenant: &str, model: Option<&str>) -> String {
        let own = || if self.adapters.knows(tenant) { tenant } else { super::BASE };
        let name = model.unwrap_or_else(own);
        if name == self.model.name { super::BASE.to_owned() } else { name.to_owned() }
    }

    async fn delete(
        &self,
        caller: &Caller,
        tenant: &str,
        ids: Vec<String>,
    ) -> Result<ReceiptView, Fault> {
        let space = self.space(caller, tenant).await?;
        let receipt = blocking(move || space.namespace.delete(&ids)).await?;
        let receipt = receipt.map_err(|error| of_index(&error, caller))?;
        Ok(ReceiptView { added: 0, replaced: 0, deleted: receipt.deleted })
    }

    /// Whether searches use the embedding from now on; not if a document came without its vector.
    async fn switch(
        &self,
        space: &Arc<Space>,
        maker: &Maker,
        caller: &Caller,
    ) -> Result<bool, Fault> {
        let (space, name) = (space.clone(), maker.embedding().to_owned());
        match blocking(move || space.switch(&name)).await? {
            Ok(()) => Ok(true),
            Err(IndexError::NotCovered { .. }) => Ok(false),
            Err(error) => Err(of_index(&error, caller)),
        }
    }

    async fn coverage(
        &self,
        space: &Arc<Space>,
        (maker, active): (&Maker, bool),
        caller: &Caller,
    ) -> Result<CoverageView, Fault> {
        let embedding = maker.embedding().to_owned();
        let (space, name) = (space.clone(), embedding.clone());
        let coverage = blocking(move || space.namespace.coverage(&name)).await?;
        let coverage = coverage.map_err(|error| of_index(&error, caller))?;
        let (covered, documents) = (coverage.covered, coverage.documents);
        Ok(CoverageView { embedding, covered, documents, active })
    }
}

/// Whose documents a request means; of others' nothing is said.
pub(super) fn tenant(caller: &Caller, named: Option<String>) -> Result<String, Fault> {
    match (named, caller.tenant()) {
        (Some(named), _) if caller.may_use(&named) => Ok(named),
        (Some(named), _) => {
            Err(Fault::new(Kind::NotFound, format!("there is no tenant {named:?}")))
        }
        (None, Some(own)) => Ok(own.to_string()),
        (None, None) => Ok(DEFAULT.to_owned()),
    }
}

/// Waits for work that a disk does.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    on_thread(work).await
}

/// What an index could not do.
pub(super) fn of_index(error: &IndexError, caller: &Caller) -> Fault {
    let kind = match error {
        IndexError::UnknownNamespace { .. } => {
            // The names of other tenants are nobody's business.
            let message = "the tenant has no documents\nhint: POST /v1/documents adds some";
            return Fault::new(Kind::NotFound, message);
        }
        IndexError::UnknownDocument { .. } | IndexError::UnknownEmbedding { .. } => Kind::NotFound,
        IndexError::TooLarge { .. } => Kind::TooLarge,
        IndexError::Invalid { .. } => Kind::Invalid,
        IndexError::NamespaceExists { .. }
        | IndexError::EmbeddingExists { .. }
        | IndexError::EmbeddingActive { .. }
        | IndexError::NotCovered { .. } => Kind::Conflict,
        IndexError::Disk { source, .. } if source.kind() == ErrorKind::StorageFull => {
            return Fault::no_room();
        }
        IndexError::Disk { .. }
        | IndexError::Damaged(_)
        | IndexError::InUse { .. }
        | IndexError::NoIndex { .. }
        | IndexError::NotEmpty { .. }
        | IndexError::Stopped { .. } => {
            return match caller {
                Caller::Anybody | Caller::Admin => Fault::new(Kind::Unavailable, error),
                Caller::Tenant(_) => {
                    let message = "the index cannot do this now\nhint: tell who runs the server";
                    Fault::new(Kind::Unavailable, message)
                }
            };
        }
    };
    Fault::new(kind, error)
}

pub(super) fn of_not_done(why: NotDone, caller: &Caller) -> Fault {
    match why {
        NotDone::Index(error) => of_index(&error, caller),
        NotDone::Switched => Fault::new(
            Kind::Conflict,
            "the documents have just been embedded anew\nhint: ask the same again",
        ),
    }
}

/// The rest of the path.
pub(super) struct InPath<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let found = Path::<T>::from_request_parts(parts, state).await;
        found.map(|Path(value)| Self(value)).map_err(|error| Fault::invalid(error.body_text()))
    }
}

/// The query.
pub(super) struct InQuery<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let found = Query::<T>::from_request_parts(parts, state).await;
        found.map(|Query(value)| Self(value)).map_err(|error| Fault::invalid(error.body_text()))
    }
}
