//! One module a command: arguments in, library calls, data out.

pub(crate) mod demo;
pub(crate) mod estimate;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod model;
pub(crate) mod search;
pub(crate) mod train;

mod apart;
mod base;
mod training;

use std::error::Error;
use std::process::ExitCode;

/// How a command ends.
pub(crate) type Ended = Result<ExitCode, Box<dyn Error>>;
