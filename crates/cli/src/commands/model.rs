//! `cotenant model`

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;

use cotenant_rag::job::JobError;
use cotenant_rag::models::{Listed, Store};
use cotenant_rag::workspace::Limits;

use super::{Ended, base};
use crate::args::{ModelArgs, ModelCommand};
use crate::console::Console;
use crate::table::table;

/// Fetches, lists and shows base models.
pub(crate) fn run(arguments: &ModelArgs, console: &Console) -> Ended {
    match &arguments.command {
        ModelCommand::Pull { model } => {
            let folder = base::find(model, console)?;
            console.data(&serde_json::json!({ "model": model, "folder": folder }), || {
                folder.display().to_string()
            })?;
        }
        ModelCommand::List => list(console)?,
        ModelCommand::Show { model } => show(model, console)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(console: &Console) -> Result<(), Box<dyn Error>> {
    let listed = Store::open().and_then(|store| store.list()).map_err(JobError::from)?;
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let row = |model: &Listed| {
        let folder = model.folder.as_ref().map(|folder| folder.display().to_string());
        let size = if folder.is_some() { mib(model.bytes) } else { "–".to_owned() };
        vec![model.name.clone(), size, folder.unwrap_or_else(|| "not fetched yet".to_owned())]
    };
    let object = |model: &Listed| serde_json::json!({ "name": model.name, "folder": model.folder, "bytes": model.bytes });
    let models: Vec<_> = listed.iter().map(object).collect();
    console.data(&serde_json::json!({ "models": models }), || {
        table(&["model", "MiB", "folder"], &listed.iter().map(row).collect::<Vec<_>>())
    })?;
    Ok(())
}

fn show(model: &str, console: &Console) -> Result<(), Box<dyn Error>> {
    let opened = base::open(model, &Limits::default(), console)?;
    let folder = opened.folder.path().display().to_string();
    let mut rows = vec![("model", model.to_owned()), ("folder", folder)];
    rows.extend(opened.shape());
    let object: BTreeMap<_, _> = rows.iter().cloned().collect();
    console.data(&object, || {
        rows.iter().map(|(key, value)| format!("{key:<13} {value}")).collect::<Vec<_>>().join("\n")
    })?;
    Ok(())
}
