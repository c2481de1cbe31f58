//! Starts a program and looks at it until it ends, or as long as was asked for.
//!
//! A look costs time, and more the more threads there are; the pause after it grows with it, so
//! that watching takes three parts in a hundred of one processor at most.

mod calls;
mod files;
mod look;
mod page;
mod proc;
mod tally;
mod tree;

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cotenant_device::PreloadError;
use cotenant_types::trace::TRACE_VARIABLE;

use self::look::Looker;
use self::page::TracePage;
use self::proc::Proc;
use self::tally::{Moment, Tally};
use self::tree::Tree;
use crate::error::DoctorError;
use crate::observed::{Note, Observed};

const PRELOAD: &str = "LD_PRELOAD";

/// Between two looks, at least.
const PERIOD: Duration = Duration::from_millis(5);
/// The pause is so many times as long as the look before it.
const PAUSE_PER_LOOK: u32 = 32;
/// Between two counts of what processes used, and who they are.
const COUNT_EVERY: Duration = Duration::from_millis(50);
const REFRESH_EVERY: Duration = Duration::from_millis(20);
/// How often a program that is no longer watched is asked whether it ended.
const WAIT_STEP: Duration = Duration::from_millis(20);

/// What is to be started, and how it is to be watched.
#[derive(Debug)]
pub struct Order {
    /// The program, as a shell would find it.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The preload library, or why there is none; then calls to a driver are not seen.
    pub library: Result<PathBuf, PreloadError>,
    /// Where what it prints goes.
    pub output: Output,
    /// For how long it is watched; to its end if not given.
    pub longest: Option<Duration>,
}

/// Where what the program prints goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Where it would go anyway.
    AsEver,
    /// To standard error, so that standard output is the report's alone.
    ToStandardError,
}

/// Signals that asked this program to end, to be passed on.
#[derive(Clone, Debug, Default)]
pub struct Interrupts(Arc<AtomicU32>);

/// A program that was watched, and may still be running.
#[derive(Debug)]
pub struct Watched {
    /// What was seen.
    pub observed: Observed,
    /// The program.
    pub running: Running,
}

/// A program that may still be running.
#[derive(Debug)]
pub struct Running {
    child: Child,
    ended: Option<ExitStatus>,
    interrupts: Interrupts,
    passed_on: u32,
    // The program may count there as long as it runs.
    page: Option<TracePage>,
}

impl Interrupts {
    /// Says that there was one.
    pub fn note(&self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Running {
    /// Waits until the program has ended.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn wait(&mut self) -> Result<ExitStatus, DoctorError> {
        loop {
            if let Some(status) = self.status()? {
                return Ok(status);
            }
            sleep(WAIT_STEP);
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn status(&mut self) -> Result<Option<ExitStatus>, DoctorError> {
        if self.ended.is_none() {
            self.pass_on();
            self.ended = self.child.try_wait().map_err(DoctorError::Wait)?;
        }
        Ok(self.ended)
    }

    /// Ctrl-C in a terminal reaches the program by itself; what was sent to this process alone is
    /// passed on, and so is whatever comes after.
    fn pass_on(&mut self) {
        let count = self.interrupts.0.load(SeqCst);
        if count == self.passed_on {
            return;
        }
        let was_heard = self.passed_on == 0 && count == 1 && is_in_foreground();
        self.passed_on = count;
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid.filter(|_| !was_heard) {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

/// Starts a program and watches it.
///
/// # Errors
/// If it cannot be started or waited for.
pub fn watch(order: &Order, interrupts: &Interrupts) -> Result<Watched, DoctorError> {
    let page = match &order.library {
        Ok(_) => Some(TracePage::create()?),
        Err(_) => None,
    };
    let mut command = command(order, page.as_ref());
    let child = command.spawn().map_err(|source| {
        let program = order.program.to_string_lossy().into_owned();
        match source.kind() {
            io::ErrorKind::NotFound => DoctorError::NotFound { program },
            _ => DoctorError::Start { program, source },
        }
    })?;
    let interrupts = interrupts.clone();
    let mut running = Running { child, ended: None, interrupts, passed_on: 0, page };
    let mut observed = look_until_done(&mut running, order.longest)?;
    if let Err(error) = &order.library {
        observed.notes.insert(0, Note::NoLibrary(error.to_string()));
    }
    Ok(Watched { observed, running })
}

fn command(order: &Order, page: Option<&TracePage>) -> Command {
    let mut command = Command::new(&order.program);
    command.args(&order.arguments);
    match order.output {
        Output::AsEver => {}
        Output::ToStandardError => {
            command.stdout(Stdio::from(io::stderr()));
        }
    }
    if let (Ok(library), Some(page)) = (&order.library, page) {
        let mut preload = library.clone().into_os_string();
        if let Some(before) = env::var_os(PRELOAD).filter(|before| !before.is_empty()) {
            preload.push(":");
            preload.push(before);
        }
        command.env(PRELOAD, preload).env(TRACE_VARIABLE, page.path());
    }
    command
}

fn look_until_done(
    running: &mut Running,
    longest: Option<Duration>,
) -> Result<Observed, DoctorError> {
    let begun = Instant::now();
    let mut tree = Tree::new(Proc::new(Path::new("/proc")), running.child.id());
    let mut looker = Looker::default();
    let mut tally = Tally::default();
    let (mut looked, mut counted, mut refreshed) = (begun, begun, None);
    let mut period = PERIOD;
    while running.status()?.is_none() && longest.is_none_or(|longest| begun.elapsed() < longest) {
        let now = Instant::now();
        if refreshed.is_none_or(|at| now - at >= REFRESH_EVERY) {
            tree.refresh();
            refreshed = Some(now);
        }
        let seen = looker.look(&mut tree);
        tally.add(&Moment {
            tree: &tree,
            seen: &seen,
            page: running.page.as_ref(),
            passed_ns: ns(now - looked),
            period_ns: ns(period),
        });
        looked = now;
        if now - counted >= COUNT_EVERY {
            looker.look_for_network(&mut tree);
            let grown = tree.count();
            tally.count(&tree, &grown);
            counted = now;
        }
        let pause = (now.elapsed() * PAUSE_PER_LOOK).max(PERIOD);
        period = now.elapsed() + pause;
        sleep(pause);
    }
    Ok(tally.finish(&tree, running.page.as_ref()))
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether this process is what its terminal's signals go to.
fn is_in_foreground() -> bool {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> =
        text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // Behind the name: state, parent, group, session, terminal, the terminal's group.
    fields.len() > 5 && fields[2] == fields[5]
}
