//! Tenants' documents: a namespace for each, and the model whose vectors it has.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};

use cotenant_index::dense::Metric;
use cotenant_index::{
    Answer, Document, EmbeddingSpec, Index, IndexError, Namespace, Query, Receipt, Storage,
};

use tokio::sync::Semaphore;

use super::adapters::Loaded;
use super::model::Model;
use super::tuning::Memo;

/// The index of a server.
pub(super) struct Documents {
    index: Index,
    spaces: Mutex<BTreeMap<String, Arc<Space>>>,
    /// Who learns about searching: one at a time, since it takes a processor for seconds.
    pub(super) learning: Semaphore,
}

/// A tenant's documents. A vector is named only by the embedding that is active when it is written
/// or searched, so nobody may switch between looking which one that is and doing so.
pub(super) struct Space {
    pub(super) namespace: Arc<Namespace>,
    switch: RwLock<()>,
    /// What was learnt about searching it.
    pub(super) memo: Memo,
}

/// What makes the vectors of an embedding, as its name says it: `MODEL@HASH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Maker(String);

/// Why something was not done with an embedding.
#[derive(Debug)]
pub(super) enum NotDone {
    /// Another one is in use by now.
    Switched,
    /// The index could not.
    Index(IndexError),
}

impl From<IndexError> for NotDone {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl Maker {
    /// Of the base model, or of an adapter of this name.
    pub(super) fn new(model: &Model, adapter: Option<&Loaded>) -> Self {
        let of_model = |letters| model.digest.get(..letters).unwrap_or(&model.digest);
        Self(match adapter {
            None => format!("{}@{}", super::http::BASE, of_model(16)),
            Some(loaded) => {
                format!("{}@{}-{}", loaded.source.name, loaded.digest, of_model(8))
            }
        })
    }

    pub(super) fn embedding(&self) -> &str {
        &self.0
    }

    pub(super) fn spec(&self, dimensions: usize) -> EmbeddingSpec {
        EmbeddingSpec {
            name: self.0.clone(),
            dimensions,
            metric: Metric::Cosine,
            storage: Storage::F32,
            kind: None,
        }
    }
}

/// The model in the name of an embedding, if a server made it.
pub(super) fn model_of(embedding: &str) -> Option<&str> {
    embedding.rsplit_once('@').map(|(model, _)| model)
}

impl Documents {
    /// Opens an index, or makes one where there is none.
    pub(super) fn open(folder: &Path) -> Result<Self, IndexError> {
        let index = match Index::open(folder) {
            Err(IndexError::NoIndex { .. }) => Index::create(folder)?,
            opened => opened?,
        };
        Ok(Self { index, spaces: Mutex::default(), learning: Semaphore::new(1) })
    }

    /// A tenant's documents, if it has any.
    pub(super) fn space(&self, tenant: &str) -> Result<Arc<Space>, IndexError> {
        let namespace = self.index.namespace(tenant)?;
        let mut spaces = self.spaces.lock().expect("no thread panicked");
        let space = spaces.get(tenant).filter(|it| Arc::ptr_eq(&it.namespace, &namespace));
        if let Some(space) = space {
            return Ok(space.clone());
        }
        let space = Arc::new(Space { namespace, switch: RwLock::default(), memo: Memo::default() });
        spaces.insert(tenant.to_owned(), space.clone());
        Ok(space)
    }

    /// The same, made if it is not there.
    pub(super) fn space_or_new(
        &self,
        tenant: &str,
        spec: &EmbeddingSpec,
    ) -> Result<Arc<Space>, IndexError> {
        match self.index.create_namespace(tenant, Some(spec)) {
            Ok(_) | Err(IndexError::NamespaceExists { .. }) => self.space(tenant),
            Err(error) => Err(error),
        }
    }

    /// Drops all of a tenant's documents.
    pub(super) fn drop_all(&self, tenant: &str) -> Result<(), IndexError> {
        self.index.drop_namespace(tenant)?;
        self.spaces.lock().expect("no thread panicked").remove(tenant);
        Ok(())
    }
}

impl Space {
    /// Adds documents whose vectors are of this embedding.
    pub(super) fn add(
        &self,
        documents: &[Document],
        embedding: Option<&str>,
    ) -> Result<Receipt, NotDone> {
        let _no_switch = self.unswitched(embedding)?;
        Ok(self.namespace.add(documents)?)
    }

    /// Searches by a vector of this embedding.
    pub(super) fn search(
        &self,
        query: &Query<'_>,
        embedding: Option<&str>,
    ) -> Result<Answer, NotDone> {
        let _no_switch = self.unswitched(embedding)?;
        Ok(self.namespace.search(query)?)
    }

    /// Lets searches use an embedding that every document has a vector of.
    pub(super) fn switch(&self, embedding: &str) -> Result<(), IndexError> {
        let _alone = self.switch.write().expect("no thread panicked");
        self.namespace.switch_embedding(embedding)
    }

    fn unswitched(&self, embedding: Option<&str>) -> Result<RwLockReadGuard<'_, ()>, NotDone> {
        let guard = self.switch.read().expect("no thread panicked");
        let active = self.namespace.embedding()?;
        match active.as_ref().map(|spec| spec.name.as_str()) == embedding {
            true => Ok(guard),
            false => Err(NotDone::Switched),
        }
    }
}
