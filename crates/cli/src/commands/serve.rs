//! `cotenant serve`

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use cotenant_rag::job::{JobError, RunFolder};
use cotenant_rag::serve::{
    AdapterSource, Keep, ServeConfig, ServeLimits, ServePrecision, Server, below, of_run, openapi,
};
use cotenant_rag::workspace::{PrecisionChoice, Workspace};

use super::{Ended, base};
use crate::args::serve::ServeArgs;
use crate::console::Console;

/// Serves until a signal comes; what is under way then is answered.
pub(crate) fn run(arguments: &ServeArgs, console: &Console) -> Ended {
    if arguments.openapi {
        let contract = openapi();
        let text = || serde_json::to_string_pretty(&contract).expect("a contract is plain JSON");
        console.data(&contract, text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = config(arguments, console)?;
    let server = Server::start(&config)?;
    let end = server.end();
    ctrlc::set_handler(move || end.end())?;
    console.data(&serde_json::json!({ "address": server.address }), || server.address.clone())?;
    let count = config.adapters.len();
    console.say(&format!("serving {} and {count} adapters; Ctrl-C ends it", config.model_name));
    server.wait()?;
    Ok(ExitCode::SUCCESS)
}

/// What is served, and as what.
struct Served {
    folder: PathBuf,
    name: String,
    precision: ServePrecision,
    adapters: Vec<AdapterSource>,
}

fn config(arguments: &ServeArgs, console: &Console) -> Result<ServeConfig, Box<dyn Error>> {
    let mut served = match &arguments.workspace {
        Some(file) => of_workspace(file, arguments)?,
        None => {
            let name = arguments.model.as_deref().expect("clap wants a model or a workspace");
            let folder = base::find(name, console)?;
            let precision = ServePrecision::Trainable(PrecisionChoice::Auto);
            let name = name.to_owned();
            Served { folder, name, precision, adapters: Vec::new() }
        }
    };
    if let Some(precision) = arguments.precision {
        served.precision = precision.choice();
    }
    for (name, folder) in &arguments.adapter {
        served.adapters.push(AdapterSource::new(name, folder)?);
    }
    for folder in &arguments.adapters {
        served.adapters.extend(below(folder)?);
    }
    for name in &arguments.pin {
        let found = served.adapters.iter_mut().find(|adapter| adapter.name == *name);
        let unknown = || format!("pin {name}\nhint: it is none of the adapters that are named");
        found.ok_or_else(unknown)?.keep = Keep::Pinned;
    }
    Ok(ServeConfig {
        model: served.folder,
        model_name: served.name,
        precision: served.precision,
        adapters: served.adapters,
        index: arguments.index.clone(),
        experiments: arguments.experiments.clone(),
        listen: arguments.listen,
        tokens: arguments.tokens.clone(),
        limits: ServeLimits {
            threads: arguments.threads.map(usize::from),
            batch_tokens: arguments.batch_tokens as usize,
            queue_tokens: arguments.queue_tokens.into(),
            adapter_bytes_max: u64::from(arguments.adapter_memory_mib) << 20,
            client_wait: Duration::from_secs(arguments.client_seconds.into()),
            end_wait: Duration::from_secs(arguments.end_seconds.into()),
        },
    })
}

/// The base model and the adapters of a workspace's last run.
fn of_workspace(file: &Path, arguments: &ServeArgs) -> Result<Served, Box<dyn Error>> {
    let workspace = Workspace::read(file).map_err(JobError::from)?;
    let stem = file.file_stem().unwrap_or("workspace".as_ref());
    let run = arguments.run.clone().unwrap_or_else(|| PathBuf::from("runs").join(stem));
    let folder = RunFolder::new(run);
    let saved = folder.load()?;
    let precision = ServePrecision::Trainable(saved.precision_choice());
    let adapters = of_run(&folder, &saved, Some(&workspace));
    Ok(Served { folder: saved.base_folder, name: saved.base, precision, adapters })
}
