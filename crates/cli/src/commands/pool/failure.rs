//! Why the pool did not do what was asked.

use std::error::Error;
use std::fmt;

use cotenant_api::ClientError;

use crate::words::plain;

const UNAUTHORIZED: u16 = 401;

/// What failed, why, and what to try.
#[derive(Debug)]
pub(in crate::commands) struct Failure {
    /// Completes "failed to"; a hint may follow on lines of its own.
    what: String,
    because: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure with its cause.
    pub(in crate::commands) fn new(
        what: &str,
        because: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { what: what.to_owned(), because: Some(because.into()) }
    }

    /// What the client says, in the words of whoever wanted to do `what`.
    pub(super) fn of(what: &str, error: ClientError) -> Self {
        match error {
            ClientError::Reach { address, source } => Self {
                what: format!(
                    "reach the pool at {}\nhint: start one with: cotenant up",
                    plain(&address)
                ),
                because: Some(source),
            },
            ClientError::Refused { status, problem } => {
                let hint = problem.hint.as_deref().or_else(|| hint_on(status));
                let hint = hint.map(|hint| format!("\nhint: {}", plain(hint)));
                let message = plain(&problem.message);
                Self::new(what, format!("{message}{}", hint.unwrap_or_default()))
            }
            ClientError::Strange { .. } => {
                let message = plain(&error.to_string()).into_owned();
                Self::new(
                    what,
                    format!("{message}\nhint: check that a pool of this version is there"),
                )
            }
        }
    }
}

/// What to try where the pool itself has no advice.
fn hint_on(status: u16) -> Option<&'static str> {
    (status == UNAUTHORIZED)
        .then_some("put a token into COTENANT_TOKEN; cotenant tenant token NAME makes one")
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let because = self.because.as_deref()?;
        Some(because)
    }
}
