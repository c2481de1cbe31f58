//! A tenant's texts at the length that training cuts them to.

use std::sync::Arc;

use cotenant_train::{TextError, Texts};
use cotenant_transformer::random;

/// A table of texts, cut to fewer tokens; the closing special token stays.
pub(super) struct CutTexts {
    pub inner: Arc<dyn Texts>,
    /// Texts below this number are queries, the others documents.
    pub queries: u32,
    /// Most tokens of a query.
    pub query_tokens_max: usize,
    /// Most tokens of a document.
    pub document_tokens_max: usize,
}

impl CutTexts {
    fn tokens_max(&self, text: u32) -> usize {
        if text < self.queries { self.query_tokens_max } else { self.document_tokens_max }
    }
}

impl Texts for CutTexts {
    fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError> {
        let tokens = self.inner.tokens(text)?;
        let most = self.tokens_max(text).max(1);
        match tokens.last() {
            Some(&last) if tokens.len() > most => {
                Ok(tokens[..most - 1].iter().copied().chain([last]).collect())
            }
            Some(_) | None => Ok(tokens),
        }
    }

    fn key(&self, text: u32) -> u64 {
        random::mix(&[self.inner.key(text), self.tokens_max(text) as u64])
    }

    fn announce(&self, upcoming: &[u32]) {
        self.inner.announce(upcoming);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Whole;

    impl Texts for Whole {
        fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError> {
            Ok((0..=text).collect())
        }

        fn key(&self, text: u32) -> u64 {
            text.into()
        }
    }

    #[test]
    fn a_cut_keeps_the_closing_token() {
        let cut = CutTexts {
            inner: Arc::new(Whole),
            queries: 8,
            query_tokens_max: 3,
            document_tokens_max: 5,
        };
        for (text, expected) in
            [(1, vec![0, 1]), (2, vec![0, 1, 2]), (7, vec![0, 1, 7]), (9, vec![0, 1, 2, 3, 9])]
        {
            assert_eq!(*cut.tokens(text).unwrap(), *expected, "text {text}");
        }
        assert_ne!(cut.key(7), Whole.key(7), "another cut is another text");
    }
}
