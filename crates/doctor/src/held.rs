//! What a program is held up by at one moment, from what each of its threads does.
//!
//! The *lead* is the thread that would keep the card busy: the one that submits to it, or without a
//! card the first thread of the process that does the work. If the lead waits for others of its
//! program, whatever those do is what it waits for.

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It is on a processor, or ready to be.
    Runs,
    /// It waits for the content of a file.
    ReadsFile,
    /// It waits for a file to be found, opened or listed.
    OpensFile,
    /// It waits for a file to be written or to be safe on its disk.
    WritesFile,
    /// It waits for whoever reads its standard output or error.
    WritesOut,
    /// It waits for another machine.
    Network,
    /// It waits for another of its program.
    Waits(WaitsFor),
    /// It waits for time to pass.
    Sleeps,
    /// It waits, and for what cannot be seen.
    Unknown,
}

/// For whom a thread waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// A thread: a lock, a condition, a queue.
    Thread,
    /// A process, through a pipe or a socket of this machine.
    Process,
    /// A child to end.
    Child,
    /// The first of several things, among them perhaps other machines.
    Several {
        /// Whether one of them is a connection to another machine.
        has_network: bool,
    },
}

/// A thread at one moment.
#[derive(Clone, Copy, Debug)]
pub struct ThreadSeen {
    /// Its process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// What it does.
    pub doing: Doing,
    /// Processor time that it has used so far.
    pub cpu_ns: u64,
    /// Whether it reads a lot: files, pipes or connections.
    pub is_reader: bool,
}

/// The thread that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Its process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Whether it is the one that submits to a card; then only its own computing is its own.
    pub submits: bool,
}

/// What a program is held up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// Nothing: it computes.
    Computes,
    /// Others of the program who work for the lead.
    ByWorkers,
    /// Reading files.
    ByReading,
    /// Finding and opening files.
    ByOpening,
    /// Writing files.
    ByWriting,
    /// Whoever reads what it prints.
    ByOutput,
    /// Other machines.
    ByNetwork,
    /// Of threads who would all compute, half or more wait for the others.
    ByOneThread,
    /// A sleep of its own.
    BySleep,
    /// Something that cannot be seen.
    ByUnknown,
}

/// A thread counts as one that computes beside another if it has used at least one part in so many
/// of what the other has.
const PEER_PART: u64 = 5;

/// What a program is held up by.
pub fn held(lead: Lead, threads: &[ThreadSeen]) -> Held {
    let is_lead = |thread: &&ThreadSeen| thread.pid == lead.pid && thread.tid == lead.tid;
    let Some(own) = threads.iter().find(is_lead) else { return Held::ByUnknown };
    match own.doing {
        Doing::Runs if lead.submits => Held::Computes,
        Doing::Runs => beside(own, threads),
        Doing::ReadsFile => Held::ByReading,
        Doing::OpensFile => Held::ByOpening,
        Doing::WritesFile => Held::ByWriting,
        Doing::WritesOut => Held::ByOutput,
        Doing::Network => Held::ByNetwork,
        Doing::Sleeps => Held::BySleep,
        Doing::Unknown => Held::ByUnknown,
        Doing::Waits(WaitsFor::Child) if !lead.submits && others_run(own, threads) => {
            Held::Computes
        }
        Doing::Waits(waits) => by_others(own, waits, threads),
    }
}

/// Whether of a thread that runs and those like it, half or more wait. One that was just woken is
/// ready to run already, though it may find the lock taken again.
fn beside(runs: &ThreadSeen, threads: &[ThreadSeen]) -> Held {
    let is_peer = |other: &&ThreadSeen| {
        other.pid == runs.pid
            && other.tid != runs.tid
            && !other.is_reader
            && other.cpu_ns > 0
            && other.cpu_ns >= runs.cpu_ns / PEER_PART
    };
    let (mut all, mut waiting) = (1, 0);
    for peer in threads.iter().filter(is_peer) {
        all += 1;
        waiting += usize::from(peer.doing == Doing::Waits(WaitsFor::Thread));
    }
    if waiting > 0 && waiting * 2 >= all { Held::ByOneThread } else { Held::Computes }
}

/// Whether any other thread of the program runs: for one that waits for a child to end, that is the
/// program's own work.
fn others_run(own: &ThreadSeen, threads: &[ThreadSeen]) -> bool {
    threads.iter().any(|thread| thread.tid != own.tid && thread.doing == Doing::Runs)
}

/// What those do for whom the lead waits.
fn by_others(own: &ThreadSeen, waits: WaitsFor, threads: &[ThreadSeen]) -> Held {
    let others = || threads.iter().filter(|thread| thread.pid != own.pid || thread.tid != own.tid);
    let runs = |thread: &&ThreadSeen| thread.doing == Doing::Runs;
    if waits == WaitsFor::Thread {
        // Threads that compute for the lead are its own computing; those that read, prepare data.
        let mut pool = others().filter(runs).filter(|thread| thread.pid == own.pid);
        if let Some(first) = pool.clone().find(|thread| !thread.is_reader) {
            return beside(first, threads);
        }
        if pool.next().is_some() {
            return Held::ByWorkers;
        }
    }
    if others_run(own, threads) {
        return Held::ByWorkers;
    }
    let order = [
        (Doing::ReadsFile, Held::ByReading),
        (Doing::OpensFile, Held::ByOpening),
        (Doing::WritesFile, Held::ByWriting),
        (Doing::WritesOut, Held::ByOutput),
        (Doing::Network, Held::ByNetwork),
    ];
    let found = order.into_iter().find(|(doing, _)| others().any(|other| other.doing == *doing));
    match (found, waits) {
        (Some((_, held)), _) => held,
        (None, WaitsFor::Several { has_network: true }) => Held::ByNetwork,
        (None, _) if others().any(|other| other.doing == Doing::Sleeps) => Held::BySleep,
        (None, WaitsFor::Several { has_network: false }) => Held::ByUnknown,
        // Children that come and go are seldom met; what they do is the program's own work.
        (None, WaitsFor::Child) if others().next().is_none() => Held::Computes,
        (None, WaitsFor::Thread | WaitsFor::Process | WaitsFor::Child) => Held::ByUnknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAD: Lead = Lead { pid: 1, tid: 1, submits: false };
    const FUTEX: Doing = Doing::Waits(WaitsFor::Thread);
    const PIPE: Doing = Doing::Waits(WaitsFor::Process);

    fn thread(pid: u32, tid: u32, doing: Doing) -> ThreadSeen {
        ThreadSeen { pid, tid, doing, cpu_ns: 1000, is_reader: false }
    }

    #[track_caller]
    fn check(threads: &[ThreadSeen], expected: Held) {
        assert_eq!(held(LEAD, threads), expected);
    }

    #[test]
    fn a_lead_that_does_something_is_held_by_that() {
        let one = |doing| [thread(1, 1, doing)];
        check(&one(Doing::Runs), Held::Computes);
        check(&one(Doing::ReadsFile), Held::ByReading);
        check(&one(Doing::OpensFile), Held::ByOpening);
        check(&one(Doing::WritesFile), Held::ByWriting);
        check(&one(Doing::WritesOut), Held::ByOutput);
        check(&one(Doing::Network), Held::ByNetwork);
        check(&one(Doing::Sleeps), Held::BySleep);
        check(&one(Doing::Unknown), Held::ByUnknown);
        check(&[], Held::ByUnknown);
    }

    #[test]
    fn a_lead_that_waits_is_held_by_what_others_do() {
        let worker = |doing| [thread(1, 1, PIPE), thread(2, 2, PIPE), thread(3, 3, doing)];
        check(&worker(Doing::Runs), Held::ByWorkers);
        check(&worker(Doing::ReadsFile), Held::ByReading);
        check(&worker(Doing::OpensFile), Held::ByOpening);
        check(&worker(Doing::Network), Held::ByNetwork);
        check(&worker(PIPE), Held::ByUnknown);
        check(&worker(Doing::Sleeps), Held::BySleep);
        let child = Doing::Waits(WaitsFor::Child);
        check(&[thread(1, 1, child), thread(2, 2, Doing::Runs)], Held::Computes);
        check(&[thread(1, 1, child), thread(2, 2, Doing::ReadsFile)], Held::ByReading);
        check(&[thread(1, 1, child)], Held::Computes);
        let submits = Lead { submits: true, ..LEAD };
        let both = [thread(1, 1, child), thread(2, 2, Doing::Runs)];
        assert_eq!(held(submits, &both), Held::ByWorkers);
        let several = |has_network| [thread(1, 1, Doing::Waits(WaitsFor::Several { has_network }))];
        check(&several(true), Held::ByNetwork);
        check(&several(false), Held::ByUnknown);
    }

    #[test]
    fn threads_that_compute_for_the_lead_are_told_from_those_that_read() {
        let pool = [thread(1, 1, FUTEX), thread(1, 2, Doing::Runs), thread(1, 3, Doing::Runs)];
        check(&pool, Held::Computes);
        let reader = ThreadSeen { is_reader: true, ..thread(1, 2, Doing::Runs) };
        check(&[thread(1, 1, FUTEX), reader], Held::ByWorkers);
    }

    #[test]
    fn one_that_runs_while_its_like_wait_is_a_lock() {
        let idle_lead = ThreadSeen { cpu_ns: 1, ..thread(1, 1, FUTEX) };
        let two = |second| [idle_lead, thread(1, 2, Doing::Runs), thread(1, 3, second)];
        check(&two(FUTEX), Held::ByOneThread);
        check(&two(Doing::Runs), Held::Computes);
        let four = |third| {
            let runs = thread(1, 2, Doing::Runs);
            let (ready, waits) = (thread(1, 3, Doing::Runs), thread(1, 4, FUTEX));
            [idle_lead, runs, ready, waits, thread(1, 5, third)]
        };
        check(&four(FUTEX), Held::ByOneThread);
        check(&four(Doing::Runs), Held::Computes);
        check(&[thread(1, 1, Doing::Runs), thread(1, 2, FUTEX)], Held::ByOneThread);
        // One that hardly ever computes waits for work, not for a lock.
        let helper = ThreadSeen { cpu_ns: 100, ..thread(1, 2, FUTEX) };
        check(&[thread(1, 1, Doing::Runs), helper], Held::Computes);
        // Who submits to a card is not expected to compute in parallel.
        let submits = Lead { submits: true, ..LEAD };
        let both = [thread(1, 1, Doing::Runs), thread(1, 2, FUTEX)];
        assert_eq!(held(submits, &both), Held::Computes);
    }
}
