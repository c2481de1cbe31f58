//! A tenant's next batch: planned, then fetched, then handed to a round.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cotenant_transformer::EncoderConfig;

use super::check::check_tokens;
use crate::event::FinishReason;
use crate::plan::{Batch, Course, Cursor, Plan};
use crate::spec::{Example, Settings, TextError, Texts, Tokens};

/// A batch with its texts.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) plan: Plan,
    pub(super) tokens: Vec<Tokens>,
}

/// What is known of the next batch.
enum Next {
    Unknown,
    Planned(Batch),
    Fetched(Ready),
}

/// Where a tenant's batches come from.
pub(super) struct Supply {
    examples: Vec<Example>,
    texts: Arc<dyn Texts>,
    course: Course,
    tokens_chunk: usize,
    /// The epoch whose texts were announced.
    announced: Option<u32>,
    next: Next,
}

impl Supply {
    pub(super) fn new(examples: Vec<Example>, texts: Arc<dyn Texts>, settings: &Settings) -> Self {
        let course = Course::new(&examples, settings);
        let tokens_chunk = settings.tokens_chunk;
        Self { examples, texts, course, tokens_chunk, announced: None, next: Next::Unknown }
    }

    /// Whether no batch has anything to compare.
    pub(super) fn is_empty(&self) -> bool {
        self.course.is_empty()
    }

    /// Where the next batch stands among all.
    pub(super) fn course(&self) -> &Course {
        &self.course
    }

    /// See [`Course::batch_of_step_at`].
    pub(super) fn batch_of_step_at(&self, cursor: Cursor) -> Option<usize> {
        self.course.batch_of_step_at(&self.examples, cursor)
    }

    /// Goes to a cursor that the course has.
    pub(super) fn seek(&mut self, cursor: Cursor) {
        self.course.seek(&self.examples, cursor);
        (self.announced, self.next) = (None, Next::Unknown);
    }

    /// Goes to the batch after the one that was taken.
    pub(super) fn advance(&mut self) {
        self.course.advance(&self.examples);
    }

    /// Forgets the next batch, for a tenant that needs none.
    pub(super) fn drop_batch(&mut self) {
        self.next = Next::Unknown;
    }

    /// Whether the next batch can be fetched without waiting.
    pub(super) fn is_ready(&mut self) -> bool {
        self.plan();
        match &self.next {
            Next::Unknown => false,
            Next::Planned(batch) => batch.texts.iter().all(|&text| self.texts.is_ready(text)),
            Next::Fetched(_) => true,
        }
    }

    /// Gets the next batch's texts and says how long that had to wait.
    pub(super) fn fetch(&mut self, config: &EncoderConfig) -> Result<Duration, FinishReason> {
        self.plan();
        let batch = match std::mem::replace(&mut self.next, Next::Unknown) {
            Next::Planned(batch) => batch,
            known @ (Next::Unknown | Next::Fetched(_)) => {
                self.next = known;
                return Ok(Duration::ZERO);
            }
        };
        let begun = Instant::now();
        let fetch = |&text: &u32| {
            let bad = |error: TextError| FinishReason::BadText { text, reason: error.reason };
            self.texts.read(text).map_err(bad)
        };
        let mut tokens = batch.texts.iter().map(fetch).collect::<Result<Vec<_>, _>>()?;
        let stall = begun.elapsed();
        for (&text, tokens) in batch.texts.iter().zip(&tokens) {
            let bad = |reason| FinishReason::BadText { text, reason };
            check_tokens(tokens.as_text(), config).map_err(bad)?;
        }
        let lengths: Vec<usize> = tokens.iter().map(|tokens| tokens.ids.len()).collect();
        let plan = Plan::new(batch, &lengths, self.tokens_chunk);
        // As the plan sorts its texts: both sorts keep equals in order.
        tokens.sort_by_key(|tokens| Reverse(tokens.ids.len()));
        self.next = Next::Fetched(Ready { plan, tokens });
        Ok(stall)
    }

    /// Tokens of the batch that was fetched.
    pub(super) fn fetched_tokens(&self) -> Option<usize> {
        match &self.next {
            Next::Unknown | Next::Planned(_) => None,
            Next::Fetched(ready) => Some(ready.plan.tokens()),
        }
    }

    /// The batch that was fetched.
    pub(super) fn take(&mut self) -> Option<Ready> {
        match std::mem::replace(&mut self.next, Next::Unknown) {
            Next::Unknown | Next::Planned(_) => None,
            Next::Fetched(ready) => Some(ready),
        }
    }

    /// Decides the next batch, and announces the texts of an epoch when its first one is decided.
    fn plan(&mut self) {
        if !matches!(self.next, Next::Unknown) {
            return;
        }
        let epoch = self.course.cursor().epoch;
        if self.announced != Some(epoch) {
            self.texts.announce(&self.course.upcoming(&self.examples));
            self.announced = Some(epoch);
        }
        self.next = Next::Planned(self.course.batch(&self.examples));
    }
}
