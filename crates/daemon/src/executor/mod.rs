//! Carries out what was decided: starts, stops and limits jobs, and says what became of them.

mod folder;
mod holders;
mod intercepted;
mod local;
mod member;
mod partitions;
mod said;
mod served;
mod supervise;

use cotenant_api::JobRequest;
use cotenant_sched::{Command, Event, Run};

pub(crate) use folder::{MARK, MEMBER, RunFolder};
pub(crate) use holders::Holders;
pub(crate) use intercepted::{Counted, Intercepted};
pub(crate) use local::LocalExecutor;
pub use member::run_member;
pub(crate) use partitions::Partitioned;
pub(crate) use said::member_name;
pub(crate) use served::Served;
pub use supervise::{InternalError, supervise};

/// What a start needs beside the command.
pub(crate) struct Errand {
    pub(crate) command: Command,
    /// What the job runs; with starts alone.
    pub(crate) request: Option<Box<JobRequest>>,
}

/// Somewhere that jobs run. It makes no choices, and may be told anything twice.
pub(crate) trait Executor: Send {
    /// Carries out a command; what becomes of it is told later, as events.
    fn carry_out(&mut self, errand: Errand);

    /// After a restart: takes over what still runs. Events say what ended meanwhile of the runs that
    /// are held to be alive; what is given back still runs.
    fn adopt(&mut self, held: &[Run]) -> Vec<Run>;
}

/// Where an executor tells what became of things.
pub(crate) type Tell = Box<dyn Fn(Event) + Send + Sync>;
