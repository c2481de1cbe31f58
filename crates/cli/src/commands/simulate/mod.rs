//! `cotenant simulate`

mod curves;
mod page;
mod run;
mod screen;
mod sizing;
mod timed;
mod traces;

use std::path::Path;
use std::process::ExitCode;

use super::Ended;
use crate::args::simulate::SimulateArgs;
use crate::console::Console;

/// Finds how many cards the jobs of a file need, or replays a trace with each policy and seed and
/// compares what found room.
pub(crate) fn run(arguments: &SimulateArgs, console: &Console) -> Ended {
    if let Some(file) = &arguments.sizing.jobs {
        return sizing::run((file, &arguments.seeds.0), &arguments.sizing, console);
    }
    let traces = traces::read(arguments)?;
    for notice in traces.notices() {
        console.say(&notice);
    }
    let Some(order) = arguments.arrival.order() else {
        return timed::run(arguments, &traces, console);
    };
    let results = run::replay_all(arguments, (&traces, order), console);
    if let Some(file) = &arguments.html {
        let page = page::render(&page::Subject::new(arguments, &traces), &results);
        write_page((file, &page), console)?;
    }
    console.data(&screen::json(&results), || screen::text(&results))?;
    Ok(ExitCode::SUCCESS)
}

fn write_page((file, page): (&Path, &str), console: &Console) -> Result<(), traces::FileError> {
    std::fs::write(file, page).map_err(|error| traces::FileError {
        act: "write the page",
        file: file.to_owned(),
        source: format!("{error}\nhint: check that its folder is there and yours").into(),
    })?;
    console.say(&format!("page in {}", file.display()));
    Ok(())
}
