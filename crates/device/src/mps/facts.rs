//! What the kernel says of processes: enough to tell why one is no client of MPS.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Most bytes that are read of the list of what a process has loaded.
const MAPS_BYTES_MAX: u64 = 16 << 20;

/// A process that is told apart from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    pub(super) pid: u32,
    /// When it began, in the kernel's ticks since the machine did.
    pub(super) began: u64,
}

impl Mark {
    /// The mark of a process that is there now.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, began) = state_and_beginning(&stat)?;
        (!is_over(state)).then_some(Self { pid, began })
    }

    pub(super) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// What is known of a process of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProcessFacts {
    pub(super) pid: u32,
    pub(super) uid: u32,
    pub(super) cuda: Cuda,
    pub(super) pipe: PipeSeen,
}

/// Whether a process has loaded the driver's library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cuda {
    Loaded,
    Absent,
    /// It may not be looked at.
    Unknown,
}

/// What a process finds where its environment says that the pipes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PipeSeen {
    /// The group's pipes.
    Ours,
    /// Nothing, or another folder, as in a container that was not given it.
    Elsewhere,
    /// Its environment does not say.
    Unset,
    /// It may not be looked at.
    Unknown,
}

/// What is known of a process; none if it is gone.
pub(super) fn look(proc: &Path, pid: u32, pipe: &Path) -> Option<ProcessFacts> {
    let folder = proc.join(pid.to_string());
    let (state, _) = state_and_beginning(&fs::read_to_string(folder.join("stat")).ok()?)?;
    if is_over(state) {
        return None;
    }
    let uid = user(&fs::read_to_string(folder.join("status")).ok()?)?;
    Some(ProcessFacts { pid, uid, cuda: cuda(&folder), pipe: pipe_seen(&folder, pipe) })
}

fn cuda(folder: &Path) -> Cuda {
    let mut maps = Vec::new();
    let read = File::open(folder.join("maps"))
        .and_then(|file| file.take(MAPS_BYTES_MAX).read_to_end(&mut maps));
    let has = |maps: &[u8]| maps.windows(LIBRARY.len()).any(|window| window == LIBRARY);
    match read {
        Ok(_) if has(&maps) => Cuda::Loaded,
        Ok(_) => Cuda::Absent,
        Err(_) => Cuda::Unknown,
    }
}

const LIBRARY: &[u8] = b"/libcuda.so";

fn pipe_seen(folder: &Path, pipe: &Path) -> PipeSeen {
    let Ok(environment) = fs::read(folder.join("environ")) else { return PipeSeen::Unknown };
    let mut all = environment.split(|&byte| byte == 0);
    let Some(value) = all.find_map(|it| it.strip_prefix(b"CUDA_MPS_PIPE_DIRECTORY=")) else {
        return PipeSeen::Unset;
    };
    let value = Path::new(std::ffi::OsStr::from_bytes(value));
    let inside: PathBuf = folder.join("root").join(value.strip_prefix("/").unwrap_or(value));
    let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    match (identity(&inside), identity(pipe)) {
        (Ok(theirs), Ok(ours)) if theirs == ours => PipeSeen::Ours,
        (Err(error), _) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            PipeSeen::Unknown
        }
        (Ok(_) | Err(_), _) => PipeSeen::Elsewhere,
    }
}

/// From a line such as `7 (a name) S 1 …`; the name may hold anything.
fn state_and_beginning(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_ascii_whitespace();
    let state = words.next()?.chars().next()?;
    Some((state, words.nth(18)?.parse().ok()?))
}

/// It has ended, whether or not somebody has taken notice.
fn is_over(state: char) -> bool {
    matches!(state, 'Z' | 'X' | 'x')
}

/// The effective user, from the line `Uid: real effective saved file`.
fn user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_no_other_has_its_mark() {
        let mark = Mark::of(std::process::id()).unwrap();
        assert!(mark.is_alive());
        assert!(!Mark { began: mark.began + 1, ..mark }.is_alive());
        assert!(Mark::of(0).is_none());
    }

    #[test]
    fn lines_that_say_nothing_are_nobody() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 77 19";
        assert_eq!(state_and_beginning(&format!("7 (a) b) {tail}")), Some(('S', 77)));
        for stat in ["", "7 (x", "7 (x) S", "7 (x) S 1 2", "7 (x) "] {
            assert_eq!(state_and_beginning(stat), None, "{stat:?}");
        }
        assert_eq!(user("Name:\tx\nUid:\t1\t22\t3\t4\n"), Some(22));
        assert_eq!(user("Uid:\t1\n"), None);
        assert_eq!(user(""), None);
    }

    /// A process in a folder that stands for `/proc`.
    fn put(proc: &Path, pid: u32, environment: &str, maps: &str) -> PathBuf {
        let folder = proc.join(pid.to_string());
        fs::create_dir_all(folder.join("root")).unwrap();
        let stat = format!("{pid} (x) S {} 5", "0 ".repeat(18));
        fs::write(folder.join("stat"), stat).unwrap();
        fs::write(folder.join("status"), "Uid:\t5\t6\t5\t5\n").unwrap();
        fs::write(folder.join("environ"), environment).unwrap();
        fs::write(folder.join("maps"), maps).unwrap();
        folder
    }

    #[test]
    fn what_a_process_sees_is_told_apart() {
        let temporary = tempfile::tempdir().unwrap();
        let (proc, pipe) = (temporary.path().join("proc"), temporary.path().join("pipe"));
        fs::create_dir(&pipe).unwrap();
        let library = "7f00 r-xp 0 00:01 9 /usr/lib/libcuda.so.1\n";
        put(&proc, 1, "", "7f00 r-xp 0 00:01 9 /usr/lib/libcudart.so.12\n");
        put(&proc, 2, "CUDA_MPS_PIPE_DIRECTORY=/pipe\0", library);
        let third = put(&proc, 3, "A=b\0CUDA_MPS_PIPE_DIRECTORY=/in/side\0", library);
        fs::create_dir(third.join("root/in")).unwrap();
        std::os::unix::fs::symlink(&pipe, third.join("root/in/side")).unwrap();
        let seen = |pid| look(&proc, pid, &pipe).map(|it| (it.uid, it.cuda, it.pipe));
        assert_eq!(seen(1), Some((6, Cuda::Absent, PipeSeen::Unset)));
        assert_eq!(seen(2), Some((6, Cuda::Loaded, PipeSeen::Elsewhere)));
        assert_eq!(seen(3), Some((6, Cuda::Loaded, PipeSeen::Ours)));
        assert_eq!(seen(4), None);
        fs::write(third.join("stat"), format!("3 (x) Z {} 5", "0 ".repeat(18))).unwrap();
        assert_eq!(seen(3), None);
    }
}
