//! Running other programs and saying what went wrong.

use std::process::{Command, Stdio};

/// How much of what a failed command said is repeated.
const TALK_LINES_MAX: usize = 10;

/// Runs a command that talks to the person itself.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", name(command))) }
}

/// Runs a command and returns its standard output; its standard error is talk, of which the end
/// is shown if it fails.
pub(crate) fn capture(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| not_started(command, &error))?;
    if !output.status.success() {
        let talk = String::from_utf8_lossy(&output.stderr);
        let talk: Vec<&str> = talk.lines().rev().take(TALK_LINES_MAX).collect();
        let talk: Vec<&str> = talk.into_iter().rev().collect();
        return Err(format!("{} ended with {}\n{}", name(command), output.status, talk.join("\n")));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{} wrote no UTF-8", name(command)))
}

/// Whether a command can be started and succeeds; what it says is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// The command as a person would type it, without its folder and environment.
pub(crate) fn name(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    [program].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

fn not_started(command: &Command, error: &std::io::Error) -> String {
    format!("failed to start {}: {error}", name(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command() {
        let error = run(&mut Command::new("no-such-program-here")).unwrap_err();
        assert!(error.starts_with("failed to start no-such-program-here: "), "{error}");
        let mut command = Command::new("git");
        let error = capture(command.arg("no-such-command").env("LC_ALL", "C")).unwrap_err();
        assert!(error.starts_with("git no-such-command ended with "), "{error}");
        assert!(error.contains("'no-such-command' is not a git command"), "{error}");
    }
}
