//! What is checked, in the order of what matters: what must be right first, then how fast it is.

mod alone;
mod differences;
mod golden;
mod graphs;
mod kernels;
mod memory;
mod opens;
pub(crate) mod peers;
mod same;
pub(crate) mod sanitizer;
mod speed;
mod trained;

use super::place::{Place, Stage};
use super::report::Rows;

/// What a check does: it adds rows, and fails where it could not even find out.
type Run<P> = fn(&Stage<'_, P>, &mut Rows) -> Result<(), String>;

/// One check, which knows nothing of the others.
pub(crate) struct Check<P> {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) seconds_max: u64,
    pub(crate) run: Run<P>,
}

fn check<P>(name: &'static str, about: &'static str, run: (u64, Run<P>)) -> Check<P> {
    Check { name, about, seconds_max: run.0, run: run.1 }
}

/// All checks; what opens the card comes first, and compiles the kernels that the others take.
pub(crate) fn all<P: Place>() -> Vec<Check<P>> {
    vec![
        check("opens", "the card opens and its kernels compile", (180, opens::run)),
        check("golden", "ten steps are PyTorch's", (60, golden::run)),
        check("same", "embeddings and gradients are the processor's", (240, same::run)),
        check("differences", "gradients are those of differences", (120, differences::run)),
        check("alone", "a tenant has the same bits alone and with others", (120, alone::run)),
        check("memory", "a round that does not fit goes on", (120, memory::run)),
        check("trained", "trained adapters are the processor's", (240, trained::run)),
        check("speed", "how fast it trains", (180, speed::run)),
        check("kernels", "what each kernel takes of a round", (120, kernels::run)),
        check("graphs", "passes as CUDA graphs give the same bits", (180, graphs::run)),
        check("sanitizer", "compute-sanitizer finds nothing", (400, sanitizer::run)),
        check("peers", "beside sentence-transformers and peft", (600, peers::run)),
    ]
}
