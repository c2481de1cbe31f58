//! The threads that do what writes leave behind: files, merges, better ways to search vectors.
//!
//! ```text
//! a write, acknowledged --> Caller --+--> "index files": from memory to files
//!                                    +--> "index tidy": merges, refits, saved searches
//! ```
//! An index owns both threads and ends them. Writing files never waits behind a merge, which may
//! take long. Who calls is not kept waiting; where nobody listens, it is told so, and does the work
//! itself before its next write.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};

use super::namespace::Namespace;

/// What is to be done for a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// What is in memory is to become files.
    Flush,
    /// Files are to be merged, and searches of vectors to be fitted and saved.
    Tidy,
}

impl Duty {
    pub(crate) const ALL: [Self; 2] = [Self::Flush, Self::Tidy];

    /// The name of its thread.
    fn name(self) -> &'static str {
        match self {
            Self::Flush => "index files",
            Self::Tidy => "index tidy",
        }
    }
}

pub(crate) enum Message {
    Work(Weak<Namespace>),
    End,
}

/// The threads of an index. Dropping it waits for the work that is under way, and leaves the rest
/// to the next time that the index is open: nothing of it is needed for what was acknowledged.
#[derive(Debug)]
pub(crate) struct Background {
    caller: Caller,
    threads: Vec<JoinHandle<()>>,
    /// Whether what is still to be done is left.
    is_ending: Arc<AtomicBool>,
}

/// How namespaces ask for work.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    senders: [Sender<Message>; Duty::ALL.len()],
}

impl Background {
    /// Starts the threads. Where the system gives none, nobody listens to the caller.
    pub(crate) fn start() -> Self {
        let (mut threads, is_ending) = (Vec::new(), Arc::new(AtomicBool::new(false)));
        let senders = Duty::ALL.map(|duty| {
            let (sender, receiver) = channel();
            let builder = Builder::new().name(duty.name().to_owned());
            let is_ending = Arc::clone(&is_ending);
            threads.extend(builder.spawn(move || serve(duty, &receiver, &is_ending)));
            sender
        });
        Self { caller: Caller { senders }, threads, is_ending }
    }

    /// Somebody listens who never gets to it, so that tests decide when and writes do not.
    #[cfg(test)]
    pub(crate) fn idle() -> Self {
        let senders = Duty::ALL.map(|_| {
            let (sender, receiver) = channel();
            std::mem::forget(receiver);
            sender
        });
        Self { caller: Caller { senders }, threads: Vec::new(), is_ending: Arc::default() }
    }

    pub(crate) fn caller(&self) -> Caller {
        self.caller.clone()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Release);
        for sender in &self.caller.senders {
            // A thread that is not there needs no end.
            let _ = sender.send(Message::End);
        }
        for thread in self.threads.drain(..) {
            // A panic was turned into a failure that its namespace reports.
            let _ = thread.join();
        }
    }
}

impl Caller {
    /// Asks for work, and says whether somebody heard it.
    pub(crate) fn call(&self, duty: Duty, namespace: Weak<Namespace>) -> bool {
        self.senders[duty as usize].send(Message::Work(namespace)).is_ok()
    }
}

/// Does what is asked for, one thing after the other, until it is to end.
pub(crate) fn serve(duty: Duty, messages: &Receiver<Message>, is_ending: &AtomicBool) {
    while let Ok(Message::Work(namespace)) = messages.recv() {
        if is_ending.load(Ordering::Acquire) {
            return;
        }
        if let Some(namespace) = namespace.upgrade() {
            namespace.do_duty(duty);
        }
    }
}
