//! A namespace as it is at one moment: what each retriever finds in it, by slots.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLockReadGuard;

use super::Namespace;
use super::passing::Passing;
use super::state::State;
use crate::dense::{self, Allowed, Kind, SearchArgs};
use crate::filter::Filter;
use crate::hit::Slot;
use crate::store::document::{self, Document};
use crate::store::embedding::{Searched, Vectors};
use crate::store::error::{DamagedFile, IndexError, check_limit};
use crate::store::limits::FOUND_MAX;
use crate::store::spec::EmbeddingSpec;
use crate::text::{Bm25Options, Exact, ExactFound, Literal, QueryTerm, TextFound, TextSearch};

/// Most texts that are read to find one literal.
const LITERAL_TEXTS_MAX: usize = 200;

/// A namespace at one moment, under one filter: all that is found here fits together.
///
/// Writes wait for as long as it lives, so it should live no longer than a search. Whoever must
/// wait in between, as for the vector of a query, drops it, takes another one, and sees by
/// [`View::revision`] whether what was found by words still holds. Slots mean the same in all.
pub struct View<'a> {
    state: RwLockReadGuard<'a, State>,
    passing: Passing<'a>,
    /// What was wrong with a document that was looked at.
    damaged: RefCell<Option<DamagedFile>>,
}

/// How much the documents of one answer may be together.
#[derive(Clone, Copy, Debug)]
pub struct AnswerRoom {
    taken: usize,
    bytes_max: usize,
}

impl AnswerRoom {
    /// Room for so many bytes of ids, texts and metadata.
    pub fn new(bytes_max: usize) -> Self {
        Self { taken: 0, bytes_max }
    }

    fn take(&mut self, bytes: usize) -> Result<(), IndexError> {
        self.taken = self.taken.saturating_add(bytes);
        let what = || "what was found".to_owned();
        check_limit(what, (self.taken, self.bytes_max), "bytes of text")
    }
}

impl Namespace {
    /// What it holds now, as far as it passes a filter.
    ///
    /// # Errors
    /// If it was dropped, or the metadata that the filter asks for are damaged.
    pub fn view<'a>(&'a self, filter: Option<&'a Filter>) -> Result<View<'a>, IndexError> {
        let state = self.read()?;
        let passing = Passing::new(&state, filter)?;
        Ok(View { state, passing, damaged: RefCell::default() })
    }
}

impl View<'_> {
    /// Number of documents, those that do not pass the filter too.
    pub fn documents(&self) -> u64 {
        self.state.live.len()
    }

    /// A number that is another one after each write to documents or their vectors. It means
    /// nothing beyond the life of the [`Namespace`].
    pub fn revision(&self) -> u64 {
        self.state.revision
    }

    /// The embedding that vectors are searched by, if there is one.
    pub fn embedding(&self) -> Option<&EmbeddingSpec> {
        self.state.active().map(|embedding| &embedding.spec)
    }

    /// How its vectors are searched now.
    pub fn kind(&self) -> Option<Kind> {
        self.state.active().map(|embedding| embedding.dense().spec().kind)
    }

    /// Number of documents that have a vector of it.
    pub fn vectors(&self) -> u64 {
        self.state.active().map_or(0, |embedding| embedding.covered().len())
    }

    /// What was kept under a name by [`Namespace::keep_note`].
    pub fn note(&self, name: &str) -> Option<Arc<str>> {
        self.state.notes.get(name).cloned()
    }

    /// The `k` best documents by BM25.
    ///
    /// # Errors
    /// If `k` is above [`FOUND_MAX`], or a document that the filter asks about is damaged.
    pub fn words(&self, query: &str, k: usize) -> Result<TextFound, IndexError> {
        check_count(k)?;
        let found = self.text(|search| search.best(query, k));
        self.unless_damaged(found)
    }

    /// The terms of a query that some document holds, whether it passes the filter or not.
    pub fn terms(&self, query: &str) -> Vec<QueryTerm> {
        self.text(|search| search.terms(query))
    }

    /// The `k` best documents in which one of the literals stands word for word. Of documents that
    /// could hold a literal, 200 are read.
    ///
    /// # Errors
    /// If `k` is above [`FOUND_MAX`], or a document is damaged.
    pub fn holding(&self, literals: &[Literal], k: usize) -> Result<ExactFound, IndexError> {
        check_count(k)?;
        let text_of = |slot: Slot| {
            let text = self.state.stored(slot).map(|found| found.map(|(stored, _)| stored.text));
            self.note_damage(text).flatten().map(Cow::from)
        };
        let exact = Exact { k, texts_max: LITERAL_TEXTS_MAX, text_of: &text_of };
        let found = self.text(|search| search.exact(literals, exact));
        self.unless_damaged(found)
    }

    /// The `k` documents whose vectors seem nearest; `effort` is what the kind of the embedding
    /// understands by it, and `None` what is usual.
    ///
    /// # Errors
    /// If there is no embedding, the vector does not fit it, `k` is above [`FOUND_MAX`], or a
    /// vector or document is damaged.
    pub fn nearest(
        &self,
        vector: &[f32],
        k: usize,
        effort: Option<u32>,
    ) -> Result<dense::Found, IndexError> {
        self.compared(vector, k, |dense, args| dense.search(&SearchArgs { effort, ..*args }))
    }

    /// The `k` documents whose vectors are nearest: each is compared as it was given. Fails as
    /// [`View::nearest`] does.
    pub fn nearest_of_all(&self, vector: &[f32], k: usize) -> Result<dense::Found, IndexError> {
        self.compared(vector, k, |dense, args| dense.search_originals(args))
    }

    /// The slot of a document by its id, if it is there; the filter is not asked.
    pub fn slot(&self, id: &str) -> Result<Option<Slot>, IndexError> {
        Ok(self.state.find(id)?)
    }

    /// A document, if it is still there.
    pub fn document(&self, slot: Slot) -> Result<Option<Document>, IndexError> {
        Ok(self.state.document(slot)?)
    }

    /// A document's text, if it is still there.
    pub fn text_of(&self, slot: Slot) -> Result<Option<&str>, IndexError> {
        Ok(self.state.stored(slot)?.map(|(stored, _)| stored.text))
    }

    /// A document, if it is still there, of an answer that has room for it.
    ///
    /// # Errors
    /// [`IndexError::TooLarge`] before any of it is copied, if the answer has none, and what
    /// [`View::document`] says.
    pub fn document_within(
        &self,
        slot: Slot,
        room: &mut AnswerRoom,
    ) -> Result<Option<Document>, IndexError> {
        if let Some((stored, _)) = self.state.stored(slot)? {
            room.take(stored.id.len() + stored.text.len() + stored.metadata.len())?;
        }
        self.document(slot)
    }

    fn text<T>(&self, with: impl FnOnce(&TextSearch<'_>) -> T) -> T {
        let parts = self.state.text_parts();
        let allowed = |slot: Slot| self.allows(slot);
        with(&TextSearch { parts: &parts, options: Bm25Options::default(), allowed: &allowed })
    }

    fn compared(
        &self,
        vector: &[f32],
        k: usize,
        search: impl FnOnce(Searched<'_>, &SearchArgs<'_>) -> Result<dense::Found, dense::DenseError>,
    ) -> Result<dense::Found, IndexError> {
        check_count(k)?;
        let embedding = self.state.active().ok_or_else(|| {
            IndexError::invalid("a search by a vector", "needs a namespace with an embedding")
        })?;
        let query = &document::vector(&"the query", vector, &embedding.spec)?;
        let vectors = Vectors { embedding, damaged: OnceLock::new() };
        let about = self.passing.about(&self.state);
        let allowed = Some(Allowed { test: &|slot| self.allows(slot), about });
        let originals: Option<&dyn dense::Originals> = Some(&vectors);
        let args = SearchArgs { query, k, effort: None, allowed, originals };
        let found = search(embedding.dense(), &args);
        if let Some(damaged) = vectors.damaged.into_inner() {
            return Err(damaged.into());
        }
        let found = found.map_err(|error| IndexError::invalid("the search", error.to_string()))?;
        self.unless_damaged(found)
    }

    fn allows(&self, slot: Slot) -> bool {
        self.note_damage(self.passing.allows(&self.state, slot)).unwrap_or(false)
    }

    /// Keeps damage for the end of a search, whose callbacks cannot fail.
    fn note_damage<T>(&self, looked: Result<T, DamagedFile>) -> Option<T> {
        looked.map_err(|damaged| self.damaged.replace(Some(damaged))).ok()
    }

    fn unless_damaged<T>(&self, found: T) -> Result<T, IndexError> {
        match self.damaged.take() {
            Some(damaged) => Err(damaged.into()),
            None => Ok(found),
        }
    }
}

fn check_count(k: usize) -> Result<(), IndexError> {
    check_limit(|| "the search".to_owned(), (k, FOUND_MAX), "documents")
}
