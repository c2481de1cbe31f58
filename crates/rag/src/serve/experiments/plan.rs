//! What an experiment is, once what was asked for was checked.

use cotenant_eval::experiment::{Experiment, Guardrail, Outcome, Settings};
use serde::{Deserialize, Serialize};

use super::error::ExperimentError;
use super::request::{ExperimentRequest, RangeView};

/// Longest name of an experiment or of a guardrail, in bytes.
const NAME_BYTES_MAX: usize = 96;
/// Most subjects of an experiment; each takes about 100 bytes on disk and 16 in memory.
pub(crate) const SUBJECTS_MAX: usize = 250_000;
/// Longest that an experiment runs, in hours: a leap year.
const HOURS_MAX: u32 = 366 * 24;
/// Longest latency that a guardrail may name, in milliseconds: as long as a request may take.
const LATENCY_MS_MAX: u32 = 600_000;
/// How far from 0 the numbers of feedback are at most, so that their range is a number too.
const NUMBER_MAX: f64 = 1e12;
/// The whole of an outcome.
const WHOLE_PPM: f64 = 1e6;

/// A request that can be an experiment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan(ExperimentRequest);

/// What a client says came of a search.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Said {
    /// The rank of what was clicked, from 1; 0 where nothing was.
    pub(crate) clicked_rank: Option<u32>,
    /// The metric, where the experiment names its range.
    pub(crate) value: Option<f64>,
    /// The guardrail that is given, where the experiment has one.
    pub(crate) guardrail: Option<f64>,
}

/// What came of a subject's search, in millionths: whole numbers, which a file gives back as they
/// were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marks {
    quality_ppm: u32,
    guardrails_ppm: Vec<u32>,
}

impl Plan {
    /// Checks what was asked for, but for how searches are to be answered.
    pub(crate) fn decide(request: ExperimentRequest) -> Result<Self, ExperimentError> {
        check_name("the experiment's name", &request.name)?;
        let plan = Self(request);
        let request = &plan.0;
        if let Some(metric) = &request.metric {
            check_range("the metric", *metric)?;
        }
        if let Some(latency) = &request.guardrails.latency
            && !(1..=LATENCY_MS_MAX).contains(&latency.within_ms)
        {
            let (within, max) = (latency.within_ms, LATENCY_MS_MAX);
            let message = format!("within_ms is {within}, and must be from 1 to {max}");
            return Err(ExperimentError::Unusable(message));
        }
        if let Some(given) = &request.guardrails.given {
            check_name("the guardrail's name", &given.name)?;
            check_range("the guardrail", RangeView { worst: given.worst, best: given.best })?;
        }
        if !(1..=SUBJECTS_MAX).contains(&request.subjects_max) {
            let subjects = request.subjects_max;
            let message = format!("subjects_max is {subjects}, and must be 1 to {SUBJECTS_MAX}");
            return Err(ExperimentError::Unusable(message));
        }
        if !(1..=HOURS_MAX).contains(&request.hours_max) {
            let hours = request.hours_max;
            let message = format!("hours_max is {hours}, and must be from 1 to {HOURS_MAX}");
            return Err(ExperimentError::Unusable(message));
        }
        // Whatever the statistics cannot do is found here, not at the first subject.
        plan.experiment("")?;
        Ok(plan)
    }

    pub(crate) fn request(&self) -> &ExperimentRequest {
        &self.0
    }

    /// An experiment without outcomes; who does not know the salt cannot foretell its arms.
    pub(super) fn experiment(&self, salt: &str) -> Result<Experiment, ExperimentError> {
        let request = &self.0;
        let settings = Settings {
            name: salt.to_owned(),
            treatment_per_mille: request.treatment_per_mille,
            false_stops_per_mille: request.false_stops_per_mille,
            relevant_difference: request.relevant_difference,
            guardrails: self.guardrails(),
            units_max: request.subjects_max,
        };
        Experiment::new(settings).map_err(|error| ExperimentError::Unusable(error.to_string()))
    }

    /// In the order of [`Marks`].
    fn guardrails(&self) -> Vec<Guardrail> {
        let asked = &self.0.guardrails;
        let latency = asked.latency.map(|it| ("latency".to_owned(), it.tolerance));
        let errors = asked.errors.map(|it| ("errors".to_owned(), it.tolerance));
        let given = asked.given.as_ref().map(|it| (it.name.clone(), it.tolerance));
        let all = [latency, errors, given].into_iter().flatten();
        all.map(|(name, tolerance)| Guardrail { name, tolerance }).collect()
    }

    /// What a client's words are worth, of a search that took so long.
    pub(super) fn marks(&self, said: &Said, latency_us: u32) -> Result<Marks, ExperimentError> {
        let quality = match (&self.0.metric, said.clicked_rank, said.value) {
            (None, Some(0), None) => 0.0,
            (None, Some(rank), None) => 1.0 / f64::from(rank),
            (Some(range), None, Some(value)) => scaled("value", value, *range)?,
            (None, ..) => {
                let message = "this experiment wants clicked_rank alone: 1 for the first result, 0 \
                               where nothing was clicked";
                return Err(ExperimentError::Unusable(message.to_owned()));
            }
            (Some(_), ..) => {
                let message = "this experiment wants value alone, within the metric's range";
                return Err(ExperimentError::Unusable(message.to_owned()));
            }
        };
        let asked = &self.0.guardrails;
        let in_time = |within_ms: u32| u64::from(latency_us) <= u64::from(within_ms) * 1000;
        let latency = asked.latency.map(|it| f64::from(u8::from(in_time(it.within_ms))));
        let given = match (&asked.given, said.guardrail) {
            (None, None) => None,
            (Some(given), Some(value)) => {
                let range = RangeView { worst: given.worst, best: given.best };
                Some(scaled("guardrail", value, range)?)
            }
            (Some(given), None) => {
                let message = format!("guardrail is missing: the number of {:?}", given.name);
                return Err(ExperimentError::Unusable(message));
            }
            (None, Some(_)) => {
                let message = "guardrail is given, and this experiment has none that is";
                return Err(ExperimentError::Unusable(message.to_owned()));
            }
        };
        let guardrails = [latency, asked.errors.map(|_| 1.0), given].into_iter().flatten();
        Ok(Marks { quality_ppm: to_ppm(quality), guardrails_ppm: guardrails.map(to_ppm).collect() })
    }

    /// What a search is worth that was not answered: the worst of everything, because a pipeline
    /// must not look better by failing where it would do badly.
    pub(super) fn marks_of_failure(&self) -> Marks {
        Marks { quality_ppm: 0, guardrails_ppm: vec![0; self.guardrails().len()] }
    }
}

impl Marks {
    pub(super) fn outcome(&self) -> Outcome {
        let of_ppm = |ppm: u32| f64::from(ppm) / WHOLE_PPM;
        let guardrails = self.guardrails_ppm.iter().map(|&ppm| of_ppm(ppm)).collect();
        Outcome { quality: of_ppm(self.quality_ppm), guardrails }
    }
}

fn to_ppm(share: f64) -> u32 {
    (share * WHOLE_PPM).round() as u32
}

/// Where in a range a number is: 0 for the worst, 1 for the best.
fn scaled(what: &str, value: f64, range: RangeView) -> Result<f64, ExperimentError> {
    let share = (value - range.worst) / (range.best - range.worst);
    match (0.0..=1.0).contains(&share) {
        true => Ok(share),
        false => Err(ExperimentError::Unusable(format!(
            "{what} is {value}, and must be within {} and {}",
            range.worst, range.best
        ))),
    }
}

fn check_range(what: &str, range: RangeView) -> Result<(), ExperimentError> {
    let is_number = |value: f64| value.abs() <= NUMBER_MAX;
    match is_number(range.worst) && is_number(range.best) && range.worst != range.best {
        true => Ok(()),
        false => Err(ExperimentError::Unusable(format!(
            "{what} goes from {} to {}: its ends must differ, and be within {NUMBER_MAX:e} of 0",
            range.worst, range.best
        ))),
    }
}

fn check_name(what: &str, name: &str) -> Result<(), ExperimentError> {
    let is_fine = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.chars().any(|letter| letter.is_control());
    match is_fine {
        true => Ok(()),
        false => Err(ExperimentError::Unusable(format!(
            "{what} must have 1 to {NAME_BYTES_MAX} bytes and no control characters"
        ))),
    }
}
