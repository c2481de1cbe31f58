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
    /// A round has it; perhaps the batch after it is here.
    Taken(Option<Ready>),
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
        self.next = match std::mem::replace(&mut self.next, Next::Unknown) {
            Next::Taken(Some(ready)) => Next::Fetched(ready),
            Next::Unknown | Next::Planned(_) | Next::Fetched(_) | Next::Taken(None) => {
                Next::Unknown
            }
        };
    }

    /// Forgets the next batch, for a tenant that needs none.
    pub(super) fn drop_batch(&mut self) {
        self.next = Next::Unknown;
    }

    /// Whether the next batch can be fetched without waiting.
    pub(super) fn is_ready(&mut self) -> bool {
        self.plan();
        match &self.next {
            Next::Unknown | Next::Taken(_) => false,
            Next::Planned(batch) => batch.texts.iter().all(|&text| self.texts.is_ready(text)),
            Next::Fetched(_) => true,
        }
    }

    /// Gets the next batch's texts and says how long that had to wait.
    pub(super) fn fetch(&mut self, config: &EncoderConfig) -> Result<Duration, FinishReason> {
        self.plan();
        let batch = match std::mem::replace(&mut self.next, Next::Unknown) {
            Next::Planned(batch) => batch,
            known @ (Next::Unknown | Next::Fetched(_) | Next::Taken(_)) => {
                self.next = known;
                return Ok(Duration::ZERO);
            }
        };
        let (ready, stall) = self.read(batch, config)?;
        self.next = Next::Fetched(ready);
        Ok(stall)
    }

    /// Gets the texts of the batch after the one that a round has, of the same epoch, unless they are
    /// said not to be ready or something is wrong with them: it is fetched then when its turn comes. Says
    /// how long texts were waited for.
    pub(super) fn look_ahead(&mut self, config: &EncoderConfig) -> Duration {
        if !matches!(self.next, Next::Taken(None)) {
            return Duration::ZERO;
        }
        let batch = self.course.batch_after(&self.examples);
        let batch = batch.filter(|batch| batch.texts.iter().all(|&text| self.texts.is_ready(text)));
        let Some(Ok((ready, stall))) = batch.map(|batch| self.read(batch, config)) else {
            return Duration::ZERO;
        };
        self.next = Next::Taken(Some(ready));
        stall
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
            Next::Unknown | Next::Planned(_) | Next::Taken(_) => None,
            Next::Fetched(ready) => Some(ready.plan.tokens()),
        }
    }

    /// The batch that was fetched.
    pub(super) fn take(&mut self) -> Option<Ready> {
        match std::mem::replace(&mut self.next, Next::Taken(None)) {
            Next::Unknown | Next::Planned(_) | Next::Taken(_) => None,
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

    use super::{Example, FinishReason, Settings, Supply, TextError, Texts};

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

    /// Texts of one token, ready or not, of which one may have a token that the model does not know.
    struct Table {
        is_ready: AtomicBool,
        bad: Option<u32>,
    }

    impl Texts for Table {
        fn tokens(&self, text: u32) -> Result<Arc<[u32]>, TextError> {
            Ok(Arc::new([if Some(text) == self.bad { 100 } else { text }]))
        }

        fn is_ready(&self, _: u32) -> bool {
            self.is_ready.load(Ordering::Relaxed)
        }

        fn key(&self, text: u32) -> u64 {
            text.into()
        }
    }

    /// A supply of so many pairs in batches of three, in an order that the seed decides.
    fn supply(pairs: u32, bad: Option<u32>, seed: u64) -> (Supply, Arc<Table>) {
        let pair =
            |at: u32| Example::Pair { anchor: 2 * at, positive: 2 * at + 1, negatives: vec![] };
        let table = Arc::new(Table { is_ready: AtomicBool::new(true), bad });
        let settings = Settings { batch: 3, seed, ..Settings::default() };
        (Supply::new((0..pairs).map(pair).collect(), table.clone(), &settings), table)
    }

    /// Whether the second batch is there before it is fetched.
    fn is_ahead(pairs: u32, is_ready: bool) -> bool {
        let (mut supply, table) = supply(pairs, None, 1);
        supply.look_ahead(&CONFIG);
        assert_eq!(supply.fetched_tokens(), None, "no round has the batch before");
        assert!(supply.fetch(&CONFIG).is_ok() && supply.take().is_some());
        table.is_ready.store(is_ready, Ordering::Relaxed);
        supply.look_ahead(&CONFIG);
        supply.advance();
        supply.fetched_tokens().is_some()
    }

    #[test]
    fn a_batch_is_fetched_ahead_if_nothing_is_waited_for() {
        assert!(is_ahead(6, true));
        assert!(!is_ahead(6, false), "texts are not ready");
        assert!(!is_ahead(3, true), "the next batch is of another epoch");
    }

    #[test]
    fn what_is_wrong_with_a_text_is_said_when_its_turn_comes() {
        let mut of_second = 0;
        for seed in 0..20 {
            let (mut supply, _) = supply(6, Some(9), seed);
            if supply.fetch(&CONFIG).is_err() {
                continue;
            }
            supply.take();
            supply.look_ahead(&CONFIG);
            supply.advance();
            assert_eq!(supply.fetched_tokens(), None, "text 9 is in the second batch");
            let said = supply.fetch(&CONFIG);
            assert!(matches!(said, Err(FinishReason::BadText { text: 9, .. })), "{said:?}");
            of_second += 1;
        }
        assert!((1..20).contains(&of_second), "{of_second}");
    }
}
