//! What is said to the control program, a line each.

use std::fmt;

use cotenant_types::Mebibytes;

/// A line of the control program's language. Ordinals count the group's cards from 0, which is how
/// the daemon sees them: no other card is shown to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// Which servers run.
    ServerList,
    /// Which clients a server has.
    ClientList {
        server: u32,
    },
    /// What the next server lets a client have of the card's threads.
    DefaultPercent,
    SetDefaultPercent {
        percent: u32,
    },
    SetDefaultMemory {
        ordinal: usize,
        limit: Mebibytes,
    },
    /// What a running server lets its next client have.
    SetPercent {
        server: u32,
        percent: u32,
    },
    SetMemory {
        server: u32,
        ordinal: usize,
        limit: Mebibytes,
    },
    /// End, and end the servers.
    Quit,
}

impl fmt::Display for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Say::ServerList => f.write_str("get_server_list"),
            Say::ClientList { server } => write!(f, "get_client_list {server}"),
            Say::DefaultPercent => f.write_str("get_default_active_thread_percentage"),
            Say::SetDefaultPercent { percent } => {
                write!(f, "set_default_active_thread_percentage {percent}")
            }
            Say::SetDefaultMemory { ordinal, limit } => {
                write!(f, "set_default_device_pinned_mem_limit {ordinal} {}", amount(*limit))
            }
            Say::SetPercent { server, percent } => {
                write!(f, "set_active_thread_percentage {server} {percent}")
            }
            Say::SetMemory { server, ordinal, limit } => {
                write!(f, "set_device_pinned_mem_limit {server} {ordinal} {}", amount(*limit))
            }
            Say::Quit => f.write_str("quit"),
        }
    }
}

/// Memory as MPS reads it: whole GiB where it is that, else MiB.
pub(crate) fn amount(Mebibytes(mebibytes): Mebibytes) -> String {
    match mebibytes.is_multiple_of(1024) && mebibytes > 0 {
        true => format!("{}G", mebibytes / 1024),
        false => format!("{mebibytes}M"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_control_program() {
        let check = |say: Say, expected: &str| assert_eq!(say.to_string(), expected);
        let limit = Mebibytes(2048);
        check(Say::ServerList, "get_server_list");
        check(Say::ClientList { server: 7 }, "get_client_list 7");
        check(Say::SetDefaultPercent { percent: 30 }, "set_default_active_thread_percentage 30");
        check(Say::SetPercent { server: 7, percent: 9 }, "set_active_thread_percentage 7 9");
        check(
            Say::SetDefaultMemory { ordinal: 1, limit },
            "set_default_device_pinned_mem_limit 1 2G",
        );
        check(
            Say::SetMemory { server: 7, ordinal: 0, limit: Mebibytes(1500) },
            "set_device_pinned_mem_limit 7 0 1500M",
        );
        check(Say::Quit, "quit");
    }

    #[test]
    fn amounts_are_whole() {
        assert_eq!(amount(Mebibytes(0)), "0M");
        assert_eq!(amount(Mebibytes(1023)), "1023M");
        assert_eq!(amount(Mebibytes(10240)), "10G");
    }
}
