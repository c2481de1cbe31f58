//! Checks the preload library on a card, with nothing but the driver and this program's folder.
//!
//! Usage: `gpu [OPTIONS]`; `gpu --help` lists them, and `cargo xtask gpu` builds, packs and runs it.
//! Each check is a process of its own with a time limit, and starts tenants: this program again, as
//! `gpu tenant`, which knows nothing of the library before it. What is held against a bar is the
//! wall time of an amount of work that was timed on the bare card before, and what NVML says from
//! outside; never the library's own counters. On the fake driver the same checks show that they
//! work, and that they fail where nothing holds the tenants.
//!
//! # Invariants
//! - A check that could not run says why, and is not counted as passed.
//! - What a check found before it was stopped is kept.
//! - Nothing of a card's settings is changed.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bar;
mod checks;
mod clock;
mod look;
mod options;
mod report;
mod runner;
mod slice;
mod stage;

use std::env;
use std::process::ExitCode;

use options::{Options, Word};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "tenant") {
        return cotenant_fake_cards::tenant::main();
    }
    let done = Options::parse(&arguments).and_then(|options| match &options.word {
        Word::Help => {
            print!("{}", options::USAGE);
            Ok(ExitCode::SUCCESS)
        }
        Word::Run => runner::run(&options),
        Word::Check(name) => runner::run_one(&options, name),
    });
    done.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        ExitCode::FAILURE
    })
}
