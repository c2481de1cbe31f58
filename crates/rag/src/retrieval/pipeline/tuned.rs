//! What was learnt on a tenant's judged queries, as a small file of JSON beside its index.

use cotenant_index::Hit;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::blend::{Blend, found_scores};
use super::cost::Prices;
use super::forecast::Forecast;
use super::hints::{AFTER_BOTH, AFTER_READING, AFTER_WORDS, after_reading};
use super::mix::Mix;
use super::search::Reached;

/// The version that is written and read.
const VERSION: u32 = 4;

/// Most rules of a file.
const RULES_MAX: usize = 64;

/// A loss that no forecast is above.
pub(super) const ALWAYS: f64 = 9.0;

/// A loss that no forecast is below.
pub(super) const NEVER: f64 = -9.0;

/// When a query has seen enough.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Words alone are enough if at most so much nDCG@10 is foretold to be lost.
    pub words_loss_max: f64,
    /// A few candidates are enough if at most so much is foretold to be lost; the stage is left out
    /// where that can never be.
    pub shallow_loss_max: f64,
    /// The ten best are read again, and no more, if at most so much is foretold to be lost; only
    /// where a reranker counts.
    pub reading_loss_max: f64,
    /// The part of full depth's nDCG@10 that the judged queries kept, less three standard errors.
    pub quality: f64,
    /// What a judged query cost on average, in microseconds.
    pub cost_us: f64,
}

/// What a query may spend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effort {
    /// What this stage spends, whatever the query.
    To(Reached),
    /// What the query needs by this rule.
    Needed(Rule),
}

/// What was learnt for one tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    version: u32,
    /// Judged queries that it was learnt from.
    pub queries: usize,
    /// How lists become one.
    pub mix: Mix,
    /// How much the reranker counts beside them, if it was learnt with one.
    pub blend: Option<Blend>,
    /// What work costs.
    pub prices: Prices,
    /// What stopping after the search by words is foretold to lose.
    pub(super) after_words: Forecast,
    /// What stopping after few candidates is foretold to lose.
    pub(super) after_shallow: Forecast,
    /// What reading the ten best and no more is foretold to lose.
    pub(super) after_reading: Forecast,
    /// From the best to the cheapest.
    rules: Vec<Rule>,
    /// nDCG@10 of the judged queries at full depth.
    pub full_quality: f64,
    /// What full depth costs a query on average, in microseconds.
    pub full_cost_us: f64,
}

/// Why a file holds nothing that was learnt.
#[derive(Debug, Error)]
pub enum BadTuned {
    /// It is no such JSON.
    #[error("failed to read what was learnt about retrieval")]
    Json(#[source] serde_json::Error),
    /// Another version of this program wrote it.
    #[error(
        "failed to read what was learnt about retrieval: it has version {found}, and this program reads version {VERSION}"
    )]
    Version {
        /// What stands there.
        found: u32,
    },
    /// It was never written by this program.
    #[error("failed to read what was learnt about retrieval: its {part} cannot be right")]
    Unsound {
        /// What is wrong.
        part: &'static str,
    },
}

/// Part of what may be lost that is held in reserve: queries that come are never quite like those
/// that were judged.
const RESERVE: f64 = 0.5;

/// What calibration found.
pub(super) struct Parts {
    pub queries: usize,
    pub mix: Mix,
    pub blend: Option<Blend>,
    pub prices: Prices,
    pub after_words: Forecast,
    pub after_shallow: Forecast,
    pub after_reading: Forecast,
    pub rules: Vec<Rule>,
    pub full_quality: f64,
    pub full_cost_us: f64,
}

/// A number of nine digits: what is written is what is read back, to the bit, whoever reads it.
pub(super) fn rounded(value: f64) -> f64 {
    format!("{value:.8e}").parse().expect("a number was just written")
}

impl Tuned {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { queries, mix, blend, prices, mut rules, .. } = parts;
        let Parts { after_words, after_shallow, after_reading, .. } = parts;
        rules.truncate(RULES_MAX);
        for rule in &mut rules {
            (rule.quality, rule.cost_us) = (rounded(rule.quality), rounded(rule.cost_us));
        }
        let (full_quality, full_cost_us) =
            (rounded(parts.full_quality), rounded(parts.full_cost_us));
        let version = VERSION;
        Self {
            version,
            queries,
            mix,
            blend,
            prices,
            after_words,
            after_shallow,
            after_reading,
            rules,
            full_quality,
            full_cost_us,
        }
    }

    /// What holds where nothing was learnt: every query goes to full depth, and words and vectors
    /// count alike.
    pub fn untaught(prices: Prices) -> Self {
        let nothing = |hints: usize| Forecast::fit(&[&vec![0.0; hints]], &[0.0]);
        Self::new(Parts {
            queries: 0,
            mix: Mix::default(),
            blend: None,
            prices,
            after_words: nothing(AFTER_WORDS),
            after_shallow: nothing(AFTER_BOTH),
            after_reading: nothing(AFTER_READING),
            rules: Vec::new(),
            full_quality: 0.0,
            full_cost_us: 0.0,
        })
    }

    /// The same, for a reranker that counts so much.
    #[must_use]
    pub fn with(self, blend: Blend) -> Self {
        Self { blend: Some(blend), ..self }
    }

    /// Reads what [`Tuned::to_json`] wrote.
    ///
    /// # Errors
    /// If it is something else.
    pub fn from_json(json: &[u8]) -> Result<Self, BadTuned> {
        let tuned: Self = serde_json::from_slice(json).map_err(BadTuned::Json)?;
        tuned.checked()
    }

    /// Itself, if it can be worked with: for what was read as a part of something else.
    ///
    /// # Errors
    /// If another version of this program wrote it, or something else did.
    pub fn checked(self) -> Result<Self, BadTuned> {
        let tuned = self;
        if tuned.version != VERSION {
            return Err(BadTuned::Version { found: tuned.version });
        }
        let numbers = |rule: &Rule| {
            let losses = [rule.words_loss_max, rule.shallow_loss_max, rule.reading_loss_max];
            losses.iter().chain([&rule.quality, &rule.cost_us]).all(|value| value.is_finite())
        };
        let full = [tuned.full_quality, tuned.full_cost_us];
        let checks = [
            ("mix", tuned.mix.is_sound()),
            ("weight of the reranker", tuned.blend.is_none_or(Blend::is_sound)),
            ("prices", tuned.prices.are_sound()),
            ("forecast after words", tuned.after_words.is_sound(AFTER_WORDS)),
            ("forecast after few candidates", tuned.after_shallow.is_sound(AFTER_BOTH)),
            ("forecast after reading", tuned.after_reading.is_sound(AFTER_READING)),
            ("rules", tuned.rules.len() <= RULES_MAX && tuned.rules.iter().all(numbers)),
            ("full depth", full.iter().all(|value| value.is_finite() && *value >= 0.0)),
        ];
        match checks.iter().find(|(_, is_sound)| !is_sound) {
            Some(&(part, _)) => Err(BadTuned::Unsound { part }),
            None => Ok(tuned),
        }
    }

    /// Whether what a reranker said of the first of what was found is enough, and the rest need not
    /// be read.
    pub(crate) fn has_read_enough(&self, effort: Effort, hits: &[Hit], reread: &[f32]) -> bool {
        match (effort, self.blend) {
            (Effort::Needed(rule), Some(blend)) if rule.reading_loss_max > NEVER => {
                let hints = after_reading(&found_scores(hits), reread, blend);
                self.after_reading.loss(&hints) <= rule.reading_loss_max
            }
            (Effort::Needed(_) | Effort::To(_), Some(_) | None) => false,
        }
    }

    /// A few kilobytes of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and names can be written")
    }

    /// What a query may spend while the server is so loaded, from 0 to 1, if no more than a floor's
    /// part of full depth's nDCG@10 is kept; 0.99 is a floor that nobody notices.
    ///
    /// An idle server keeps all that full depth finds, a busy one keeps the floor, and between them
    /// the part that is kept falls evenly; of what may be lost, half is held in reserve. Of the rules that kept as much on the judged queries the
    /// cheapest is taken. Where none did, it is full depth, whatever the load.
    pub fn effort(&self, load: f64, floor: f64) -> Effort {
        let load = if load.is_finite() { load.clamp(0.0, 1.0) } else { 1.0 };
        let floor = if floor.is_finite() { floor } else { 1.0 };
        let kept = 1.0 - load * (1.0 - floor) * (1.0 - RESERVE);
        let enough = self.rules.iter().filter(|rule| rule.quality >= kept);
        let cheapest = enough.min_by(|one, other| one.cost_us.total_cmp(&other.cost_us));
        match cheapest {
            Some(rule) if rule.cost_us < self.full_cost_us => Effort::Needed(*rule),
            Some(_) | None => Effort::To(Reached::All),
        }
    }
}
