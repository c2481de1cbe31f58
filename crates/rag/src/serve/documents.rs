//! Tenants' documents: a namespace for each, and the model whose vectors it has.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};

use cotenant_index::dense::Metric;
use cotenant_index::limits::EMBEDDINGS_MAX;
use cotenant_index::{
    Answer, Document, EmbeddingSpec, Index, IndexError, Namespace, Query, Receipt, Storage,
};

use tokio::sync::Semaphore;

use super::adapters::Loaded;
use super::model::Model;
use super::tuning::Memo;
use crate::index::maker_name;

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
        let adapter = adapter.map(|loaded| (loaded.source.name.as_str(), loaded.digest.as_str()));
        Self(maker_name(&model.digest, adapter))
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
        Ok(self.remember(tenant, namespace))
    }

    /// The one space of a namespace. Where this one was dropped before it is asked for and another
    /// has come, it is that one's: two spaces of one namespace would not know of each other's
    /// switches.
    fn remember(&self, tenant: &str, namespace: Arc<Namespace>) -> Arc<Space> {
        let mut spaces = self.spaces();
        let known = spaces.get(tenant);
        let known = known.filter(|it| Arc::ptr_eq(&it.namespace, &namespace) || it.is_there());
        if let Some(space) = known {
            return space.clone();
        }
        let space = Arc::new(Space { namespace, switch: RwLock::default(), memo: Memo::default() });
        spaces.insert(tenant.to_owned(), space.clone());
        space
    }

    /// Whether the work behind writes fails, by tenant, of those whose documents were asked for.
    pub(super) fn failing(&self) -> Vec<(String, bool)> {
        let spaces = self.spaces();
        let failing = |(tenant, space): (&String, &Arc<Space>)| {
            (tenant.clone(), space.namespace.failure().is_some())
        };
        spaces.iter().map(failing).collect()
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
        let mut spaces = self.spaces();
        if spaces.get(tenant).is_some_and(|space| !space.is_there()) {
            spaces.remove(tenant);
        }
        Ok(())
    }

    fn spaces(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Space>>> {
        self.spaces.lock().expect("no thread panicked")
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

    /// Begins an embedding beside the one in use, or goes on with it. Where there are as many as
    /// there may be, the one that was begun first goes: whoever began it has not finished, and a
    /// version that was replaced since will never be.
    pub(super) fn begin(&self, spec: &EmbeddingSpec) -> Result<(), IndexError> {
        let begin = || match self.namespace.begin_embedding(spec) {
            Err(IndexError::EmbeddingExists { .. }) => Ok(()),
            begun => begun,
        };
        let too_large = match begin() {
            Err(error @ IndexError::TooLarge { .. }) => error,
            begun => return begun,
        };
        let embeddings = self.namespace.stats()?.embeddings;
        let oldest = embeddings.iter().find(|embedding| !embedding.is_active);
        let Some(oldest) = oldest.filter(|_| embeddings.len() >= EMBEDDINGS_MAX) else {
            return Err(too_large);
        };
        match self.namespace.drop_embedding(&oldest.spec.name) {
            // Another request was faster, or has just finished it.
            Err(IndexError::UnknownEmbedding { .. } | IndexError::EmbeddingActive { .. }) => {}
            dropped => dropped?,
        }
        begin()
    }

    /// Whether it was not dropped.
    fn is_there(&self) -> bool {
        !matches!(self.namespace.embedding(), Err(IndexError::UnknownNamespace { .. }))
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn spec(name: &str) -> EmbeddingSpec {
        let (metric, storage, kind) = (Metric::Cosine, Storage::F32, None);
        EmbeddingSpec { name: name.to_owned(), dimensions: 2, metric, storage, kind }
    }

    fn documents() -> (tempfile::TempDir, Documents) {
        let folder = tempfile::tempdir().unwrap();
        let documents = Documents::open(&folder.path().join("index")).unwrap();
        (folder, documents)
    }

    fn document(id: &str) -> Document {
        let (id, text) = (id.to_owned(), "a ship".to_owned());
        Document { id, text, vector: Some(vec![1.0, 0.5]), ..Document::default() }
    }

    #[test]
    fn what_was_begun_and_left_keeps_no_version_from_being_embedded() {
        let (_folder, documents) = documents();
        let space = documents.space_or_new("law", &spec("law@0")).unwrap();
        space.add(&[document("a")], Some("law@0")).unwrap();
        for version in 1..=2 * EMBEDDINGS_MAX {
            let name = format!("law@{version}");
            space.begin(&spec(&name)).unwrap();
            space.begin(&spec(&name)).unwrap();
            let all = space.namespace.stats().unwrap().embeddings;
            assert!(all.len() <= EMBEDDINGS_MAX && all[0].spec.name == "law@0", "{all:?}");
            assert_eq!(all.last().unwrap().spec.name, name);
        }
        let last = format!("law@{}", 2 * EMBEDDINGS_MAX);
        space.namespace.put_vectors(&last, &[("a", vec![0.5, 1.0])]).unwrap();
        space.switch(&last).unwrap();
        let unusable = EmbeddingSpec { dimensions: usize::MAX, ..spec("law@wide") };
        assert!(matches!(space.begin(&unusable), Err(IndexError::TooLarge { .. })));
    }

    #[test]
    fn a_namespace_has_one_space_whoever_looked_before_it_came() {
        let (_folder, documents) = documents();
        documents.space_or_new("law", &spec("law@0")).unwrap();
        let dropped = documents.index.namespace("law").unwrap();
        documents.drop_all("law").unwrap();
        assert!(documents.spaces().is_empty(), "nothing of it is kept");
        let space = documents.space_or_new("law", &spec("law@1")).unwrap();
        // Somebody who found the one before, and comes to look for its space only now.
        assert!(Arc::ptr_eq(&documents.remember("law", dropped), &space));
        assert!(Arc::ptr_eq(&documents.space("law").unwrap(), &space));
    }

    #[test]
    fn work_behind_writes_that_fails_is_told() {
        let (folder, mut documents) = documents();
        documents.index.flush_at(1);
        for tenant in ["bio", "law"] {
            let space = documents.space_or_new(tenant, &spec("base@0")).unwrap();
            space.add(&[document("a")], Some("base@0")).unwrap();
        }
        let failing = |tenant: &str| documents.failing().contains(&(tenant.to_owned(), true));
        assert!(!failing("bio") && !failing("law"));
        // Folders are named in the order in which tenants came.
        let own = folder.path().join("index/namespace-000001");
        // Files may still come there behind the first write.
        while own.exists() {
            let _ = fs::remove_dir_all(&own);
        }
        let space = documents.space("law").unwrap();
        while !failing("law") {
            // A write tells it, once.
            let _ = space.add(&[document("b")], Some("base@0"));
        }
        assert!(!failing("bio"));
    }
}
