//! A reranker that reads each document once for a query, however often it is asked.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use super::error::RetrievalError;
use super::search::Reranker;

/// Who ends a query at every stage in turn finds most documents several times.
pub(crate) struct Remembered<'a> {
    inner: &'a dyn Reranker,
    /// By query, then by text.
    scores: RefCell<HashMap<String, HashMap<String, f32>>>,
}

impl<'a> Remembered<'a> {
    pub(crate) fn new(inner: &'a dyn Reranker) -> Self {
        Self { inner, scores: RefCell::default() }
    }
}

impl Reranker for Remembered<'_> {
    fn scores(&self, query: &str, texts: &[Cow<'_, str>]) -> Result<Vec<f32>, RetrievalError> {
        let mut all = self.scores.borrow_mut();
        let known = all.entry(query.to_owned()).or_default();
        let mut new: Vec<Cow<'_, str>> = Vec::new();
        for text in texts {
            if !known.contains_key(&**text) && !new.contains(text) {
                new.push(text.clone());
            }
        }
        if !new.is_empty() {
            let scores = self.inner.scores(query, &new)?;
            known.extend(new.into_iter().map(Cow::into_owned).zip(scores));
        }
        Ok(texts.iter().map(|text| known[&**text]).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Says how long a text is.
    struct Counting(Cell<usize>);

    impl Reranker for Counting {
        fn scores(&self, _: &str, texts: &[Cow<'_, str>]) -> Result<Vec<f32>, RetrievalError> {
            self.0.set(self.0.get() + texts.len());
            Ok(texts.iter().map(|text| text.len() as f32).collect())
        }
    }

    #[test]
    fn a_document_is_read_once_for_a_query() {
        let counting = Counting(Cell::new(0));
        let remembered = Remembered::new(&counting);
        let check = |query: &str, texts: &[&str], read: usize| {
            let texts: Vec<Cow<'_, str>> = texts.iter().map(|&text| text.into()).collect();
            let lengths: Vec<f32> = texts.iter().map(|text| text.len() as f32).collect();
            assert_eq!(remembered.scores(query, &texts).unwrap(), lengths);
            assert_eq!(counting.0.get(), read);
        };
        check("one", &["a", "bb", "a"], 2);
        check("one", &["bb", "ccc"], 3);
        check("other", &["a"], 4);
    }
}
