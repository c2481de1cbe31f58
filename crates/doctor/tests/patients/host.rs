//! Patients that compute on the processor.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use cotenant_doctor::Cause;

use super::ward::{is_first, is_well, patient, see};

#[test]
fn threads_that_compute_all_the_time_are_well() {
    let seen = see(&patient("well", ""));
    is_well(&seen);
    assert!(!seen.has_card);
    let crowded = seen.findings.iter().find(|finding| finding.cause == Cause::NoProcessor);
    let crowded = crowded.map_or(0, |finding| finding.share_milli);
    assert!(seen.busy_milli + crowded > 900, "{}", seen.text());
}

#[test]
fn a_shell_around_the_program_changes_nothing() {
    let words = patient("slow-workers", "").map(|word| word.into_string().unwrap());
    let line = format!("'{}'; true", words.join("' '"));
    is_first(Cause::SlowWorkers, || see(&["sh".into(), "-c".into(), line.clone().into()]));
}

#[test]
fn workers_that_are_slower_than_the_training_are_named() {
    is_first(Cause::SlowWorkers, || see(&patient("slow-workers", "")));
}

#[test]
fn a_thread_that_loads_counts_as_a_worker() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    fs::write(&path, vec![7; 1 << 20]).unwrap();
    is_first(Cause::SlowWorkers, || see(&patient("loader-thread", path.to_str().unwrap())));
}

#[test]
fn many_small_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..3000 {
        fs::write(folder.path().join(number.to_string()), [7; 2048]).unwrap();
    }
    let folder = folder.path().to_str().unwrap();
    is_first(Cause::SmallFiles, || see(&patient("small-files", folder)));
}

/// The file is one that another program fills, a little at a time.
#[test]
fn storage_that_is_slow_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success(), "mkfifo comes with every system");
    let feed = |fifo: PathBuf| {
        let mut fifo = OpenOptions::new().write(true).open(fifo).unwrap();
        let begun = Instant::now();
        // Until the reader has had enough.
        while begun.elapsed() < Duration::from_secs(60) && fifo.write_all(&[7; 4096]).is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    };
    is_first(Cause::SlowStorage, || {
        let fifo = path.clone();
        let feeder = thread::spawn(move || feed(fifo));
        let seen = see(&patient("slow-storage", path.to_str().unwrap()));
        feeder.join().unwrap();
        seen
    });
}

#[test]
fn checkpoints_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    is_first(Cause::Checkpoints, || see(&patient("checkpoints", folder)));
}

#[test]
fn logging_is_named() {
    let folder = tempfile::tempdir().unwrap();
    is_first(Cause::Logging, || see(&patient("logging", folder.path().to_str().unwrap())));
}

#[test]
fn a_lock_is_named() {
    is_first(Cause::OneThread, || see(&patient("lock", "")));
}

#[test]
fn pieces_that_are_too_small_are_named() {
    is_first(Cause::SmallPieces, || see(&patient("pieces", "")));
}

/// Processes and pipes of Python's own, as its loaders use them.
#[test]
fn a_python_program_with_a_slow_loader_is_understood() {
    const SCRIPT: &str = "
import multiprocessing as m, time

def spend(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(100))

def load(pipe):
    while True:
        spend(0.02)
        try:
            pipe.send(bytes(4096))
        except OSError:
            return

if __name__ == '__main__':
    m.set_start_method('fork')
    ours, theirs = m.Pipe(duplex=False)
    m.Process(target=load, args=(theirs,), daemon=True).start()
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        ours.recv()
        spend(0.004)
";
    let is_there = Command::new("python3").args(["-c", "import multiprocessing"]).output();
    if !is_there.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no python3 here");
        return;
    }
    let command: [OsString; 3] = ["python3".into(), "-c".into(), SCRIPT.into()];
    is_first(Cause::SlowWorkers, || see(&command));
}
