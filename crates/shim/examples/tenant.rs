//! A program that uses a card as a script says, for the tests: it knows nothing of the library that
//! is loaded before it.

fn main() -> std::process::ExitCode {
    cotenant_fake_cards::tenant::main()
}
