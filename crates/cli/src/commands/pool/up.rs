//! `cotenant up`

use std::process::ExitCode;

use cotenant_daemon::{CardSettings, Config, up};
use cotenant_types::Seconds;
use cotenant_types::limits::OnFailure;

use super::Ended;
use super::address::state_folder;
use crate::args::pool::{Unheld, UpArgs};
use crate::console::Console;

/// Starts the pool, and keeps it up until it is told to end.
pub(crate) fn run(arguments: &UpArgs, console: &Console) -> Ended {
    let folder = match &arguments.state {
        Some(folder) => folder.clone(),
        None => state_folder()
            .ok_or("find a folder for the pool: HOME is not set\nhint: name one with --state")?,
    };
    let config = Config {
        folder,
        listen: arguments.listen,
        cards: arguments.cards.clone(),
        card_settings: match arguments.change_card_settings {
            true => CardSettings::MayChange,
            false => CardSettings::Keep,
        },
        keep_runs: Seconds(arguments.keep_runs_days.saturating_mul(24 * 3600)),
        policy: arguments.policy,
        unheld: match arguments.unheld {
            Unheld::Refuse => OnFailure::Refuse,
            Unheld::Run => OnFailure::PassThrough,
        },
        metric_names: arguments.metrics_names.clone(),
    };
    let pool = up(&config)?;
    let end = pool.end();
    ctrlc::set_handler(move || end.end())?;
    pool.notes.iter().for_each(|note| console.say(note));
    console.data(&serde_json::json!({ "address": pool.address }), || pool.address.clone())?;
    console.say("the dashboard is at this address; Ctrl-C ends the daemon, and jobs go on");
    pool.wait()?;
    Ok(ExitCode::SUCCESS)
}
