//! What is checked, in the order of what matters: what must hold first, then what it costs.

mod calls;
mod faults;
mod fragments;
mod memory;
mod neighbours;
mod shares;
mod shown;
mod torch;
mod ways;

use super::report::Rows;
use super::stage::Stage;

/// What a check does: it adds rows, and fails where it could not even find out.
type Run = fn(&Stage<'_>, &mut Rows) -> Result<(), String>;

/// One check, which knows nothing of the others.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) seconds_max: u64,
    pub(crate) run: Run,
}

const fn check(name: &'static str, about: &'static str, run: (u64, Run)) -> Check {
    Check { name, about, seconds_max: run.0, run: run.1 }
}

/// All checks; those of real programs before those that stay within our own. Together their limits are more than the time that a run has; what has no time left
/// is said to have had none.
pub(crate) const ALL: [Check; 19] = [
    check("shown", "a program sees its slice", (30, shown::run)),
    check("smi", "nvidia-smi in a slice sees the slice", (30, shown::nvidia_smi)),
    check("ways", "every way to memory is held", (40, ways::run)),
    check("race", "racing processes stay within the limit", (60, memory::race)),
    check("limit", "the limit can be filled, and is then refused at once", (40, memory::fill)),
    check("resize", "a memory limit changes while a program runs", (30, memory::resize)),
    check("killed", "memory of the killed is credited", (30, memory::killed)),
    check("torch", "PyTorch within its limit", (150, torch::run)),
    check("train", "a training in PyTorch, alone and beside a neighbour", (180, torch::train)),
    check("shares", "shares of compute are kept", (100, shares::run)),
    check("pair", "two tenants get 30 and 60 %", (60, neighbours::pair)),
    check("response", "a share changes while a program runs", (40, shares::response)),
    check("hold", "a hold stops work and ends by itself", (30, shares::hold)),
    check("alone", "a burst tenant alone is not slowed", (60, shares::alone)),
    check("neighbour", "a fixed tenant beside full load", (60, neighbours::full_load)),
    check("fair", "equal tenants get the same", (40, neighbours::fair)),
    check("calls", "what calls cost", (60, calls::run)),
    check("fragments", "memory in pieces", (60, fragments::run)),
    check("faults", "what one tenant breaks is its own", (40, faults::run)),
];
