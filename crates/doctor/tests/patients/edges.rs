//! Programs that are odd in other ways.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use cotenant_device::PreloadError;
use cotenant_doctor::{
    Cause, DoctorError, Interrupts, MIN_SHARE_MILLI, Note, Order, diagnose, watch,
};

use super::ward::{is_first, order, patient, watch_all};

fn shell(line: &str) -> [OsString; 3] {
    ["sh".into(), "-c".into(), line.into()]
}

#[test]
fn a_program_that_is_not_there_is_said_with_a_hint() {
    let error = watch(&order(&["no-such-program".into()]), &Interrupts::default()).unwrap_err();
    assert!(matches!(error, DoctorError::NotFound { .. }), "{error:?}");
    assert!(error.to_string().contains("no-such-program"), "{error}");
    assert!(error.to_string().contains("\nhint: "), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let error = watch(&order(&[folder.path().into()]), &Interrupts::default()).unwrap_err();
    assert!(matches!(error, DoctorError::Start { .. }), "{error:?}");
}

#[test]
fn a_program_that_ends_at_once_keeps_its_code() {
    let mut watched = watch_all(&shell("exit 7"));
    assert_eq!(watched.running.wait().unwrap().code(), Some(7));
    assert!(watched.observed.notes.contains(&Note::Brief));
}

#[test]
fn a_program_that_is_killed_is_said_to_be() {
    let mut watched = watch_all(&shell("kill -9 $$"));
    assert_eq!(watched.running.wait().unwrap().signal(), Some(9));
}

#[test]
fn the_program_outlives_the_look_at_it_and_signals_reach_it() {
    let longest = Some(Duration::from_millis(300));
    let words = shell("trap 'exit 5' TERM; while :; do sleep 0.1; done");
    let interrupts = Interrupts::default();
    let order = Order { longest, ..order(&words) };
    let mut watched = watch(&order, &interrupts).unwrap();
    assert!(watched.observed.wall_ns < 20_000_000_000);
    // In a terminal the first is the program's own already.
    interrupts.note();
    interrupts.note();
    assert_eq!(watched.running.wait().unwrap().code(), Some(5));
}

#[test]
fn programs_that_come_and_go_are_survived() {
    let mut watched = watch_all(&patient("forks", ""));
    assert!(watched.running.wait().unwrap().success());
    let diagnosis = diagnose(&watched.observed, MIN_SHARE_MILLI);
    assert!(diagnosis.window_ns > 1_000_000_000, "{}", diagnosis.text());
}

#[test]
fn without_the_library_the_rest_is_seen_and_that_is_said() {
    is_first(Cause::SlowWorkers, || {
        let missing = PreloadError::Missing { folder: "bin".into() };
        let order = Order { library: Err(missing), ..order(&patient("slow-workers", "")) };
        let mut watched = watch(&order, &Interrupts::default()).unwrap();
        assert!(watched.running.wait().unwrap().success());
        let diagnosis = diagnose(&watched.observed, MIN_SHARE_MILLI);
        assert!(matches!(diagnosis.notes[0], Note::NoLibrary(_)));
        diagnosis
    });
}

/// A program without a loader takes no library in.
#[test]
fn a_static_program_is_said_to_be_unseen_on_its_card() {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("a.c"), folder.path().join("a"));
    let text = "#include <time.h>\nint main(void) { for (clock_t end = clock() + \
                CLOCKS_PER_SEC; clock() < end;) {} return 0; }\n";
    fs::write(&source, text).unwrap();
    let built = Command::new("cc").arg("-static").arg("-o").args([&program, &source]).output();
    if !built.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this C compiler links nothing statically");
        return;
    }
    let mut watched = watch_all(&[program.into()]);
    assert!(watched.running.wait().unwrap().success());
    let unseen = |note: &Note| matches!(note, Note::CardUnseen { .. });
    assert!(watched.observed.notes.iter().any(unseen), "{:?}", watched.observed.notes);
}
