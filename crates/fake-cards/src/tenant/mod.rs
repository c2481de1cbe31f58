//! A program that uses a driver as a script says, one line an action and one line an answer.
//!
//! It loads `libcuda.so.1` as programs do, and finds functions by `dlsym` or by `cuGetProcAddress`.
//! Answers begin with `ok`, or are `error CODE NAME in FUNCTION`, or `error: TEXT` for what was not
//! understood. While it waits for a line it tells the fake driver so, if it is one, so that a virtual
//! clock goes on without it.
//!
//! On a real driver its kernels are code, which does a number of loops where a line says nanoseconds:
//! the same line is the same amount of work, whoever shares the card.
//!
//! ```text
//! lookup dlsym | lookup address VERSION [own]     how functions are found from here on
//! init [CARD]                                     cuInit and a primary context
//! alloc NAME BYTES [WAY] [card=N]   plain pitch managed async pool vmm array mipmap host context
//!                             hostpool; orphan mapped sparse: of a destroyed pool, of released handles
//!                             pages hostpages: mapped nowhere
//! free NAME
//! copy to|from NAME HOST BYTES [wait]     HOST is a name of host memory, or - for other memory
//! info                                            ok FREE TOTAL
//! total                                           ok BYTES
//! race MS SEED BYTES                             takes and gives back: ok HELD GRANTED REFUSED
//! where NAME | fill NAME NUMBER | peek ADDRESS    ok ADDRESS; ok; ok NUMBER
//! launch NS [sms=N] [count=N] [stream=NAME] [way=plain|ex|together] [blocks=N] [threads=N]
//! stream NAME [nonblocking] | event NAME | record EVENT [STREAM] | await STREAM EVENT
//! graph NAME NS COUNT [sms=N] [blocks=N] [threads=N]
//! capture NAME NS COUNT [sms=N] [bytes=N] [blocks=N] [threads=N]
//! play NAME [count=N] [stream=S] | upload NAME | forget NAME
//! begin STREAM | end STREAM NAME | drop STREAM    a capture by hand, and a stream's end
//! gate STREAM | ungate                            the stream goes no further until then
//! sync [STREAM] | wait EVENT | elapsed EVENT EVENT     ok NANOSECONDS
//! host [STREAM] | callback [STREAM]               functions of the host; counted by `called`
//! called                                          ok COUNT
//! work NS UNTIL_NS [sms=N] [ahead=N]              kernels until a time of the cards: ok COUNT
//! spend MS loops=N|graph=NAME [blocks=N] [threads=N] [ahead=N]     ok COUNT NANOSECONDS
//! time WHAT [bytes=N] [calls=N] [rounds=N]        ok LEAST MEDIAN, nanoseconds of a call
//!                             set info launch memory; alloc free refused context
//! fault                                           a kernel writes where nothing is
//! facts                       ok SMS MAJOR MINOR DRIVER fake|real
//! share NAME | open NAME HANDLE | close NAME      memory of another process
//! export NAME | import NAME DESCRIPTOR            mapped memory by a descriptor of this process
//! now | sleep NS              of the cards on the fake driver; only `now` is known to a real one
//! nvml count | driver | card I | memory I | used I | processes I | use I | samples I SEEN_US
//! nvml mig I | xid I MS
//! call FUNCTION [NUMBER...]                       ok, or the error
//! fork LINE...                                    the line in a child: ok STATUS, after its answer
//! why                                             why the fake driver found no cards
//! exec | die | exit
//! ```

mod driver;
mod kernels;
mod memory;
mod process;
mod script;
mod timing;
mod watch;
mod work;

use std::env;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

pub use process::{ProcessError, TenantProcess};

use driver::Driver;
use script::{Answer, Failure, Line};

use crate::system::LoadError;

/// A program's own use of a driver: it tells itself the lines.
pub struct OwnTenant {
    tenant: Tenant,
}

impl OwnTenant {
    /// Loads the driver.
    ///
    /// # Errors
    /// If it is not there.
    pub fn load() -> Result<Self, LoadError> {
        Tenant::load().map(|tenant| Self { tenant })
    }

    /// Does what a line says, and gives the answer.
    pub fn tell(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.tenant.answer(&words, &mut io::sink())
    }
}

/// A tenant between two lines.
struct Tenant {
    driver: Driver,
    memory: memory::Memory,
    work: work::Work,
    watch: watch::Watch,
    card: usize,
}

/// Runs as a program: lines from standard input, answers to standard output.
#[must_use]
pub fn main() -> ExitCode {
    match run(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be left to read it.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what the lines say until they end.
///
/// # Errors
/// If the library cannot be loaded, or lines or answers fail.
pub fn run(mut lines: impl BufRead, mut answers: impl Write) -> io::Result<()> {
    let mut tenant = Tenant::load().map_err(io::Error::other)?;
    writeln!(answers, "ready {}", std::process::id())?;
    answers.flush()?;
    let mut line = String::new();
    loop {
        line.clear();
        tenant.driver.rest();
        let read = lines.read_line(&mut line)?;
        tenant.driver.resume();
        let words: Vec<&str> = line.split_whitespace().collect();
        if read == 0 || words == ["exit"] {
            return Ok(());
        }
        if words.is_empty() {
            continue;
        }
        let answer = tenant.answer(&words, &mut answers);
        writeln!(answers, "{answer}")?;
        answers.flush()?;
    }
}

impl Tenant {
    fn load() -> Result<Self, LoadError> {
        Ok(Self {
            driver: Driver::load()?,
            memory: memory::Memory::default(),
            work: work::Work::default(),
            watch: watch::Watch::default(),
            card: 0,
        })
    }

    fn answer(&mut self, words: &[&str], answers: &mut impl Write) -> String {
        match self.act(words, answers) {
            Ok(text) if text.is_empty() => "ok".to_owned(),
            Ok(text) => format!("ok {text}"),
            Err(failure) => failure.to_string(),
        }
    }

    fn act(&mut self, words: &[&str], answers: &mut impl Write) -> Answer {
        let line = Line::new(words);
        match line.verb {
            "lookup" => self.driver.look_up(&line),
            "init" => self.init(&line),
            "now" => self.driver.now().map(|ns| ns.to_string()),
            "sleep" => self.driver.call("cotenantFakeSleep", &[line.number(0)?]),
            "call" => {
                let name = line.word(0)?;
                let numbers: Result<Vec<usize>, Failure> =
                    (1..line.len()).map(|at| line.number(at)).collect();
                self.driver.call(name, &numbers?)
            }
            "fork" => self.fork(&words[1..], answers),
            "why" => self.driver.why(),
            "nvml" => self.watch.act(&line),
            "exec" => Err(exec()),
            "die" => {
                crate::system::kill_self();
                Ok(String::new())
            }
            "time" => timing::time(&self.driver, &line),
            "facts" => self.facts(),
            "alloc" | "free" | "info" | "total" | "share" | "open" | "close" | "export"
            | "import" | "copy" | "race" | "where" | "fill" | "peek" => {
                self.memory.act(&self.driver, self.card, &line)
            }
            _ => self.work.act(&self.driver, &line),
        }
    }

    fn init(&mut self, line: &Line<'_>) -> Answer {
        self.card = line.number(0).unwrap_or(0);
        self.driver.call("cuInit", &[0])?;
        let mut device = 0i32;
        self.driver.call("cuDeviceGet", &[address(&mut device), self.card])?;
        let mut context = 0usize;
        let retained = [address(&mut context), device as usize];
        self.driver.call("cuDevicePrimaryCtxRetain", &retained)?;
        self.driver.call("cuCtxSetCurrent", &[context])
    }

    /// What the first of a driver's questions give.
    fn facts(&mut self) -> Answer {
        let (mut sms, mut version) = (0i32, 0i32);
        let (mut major, mut minor) = (0i32, 0i32);
        self.driver.call("cuDriverGetVersion", &[address(&mut version)])?;
        let attributes = [(&mut sms, 16), (&mut major, 75), (&mut minor, 76)];
        for (value, attribute) in attributes {
            self.driver.call("cuDeviceGetAttribute", &[address(value), attribute, self.card])?;
        }
        let kind = if self.driver.is_fake() { "fake" } else { "real" };
        Ok(format!("{sms} {major} {minor} {version} {kind}"))
    }

    /// Does a line in a child, which answers before this process does.
    fn fork(&mut self, words: &[&str], answers: &mut impl Write) -> Answer {
        if words.is_empty() {
            return Err(Failure::Script("fork what?".to_owned()));
        }
        let status = crate::system::in_child(|| {
            let answer = self.answer(words, &mut io::sink());
            let said = writeln!(answers, "child {answer}").and_then(|()| answers.flush());
            i32::from(said.is_err())
        });
        status.map(|status| status.to_string()).map_err(|error| Failure::Script(error.to_string()))
    }
}

/// Becomes the same program anew; comes back only if that failed.
fn exec() -> Failure {
    let error = match env::current_exe() {
        Ok(program) => Command::new(program).args(env::args_os().skip(1)).exec(),
        Err(error) => error,
    };
    Failure::Script(format!("exec: {error}"))
}

/// Where a result shall go.
fn address<T>(place: &mut T) -> usize {
    std::ptr::from_mut(place) as usize
}

/// Where something is that the driver reads.
fn place<T>(value: &T) -> usize {
    std::ptr::from_ref(value) as usize
}
