//! Where patients are watched.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cotenant_device::preload_library;
use cotenant_doctor::{
    Cause, Diagnosis, Interrupts, MIN_SHARE_MILLI, Order, Output, Watched, diagnose, watch,
};
use cotenant_fake_cards::{Cards, Description, install};

/// How long a patient is watched, in seconds.
const SECONDS: &str = "2.5";

/// A card for patients, which copies as slowly as a card on a bad day.
pub(crate) struct Ward {
    folder: tempfile::TempDir,
    cards: Cards,
}

impl Ward {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = "time=real,copy_gib_s=1";
        let description = Description::parse("name=test,memory=8GiB,sms=100", settings).unwrap();
        let cards = Cards::create(&folder.path().join("cards"), &description).unwrap();
        install(&folder.path().join("driver"), &[]).unwrap();
        Self { folder, cards }
    }

    /// What the doctor says of a patient with a card.
    pub(crate) fn see(&self, illness: &str, path: &str) -> Diagnosis {
        let driver = self.folder.path().join("driver");
        // The loader's variable is the patient's alone.
        let mut command: Vec<OsString> = vec![
            "env".into(),
            format!("LD_LIBRARY_PATH={}", driver.display()).into(),
            format!("COTENANT_FAKE_DRIVER={}", self.cards.path().display()).into(),
        ];
        command.extend(patient(illness, path));
        let seen = see(&command);
        assert!(seen.has_card, "{illness}: {}", seen.text());
        seen
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The command for a patient.
pub(crate) fn patient(illness: &str, path: &str) -> [OsString; 4] {
    [program().into(), illness.into(), SECONDS.into(), path.into()]
}

/// What the doctor says of a command.
pub(crate) fn see(command: &[OsString]) -> Diagnosis {
    let mut watched = watch_all(command);
    let ended = watched.running.wait().unwrap();
    assert!(ended.success(), "{command:?}: {ended}");
    diagnose(&watched.observed, MIN_SHARE_MILLI)
}

/// Watches a command to its end.
pub(crate) fn watch_all(command: &[OsString]) -> Watched {
    watch(&order(command), &Interrupts::default()).unwrap()
}

pub(crate) fn order(command: &[OsString]) -> Order {
    let (program, arguments) = command.split_first().unwrap();
    let library = preload_library();
    assert!(library.is_ok(), "{}", library.unwrap_err());
    Order {
        program: program.clone(),
        arguments: arguments.to_vec(),
        library,
        output: Output::AsEver,
        longest: Some(Duration::from_secs(60)),
    }
}

/// Insists that a cause comes first in one of three looks: where other tests have the processors,
/// the doctor may be too seldom on one to see enough. Gives that look.
#[track_caller]
pub(crate) fn is_first(cause: Cause, look: impl Fn() -> Diagnosis) -> Diagnosis {
    let mut said = String::new();
    for _ in 0..3 {
        let seen = look();
        if own(&seen).first() == Some(&cause) {
            return seen;
        }
        said += &seen.text();
    }
    panic!("{cause:?} did not come first: {said}");
}

/// Insists that nothing is said.
#[track_caller]
pub(crate) fn is_well(seen: &Diagnosis) {
    assert!(own(seen).is_empty() && seen.notes.is_empty(), "{}", seen.text());
}

/// What a patient suffers from. Where other tests use the processors, it suffers from that too,
/// which is no illness of its own.
fn own(seen: &Diagnosis) -> Vec<Cause> {
    let causes = seen.findings.iter().map(|finding| finding.cause);
    causes.filter(|cause| *cause != Cause::NoProcessor).collect()
}

/// The example, as cargo built it for this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    let file = folder.join("examples/patient");
    assert!(
        file.exists(),
        "examples/patient was not built; run the whole package's tests, not one by name"
    );
    file
}
