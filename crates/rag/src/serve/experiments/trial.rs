//! An experiment that runs or has ended: what it knows, and what follows from that.
//!
//! ```text
//! running ── feedback, failures ──▶ stopped: better, worse, guardrail broken, sample mismatch,
//!    └────── hours_max ───────────▶          no relevant difference, subjects spent, time out
//! ```
//! No clock and no file is in here: the same lines of a file give the same state.

use std::time::Duration;

use cotenant_eval::experiment::{Arm, Decision, Effect, Experiment, Guardrail, Reason, Recorded};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ExperimentError;
use super::plan::{Marks, Plan};
use super::request::ExperimentRequest;
use super::ticket::{Key, Ticket, Unit, of_hex, to_hex};
use crate::serve::http::SearchSettings;

/// One of the two ways to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Variant {
    /// What is in use already.
    Control,
    /// What is tried.
    Treatment,
}

/// Why an experiment has stopped.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StopCode {
    /// The treatment is surely better.
    Better,
    /// The treatment is surely worse.
    Worse,
    /// The treatment surely makes a guardrail worse than is tolerated.
    GuardrailBroken,
    /// Outcomes of one variant are missing.
    SampleMismatch,
    /// Whatever difference there is, nobody cares for it.
    NoRelevantDifference,
    /// There were as many subjects as were allowed.
    SubjectsSpent,
    /// It has run as long as was allowed.
    TimeOut,
}

/// How an experiment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stop {
    /// Why, for programs.
    pub(crate) code: StopCode,
    /// Why, for people.
    pub(crate) reason: String,
    /// What answers searches of all subjects since.
    pub(crate) serves: Variant,
    /// When, in seconds since 1970.
    pub(crate) stopped_s: u64,
}

/// The first line of an experiment's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub(super) format: u32,
    pub(super) tenant: String,
    /// In hexadecimal.
    pub(super) key: String,
    /// Seconds since 1970.
    pub(super) started_s: u64,
    pub(super) request: ExperimentRequest,
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    /// How it began; the first line and no other.
    Head(Box<Head>),
    /// What came of a subject's search.
    Outcome {
        /// In hexadecimal.
        unit: String,
        marks: Marks,
    },
    /// How it ended.
    Stop(Stop),
}

/// How a subject's searches are answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Enrolled {
    /// The experiment's name.
    pub(crate) name: String,
    pub(crate) variant: Variant,
    pub(crate) settings: SearchSettings,
    /// The subject, while the experiment runs.
    pub(super) unit: Option<Unit>,
    /// Whose subject it is: another experiment may have begun before the search is answered.
    pub(super) key: Key,
}

impl Enrolled {
    /// The id by which feedback is to come on a search whose answer took so long, while the
    /// experiment runs.
    pub(crate) fn ticket(&self, latency: Duration) -> Option<String> {
        let latency_us = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        Some(Ticket { unit: self.unit?, latency_us }.write(&self.key))
    }
}

/// An experiment that runs or has ended.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) plan: Plan,
    pub(super) started_s: u64,
    pub(super) key: Key,
    experiment: Experiment,
    stop: Option<Stop>,
}

/// The format that is written.
pub(super) const FORMAT: u32 = 1;

impl Trial {
    /// An experiment without outcomes.
    pub(super) fn begin(head: &Head) -> Result<Self, ExperimentError> {
        let unusable = |what: &str| ExperimentError::Unusable(what.to_owned());
        if head.format != FORMAT {
            return Err(unusable("its format is another version's"));
        }
        let key = of_hex(&head.key).and_then(|bytes| bytes.try_into().ok());
        let key = Key(key.ok_or_else(|| unusable("its key is no key"))?);
        let plan = Plan::decide(head.request.clone())?;
        // Arms follow from the key, so that nobody chooses his own by a name.
        let experiment = plan.experiment(&head.key)?;
        Ok(Self { plan, started_s: head.started_s, key, experiment, stop: None })
    }

    /// Does what a line says, of a file that is read again.
    pub(super) fn replay(&mut self, line: Line) -> Result<(), ExperimentError> {
        let unusable = |what: &str| ExperimentError::Unusable(what.to_owned());
        match line {
            Line::Head(_) => Err(unusable("it begins anew in the middle")),
            Line::Outcome { unit, marks } => {
                let unit = of_hex(&unit).and_then(|bytes| bytes.try_into().ok());
                let unit = Unit(unit.ok_or_else(|| unusable("a subject is none"))?);
                self.record(unit, &marks).map(|_| ())
            }
            Line::Stop(stop) => {
                self.stop.get_or_insert(stop);
                Ok(())
            }
        }
    }

    /// How searches of a subject are answered.
    pub(super) fn enrol(&self, subject: &str, now_s: u64) -> Enrolled {
        let unit = self.key.unit(subject);
        let (variant, unit) = match (self.winner(), self.is_over(now_s)) {
            (Some(winner), _) => (winner, None),
            (None, true) => (Variant::Control, None),
            (None, false) => (self.experiment.assign(&to_hex(&unit.0)).into(), Some(unit)),
        };
        let request = self.plan.request();
        let settings = match variant {
            Variant::Control => request.control.clone(),
            Variant::Treatment => request.treatment.clone(),
        };
        Enrolled { name: request.name.clone(), variant, settings, unit, key: self.key }
    }

    /// What recording an outcome of a subject would do.
    pub(super) fn foresee(&self, unit: Unit, now_s: u64) -> Recorded {
        match self.winner().is_some() || self.is_over(now_s) {
            true => Recorded::TooLate,
            false if self.experiment.has_outcome(&to_hex(&unit.0)) => Recorded::Repeated,
            false => Recorded::Counted,
        }
    }

    /// Takes an outcome.
    pub(super) fn record(
        &mut self,
        unit: Unit,
        marks: &Marks,
    ) -> Result<Recorded, ExperimentError> {
        let recorded = self.experiment.record(&to_hex(&unit.0), &marks.outcome());
        recorded.map_err(|error| ExperimentError::Unusable(error.to_string()))
    }

    /// How it ends now, if it does and did not before.
    pub(super) fn due_stop(&self, now_s: u64) -> Option<Stop> {
        if self.stop.is_some() {
            return None;
        }
        let stopped_s = now_s;
        match self.experiment.decision() {
            Decision::Stop(reason) => Some(Stop {
                code: reason.into(),
                reason: reason.to_string(),
                serves: reason.winner().into(),
                stopped_s,
            }),
            Decision::Continue if self.is_over(now_s) => {
                let (hours, effect) = (self.plan.request().hours_max, self.experiment.effect());
                let reason = format!("{hours} hours are over without an answer: {effect}");
                Some(Stop { code: StopCode::TimeOut, reason, serves: Variant::Control, stopped_s })
            }
            Decision::Continue => None,
        }
    }

    /// Ends it, for good.
    pub(super) fn end(&mut self, stop: Stop) {
        self.stop.get_or_insert(stop);
    }

    pub(super) fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// When it ends at the latest, in seconds since 1970.
    pub(super) fn ends_s(&self) -> u64 {
        self.started_s.saturating_add(u64::from(self.plan.request().hours_max) * 3600)
    }

    pub(super) fn effect(&self) -> Effect {
        self.experiment.effect()
    }

    pub(super) fn guardrails(&self) -> impl Iterator<Item = (&Guardrail, Effect)> {
        self.experiment.guardrails()
    }

    /// What answers all subjects once that is decided. An end follows from the outcomes before it
    /// is written: where the disk refuses it, or the server is killed in between, no outcome counts
    /// all the same.
    fn winner(&self) -> Option<Variant> {
        match (&self.stop, self.experiment.decision()) {
            (Some(stop), _) => Some(stop.serves),
            (None, Decision::Stop(reason)) => Some(reason.winner().into()),
            (None, Decision::Continue) => None,
        }
    }

    fn is_over(&self, now_s: u64) -> bool {
        now_s >= self.ends_s()
    }
}

impl From<Arm> for Variant {
    fn from(arm: Arm) -> Self {
        match arm {
            Arm::Control => Self::Control,
            Arm::Treatment => Self::Treatment,
        }
    }
}

impl Variant {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Treatment => "treatment",
        }
    }
}

impl From<&Reason> for StopCode {
    fn from(reason: &Reason) -> Self {
        match reason {
            Reason::Better(_) => Self::Better,
            Reason::Worse(_) => Self::Worse,
            Reason::GuardrailBroken { .. } => Self::GuardrailBroken,
            Reason::SampleMismatch(_) => Self::SampleMismatch,
            Reason::NoRelevantDifference(_) => Self::NoRelevantDifference,
            Reason::UnitsSpent(_) => Self::SubjectsSpent,
        }
    }
}

impl StopCode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::GuardrailBroken => "guardrail_broken",
            Self::SampleMismatch => "sample_mismatch",
            Self::NoRelevantDifference => "no_relevant_difference",
            Self::SubjectsSpent => "subjects_spent",
            Self::TimeOut => "time_out",
        }
    }
}
