//! The tenant of tests: it does as the lines on its standard input say, on whatever driver the
//! loader finds.

use std::process::ExitCode;

fn main() -> ExitCode {
    cotenant_fake_cards::tenant::main()
}
