//! Measurements in an MLflow server, with a file of our own as the truth.
//!
//! A run is written to the file first, then sent. MLflow may do half of what it is asked and answer
//! with an error, or do all of it and the answer is lost; so what the file does not call finished is
//! sent again by the next call, in a way that does nothing twice: a run is found by a tag that only
//! it has, parameters and tags overwrite themselves, and a metric that is there is left out.
//!
//! ```text
//! (measured) -- Begun written --> pending -- sent, Finished written --> done
//!                                  └── failed: stays pending, the next call sends it
//! ```

mod client;
mod error;
mod log;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use client::Client;
pub use error::TrackingError;
use log::Log;

/// Most parameters of a run, as of one request of MLflow's.
pub const PARAMETERS_MAX: usize = 1000;
/// Most metrics of a run.
pub const METRICS_MAX: usize = 10_000;

/// Where measurements go.
#[derive(Clone)]
pub struct Tracker {
    /// The server's address, without the path of its interface.
    pub url: String,
    /// A token for servers that ask for one.
    pub token: Option<String>,
    /// The experiment that runs belong to; made if it is not there.
    pub experiment: String,
    /// The file of our own.
    pub log: PathBuf,
}

/// What one measurement found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What it is called.
    pub name: String,
    /// How it was made.
    pub parameters: Vec<(String, String)>,
    /// What was found, of finite numbers.
    pub metrics: Vec<(String, f64)>,
}

/// A measurement, as the file has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pending {
    /// A hash of everything else, by which the server's run is found again.
    id: String,
    url: String,
    experiment: String,
    /// Milliseconds since 1970.
    time_ms: u64,
    measured: Measured,
}

impl Tracker {
    /// A tracker with the token of `MLFLOW_TRACKING_TOKEN`, if that is set.
    pub fn from_environment(url: &str, experiment: &str, log: PathBuf) -> Self {
        let token = std::env::var("MLFLOW_TRACKING_TOKEN").ok().filter(|token| !token.is_empty());
        let url = url.trim().trim_end_matches('/').to_owned();
        Self { url, token, experiment: experiment.to_owned(), log }
    }

    /// Writes a measurement down and sends it, after those that the server has not got yet.
    ///
    /// `time_ms` is when it was made, in milliseconds since 1970. Returns how many were sent.
    ///
    /// # Errors
    /// [`TrackingError`] if the file cannot be read or written, or the server did not take
    /// everything; what it did not take stays in the file and is sent by the next call.
    pub fn track(&self, measured: Measured, time_ms: u64) -> Result<usize, TrackingError> {
        check(&measured)?;
        let mut log = Log::open(&self.log)?;
        let (url, experiment) = (self.url.clone(), self.experiment.clone());
        log.begin(Pending { id: String::new(), url, experiment, time_ms, measured })?;
        let client = Client::new(self);
        let mut sent = 0;
        for pending in log.pending(&self.url) {
            client.send(&pending)?;
            log.finish(&pending.id)?;
            sent += 1;
        }
        Ok(sent)
    }
}

fn check(measured: &Measured) -> Result<(), TrackingError> {
    for (what, count, count_max) in [
        ("parameters", measured.parameters.len(), PARAMETERS_MAX),
        ("metrics", measured.metrics.len(), METRICS_MAX),
    ] {
        if count > count_max {
            return Err(TrackingError::TooMany { what, count, count_max });
        }
    }
    let names = measured.parameters.iter().map(|(name, _)| name);
    let mut names = names.chain(measured.metrics.iter().map(|(name, _)| name));
    if let Some(name) = names.find(|name| !client::is_name(name)) {
        return Err(TrackingError::Name { name: name.chars().take(80).collect() });
    }
    match measured.metrics.iter().find(|(_, value)| !value.is_finite()) {
        Some((name, value)) => Err(TrackingError::Value { name: name.clone(), value: *value }),
        None => Ok(()),
    }
}

/// Shows that there is a token, never the token.
impl std::fmt::Debug for Tracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "(hidden)");
        f.debug_struct("Tracker")
            .field("url", &self.url)
            .field("token", &token)
            .field("experiment", &self.experiment)
            .field("log", &self.log)
            .finish()
    }
}
