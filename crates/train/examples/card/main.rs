//! Checks the trainer on an NVIDIA card, with nothing but the driver, NVRTC and this program.
//!
//! Usage: `card [OPTIONS]`; `card --help` lists them, and `cargo xtask gpu` builds, packs and runs
//! it. Models, texts and tenants are made from seeds. Each check is a process of its own with a time
//! limit, so that a card that is lost in one is there again for the next.
//!
//! # Invariants
//! - A check that could not run says why, and is not counted as passed.
//! - What a check found before it was stopped is kept.
//! - Nothing of a card's settings is changed.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod checks;
mod options;
mod place;
mod rates;
mod report;
mod runner;
mod scene;
mod work;

use std::env;
use std::process::ExitCode;

use options::{Device, Options, Word};
use place::{OnCard, OnKernels, OnProcessor, Place, Stage};

fn main() -> ExitCode {
    cotenant_transformer::keep_memory_flat();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = Options::parse(&arguments).and_then(|options| match options.device {
        Device::Card => act(&options, OnCard { kernels: options.out.join("kernels") }),
        Device::Processor => act(&options, OnProcessor),
        Device::Kernels => act(&options, OnKernels),
    });
    done.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        ExitCode::FAILURE
    })
}

fn act<P: Place>(options: &Options, place: P) -> Result<ExitCode, String> {
    let stage = Stage { options, place };
    match &options.word {
        Word::Help => print!("{}", options::USAGE),
        Word::Run => return runner::run::<P>(options),
        Word::Check(name) => runner::run_one(&stage, name)?,
        Word::Step => checks::sanitizer::step(&stage)?,
        Word::Contend { tenants, seconds } => checks::peers::contend(&stage, *tenants, *seconds)?,
    }
    Ok(ExitCode::SUCCESS)
}
