//! Writes an input for the target `checkpoint` to standard output: a tiny training after as many
//! rounds as the argument says. Whoever changes the format of checkpoints makes the seeds anew.

use std::env;
use std::io::{self, Write};

fn main() -> io::Result<()> {
    let rounds = env::args().nth(1).and_then(|rounds| rounds.parse().ok());
    let rounds = rounds.ok_or_else(|| io::Error::other("the argument is a number of rounds"))?;
    io::stdout().write_all(&cotenant_fuzz::checkpoint_seed(rounds))
}
