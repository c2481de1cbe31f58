//! The programs of the measurement: one that counts what it gets done, and one that allocates
//! without end. They are hidden commands of this tool, so that a pool can run them as jobs.
//!
//! Time is cut into slots that all processes of the machine agree on, since they read one clock:
//! who disturbs does so in every second slot alone, and two programs that are compared take turns.

use std::env;
use std::fs;
use std::hint::black_box;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The word that begins the hidden commands.
pub(crate) const WORD: &str = "bench-work";

/// The start of a slot does not count: neighbours begin and end their work then.
const WARM_UP_MS: u64 = 100;

/// Numbers that a unit of work goes through; they stay in a core's own cache.
const NUMBERS: usize = 32 << 10;

/// How much the hungry one takes at a time.
const BITE_BYTES: usize = 1 << 20;

/// Between two looks at the hungry one.
const LOOK: Duration = Duration::from_millis(5);

/// When to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) turn: Turn,
    /// When the first slot begins, in milliseconds since 1970.
    pub(super) start_ms: u64,
    pub(super) slot_ms: u64,
    pub(super) slots: usize,
}

/// The slots that are somebody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Every,
    /// The first, the third and so on.
    Even,
    Odd,
}

/// How many threads count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threads {
    /// As many as the environment says, as a library would read it.
    Told,
    /// Twice as many as there are cores.
    TwiceTheCores,
}

/// Where in its time a program is.
enum Now {
    Before(Duration),
    /// In a slot of its own, past its start or not.
    Mine(usize, bool),
    /// In another's, which ends after so long.
    Another(Duration),
    After,
}

/// The words of a program that counts and writes what it got done in each slot to a file.
pub(super) fn count_words(threads: Threads, schedule: &Schedule, out: &str) -> Vec<String> {
    words("count", &[threads.word()], (schedule, out))
}

/// The words of a program that lets others be killed for the memory they take, and writes how many
/// were.
pub(super) fn allocate_words(schedule: &Schedule, out: &str) -> Vec<String> {
    words("allocate", &[], (schedule, out))
}

fn words(role: &str, more: &[&str], (schedule, out): (&Schedule, &str)) -> Vec<String> {
    let Schedule { turn, start_ms, slot_ms, slots } = schedule;
    let numbers = [start_ms.to_string(), slot_ms.to_string(), slots.to_string()];
    let mut words = vec![WORD.to_owned(), role.to_owned()];
    words.extend(more.iter().map(|&word| word.to_owned()));
    words.push(turn.word().to_owned());
    words.extend(numbers);
    words.push(out.to_owned());
    words
}

/// Runs a hidden command.
pub(crate) fn run(arguments: &[&str]) -> Result<(), String> {
    match arguments {
        ["count", threads, turn, start, slot, slots, out] => {
            let schedule = Schedule::parse([turn, start, slot, slots])?;
            write(out, &count(Threads::parse(threads)?, &schedule))
        }
        ["allocate", turn, start, slot, slots, out] => {
            let schedule = Schedule::parse([turn, start, slot, slots])?;
            write(out, &[allocate(&schedule)?])
        }
        ["eat"] => eat(),
        _ => Err(format!("'{}' is no work", arguments.join(" "))),
    }
}

fn write(out: &str, numbers: &[u64]) -> Result<(), String> {
    let lines: String = numbers.iter().map(|number| format!("{number}\n")).collect();
    fs::write(out, lines).map_err(|error| format!("failed to write {out}: {error}"))
}

/// The numbers that a program wrote.
pub(super) fn read(out: &str) -> Result<Vec<u64>, String> {
    let text = fs::read_to_string(out).map_err(|error| format!("failed to read {out}: {error}"))?;
    let number = |line: &str| line.parse().map_err(|_| format!("{out} has a line '{line}'"));
    text.lines().map(number).collect()
}

/// Units of work that all threads did in each slot.
fn count(threads: Threads, schedule: &Schedule) -> Vec<u64> {
    let threads: Vec<_> = (0..threads.number())
        .map(|_| {
            let schedule = *schedule;
            thread::spawn(move || count_alone(&schedule))
        })
        .collect();
    let mut sums = vec![0; schedule.slots];
    for thread in threads {
        let counts = thread.join().expect("counting does not panic");
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    sums
}

fn count_alone(schedule: &Schedule) -> Vec<u64> {
    let mut counts = vec![0; schedule.slots];
    let mut numbers: Vec<u32> = (0..NUMBERS as u32).collect();
    loop {
        match schedule.now() {
            Now::Before(wait) | Now::Another(wait) => thread::sleep(wait),
            Now::After => return counts,
            Now::Mine(slot, is_past_start) => {
                for number in &mut numbers {
                    *number = number.rotate_left(5).wrapping_mul(0x9E37_79B1) ^ slot as u32;
                }
                black_box(&mut numbers);
                counts[slot] += u64::from(is_past_start);
            }
        }
    }
}

/// Processes that were killed, one after the other, for the memory that they took.
fn allocate(schedule: &Schedule) -> Result<u64, String> {
    let mut killed = 0;
    let mut hungry: Option<Child> = None;
    loop {
        match (schedule.now(), &mut hungry) {
            (Now::After, child) => {
                child.take().map(end).transpose()?;
                return Ok(killed);
            }
            (Now::Before(wait) | Now::Another(wait), child) => {
                child.take().map(end).transpose()?;
                thread::sleep(wait);
            }
            (Now::Mine(..), None) => hungry = Some(start_eating()?),
            (Now::Mine(..), Some(child)) => {
                let ended = child.try_wait().map_err(|error| format!("lost a process: {error}"))?;
                if ended.is_some() {
                    killed += 1;
                    hungry = None;
                }
                thread::sleep(LOOK);
            }
        }
    }
}

fn start_eating() -> Result<Child, String> {
    let ours = env::current_exe().map_err(|error| format!("no path to this program: {error}"))?;
    let mut command = Command::new(ours);
    command.args([WORD, "eat"]).stdin(Stdio::null());
    command.spawn().map_err(|error| format!("failed to start a process: {error}"))
}

fn end(mut child: Child) -> Result<(), String> {
    let ended = child.kill().and_then(|()| child.wait());
    ended.map(drop).map_err(|error| format!("failed to end a process: {error}"))
}

fn eat() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1u8; BITE_BYTES]);
        black_box(&mut kept);
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Schedule {
    fn parse([turn, start, slot, slots]: [&&str; 4]) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("'{text}' is no number"));
        Ok(Self {
            turn: Turn::parse(turn)?,
            start_ms: number(start)?,
            slot_ms: number(slot)?.max(1),
            slots: number(slots)? as usize,
        })
    }

    fn now(&self) -> Now {
        self.at(now_ms())
    }

    fn at(&self, now_ms: u64) -> Now {
        let Some(since) = now_ms.checked_sub(self.start_ms) else {
            return Now::Before(Duration::from_millis(self.start_ms - now_ms));
        };
        let (slot, within) = ((since / self.slot_ms) as usize, since % self.slot_ms);
        if slot >= self.slots {
            return Now::After;
        }
        match self.turn.has(slot) {
            true => Now::Mine(slot, within >= WARM_UP_MS),
            false => Now::Another(Duration::from_millis(self.slot_ms - within)),
        }
    }
}

impl Turn {
    const ALL: [Turn; 3] = [Turn::Every, Turn::Even, Turn::Odd];

    fn word(self) -> &'static str {
        match self {
            Turn::Every => "every",
            Turn::Even => "even",
            Turn::Odd => "odd",
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|turn| turn.word() == word);
        found.ok_or_else(|| format!("'{word}' is no turn"))
    }

    fn has(self, slot: usize) -> bool {
        match self {
            Turn::Every => true,
            Turn::Even => slot.is_multiple_of(2),
            Turn::Odd => !slot.is_multiple_of(2),
        }
    }
}

impl Threads {
    fn word(self) -> &'static str {
        match self {
            Threads::Told => "told",
            Threads::TwiceTheCores => "twice",
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        let found = [Threads::Told, Threads::TwiceTheCores].into_iter();
        let found = found.into_iter().find(|threads| threads.word() == word);
        found.ok_or_else(|| format!("'{word}' is no number of threads"))
    }

    fn number(self) -> usize {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        match self {
            Threads::Told => {
                let told = env::var("OMP_NUM_THREADS").ok();
                told.and_then(|told| told.parse().ok()).unwrap_or(1)
            }
            Threads::TwiceTheCores => 2 * cores,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_cut_into_turns() {
        let schedule = Schedule { turn: Turn::Odd, start_ms: 1000, slot_ms: 500, slots: 4 };
        let check = |at: u64, expected: &str| {
            let shown = match schedule.at(at) {
                Now::Before(wait) => format!("before {wait:?}"),
                Now::Mine(slot, counts) => format!("slot {slot} {counts}"),
                Now::Another(wait) => format!("another {wait:?}"),
                Now::After => "after".to_owned(),
            };
            assert_eq!(shown, expected, "{at}");
        };
        check(900, "before 100ms");
        check(1000, "another 500ms");
        check(1499, "another 1ms");
        check(1500, "slot 1 false");
        check(1600, "slot 1 true");
        check(2999, "slot 3 true");
        check(3000, "after");
    }

    #[test]
    fn a_program_is_told_in_words_what_it_then_does() {
        let start_ms = now_ms();
        let schedule = Schedule { turn: Turn::Even, start_ms, slot_ms: 150, slots: 2 };
        let words = count_words(Threads::TwiceTheCores, &schedule, "out");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!((words[0], words[1], words.len()), (WORD, "count", 8));
        assert_eq!(Schedule::parse([&words[3], &words[4], &words[5], &words[6]]), Ok(schedule));
        let counts = count(Threads::parse(words[2]).unwrap(), &schedule);
        assert!(counts[0] > 0 && counts[1] == 0, "{counts:?}");
        assert!(run(&["count", "three"]).is_err());
    }
}
