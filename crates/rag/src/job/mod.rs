//! The job runner: a workspace becomes trained adapters, measured before and after.
//!
//! ```text
//! open base ─▶ each tenant: read, tokenise, embed, measure before, mine ─▶ train all, fused
//!           ─▶ each tenant: embed, measure after, save ─▶ report
//! ```
//! A tenant whose task is to rerank keeps the base model's embeddings: what is measured before is
//! what words and those find, and what is measured after is the order that its adapter gives.
//! A run can be stopped at any round and resumed from its checkpoint with the same result.

mod base;
mod card;
mod costs;
mod dev;
mod error;
mod estimate;
mod export;
mod finish;
mod limit;
mod observer;
mod prepare;
mod prior;
mod quality;
mod rerank;
mod results;
mod run_folder;
mod search;
mod settings;
mod stages;
mod texts;
mod train;
mod usage;
mod workshop;

pub use crate::retrieval::Quality;
pub use base::BaseModel;
pub use cotenant_transformer::keep_memory_flat;
pub use error::JobError;
pub use estimate::{Estimate, Part, estimate};
pub use export::{ExportFormat, export};
pub use observer::{Observer, RunEvent, Stage};
pub use quality::{DataQuality, evaluate};
pub use results::{RunResults, TenantResult};
pub use run_folder::{RunFolder, SavedRun, SavedTenant};
pub use search::{Found, Searcher};
pub use stages::{StageQuality, StagesQuality, StagesQuestion, measure_stages};
pub use train::{Ending, Kept, RunOptions, run};
pub use usage::Usage;
