//! The `cotenant` program: commands over the library crates, and nothing else.
//!
//! stdout is data, stderr is talk. Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 a tenant's
//! training failed while others finished, 130 stopped by a signal, to go on later. Waiting for a job
//! ends with 0 only if the job succeeded; a program that is watched, with what it ends with.

mod args;
mod commands;
mod console;
mod progress;
mod table;
mod words;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};
use crate::console::Console;

fn main() -> ExitCode {
    cotenant_rag::job::keep_memory_flat();
    let arguments = Arguments::parse();
    let console = Console { json: arguments.json, quiet: arguments.quiet };
    let ended = match arguments.command {
        Command::Demo(demo) => commands::demo::run(&demo, &console),
        Command::Train(train) => commands::train::run(&train, &console),
        Command::Estimate(estimate) => commands::estimate::run(&estimate, &console),
        Command::Eval(eval) => commands::eval::run(&eval, &console),
        Command::Search(search) => commands::search::run(&search, &console),
        Command::Serve(serve) => commands::serve::run(&serve, &console),
        Command::Export(export) => commands::export::run(&export, &console),
        Command::Index(index) => commands::index::run(&index, &console),
        Command::Model(model) => commands::model::run(&model, &console),
        Command::Advise(advise) => commands::advise::run(&advise, &console),
        Command::Simulate(simulate) => commands::simulate::run(&simulate, &console),
        Command::Doctor(doctor) => commands::doctor::run(&doctor, &console),
        Command::Pool(pool) => commands::pool::run(&pool, &console),
        Command::Internal(internal) => commands::internal::run(&internal),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            console.failed(&*error);
            ExitCode::FAILURE
        }
    }
}
