//! A namespace of the index as what a pipeline retrieves from.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use cotenant_index::dense::{IvfPq, Kind, SearchCost};
use cotenant_index::text::{ExactFound, Literal, QueryTerm, TextFound};
use cotenant_index::{Namespace, Slot, View};

use super::cost::Work;
use super::error::RetrievalError;
use super::source::{Near, Probe, Retrievers};

/// Most vectors of which all are compared in f32 for one query, which takes about 20 ms at 384
/// values each. Of more, the kind's own search with `FULL_CANDIDATES` candidates stands for all.
pub const FULL_VECTORS_MAX: u64 = 200_000;

/// Candidates that stand for all vectors where these are many.
const FULL_CANDIDATES: u32 = 4096;

/// Candidates that the usual effort of clusters stands for.
const CANDIDATES_USUAL: u64 = 300;

/// What a kind understands by so many candidates; nothing where it compares all in any case.
fn effort(kind: Kind, candidates: u32) -> Option<u32> {
    match kind {
        Kind::ExactF32 | Kind::ExactBf16 | Kind::ExactInt8 => None,
        Kind::Codes(_) | Kind::Hnsw(_) => Some(candidates),
        // Clusters are looked through, not candidates compared: as many more or fewer of them.
        Kind::IvfPq(IvfPq { probes, .. }) => {
            let probes = u64::from(probes) * u64::from(candidates) / CANDIDATES_USUAL;
            Some(u32::try_from(probes).unwrap_or(u32::MAX).max(1))
        }
    }
}

/// What comparing took, by what a comparison costs in a kind. Where candidates are compared again
/// with their originals, each of these is looked up on its own.
fn work(kind: Kind, cost: SearchCost) -> Work {
    let SearchCost { full, fine, coarse } = cost;
    let looked_up = full;
    match kind {
        Kind::ExactF32 => Work { full, ..Work::default() },
        Kind::ExactBf16 | Kind::ExactInt8 => {
            Work { looked_up, scanned: fine + coarse, ..Work::default() }
        }
        Kind::Codes(_) | Kind::IvfPq(_) => {
            Work { looked_up, fine, codes: coarse, ..Work::default() }
        }
        Kind::Hnsw(_) => Work { looked_up, fine, walked: coarse, ..Work::default() },
    }
}

impl Retrievers for View<'_> {
    fn documents(&self) -> Result<u64, RetrievalError> {
        Ok(View::documents(self))
    }

    fn words(&self, query: &str, k: usize) -> Result<TextFound, RetrievalError> {
        Ok(View::words(self, query, k)?)
    }

    fn terms(&self, query: &str) -> Result<Vec<QueryTerm>, RetrievalError> {
        Ok(View::terms(self, query))
    }

    fn holding(&self, literals: &[Literal], k: usize) -> Result<ExactFound, RetrievalError> {
        Ok(View::holding(self, literals, k)?)
    }

    fn near(&self, vector: &[f32], k: usize, probe: Probe) -> Result<Near, RetrievalError> {
        // Without an embedding the search says so itself.
        let kind = self.kind().unwrap_or(Kind::ExactF32);
        let found = match probe {
            Probe::All if self.vectors() <= FULL_VECTORS_MAX => {
                let found = self.nearest_of_all(vector, k)?;
                let work = Work { full: found.cost.full, ..Work::default() };
                return Ok(Near { hits: found.hits, work });
            }
            Probe::All => self.nearest(vector, k, effort(kind, FULL_CANDIDATES))?,
            Probe::Some { candidates } => self.nearest(vector, k, effort(kind, candidates))?,
        };
        Ok(Near { hits: found.hits, work: work(kind, found.cost) })
    }

    fn text(&self, slot: Slot) -> Result<Option<Cow<'_, str>>, RetrievalError> {
        Ok(self.text_of(slot)?.map(Cow::from))
    }
}

/// A namespace while others write to it, for what takes long: each question is answered from a view
/// of its own, so that writes wait for none but that.
#[derive(Clone, Copy)]
pub struct Live<'a> {
    /// What is retrieved from.
    pub namespace: &'a Namespace,
    /// Whose vectors are given; another one in use is an error.
    pub embedding: &'a str,
    /// Once true, every question is answered by [`RetrievalError::Stopped`],
    pub stop: &'a AtomicBool,
    /// and from then on too.
    pub deadline: Instant,
}

impl Live<'_> {
    /// Whether anybody still waits.
    ///
    /// # Errors
    /// [`RetrievalError::Stopped`] if not.
    pub fn check(&self) -> Result<(), RetrievalError> {
        match self.stop.load(Ordering::Relaxed) || Instant::now() >= self.deadline {
            true => Err(RetrievalError::Stopped),
            false => Ok(()),
        }
    }

    fn view(&self) -> Result<View<'_>, RetrievalError> {
        self.check()?;
        Ok(self.namespace.view(None)?)
    }
}

impl Retrievers for Live<'_> {
    fn documents(&self) -> Result<u64, RetrievalError> {
        Ok(self.view()?.documents())
    }

    fn words(&self, query: &str, k: usize) -> Result<TextFound, RetrievalError> {
        Retrievers::words(&self.view()?, query, k)
    }

    fn terms(&self, query: &str) -> Result<Vec<QueryTerm>, RetrievalError> {
        Ok(self.view()?.terms(query))
    }

    fn holding(&self, literals: &[Literal], k: usize) -> Result<ExactFound, RetrievalError> {
        Retrievers::holding(&self.view()?, literals, k)
    }

    fn near(&self, vector: &[f32], k: usize, probe: Probe) -> Result<Near, RetrievalError> {
        let view = self.view()?;
        if view.embedding().is_none_or(|spec| spec.name != self.embedding) {
            return Err(RetrievalError::Switched { asked: self.embedding.to_owned() });
        }
        view.near(vector, k, probe)
    }

    fn text(&self, slot: Slot) -> Result<Option<Cow<'_, str>>, RetrievalError> {
        let view = self.view()?;
        let text = view.text_of(slot)?.map(|text| Cow::Owned(text.to_owned()));
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use cotenant_index::dense::Codes;

    use super::*;

    #[test]
    fn each_kind_is_given_its_own_effort() {
        let check = |kind, candidates, expected| {
            assert_eq!(effort(kind, candidates), expected, "{kind:?}");
        };
        check(Kind::ExactInt8, 100, None);
        check(Kind::Codes(Codes::default()), 100, Some(100));
        let clusters = |probes| Kind::IvfPq(IvfPq { probes, ..IvfPq::default() });
        check(clusters(64), 300, Some(64));
        check(clusters(64), 100, Some(21));
        check(clusters(2), 100, Some(1));
    }
}
