//! `cotenant export`

use std::process::ExitCode;

use cotenant_rag::job::{self, RunFolder};

use super::Ended;
use crate::args::{ExportArgs, ExportFormat};
use crate::console::Console;

/// Writes a tenant's adapter for other programs.
pub(crate) fn run(arguments: &ExportArgs, console: &Console) -> Ended {
    let ExportArgs { run, tenant, to, format } = arguments;
    let format = match format {
        ExportFormat::Peft => job::ExportFormat::Peft,
        ExportFormat::SentenceTransformers => job::ExportFormat::SentenceTransformers,
    };
    job::export(&RunFolder::new(run), tenant, to, format)?;
    console.data(&serde_json::json!({ "tenant": tenant, "folder": to }), || {
        format!("wrote {}", to.display())
    })?;
    Ok(ExitCode::SUCCESS)
}
