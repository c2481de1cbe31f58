//! What is asked: a tenant's texts, examples and settings, and the machine's limits.

mod limits;
mod settings;
mod texts;

pub use limits::{Limits, LimitsError, PrefixLimits};
pub use settings::{Decay, Evaluation, Length, Loss, Settings, SettingsError};
pub use texts::{Candidate, Example, TenantSpec, TextError, Texts, Tokens};
