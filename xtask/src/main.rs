//! The project's own tools, run as `cargo xtask COMMAND`.
//!
//! Begin with [`ci`], which is what decides whether a change may land, and with [`tidy`], which
//! holds the rules of STYLE.md that a program can check.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool talks to a person")]

mod bench;
mod ci;
mod command;
mod contract;
mod generate;
mod golden;
mod gpu;
mod project;
mod python;
mod sanitize;
mod tidy;

use std::env;
use std::process::ExitCode;

use crate::project::Project;

const USAGE: &str = "\
cargo xtask COMMAND

  ci           what CI runs: format, tidy, clippy, tests, documentation, interop, contract
  tidy         check the rules of STYLE.md that a program can check
  generate     write the files that are made from the code
  sanitize     test what programs share through the preload library under AddressSanitizer
  contract     make requests from openapi.json against a live daemon, with Schemathesis
  golden       make the golden files anew with pinned Python packages, in golden/venv
  bench train  train beside PyTorch and print ratios; --help lists its options
  bench isolation
               run jobs beside bad neighbours and print ratios
  gpu          pack what checks the preload library and the trainer on a card, and run it if one
               is here; `gpu pack` only packs
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), String> {
    // A job of a benchmark runs this program without cargo, and needs no project.
    if let [bench::isolation::work::WORD, rest @ ..] = arguments {
        return bench::isolation::work::run(rest);
    }
    let project = Project::find()?;
    match arguments {
        ["ci"] => ci::run(&project),
        ["tidy"] => tidy::run(&project),
        ["generate"] => generate::write(&project),
        ["sanitize"] => match sanitize::run(&project)? {
            Some(reason) => Err(reason.to_owned()),
            None => Ok(()),
        },
        ["contract"] => match contract::run(&project)? {
            Some(reason) => Err(reason.to_owned()),
            None => Ok(()),
        },
        ["golden"] => golden::run(&project),
        ["bench", rest @ ..] => bench::run(&project, rest),
        ["gpu", rest @ ..] => gpu::run(&project, rest),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        [other, ..] => Err(format!("unknown command or arguments at '{other}'\n\n{USAGE}")),
    }
}
