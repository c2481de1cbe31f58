//! Why MPS is not to be had.

use std::io;
use std::path::PathBuf;

use cotenant_types::CardId;
use thiserror::Error;

/// Why something about MPS was not done.
#[derive(Debug, Error)]
pub enum MpsError {
    /// A folder or file of a group cannot be used.
    #[error("the file or folder {path} of MPS cannot be used")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A group's folder belongs to somebody else.
    #[error(
        "the folder {path} of MPS belongs to user {owner}, but its programs run as user {uid}; \
         remove it, or start the pool as user {owner}"
    )]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it should be.
        uid: u32,
    },
    /// Sockets have short names.
    #[error(
        "the folder {path} is too deep for MPS: its path has {length} bytes, and its sockets allow \
         {most}; keep the pool in a folder with a shorter path"
    )]
    Deep {
        /// The folder.
        path: PathBuf,
        /// Bytes of its path.
        length: usize,
        /// Most bytes.
        most: usize,
    },
    /// A record of a group cannot be read.
    #[error(
        "the record {path} of an MPS group is damaged; end its control daemon with: echo quit | \
         CUDA_MPS_PIPE_DIRECTORY={pipe} nvidia-cuda-mps-control, and remove the record"
    )]
    Record {
        /// The record.
        path: PathBuf,
        /// The group's pipes.
        pipe: PathBuf,
        /// What is wrong.
        source: Box<toml::de::Error>,
    },
    /// A name that cannot be a client's.
    #[error("{0:?} cannot name a client of MPS; write 1 to 96 of a-z, A-Z, 0-9, '-' and '_'")]
    Name(String),
    /// A client without a card, or with one twice.
    #[error("the client '{0}' of MPS must hold between 1 and 64 cards, each once")]
    Cards(String),
    /// A member holds cards by MPS and by something else.
    #[error(
        "'{name}' holds card '{other}' without MPS beside others with it, but a program uses MPS \
         on all of its cards or on none; ask for the same enforcement on each"
    )]
    Mixed {
        /// The client.
        name: String,
        /// The card that is held otherwise.
        other: CardId,
    },
    /// A server serves one user.
    #[error(
        "the client '{name}' runs as user {uid}, but MPS serves one user at a time and this pool \
         runs as user {own}; run it as user {own}, or in a pool of user {uid}"
    )]
    User {
        /// The client.
        name: String,
        /// Its user.
        uid: u32,
        /// This process's user.
        own: u32,
    },
    /// The client is in another group.
    #[error("the client '{0}' of MPS already holds other cards; let it end first")]
    Taken(String),
    /// A card that only one server may use has one.
    #[error(
        "card '{card}' is in compute mode exclusive-process and another MPS server has it, for \
         programs with other cards; wait for them, or run: nvidia-smi -i {card} -c DEFAULT"
    )]
    Exclusive {
        /// The card.
        card: CardId,
    },
    /// A card that no program may use.
    #[error(
        "card '{card}' is in compute mode prohibited, and this pool may not change settings of \
         cards; start it with --change-card-settings, or run: nvidia-smi -i {card} -c EXCLUSIVE_PROCESS"
    )]
    Prohibited {
        /// The card.
        card: CardId,
    },
    /// The compute mode cannot be read or set.
    #[error(
        "the compute mode of card '{card}' cannot be read or set: it says \"{why}\"; start the \
         pool as root, or without --change-card-settings"
    )]
    Mode {
        /// The card.
        card: CardId,
        /// What the driver says.
        why: String,
    },
    /// The control program cannot be run.
    #[error("{program} cannot be run; it comes with the NVIDIA driver, so install it whole")]
    Program {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The control daemon ended as soon as it was started.
    #[error(
        "the MPS control daemon ended at once ({status}) and said \"{said}\"; see {log} for more"
    )]
    Ended {
        /// How it ended.
        status: String,
        /// What it printed.
        said: String,
        /// The group's logs.
        log: PathBuf,
    },
    /// No answer came in time.
    #[error(
        "MPS did not answer '{command}' within {waited_ms} ms; it may hang in the driver, so see \
         nvidia-smi and the kernel's log"
    )]
    Slow {
        /// What was said.
        command: String,
        /// How long it was waited.
        waited_ms: u64,
    },
    /// Nobody is there to answer.
    #[error("the MPS control daemon does not run any more; its log says why")]
    NotRunning,
    /// The answer is a refusal.
    #[error(
        "MPS refused '{command}' and said \"{answer}\"; only the user that started its control \
         daemon, or root, may set limits, and only on cards that MPS supports"
    )]
    Refused {
        /// What was said.
        command: String,
        /// What came back.
        answer: String,
    },
    /// The answer makes no sense.
    #[error(
        "MPS answered '{command}' with \"{answer}\", which this version does not understand; \
         compare the versions of nvidia-cuda-mps-control and of the driver"
    )]
    Unclear {
        /// What was said.
        command: String,
        /// What came back.
        answer: String,
    },
    /// The answer does not end.
    #[error("MPS answered '{command}' with more than {bytes_max} bytes")]
    Long {
        /// What was said.
        command: String,
        /// Most bytes that are read.
        bytes_max: usize,
    },
    /// A limit was set, and another is in force.
    #[error(
        "MPS was told to give each program {wished} thousandths of a card and gives {found}; end \
         other control daemons that use the same pipe directory"
    )]
    Unkept {
        /// What was asked for.
        wished: u32,
        /// What holds.
        found: u32,
    },
}
