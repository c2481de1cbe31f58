//! The best documents of several parts by BM25, without looking at all that share a term.
//!
//! MaxScore (Turtle and Flood, 1995) with maxima of blocks (Ding and Suel, SIGIR 2011), a window of
//! documents at a time: in each window the lists are ordered by what they can weigh at most there.
//! The lists that even together cannot lift a document into the answer are not walked, but only
//! asked about documents that the others brought.
//!
//! Weights are whole numbers on a scale that is made for the query, so that a document's sum does
//! not depend on the order of addition: equal documents tie, whatever part and window they are in.

use std::collections::BinaryHeap;

use super::analyzer::Analyzer;
use super::buffer::TextBuffer;
use super::cursor::{Cursor, Lengths, WEIGHT_MAX, WINDOW, Weighing};
use super::list::List;
use super::options::{Bm25Options, rarity};
use super::segment::TextSegment;
use super::statistics::Removed;
use crate::{Hit, Slot};

/// Most different terms of a query that count, the rarest; a longer query would cost without end.
pub const QUERY_TERMS_MAX: usize = 1024;

/// A part of a namespace's text.
#[derive(Clone, Copy)]
pub enum TextPart<'a> {
    /// What came lately.
    Buffer(&'a TextBuffer),
    /// What rests.
    Segment(&'a TextSegment),
}

/// What is searched, and how.
#[derive(Clone, Copy)]
pub struct TextSearch<'a> {
    /// The parts of one namespace; no slot is alive in two of them. Documents are counted over all.
    pub parts: &'a [TextPart<'a>],
    /// Any weighting; with that of the segments it is fastest.
    pub options: Bm25Options,
    /// Which documents may be found. It is asked only about those that would be.
    pub allowed: &'a dyn Fn(Slot) -> bool,
}

/// What a search found, and what that took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextFound {
    /// The best documents that share a term with the query, in the order of [`Hit::best_first`].
    pub hits: Vec<Hit>,
    /// Documents of lists that were read, a document for each list.
    pub postings_read: u64,
}

/// A term of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryTerm {
    /// As it stands in the dictionary: lower-cased and stemmed.
    pub term: String,
    /// How often the query has it.
    pub repeated: u32,
    /// How many documents that were not removed hold it.
    pub documents: u64,
    /// `ln(1 + (N - n + 0.5) / (n + 0.5))`.
    pub rarity: f64,
}

impl<'a> TextPart<'a> {
    fn documents(self) -> u32 {
        match self {
            Self::Buffer(buffer) => buffer.slots().len() as u32,
            Self::Segment(segment) => segment.documents(),
        }
    }

    fn live(self) -> usize {
        match self {
            Self::Buffer(buffer) => buffer.len(),
            Self::Segment(segment) => segment.len(),
        }
    }

    fn length_total(self) -> u64 {
        match self {
            Self::Buffer(buffer) => buffer.length_total(),
            Self::Segment(segment) => segment.length_total(),
        }
    }

    pub(super) fn slot(self, document: u32) -> Slot {
        match self {
            Self::Buffer(buffer) => buffer.slots()[document as usize],
            Self::Segment(segment) => segment.slot(document),
        }
    }

    pub(super) fn removed(self) -> &'a Removed {
        match self {
            Self::Buffer(buffer) => &buffer.removed,
            Self::Segment(segment) => &segment.removed,
        }
    }

    fn lengths(self) -> Lengths<'a> {
        match self {
            Self::Buffer(buffer) => Lengths::Plain(buffer.lengths()),
            Self::Segment(segment) => segment.lengths(),
        }
    }

    /// A term's number and list.
    fn list(self, term: &str) -> Option<(u32, List<'a>)> {
        match self {
            Self::Buffer(buffer) => {
                buffer.list(term).map(|(number, list)| (number, List::Plain(list)))
            }
            Self::Segment(segment) => segment.list(term),
        }
    }

    /// What the shares of metas are to be multiplied with; nothing if they bound nothing here.
    fn stretch(self, options: Bm25Options, mean: f32) -> f32 {
        match self {
            Self::Segment(segment) if segment.options == options => {
                let written = segment.mean_when_written();
                if written > 0.0 { (mean / written).max(1.0) } else { f32::MAX }
            }
            Self::Segment(_) | Self::Buffer(_) => f32::MAX,
        }
    }
}

/// A term of a query with its list in each part.
pub(super) struct Wanted<'a> {
    pub term: QueryTerm,
    pub lists: Vec<Option<List<'a>>>,
}

impl TextSearch<'_> {
    /// The best `k` documents for a query.
    pub fn best(&self, query: &str, k: usize) -> TextFound {
        let wanted = self.wanted(query);
        self.best_of(&wanted, k)
    }

    /// The query's different terms that some document holds, in the order of the query.
    pub fn terms(&self, query: &str) -> Vec<QueryTerm> {
        self.wanted(query).into_iter().map(|wanted| wanted.term).collect()
    }

    pub(super) fn best_of(&self, wanted: &[Wanted<'_>], k: usize) -> TextFound {
        let k = k.min(self.documents() as usize);
        let mut found = TextFound::default();
        let scale = scale(wanted);
        if k == 0 || wanted.is_empty() {
            return found;
        }
        let mut best = Best { heap: BinaryHeap::new(), k, scale, window: WINDOW_MIN };
        let length: u64 = self.parts.iter().map(|part| part.length_total()).sum();
        let mean = (length as f64 / self.documents() as f64) as f32;
        for (at, part) in self.parts.iter().enumerate() {
            let cursors = wanted.iter().filter_map(|wanted| {
                let weighing = Weighing {
                    whole: (wanted.term.rarity * f64::from(wanted.term.repeated) * scale) as f32,
                    discount: self.options.discount(mean),
                    lengths: part.lengths(),
                    stretch: part.stretch(self.options, mean),
                };
                Some(Cursor::new(wanted.lists[at]?, weighing))
            });
            let mut windows = Windows::new(cursors.collect());
            windows.search(*part, self.allowed, &mut best);
            found.postings_read += windows.cursors.iter().map(|cursor| cursor.read).sum::<u64>();
        }
        found.hits = best.heap.into_iter().map(|entry| entry.0).collect();
        found.hits.sort_unstable_by(Hit::best_first);
        found
    }

    pub(super) fn wanted(&self, query: &str) -> Vec<Wanted<'_>> {
        let mut counted: Vec<(String, u32)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        Analyzer::new().each_term(query, |term| {
            let place = *places.entry(term.to_owned()).or_insert_with(|| {
                counted.push((term.to_owned(), 0));
                counted.len() - 1
            });
            counted[place].1 += 1;
        });
        let all = self.documents();
        let mut wanted: Vec<Wanted<'_>> = counted
            .into_iter()
            .filter_map(|(term, repeated)| {
                let mut documents = 0;
                let lists = self.parts.iter().map(|part| {
                    let (number, list) = part.list(&term)?;
                    let removed = part.removed().with_term(number) as usize;
                    documents += list.len().saturating_sub(removed) as u64;
                    Some(list)
                });
                let lists = lists.collect();
                let rarity = rarity(all, documents);
                let term = QueryTerm { term, repeated, documents, rarity };
                (documents > 0).then_some(Wanted { term, lists })
            })
            .collect();
        if wanted.len() > QUERY_TERMS_MAX {
            wanted.sort_by_key(|wanted| wanted.term.documents);
            wanted.truncate(QUERY_TERMS_MAX);
        }
        wanted
    }

    /// Number of documents that were not removed.
    fn documents(&self) -> u64 {
        self.parts.iter().map(|part| part.live() as u64).sum()
    }
}

/// The power of two with which weights become whole numbers: each below [`WEIGHT_MAX`], and all of
/// them together below 2^31.
fn scale(wanted: &[Wanted<'_>]) -> f64 {
    let weights = wanted.iter().map(|one| one.term.rarity * f64::from(one.term.repeated));
    let (highest, sum) =
        weights.fold((0.0f64, 0.0), |(highest, sum), weight| (highest.max(weight), sum + weight));
    let limit = (f64::from(WEIGHT_MAX - 2) / highest).min(f64::from(1u32 << 31) / sum);
    if limit.is_finite() { limit.log2().floor().exp2() } else { 1.0 }
}

/// The best documents so far.
struct Best {
    heap: BinaryHeap<Worst>,
    k: usize,
    scale: f64,
    /// Documents of the next window.
    window: usize,
}

/// Worst first.
struct Worst(Hit);

impl PartialEq for Worst {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Worst {}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.best_first(&other.0)
    }
}

impl Best {
    /// A sum below this cannot come into the answer.
    fn threshold(&self) -> u32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() == self.k => {
                let sum = (f64::from(worst.0.score) * self.scale) as u32;
                // A score has 24 bits of its sum: a sum that is a little lower may have the same.
                sum - (sum >> 24)
            }
            _ => 0,
        }
    }

    fn offer(&mut self, hit: Hit) {
        if self.heap.len() < self.k {
            self.heap.push(Worst(hit));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && hit.best_first(&worst.0).is_lt()
        {
            *worst = Worst(hit);
        }
    }

    fn score(&self, sum: u32) -> f32 {
        (f64::from(sum) / self.scale) as f32
    }
}

/// Documents of the first window: few, since all of them are looked at. Each one after it has twice
/// as many, up to [`WINDOW`].
const WINDOW_MIN: usize = 128;

/// Postings of a window from which on all its sums are looked at, and not only theirs.
const DENSE: usize = WINDOW / 8;

/// Adds the pairs with enough. Each is stored, and overwritten if it has too little: which of them
/// have enough cannot be foreseen, and a wrong guess costs more than a store.
#[inline(always)]
fn keep(
    candidates: &mut Vec<(u32, u32)>,
    pairs: impl ExactSizeIterator<Item = (u32, u32)>,
    needed: u32,
) {
    let mut kept = candidates.len();
    candidates.resize(kept + pairs.len(), (0, 0));
    for pair in pairs {
        candidates[kept] = pair;
        kept += usize::from(pair.1 >= needed);
    }
    candidates.truncate(kept);
}

/// The lists of one part, and the sums of one window.
struct Windows<'a> {
    cursors: Vec<Cursor<'a>>,
    /// 0 between windows.
    sums: Box<[u32; WINDOW]>,
    /// Documents with sums, list by list.
    summed: Vec<u32>,
    /// Documents that may come into the answer, ascending, and their sums so far.
    candidates: Vec<(u32, u32)>,
    /// The lists that have something in the window, by what they weigh there at most, ascending.
    order: Vec<(u32, usize)>,
}

impl<'a> Windows<'a> {
    fn new(cursors: Vec<Cursor<'a>>) -> Self {
        Self {
            cursors,
            sums: Box::new([0; WINDOW]),
            summed: Vec::new(),
            candidates: Vec::new(),
            order: Vec::new(),
        }
    }

    fn search(&mut self, part: TextPart<'_>, allowed: &dyn Fn(Slot) -> bool, best: &mut Best) {
        let documents = part.documents();
        let mut start = 0u32;
        while start < documents {
            let end = documents.min(start.saturating_add(best.window as u32));
            let threshold = best.threshold();
            if let Some(minor) = self.split((start, end), threshold) {
                self.walk((start, end), minor, threshold);
                self.ask(minor, threshold);
                self.offer(part, allowed, best);
            }
            best.window = WINDOW.min(2 * best.window);
            start = end;
        }
    }

    fn offer(&self, part: TextPart<'_>, allowed: &dyn Fn(Slot) -> bool, best: &mut Best) {
        for &(document, sum) in &self.candidates {
            if sum < best.threshold() || part.removed().contains(document) {
                continue;
            }
            let hit = Hit { slot: part.slot(document), score: best.score(sum) };
            if allowed(hit.slot) {
                best.offer(hit);
            }
        }
    }

    /// Orders the lists of a window. The number of those at the front that even together stay
    /// below the threshold; nothing if that is all of them.
    fn split(&mut self, (start, end): (u32, u32), threshold: u32) -> Option<usize> {
        self.order.clear();
        for (at, cursor) in self.cursors.iter_mut().enumerate() {
            let bound = cursor.bound(start, end);
            if bound > 0 {
                self.order.push((bound, at));
            }
        }
        // Of equal bounds the longer list is better not walked.
        let cursors = &self.cursors;
        self.order.sort_unstable_by_key(|&(bound, at)| (bound, usize::MAX - cursors[at].len()));
        let mut sum = 0u32;
        self.order.iter().position(|(bound, _)| {
            sum = sum.saturating_add(*bound);
            sum >= threshold
        })
    }

    /// Adds up the lists that count, and keeps the documents that the others could lift.
    fn walk(&mut self, window: (u32, u32), minor: usize, threshold: u32) {
        let (rest, walked) = self.order.split_at(minor);
        let rest = rest.iter().fold(0u32, |sum, (bound, _)| sum.saturating_add(*bound));
        let needed = threshold.saturating_sub(rest).max(1);
        self.candidates.clear();
        if let &[(_, at)] = walked {
            let candidates = &mut self.candidates;
            self.cursors[at].each_in(window, |documents, weights| {
                let pairs = documents.iter().copied().zip(weights.iter().copied());
                keep(candidates, pairs, needed);
            });
            return;
        }
        self.summed.clear();
        let (sums, summed) = (&mut self.sums, &mut self.summed);
        for &(_, at) in walked {
            self.cursors[at].each_in(window, |documents, weights| {
                for (&document, &weight) in documents.iter().zip(weights) {
                    let sum = &mut sums[document.wrapping_sub(window.0) as usize % WINDOW];
                    *sum = sum.wrapping_add(weight);
                }
                summed.extend_from_slice(documents);
            });
        }
        if self.summed.len() >= DENSE {
            self.collect_all(window.0, needed);
        } else {
            self.collect(window.0, needed);
            // They rise within each list, which this sort makes use of.
            self.candidates.sort_by_key(|(document, _)| *document);
        }
    }

    /// Looks at the sum of each document that has one, the first time it comes.
    fn collect(&mut self, start: u32, needed: u32) {
        let sums = &mut self.sums;
        let pairs = self.summed.iter().map(|&document| {
            let sum = &mut sums[document.wrapping_sub(start) as usize % WINDOW];
            (document, std::mem::take(sum))
        });
        keep(&mut self.candidates, pairs, needed);
    }

    /// Looks at all sums, some at a time.
    fn collect_all(&mut self, start: u32, needed: u32) {
        const TOGETHER: usize = 32;
        for (at, sums) in self.sums.as_chunks_mut::<TOGETHER>().0.iter_mut().enumerate() {
            if sums.iter().fold(false, |any, &sum| any | (sum >= needed)) {
                let first = start.wrapping_add((at * TOGETHER) as u32);
                let pairs = sums.iter().enumerate();
                let pairs = pairs.map(|(at, &sum)| (first.wrapping_add(at as u32), sum));
                keep(&mut self.candidates, pairs, needed);
            }
            sums.fill(0);
        }
    }

    /// Asks the lists that were not walked about the candidates, the heaviest first.
    fn ask(&mut self, minor: usize, threshold: u32) {
        let mut rest =
            self.order[..minor].iter().fold(0u32, |sum, (bound, _)| sum.saturating_add(*bound));
        for &(bound, at) in self.order[..minor].iter().rev() {
            let cursor = &mut self.cursors[at];
            rest = rest.saturating_sub(bound);
            let needed = threshold.saturating_sub(rest);
            self.candidates.retain_mut(|(document, sum)| {
                if sum.saturating_add(cursor.block_bound(*document)) < needed {
                    return false;
                }
                *sum = sum.wrapping_add(cursor.weight(*document));
                *sum >= needed
            });
        }
    }
}
