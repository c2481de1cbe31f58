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
    /// A round has it.
    Taken,
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
    /// The batch after the one that a round has.
    ahead: Option<Ready>,
}

impl Supply {
    pub(super) fn new(examples: Vec<Example>, texts: Arc<dyn Texts>, settings: &Settings) -> Self {
        let course = Course::new(&examples, settings);
        let tokens_chunk = settings.tokens_chunk;
        let (announced, next, ahead) = (None, Next::Unknown, None);
        Self { examples, texts, course, tokens_chunk, announced, next, ahead }
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
        (self.announced, self.next, self.ahead) = (None, Next::Unknown, None);
    }

    /// Goes to the batch after the one that was taken.
    pub(super) fn advance(&mut self) {
        self.course.advance(&self.examples);
        self.next = self.ahead.take().map_or(Next::Unknown, Next::Fetched);
    }

    /// Forgets the next batch, for a tenant that needs none.
    pub(super) fn drop_batch(&mut self) {
        (self.next, self.ahead) = (Next::Unknown, None);
    }

    /// Whether the next batch can be fetched without waiting.
    pub(super) fn is_ready(&mut self) -> bool {
        self.plan();
        match &self.next {
            Next::Unknown | Next::Taken => false,
            Next::Planned(batch) => batch.texts.iter().all(|&text| self.texts.is_ready(text)),
            Next::Fetched(_) => true,
        }
    }

    /// Gets the next batch's texts and says how long that had to wait.
    pub(super) fn fetch(&mut self, config: &EncoderConfig) -> Result<Duration, FinishReason> {
        self.plan();
        let batch = match std::mem::replace(&mut self.next, Next::Unknown) {
            Next::Planned(batch) => batch,
            known @ (Next::Unknown | Next::Fetched(_) | Next::Taken) => {
                self.next = known;
                return Ok(Duration::ZERO);
            }
        };
        let (ready, stall) = self.read(batch, config)?;
        self.next = Next::Fetched(ready);
        Ok(stall)
    }

    /// Gets the texts of the batch after the one that is with a round, if they can be had without
    /// waiting and are good; else nothing is done, and it is fetched when its turn comes.
    pub(super) fn look_ahead(&mut self, config: &EncoderConfig) {
        if self.ahead.is_some() || !matches!(self.next, Next::Taken) {
            return;
        }
        let batch = self.course.batch_after(&self.examples);
        let batch = batch.filter(|batch| batch.texts.iter().all(|&text| self.texts.is_ready(text)));
        let read = batch.and_then(|batch| self.read(batch, config).ok());
        self.ahead = read.map(|(ready, _)| ready);
    }

    /// A batch's texts, checked and sorted as its plan has them, and how long they were waited for.
    fn read(
        &self,
        batch: Batch,
        config: &EncoderConfig,
    ) -> Result<(Ready, Duration), FinishReason> {
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
        Ok((Ready { plan, tokens }, stall))
    }

    /// Tokens of the batch that was fetched.
    pub(super) fn fetched_tokens(&self) -> Option<usize> {
        match &self.next {
            Next::Unknown | Next::Planned(_) | Next::Taken => None,
            Next::Fetched(ready) => Some(ready.plan.tokens()),
        }
    }

    /// The batch that was fetched.
    pub(super) fn take(&mut self) -> Option<Ready> {
        match std::mem::replace(&mut self.next, Next::Taken) {
            Next::Unknown | Next::Planned(_) | Next::Taken => None,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use cotenant_transformer::EncoderConfig;

    use super::{Example, Settings, Supply, TextError, Texts};

    const CONFIG: EncoderConfig = EncoderConfig {
        hidden: 8,
        layers: 1,
        heads: 1,
        intermediate: 8,
        vocab: 100,
        positions: 4,
        token_types: 2,
        norm_eps: 1e-12,
        position_offset: 0,
    };

    /// Texts of one token, of which text 9 has one that the model does not know; ready or not.
    struct Table(AtomicBool);

    impl Texts for Table {
        fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError> {
            Ok(Arc::new([if text == 9 { 100 } else { text }]))
        }

        fn is_ready(&self, _: u32) -> bool {
            self.0.load(Ordering::Relaxed)
        }

        fn key(&self, text: u32) -> u64 {
            text.into()
        }
    }

    /// Whether the second batch of so many pairs is there before it is fetched, having been looked for
    /// ahead with texts ready or not.
    fn is_ahead(pairs: u32, is_ready: bool) -> bool {
        let pair = |at| Example::Pair { anchor: 2 * at, positive: 2 * at + 1, negatives: vec![] };
        let table = Arc::new(Table(AtomicBool::new(true)));
        let settings = Settings { batch: 2, ..Settings::default() };
        let mut supply = Supply::new((0..pairs).map(pair).collect(), table.clone(), &settings);
        supply.look_ahead(&CONFIG);
        assert_eq!(supply.fetched_tokens(), None, "no round has the batch before");
        assert!(supply.fetch(&CONFIG).is_ok() && supply.take().is_some());
        table.0.store(is_ready, Ordering::Relaxed);
        supply.look_ahead(&CONFIG);
        supply.advance();
        supply.fetched_tokens().is_some()
    }

    #[test]
    fn a_batch_is_fetched_ahead_if_nothing_is_waited_for_and_nothing_is_wrong() {
        assert!(is_ahead(4, true));
        assert!(!is_ahead(4, false), "texts are not ready");
        assert!(!is_ahead(2, true), "the next batch is of another epoch");
    }
}
