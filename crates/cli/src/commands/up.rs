//! `cotenant up`

use std::path::PathBuf;
use std::process::ExitCode;

use cotenant_daemon::{Config, up};

use super::Ended;
use crate::args::UpArgs;
use crate::console::Console;

/// Starts the pool, and keeps it up until it is told to end.
pub(crate) fn run(arguments: &UpArgs, console: &Console) -> Ended {
    let folder = match &arguments.state {
        Some(folder) => folder.clone(),
        None => default_folder()?,
    };
    let config = Config { folder, listen: arguments.listen, cards: arguments.cards.clone() };
    let pool = up(&config)?;
    let end = pool.end();
    ctrlc::set_handler(move || end.end())?;
    pool.notes.iter().for_each(|note| console.say(note));
    console.data(&serde_json::json!({ "address": pool.address }), || pool.address.clone())?;
    console.say("the dashboard is at this address; Ctrl-C ends the daemon, and jobs go on");
    pool.wait()?;
    Ok(ExitCode::SUCCESS)
}

/// Where a pool is kept unless somebody says where.
fn default_folder() -> Result<PathBuf, String> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = named("COTENANT_STATE") {
        return Ok(folder.into());
    }
    let state = match (named("XDG_STATE_HOME"), named("HOME")) {
        (Some(state), _) => PathBuf::from(state),
        (None, Some(home)) => PathBuf::from(home).join(".local").join("state"),
        (None, None) => {
            return Err("find a folder for the pool: HOME is not set\nhint: name one with --state"
                .to_owned());
        }
    };
    Ok(state.join("cotenant"))
}
