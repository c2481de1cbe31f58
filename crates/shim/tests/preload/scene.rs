//! Cards, a slice of them, and programs in it.

use std::cell::{Cell, OnceCell};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::SeqCst;

use cotenant_fake_cards::tenant::TenantProcess;
use cotenant_fake_cards::{Cards, Description, install};
use cotenant_shim::ffi::mapping;
use cotenant_shim::ledger;
use cotenant_shim::page::{CardIndex, Usage};
use cotenant_types::limits::{
    CardLimit, HeaderWord, LIMITS_FILE, LimitPage, LimitWord, Neighbours, OnFailure,
    SLICE_VARIABLE, ShownProcesses, USAGE_FILE, UsageLayout,
};
use cotenant_types::{Bytes, Policy, Share, Span};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const MS: u64 = 1_000_000;

/// Cards, the driver's folder, and the folder of a slice.
pub(crate) struct Scene {
    pub(crate) cards: Cards,
    folder: tempfile::TempDir,
}

/// A slice's pages.
pub(crate) struct Slice {
    folder: PathBuf,
    pub(crate) page: LimitPage,
    sequence: Cell<u64>,
    usage: OnceCell<Usage<'static>>,
}

impl Scene {
    /// One card of 8 GiB, whose clock stands unless everybody waits.
    pub(crate) fn new() -> Self {
        Self::with("name=test,memory=8GiB,sms=100", "context=0B,granularity=512B", &[])
    }

    pub(crate) fn with(cards: &str, settings: &str, missing: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let description = Description::parse(cards, settings).unwrap();
        let cards = Cards::create(&folder.path().join("cards"), &description).unwrap();
        install(&folder.path().join("driver"), missing).unwrap();
        Self { cards, folder }
    }

    /// A slice with a limit on the first card.
    pub(crate) fn slice(&self, memory: Option<u64>, compute_milli: u32) -> Slice {
        self.slice_of(vec![self.limit(0, memory, compute_milli)])
    }

    /// A slice without a limit of memory that may burst, beside one neighbour.
    pub(crate) fn slice_beside_another(&self) -> Slice {
        let mut slice = self.slice(None, 1000);
        slice.page.cards[0].policy = Policy::Burst;
        slice.page.cards[0].neighbours = Neighbours { count: 1, ..Neighbours::default() };
        slice.write();
        slice
    }

    pub(crate) fn slice_of(&self, cards: Vec<CardLimit>) -> Slice {
        let count = fs::read_dir(self.folder.path()).unwrap().count();
        let folder = self.folder.path().join(format!("slice{count}"));
        fs::create_dir(&folder).unwrap();
        File::create(folder.join(USAGE_FILE)).unwrap().set_len(UsageLayout::BYTES as u64).unwrap();
        File::create(folder.join(LIMITS_FILE))
            .unwrap()
            .set_len(LimitWord::COUNT as u64 * 8)
            .unwrap();
        let page = LimitPage { on_failure: OnFailure::Refuse, shown: ShownProcesses::Own, cards };
        let slice = Slice { folder, page, sequence: Cell::new(0), usage: OnceCell::new() };
        slice.write();
        slice
    }

    pub(crate) fn limit(&self, card: usize, memory: Option<u64>, compute_milli: u32) -> CardLimit {
        let share = Share::from_per_mille(compute_milli).unwrap();
        CardLimit {
            uuid: self.cards.card(card).unwrap().uuid,
            memory: memory.map(Bytes),
            overhead: Bytes(0),
            policy: Policy::Fixed,
            compute: Span { request: share, limit: share },
            neighbours: Neighbours::default(),
            hold_until_ns: 0,
            seen_busy_ns: 0,
            seen_at_ns: 0,
        }
    }

    /// A program with the library before it, in a slice.
    pub(crate) fn start(&self, slice: &Slice) -> TenantProcess {
        let mut command = self.command();
        command.env(SLICE_VARIABLE, &slice.folder);
        ready(command)
    }

    /// A program with the library before it, and nothing said yet of a slice.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(beside("examples/tenant"));
        command
            .env("LD_PRELOAD", library())
            .env("LD_LIBRARY_PATH", self.folder.path().join("driver"))
            .env("COTENANT_FAKE_DRIVER", self.cards.path())
            .env_remove(SLICE_VARIABLE)
            .stderr(Stdio::inherit());
        command
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Slice {
    /// Writes the page over the old one, as a pool does.
    pub(crate) fn write(&self) {
        self.write_page(&self.page);
    }

    pub(crate) fn write_page(&self, page: &LimitPage) {
        let sequence = self.sequence.get() + 2;
        self.sequence.set(sequence);
        let file = OpenOptions::new().write(true).open(self.folder.join(LIMITS_FILE)).unwrap();
        let words = page.to_words(sequence);
        let at = |word: usize| word as u64 * 8;
        let put = |word: usize, value: u64| {
            file.write_all_at(&value.to_ne_bytes(), at(word)).unwrap();
        };
        put(LimitWord::SEQUENCE, sequence - 1);
        for (word, value) in words.iter().enumerate() {
            if word != LimitWord::SEQUENCE {
                put(word, *value);
            }
        }
        put(LimitWord::SEQUENCE, sequence);
    }

    /// The usage page, as the pool reads it.
    pub(crate) fn usage(&self) -> Usage<'static> {
        *self.usage.get_or_init(|| {
            let path = CString::new(self.folder.join(USAGE_FILE).as_os_str().as_bytes()).unwrap();
            let access = mapping::Access::Write;
            Usage::adopt(mapping::map_file(&path, UsageLayout::COUNT, access).unwrap()).unwrap()
        })
    }

    pub(crate) fn used(&self) -> u64 {
        ledger::used(self.usage(), card(0))
    }

    pub(crate) fn word(&self, word: usize) -> u64 {
        self.usage().card(card(0), word).load(SeqCst)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.usage().header(HeaderWord::FAILURES).load(SeqCst)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

pub(crate) fn card(index: usize) -> CardIndex {
    CardIndex::new(index).unwrap()
}

/// Starts a command that was made ready, and its use of the first card.
pub(crate) fn ready(command: Command) -> TenantProcess {
    let mut tenant = TenantProcess::spawn(command).unwrap();
    assert_eq!(tenant.ask("init").unwrap(), "ok");
    tenant
}

/// Asks and insists on the answer.
#[track_caller]
pub(crate) fn told(tenant: &mut TenantProcess, line: &str, expected: &str) {
    let answer = tenant.ask(line).unwrap();
    assert!(answer == expected || answer.starts_with(&format!("{expected} ")), "{line}: {answer}");
}

/// Waits for something to become so, as long as a slow machine may take.
#[track_caller]
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed().as_secs() < 30, "{what} never came to be");
        std::thread::yield_now();
    }
}

/// The library as cargo built it for this test.
pub(crate) fn library() -> PathBuf {
    beside("deps/libcotenant_shim.so")
}

/// A file of the folder that this test was built into.
fn beside(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).map(Path::to_owned).unwrap();
    let file = folder.join(name);
    assert!(file.exists(), "{name} was not built; run the whole package's tests, not one by name");
    file
}
