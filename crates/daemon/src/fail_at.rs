//! Named points at which a test makes the daemon die: `COTENANT_FAIL_AT=after-commit`.

use std::sync::OnceLock;

/// A place in the program where a death would be worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    BeforeCommit,
    AfterCommit,
    AfterAnswers,
    AfterRunFolder,
    AfterRunFile,
    AfterSupervisor,
    AfterStopFile,
}

impl Point {
    fn name(self) -> &'static str {
        match self {
            Point::BeforeCommit => "before-commit",
            Point::AfterCommit => "after-commit",
            Point::AfterAnswers => "after-answers",
            Point::AfterRunFolder => "after-run-folder",
            Point::AfterRunFile => "after-run-file",
            Point::AfterSupervisor => "after-supervisor",
            Point::AfterStopFile => "after-stop-file",
        }
    }

    /// Dies if a test wants it to happen here.
    pub(crate) fn pass(self) {
        static WANTED: OnceLock<Option<String>> = OnceLock::new();
        let wanted = WANTED.get_or_init(|| std::env::var("COTENANT_FAIL_AT").ok());
        if wanted.as_deref() == Some(self.name()) {
            std::process::abort();
        }
    }
}
