//! What this program can be told.

use std::env;
use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
gpu [OPTIONS]

Checks the preload library on the first card, writes results.jsonl and results.md, and ends with a
code that is not 0 if a check failed or there is no card.

  --out FOLDER         where results go                        [default: gpu-results]
  --only WORD          checks whose name begins with the word
  --quick              short spans and wide bars, for the fake driver and busy machines
  --minutes N          end after so many minutes               [default: 8]
  --python PROGRAM     a Python that has torch                 [default: python3]
  --library FILE       the preload library                     [default: beside this program]
  --without-library    load no library: whatever holds tenants must then fail
  --loosen PERCENT     give slices so much more than is checked: the checks must then fail
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
}

/// How long is measured, and how exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As long as figures need.
    Full,
    /// As short as shows that checks work.
    Quick,
}

/// The words of a command line.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) word: Word,
    pub(crate) out: PathBuf,
    pub(crate) only: Option<String>,
    pub(crate) pace: Pace,
    pub(crate) minutes: u64,
    pub(crate) python: String,
    /// `None` loads none.
    pub(crate) library: Option<PathBuf>,
    pub(crate) loosen_percent: u64,
    /// The options as they were given, for the processes of single checks.
    pub(crate) given: Vec<String>,
}

impl Options {
    /// Reads a command line.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let (word, given) = match arguments {
            [first, name, rest @ ..] if first == "check" => (Word::Check(name.clone()), rest),
            [first, ..] if first == "--help" || first == "-h" => (Word::Help, &[][..]),
            rest => (Word::Run, rest),
        };
        let mut options = Self {
            word,
            out: PathBuf::from("gpu-results"),
            only: None,
            pace: Pace::Full,
            minutes: 8,
            python: "python3".to_owned(),
            library: None,
            loosen_percent: 0,
            given: given.to_vec(),
        };
        let (mut is_bare, mut words) = (options.word == Word::Help, given.iter());
        while let Some(option) = words.next() {
            let mut value =
                || words.next().cloned().ok_or_else(|| format!("{option} lacks its value"));
            match option.as_str() {
                "--out" => options.out = PathBuf::from(value()?),
                "--only" => options.only = Some(value()?),
                "--quick" => options.pace = Pace::Quick,
                "--minutes" => options.minutes = number(&value()?)?,
                "--python" => options.python = value()?,
                "--library" => options.library = Some(PathBuf::from(value()?)),
                "--without-library" => is_bare = true,
                "--loosen" => options.loosen_percent = number(&value()?)?,
                other => return Err(format!("'{other}' is no option\n\n{USAGE}")),
            }
        }
        if is_bare {
            options.library = None;
        } else if options.library.is_none() {
            options.library = Some(find_library()?);
        }
        Ok(options)
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("'{text}' is no whole number"))
}

/// The library in this program's folder, or where cargo puts it for an example.
fn find_library() -> Result<PathBuf, String> {
    const FILE: &str = "libcotenant_shim.so";
    let program = env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    let beside = program.parent().map(|folder| folder.join(FILE));
    let of_cargo = program.ancestors().nth(2).map(|folder| folder.join("deps").join(FILE));
    let places = [beside, of_cargo].into_iter().flatten();
    places.into_iter().find(|place| place.is_file()).ok_or_else(|| {
        format!("there is no {FILE} beside this program\nhint: name it with --library FILE")
    })
}
