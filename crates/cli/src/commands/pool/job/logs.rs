//! `cotenant job logs`

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use cotenant_api::LogPart;
use serde_json::{Value, json};

use crate::args::job::LogsArgs;
use crate::commands::Ended;
use crate::commands::pool::failure::Failure;
use crate::commands::pool::link::Pool;
use crate::console::{Console, Reader};

/// Pause before asking for more where there was none; each pause is twice the one before.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Longest pause between two questions.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Most bytes of a log in one JSON object.
const OBJECT_BYTES_MAX: usize = 64 << 20;

/// Prints what a job printed: its own bytes, or, as JSON, one object; one a part if it follows.
pub(super) fn run(pool: &Pool, arguments: &LogsArgs, console: &Console) -> Ended {
    let mut log = Log::new(pool, arguments, console);
    if console.json && !arguments.follow {
        let whole = log.whole()?;
        console.data(&log.object(&whole), String::new)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut pause = PAUSE_MIN;
    loop {
        let part = log.next_part()?;
        let is_caught_up = part.bytes.is_empty();
        let is_over = is_caught_up && !(arguments.follow && part.is_open);
        if !is_caught_up || is_over {
            let reader = match console.json {
                true => console.more_data(&log.object(&part), String::new)?,
                false => console.raw(&part.bytes)?,
            };
            if is_over || reader == Reader::IsGone {
                return Ok(ExitCode::SUCCESS);
            }
            pause = PAUSE_MIN;
        } else {
            thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// A log that is read from a place on.
struct Log<'a> {
    pool: &'a Pool,
    arguments: &'a LogsArgs,
    console: &'a Console,
    what: String,
    /// Where the next part begins; below zero it counts from the end, and only at first.
    offset: i64,
    has_begun: bool,
}

impl<'a> Log<'a> {
    fn new(pool: &'a Pool, arguments: &'a LogsArgs, console: &'a Console) -> Self {
        let tail = arguments.tail.map_or(0, |tail| i64::try_from(tail.0).unwrap_or(i64::MAX));
        let what = format!("read what job {} printed", arguments.job.id);
        Self { pool, arguments, console, what, offset: -tail, has_begun: false }
    }

    fn stream(&self) -> &'static str {
        if self.arguments.stderr { "stderr" } else { "stdout" }
    }

    /// The part at the offset, which moves behind it.
    fn next_part(&mut self) -> Result<LogPart, Failure> {
        let (id, of, offset) =
            (self.arguments.job.id, (self.stream(), self.arguments.member), self.offset);
        let part = match self.has_begun {
            false => self.pool.ask(&self.what, |client| client.log(id, of, offset)),
            true => {
                let ask = |client: &cotenant_api::Client| client.log(id, of, offset);
                self.pool.ask_patiently(&self.what, self.console, ask)
            }
        }?;
        self.has_begun = true;
        let next = i64::try_from(part.next_offset).unwrap_or(i64::MAX);
        if !part.bytes.is_empty() && next <= offset {
            let because = format!(
                "the pool's log goes on at {next}, which is not behind {offset}\n\
                 hint: check that a pool of this version is there"
            );
            return Err(Failure::new(&self.what, because));
        }
        self.offset = next;
        Ok(part)
    }

    /// All there is now, as one part.
    fn whole(&mut self) -> Result<LogPart, Failure> {
        let mut whole = self.next_part()?;
        loop {
            let part = self.next_part()?;
            (whole.next_offset, whole.is_open) = (part.next_offset, part.is_open);
            if part.bytes.is_empty() {
                return Ok(whole);
            }
            whole.bytes.extend(part.bytes);
            if whole.bytes.len() > OBJECT_BYTES_MAX {
                let because = format!(
                    "it has more than {OBJECT_BYTES_MAX} bytes, too many for one object\n\
                     hint: give --tail, or leave --json out"
                );
                return Err(Failure::new(&self.what, because));
            }
        }
    }

    /// A part as JSON; what is not UTF-8 in it is replaced.
    fn object(&self, part: &LogPart) -> Value {
        json!({
            "id": self.arguments.job.id,
            "stream": self.stream(),
            "member": self.arguments.member,
            "text": String::from_utf8_lossy(&part.bytes),
            "next_offset": part.next_offset,
            "is_open": part.is_open,
        })
    }
}
