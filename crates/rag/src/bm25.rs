//! Texts of a job by BM25: for mining hard negatives and as the lexical baseline. How texts become
//! terms and what they weigh is the index's, so that training sees what serving will.

use cotenant_index::text::{Bm25Options, TextBuffer, TextPart, TextSearch, TextSegment};
use cotenant_index::{Bytes, Slot};

/// Texts that do not change and are named by their position.
pub struct Bm25 {
    segment: TextSegment,
    options: Bm25Options,
}

impl Bm25 {
    /// Takes texts in order; the first is text 0. None may be longer than
    /// [`crate::data::TEXT_BYTES_MAX`].
    pub fn build<'a>(texts: impl IntoIterator<Item = &'a str>, options: Bm25Options) -> Self {
        let mut buffer = TextBuffer::new(options);
        for (slot, text) in (0..).map(Slot).zip(texts) {
            buffer.add(slot, text).expect("slots ascend, and a reader cuts long texts");
        }
        let bytes = Bytes::from_vec(buffer.freeze());
        let segment = TextSegment::open(bytes).expect("what was just written is whole");
        Self { segment, options }
    }

    /// The best `k` texts that share a term with the query, best first; equal scores are ordered by
    /// position.
    pub fn search(&self, query: &str, k: usize) -> Vec<u32> {
        let parts = &[TextPart::Segment(&self.segment)];
        let search = TextSearch { parts, options: self.options, allowed: &|_| true };
        search.best(query, k).hits.iter().map(|hit| hit.slot.0).collect()
    }
}
