//! Whose names figures are shown under, besides our own.

use std::str::FromStr;

use thiserror::Error;

/// Names of another program, under which figures are shown too, so that dashboards made for that
/// program show this pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetricNames {
    /// NVIDIA's dcgm-exporter: `DCGM_FI_*`.
    Dcgm,
    /// HAMi: `hami_*`.
    Hami,
}

/// A text is none of the known.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} has no metric names here; write dcgm, hami, or dcgm,hami")]
pub struct ParseMetricNamesError(String);

impl FromStr for MetricNames {
    type Err = ParseMetricNamesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "dcgm" => Ok(Self::Dcgm),
            "hami" => Ok(Self::Hami),
            _ => Err(ParseMetricNamesError(text.to_owned())),
        }
    }
}
