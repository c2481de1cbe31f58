//! Which process this is, and which others still live: from `/proc`, without allocating.

use std::ffi::CStr;

use crate::ledger::{Identity, Liveness};

/// The processes of this machine, as this one sees them.
#[derive(Clone, Copy, Debug)]
pub struct Processes {
    own: Identity,
}

/// What `/proc` says of a process.
struct Stat {
    is_gone: bool,
    start: u32,
    image: u64,
}

impl Processes {
    /// Finds out who this process is.
    pub fn find() -> Option<Self> {
        // SAFETY: it only returns a number.
        let pid = unsafe { libc::getpid() } as u32;
        let Seen::There(stat) = look(pid) else { return None };
        let own = Identity { pid, start: stat.start, image: stat.image, namespace: namespace() };
        Some(Self { own })
    }
}

impl Liveness for Processes {
    fn own(&self) -> Identity {
        self.own
    }

    fn lives(&self, process: Identity) -> bool {
        match look(process.pid) {
            Seen::Nothing => false,
            // Whoever cannot be seen is not taken for dead.
            Seen::Unclear => true,
            Seen::There(stat) => {
                let is_same_program =
                    stat.image == 0 || process.image == 0 || stat.image == process.image;
                !stat.is_gone && stat.start == process.start && is_same_program
            }
        }
    }
}

enum Seen {
    There(Stat),
    Nothing,
    Unclear,
}

fn look(pid: u32) -> Seen {
    let mut path = [0u8; 32];
    let digits = number(pid);
    let parts = b"/proc/".iter().chain(digits.iter().filter(|digit| **digit != 0));
    for (byte, part) in path.iter_mut().zip(parts.chain(b"/stat")) {
        *byte = *part;
    }
    let Ok(path) = CStr::from_bytes_until_nul(&path) else { return Seen::Unclear };
    let mut text = [0u8; 1024];
    match read(path, &mut text) {
        Ok(length) => parse(&text[..length]).map_or(Seen::Unclear, Seen::There),
        Err(error) => unseen(error, pid),
    }
}

/// What it means that a process's file could not be read. `/proc` may hide the processes of others,
/// as if they were not there: only the kernel's word counts.
fn unseen(error: i32, pid: u32) -> Seen {
    let is_absent = matches!(error, libc::ENOENT | libc::ESRCH);
    // SAFETY: no signal is sent by this number, only looked whether there is somebody.
    let is_gone = || unsafe { libc::kill(pid as libc::pid_t, 0) } != 0 && errno() == libc::ESRCH;
    if is_absent && is_gone() { Seen::Nothing } else { Seen::Unclear }
}

fn errno() -> i32 {
    // SAFETY: the address is this thread's own.
    unsafe { *libc::__errno_location() }
}

/// The fields after the program's name, which may itself hold anything.
fn parse(text: &[u8]) -> Option<Stat> {
    let after_name = text.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = text.get(after_name..)?.split(|byte| *byte == b' ').skip(1);
    let state = fields.next()?;
    // The state is the third field; the start is the 22nd, and the stack's place the 28th.
    let mut number =
        |skip: usize| -> Option<u64> { std::str::from_utf8(fields.nth(skip)?).ok()?.parse().ok() };
    let start = number(18)? as u32;
    let image = number(5)?;
    // What has ended but was not waited for holds nothing any more. The stack's place of another
    // user's process shows as 0 or 1.
    Some(Stat {
        is_gone: matches!(state, b"Z" | b"X" | b"x"),
        start,
        image: if image <= 1 { 0 } else { image },
    })
}

fn read(path: &CStr, text: &mut [u8]) -> Result<usize, i32> {
    // SAFETY: the path is a C string.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return Err(errno());
    }
    // SAFETY: the file is open, and the text as long as said.
    let length = unsafe { libc::read(file, text.as_mut_ptr().cast(), text.len()) };
    let error = errno();
    // SAFETY: the file is ours, and open.
    unsafe { libc::close(file) };
    usize::try_from(length).map_err(|_| error)
}

/// The namespace in which process numbers count here; 0 if it cannot be seen.
fn namespace() -> u64 {
    // SAFETY: a stat of zeros is a valid one to be overwritten.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string, and the stat ours.
    match unsafe { libc::stat(c"/proc/self/ns/pid".as_ptr(), &mut stat) } {
        0 => stat.st_ino,
        _ => 0,
    }
}

/// A number's digits, with zeros before them.
fn number(mut value: u32) -> [u8; 10] {
    let mut digits = [0; 10];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn this_process_lives_and_no_other_is_taken_for_it() {
        let processes = Processes::find().unwrap();
        let own = processes.own();
        assert_eq!(own.pid, std::process::id());
        assert!(own.image != 0 && own.namespace != 0);
        assert!(processes.lives(own));
        assert!(!processes.lives(Identity { start: own.start.wrapping_add(1), ..own }));
        assert!(!processes.lives(Identity { image: own.image + 16, ..own }));
        assert!(processes.lives(Identity { image: 0, ..own }));
    }

    #[test]
    fn the_dead_do_not_live_even_unburied() {
        let processes = Processes::find().unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let Seen::There(stat) = look(child.id()) else { panic!("it was just started") };
        let own = processes.own();
        let other = Identity { pid: child.id(), start: stat.start, image: 0, ..own };
        assert!(processes.lives(other));
        child.kill().unwrap();
        // It is a zombie until it is waited for.
        while processes.lives(other) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!processes.lives(other));
        assert!(matches!(unseen(libc::ENOENT, child.id()), Seen::Nothing));
    }

    /// Where `/proc` hides others, their files are as if they were not there.
    #[test]
    fn the_hidden_are_not_taken_for_dead() {
        for error in [libc::ENOENT, libc::ESRCH, libc::EACCES] {
            // The first process of the machine is another user's, or one's own: it is there.
            for pid in [1, std::process::id()] {
                assert!(matches!(unseen(error, pid), Seen::Unclear), "{error} of {pid}");
            }
        }
    }

    #[test]
    fn names_of_programs_do_not_mislead() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21 22 23 24 888 26 27";
        let check = |name: &str| {
            let stat = parse(format!("12 ({name}) {fields}").as_bytes()).unwrap();
            assert_eq!((stat.is_gone, stat.start, stat.image), (false, 777, 888), "{name}");
        };
        check("python3");
        check("a b) Z 3");
        assert!(parse(b"12 (a").is_none());
        assert!(parse(b"12 (a) S 1 2").is_none());
    }
}
