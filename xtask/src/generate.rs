//! Files that are made from the code: written by `cargo xtask generate`, compared by tidy.

use std::env;
use std::fmt::Write as _;
use std::fs;

use crate::command;
use crate::project::Project;

/// A committed file and what makes it.
pub(crate) struct Generated {
    /// Its path, relative to the root.
    pub(crate) path: &'static str,
    /// Makes its whole text.
    pub(crate) make: fn(&Project) -> Result<String, String>,
}

/// Every generated file.
pub(crate) const GENERATED: [Generated; 3] = [
    Generated { path: "docs/cli.md", make: command_line_reference },
    Generated { path: "docs/openapi.json", make: http_contract },
    Generated { path: "docs/serve-openapi.json", make: serve_contract },
];

/// Writes every generated file.
pub(crate) fn write(project: &Project) -> Result<(), String> {
    for Generated { path, make } in &GENERATED {
        let text = make(project)?;
        fs::write(project.at(path), text)
            .map_err(|error| format!("failed to write {path}: {error}"))?;
        println!("wrote {path}");
    }
    Ok(())
}

/// The routes and wire types of the pool, as OpenAPI.
fn http_contract(_: &Project) -> Result<String, String> {
    let text = serde_json::to_string_pretty(&cotenant_api::openapi());
    text.map(|text| text + "\n").map_err(|error| format!("the contract is no JSON: {error}"))
}

/// The routes and wire types of `cotenant serve`, as the program itself prints them.
fn serve_contract(project: &Project) -> Result<String, String> {
    project.build_programs()?;
    let ours = env::current_exe().map_err(|error| format!("no path to this program: {error}"))?;
    let mut command = project.program(ours.with_file_name("cotenant"));
    command::capture(command.args(["serve", "--openapi"]))
}

/// Every command of the program, with the help that the program itself prints.
fn command_line_reference(project: &Project) -> Result<String, String> {
    project.build_programs()?;
    let mut text = "# Commands\n\n\
        This page is made by `cargo xtask generate` from what the program prints.\n"
        .to_owned();
    // Depth first, so that a command's own commands follow it.
    let mut left = vec![Vec::new()];
    while let Some(words) = left.pop() {
        let help = help(project, &words)?;
        let command = ["cotenant".to_owned()].into_iter().chain(words.clone());
        let title = command.collect::<Vec<_>>().join(" ");
        write!(text, "\n## `{title}`\n\n```text\n{}\n```\n", help.trim_end())
            .expect("a string takes any text");
        let below = commands(&help).into_iter().map(|name| [words.clone(), vec![name]].concat());
        let below: Vec<_> = below.collect();
        left.extend(below.into_iter().rev());
    }
    Ok(text)
}

fn help(project: &Project, words: &[String]) -> Result<String, String> {
    // The program is built into the folder that we were built into.
    let ours = env::current_exe().map_err(|error| format!("no path to this program: {error}"))?;
    let mut command = project.program(ours.with_file_name("cotenant"));
    // A help text must not depend on the width of whoever asks for it.
    let help = command::capture(command.args(words).arg("--help").env("COLUMNS", "100"))?;
    if help.trim().is_empty() {
        return Err(format!("{} prints nothing", command::name(&command)));
    }
    let lines = help.lines().map(str::trim_end);
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// The names under "Commands:" in a help text; "help" only repeats the others.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines.take_while(|line| !line.is_empty()).filter(|line| is_entry(line));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Continuation lines of a long description are indented further than the names.
fn is_entry(line: &str) -> bool {
    line.starts_with("  ") && !line.starts_with("   ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_help() {
        let help = "Train\n\nUsage: cotenant <COMMAND>\n\nCommands:\n  train   Train adapters\n  \
            model   Get models\n          and list them\n  help    Print this\n\nOptions:\n  -h  Help\n";
        assert_eq!(commands(help), ["train", "model"]);
        assert!(commands("Usage: cotenant train\n\nOptions:\n  -h  Help\n").is_empty());
    }
}
