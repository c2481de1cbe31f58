//! What a thread waits for, by the call of the system that it is in.

use crate::held::{Doing, WaitsFor};

/// What a call is for, as far as a look from outside can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallClass {
    /// Reads from the open file that its first argument is.
    Read,
    /// Writes to it.
    Write,
    /// Finds, opens, lists or removes files.
    Open,
    /// Makes sure that an open file is on its disk, or changes its length.
    Sync,
    /// Makes, empties, renames or removes files.
    Change,
    /// Waits for a lock or a word in memory.
    Futex,
    /// Waits for a child.
    Child,
    /// Waits for several open files, or for time if there are none.
    Several { has_files: bool },
    /// Waits for time.
    Sleep,
    /// Connects to another machine or waits for it to.
    Connect,
    /// Something else.
    Other,
}

/// The class of a call by its number and first arguments.
pub(super) fn class(number: i64, arguments: [u64; 3]) -> CallClass {
    use libc as c;
    let legacy = legacy_class(number, arguments);
    if let Some(class) = legacy {
        return class;
    }
    match number {
        c::SYS_read
        | c::SYS_pread64
        | c::SYS_readv
        | c::SYS_preadv
        | c::SYS_preadv2
        | c::SYS_recvfrom
        | c::SYS_recvmsg
        | c::SYS_recvmmsg
        | c::SYS_readahead => CallClass::Read,
        c::SYS_write
        | c::SYS_pwrite64
        | c::SYS_writev
        | c::SYS_pwritev
        | c::SYS_pwritev2
        | c::SYS_sendto
        | c::SYS_sendmsg
        | c::SYS_sendmmsg
        | c::SYS_copy_file_range => CallClass::Write,
        c::SYS_openat => opening(arguments[2]),
        c::SYS_openat2
        | c::SYS_statx
        | c::SYS_fstat
        | c::SYS_newfstatat
        | c::SYS_getdents64
        | c::SYS_faccessat
        | c::SYS_faccessat2
        | c::SYS_readlinkat
        | c::SYS_close => CallClass::Open,
        c::SYS_fsync
        | c::SYS_fdatasync
        | c::SYS_sync_file_range
        | c::SYS_syncfs
        | c::SYS_ftruncate
        | c::SYS_fallocate => CallClass::Sync,
        c::SYS_msync | c::SYS_sync | c::SYS_renameat | c::SYS_renameat2 | c::SYS_unlinkat => {
            CallClass::Change
        }
        c::SYS_futex | c::SYS_futex_waitv => CallClass::Futex,
        // Who starts a program waits until that has begun.
        c::SYS_wait4 | c::SYS_waitid | c::SYS_clone | c::SYS_clone3 => CallClass::Child,
        c::SYS_ppoll => CallClass::Several { has_files: arguments[1] > 0 },
        c::SYS_pselect6 => CallClass::Several { has_files: arguments[0] > 0 },
        c::SYS_epoll_pwait | c::SYS_epoll_pwait2 | c::SYS_io_getevents | c::SYS_io_uring_enter => {
            CallClass::Several { has_files: true }
        }
        c::SYS_nanosleep | c::SYS_clock_nanosleep => CallClass::Sleep,
        c::SYS_connect | c::SYS_accept | c::SYS_accept4 => CallClass::Connect,
        _ => CallClass::Other,
    }
}

/// Opening a file: whoever opens it to write may wait for what was in it to go.
fn opening(flags: u64) -> CallClass {
    let access = flags & libc::O_ACCMODE as u64;
    if access == libc::O_RDONLY as u64 { CallClass::Open } else { CallClass::Change }
}

/// Calls that newer kinds of processors no longer have.
#[cfg(target_arch = "x86_64")]
fn legacy_class(number: i64, arguments: [u64; 3]) -> Option<CallClass> {
    use libc as c;
    Some(match number {
        c::SYS_open => opening(arguments[1]),
        c::SYS_stat | c::SYS_lstat | c::SYS_access | c::SYS_getdents | c::SYS_readlink => {
            CallClass::Open
        }
        c::SYS_creat | c::SYS_rename | c::SYS_unlink => CallClass::Change,
        c::SYS_vfork => CallClass::Child,
        c::SYS_poll => CallClass::Several { has_files: arguments[1] > 0 },
        c::SYS_select => CallClass::Several { has_files: arguments[0] > 0 },
        c::SYS_epoll_wait => CallClass::Several { has_files: true },
        _ => return None,
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn legacy_class(_number: i64, _arguments: [u64; 3]) -> Option<CallClass> {
    None
}

/// What an open file is, by its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// Has a path, and is no device.
    File,
    /// A pipe between processes.
    Pipe,
    /// A connection within this machine.
    Local,
    /// A connection to another machine.
    Remote,
    /// A terminal.
    Terminal,
    /// Something else.
    Other,
}

/// What an open file is, by its link; `remote` says of a connection's number whether it leads to
/// another machine.
pub(super) fn file_kind(link: &str, remote: impl FnOnce(&str) -> bool) -> FileKind {
    if let Some(number) = link.strip_prefix("socket:[") {
        let number = number.trim_end_matches(']');
        return if remote(number) { FileKind::Remote } else { FileKind::Local };
    }
    if link.starts_with("pipe:[") {
        return FileKind::Pipe;
    }
    if link.starts_with("/dev/pts/") || link.starts_with("/dev/tty") {
        return FileKind::Terminal;
    }
    let is_system = ["/proc/", "/sys/", "/dev/"].iter().any(|front| link.starts_with(front))
        && !link.starts_with("/dev/shm/");
    if link.starts_with('/') && !is_system { FileKind::File } else { FileKind::Other }
}

/// What a thread does that reads from such a file.
pub(super) fn reading(kind: FileKind) -> Doing {
    match kind {
        FileKind::File => Doing::ReadsFile,
        FileKind::Remote => Doing::Network,
        FileKind::Pipe | FileKind::Local => Doing::Waits(WaitsFor::Process),
        FileKind::Terminal | FileKind::Other => Doing::Unknown,
    }
}

/// What a thread does that writes to such a file, which has this number.
pub(super) fn writing(kind: FileKind, file: u64) -> Doing {
    match kind {
        FileKind::File => Doing::WritesFile,
        FileKind::Remote => Doing::Network,
        FileKind::Terminal => Doing::WritesOut,
        FileKind::Pipe | FileKind::Local if file == 1 || file == 2 => Doing::WritesOut,
        FileKind::Pipe | FileKind::Local => Doing::Waits(WaitsFor::Process),
        FileKind::Other => Doing::Unknown,
    }
}

/// Whether a table of connections has one of this number that leads to another machine.
pub(super) fn leads_away(table: &str, number: &str) -> bool {
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = fields.get(9) == Some(&number);
        is_it && fields.get(2).is_some_and(|remote| !is_own(remote))
    })
}

/// Addresses of this machine, and none at all, as the tables write them.
fn is_own(remote: &str) -> bool {
    let address = remote.split(':').next().unwrap_or_default();
    let v4 = address.len() == 8 && address.ends_with("7F");
    let mapped = address.starts_with("0000000000000000FFFF0000") && address.ends_with("7F");
    v4 || mapped
        || address.bytes().all(|byte| byte == b'0')
        || address == "00000000000000000000000001000000"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_told_apart() {
        let check = |link: &str, expected| {
            assert_eq!(file_kind(link, |number| number == "7"), expected, "{link}");
        };
        check("/data/part-1.bin", FileKind::File);
        check("/dev/shm/part", FileKind::File);
        check("/dev/null", FileKind::Other);
        check("/dev/pts/3", FileKind::Terminal);
        check("pipe:[99]", FileKind::Pipe);
        check("socket:[7]", FileKind::Remote);
        check("socket:[8]", FileKind::Local);
        check("anon_inode:[eventpoll]", FileKind::Other);
        assert_eq!(writing(FileKind::Pipe, 1), Doing::WritesOut);
        assert_eq!(writing(FileKind::Pipe, 5), Doing::Waits(WaitsFor::Process));
    }

    #[test]
    fn connections_to_this_machine_lead_nowhere() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 0100007F:A000 01 00000000:00000000 00:00000000 00000000 0 0 11 1\n\
            1: 0A00020F:A001 22D8B85D:01BB 01 00000000:00000000 00:00000000 00000000 0 0 12 1\n";
        assert!(!leads_away(table, "11"));
        assert!(leads_away(table, "12"));
        assert!(!leads_away(table, "13"));
        assert!(!leads_away("", "12"));
    }

    #[test]
    fn waits_are_told_by_their_calls() {
        assert_eq!(class(libc::SYS_read, [0; 3]), CallClass::Read);
        assert_eq!(class(libc::SYS_fsync, [0; 3]), CallClass::Sync);
        assert_eq!(class(libc::SYS_openat, [0; 3]), CallClass::Open);
        let flags = (libc::O_CREAT | libc::O_TRUNC | libc::O_WRONLY) as u64;
        assert_eq!(class(libc::SYS_openat, [0, 0, flags]), CallClass::Change);
        assert_eq!(class(libc::SYS_ppoll, [1, 0, 0]), CallClass::Several { has_files: false });
        assert_eq!(class(libc::SYS_ppoll, [1, 2, 0]), CallClass::Several { has_files: true });
        assert_eq!(class(-5, [0; 3]), CallClass::Other);
    }
}
