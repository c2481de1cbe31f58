//! The workspace file: what a user asks for, in one TOML file.
//!
//! [`Workspace::read`] parses it once into strong types; every key is defined once, in a table
//! that also writes the [`reference()`] page. A workspace of five lines is enough, since
//! [`TenantConfig::new`] has a default for everything but the data.

mod config;
mod error;
mod keys;
mod limits;
mod read;
mod reference;

pub use cotenant_train::{Decay, Length};

pub use config::{
    AdapterConfig, DeviceChoice, EvaluationConfig, Limits, LossChoice, LossConfig, NegativesConfig,
    NegativesSource, PrecisionChoice, Task, TenantConfig, TextsConfig, TrainingConfig, Workspace,
};
pub use error::{Place, WorkspaceError};
pub use reference::reference;

#[cfg(test)]
mod tests;
