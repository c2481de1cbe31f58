//! A tenant's adapter for other programs.

use std::path::Path;

use cotenant_transformer::{Adapter, ModelFolder, export_merged};

use super::error::JobError;
use super::run_folder::RunFolder;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// The adapter alone, as PEFT reads it.
    Peft,
    /// Base and adapter merged into one model, as sentence-transformers reads it.
    SentenceTransformers,
}

/// Writes the adapter of a finished run's tenant to a folder that does not exist yet.
pub fn export(
    folder: &RunFolder,
    tenant: &str,
    to: &Path,
    format: ExportFormat,
) -> Result<(), JobError> {
    if to.exists() {
        return Err(JobError::ExportTaken { path: to.to_owned() });
    }
    let run = folder.load()?;
    if !run.tenant(tenant)?.is_trained {
        return Err(JobError::NotTrained { tenant: tenant.to_owned() });
    }
    let base = ModelFolder::open(&run.base_folder)?;
    let adapter = Adapter::load_peft(&folder.adapter(tenant), base.config())?;
    match format {
        ExportFormat::Peft => adapter.save_peft(to, &run.base)?,
        ExportFormat::SentenceTransformers => export_merged(&base, &adapter, to)?,
    }
    Ok(())
}
