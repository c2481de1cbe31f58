//! Says why a program's card idles, from what is seen of the program from outside.
//!
//! [`watch()`] starts a program and looks at it, every few milliseconds: what each of its threads
//! does, and, through the preload library, what it asks of its card. That is folded into the counts
//! of [`Observed`] at once. [`diagnose()`] is a pure function of those: it names causes, each with
//! the share of the time that it costs and with what to change. A program that uses no card is
//! looked at in the same way, and then its own computing takes the card's place.
//!
//! The crate never knows tenants, jobs or policy. Begin with [`Held`], which is what a look finds,
//! then the module `diagnose`.
//!
//! # Invariants
//! - The program does what it would do unwatched: nothing is held, refused, traced or stopped.
//! - What is kept of a program is bounded, however long it runs and however many processes it has.
//! - A cause follows from what was seen, never from names of programs or files.
//! - What could not be seen is said.

mod card;
mod diagnose;
mod error;
mod held;
mod observed;
mod report;
mod watch;

pub use card::CardCounts;
pub use diagnose::{Cause, Diagnosis, Finding, MIN_SHARE_MILLI, diagnose};
pub use error::DoctorError;
pub use held::{Doing, Held, Lead, ThreadSeen, WaitsFor, held};
pub use observed::{FilesRead, Note, Observed, ProcessCounts, WrittenFile};
pub use report::{Report, ReportedFinding};
pub use watch::{Interrupts, Order, Output, Running, Watched, watch};
