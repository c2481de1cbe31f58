//! What this program can be told.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
card [OPTIONS]

Checks the trainer on the first NVIDIA card, and writes results.jsonl and results.md. Ends with 0 if
nothing failed, 1 if anything did, and 2 if nothing could run at all, as without a driver.

  --out FOLDER         where results go                        [default: card-results]
  --only WORDS         checks whose name begins with one of the words, which have commas between
  --quick              small models, short spans and wide bars
  --minutes N          end after so many minutes               [default: 25]
  --python PROGRAM     a Python that has torch, sentence-transformers and peft
                                                               [default: python3]
  --on-processor       put the processor in the card's place, to check the checks
  --on-kernels         likewise, and have it run the card's kernels, built by g++: slowly
  --spoil              compare with other seeds than those checked: the checks must then fail

NVRTC is found where COTENANT_NVRTC says, by the loader, in the active Python environment or in
CUDA's toolkit, and cuBLASLt where COTENANT_CUBLASLT says, or likewise.
";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Say what can be done.
    Help,
    /// All checks.
    Run,
    /// One check, in this process.
    Check(String),
    /// One small step, for whoever watches its memory.
    Step,
    /// Train so many tenants for so long, when told to.
    Contend { tenants: u64, seconds: u64 },
}

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// The first card.
    Card,
    /// The processor, by its own backend.
    Processor,
    /// The processor, by the kernels of cards.
    Kernels,
}

/// The words of a command line.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) word: Word,
    pub(crate) out: PathBuf,
    pub(crate) only: Option<String>,
    pub(crate) is_quick: bool,
    pub(crate) minutes: u64,
    pub(crate) python: String,
    pub(crate) device: Device,
    pub(crate) is_spoilt: bool,
    /// The options as they were given, for the processes of single checks.
    pub(crate) given: Vec<String>,
}

impl Options {
    /// Reads a command line.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let (word, given) = match arguments {
            [first, name, rest @ ..] if first == "check" => (Word::Check(name.clone()), rest),
            [first, rest @ ..] if first == "step" => (Word::Step, rest),
            [first, tenants, seconds, rest @ ..] if first == "contend" => {
                let (tenants, seconds) = (number(tenants)?, number(seconds)?);
                (Word::Contend { tenants, seconds }, rest)
            }
            [first, ..] if first == "--help" || first == "-h" => (Word::Help, &[][..]),
            rest => (Word::Run, rest),
        };
        let mut options = Self {
            word,
            out: PathBuf::from("card-results"),
            only: None,
            is_quick: false,
            minutes: 25,
            python: "python3".to_owned(),
            device: Device::Card,
            is_spoilt: false,
            given: given.to_vec(),
        };
        let mut words = given.iter();
        while let Some(option) = words.next() {
            let mut value =
                || words.next().cloned().ok_or_else(|| format!("{option} lacks its value"));
            match option.as_str() {
                "--out" => options.out = PathBuf::from(value()?),
                "--only" => options.only = Some(value()?),
                "--quick" => options.is_quick = true,
                "--minutes" => options.minutes = number(&value()?)?,
                "--python" => options.python = value()?,
                "--on-processor" => options.device = Device::Processor,
                "--on-kernels" => options.device = Device::Kernels,
                "--spoil" => options.is_spoilt = true,
                other => return Err(format!("'{other}' is no option\n\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("'{text}' is no whole number"))
}
