//! `cotenant down`

use std::process::ExitCode;

use super::link::Pool;
use crate::args::pool::DownArgs;
use crate::commands::Ended;
use crate::console::Console;

/// Asks the pool to end.
pub(super) fn run(arguments: &DownArgs, console: &Console) -> Ended {
    let pool = Pool::open(&arguments.pool)?;
    pool.ask("end the pool", |client| client.shutdown())?;
    let address = pool.address();
    console.data(&serde_json::json!({ "ending": address }), || {
        format!("the pool at {address} ends; jobs that run go on, and it finds them again")
    })?;
    Ok(ExitCode::SUCCESS)
}
