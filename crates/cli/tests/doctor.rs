//! `cotenant doctor` as a user has it: what it prints where, and how it ends.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::Value;

fn doctor(arguments: &[&str]) -> std::process::Output {
    let program = env!("CARGO_BIN_EXE_cotenant");
    Command::new(program).arg("doctor").args(arguments).output().unwrap()
}

#[test]
fn the_report_follows_what_the_program_prints_and_its_code_is_kept() {
    let output = doctor(&["--", "sh", "-c", "printf 'a\\0b\\n'; exit 7"]);
    assert_eq!(output.status.code(), Some(7));
    let text = String::from_utf8(output.stdout).unwrap();
    let (own, report) = text.split_once('\n').unwrap();
    assert_eq!(own, "a\0b");
    assert!(report.starts_with("It computed for "), "{report}");
    assert!(report.contains("note: it ended before much could be seen"), "{report}");
    let killed = doctor(&["--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.status.code(), Some(137));
}

#[test]
fn json_is_all_that_stands_on_stdout() {
    let output = doctor(&["--json", "--", "sh", "-c", "echo own; exit 3"]);
    assert_eq!(output.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["of"], "processor");
    assert_eq!((&report["exit_code"], &report["signal"]), (&3.into(), &Value::Null));
    assert!(report["findings"].is_array() && report["notes"].is_array());
    assert!(report["busy"].is_number() && report["window_s"].is_number());
    assert!(String::from_utf8(output.stderr).unwrap().contains("own"));
}

#[test]
fn a_program_that_sleeps_is_told_so_while_it_still_does() {
    let output = doctor(&["--seconds", "1", "--min-share", "50", "--json", "--", "sleep", "2"]);
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["exit_code"], Value::Null, "it runs still: {report}");
    assert_eq!(report["findings"][0]["cause"], "sleep", "{report}");
    assert_eq!(report["findings"].as_array().map(Vec::len), Some(1), "{report}");
}

#[test]
fn bad_input_is_explained() {
    let missing = doctor(&["--", "no-such-program"]);
    assert_eq!(missing.status.code(), Some(1));
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(said.contains("error: failed to start no-such-program"), "{said}");
    assert!(said.contains("hint: "), "{said}");
    for arguments in
        [&[][..], &["--seconds", "0", "--", "true"], &["--min-share", "101", "--", "x"]]
    {
        assert_eq!(doctor(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
