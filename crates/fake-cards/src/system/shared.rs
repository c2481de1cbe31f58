//! The file that all processes map.
//!
//! It is made under another name and linked into place when it is whole, so that whoever opens it
//! finds it whole. A process that uses the cards holds a record lock on one byte of it: the system
//! lets go of that lock when the process ends in any way or becomes another program, never before,
//! and a child does not inherit it. That tells more than a process number and a start time would.
//! Because a process loses its locks with the first handle of the file that it closes, none is ever
//! closed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::{self, ManuallyDrop};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use thiserror::Error;

use super::lock::{self, Locked};
use crate::world::World;

/// How many functions can be counted and made to fail.
const FUNCTIONS_MAX: usize = 1024;

/// Changes with the layout, so that an old file is refused and not misread.
const MAGIC: u64 = 0x636f_7465_6e66_0001;

/// The file's content.
#[repr(C)]
pub(crate) struct Layout {
    pub(super) magic: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Counts changes that sleepers should see.
    pub(super) changed: AtomicU32,
    pub(super) mutex: std::cell::UnsafeCell<libc::pthread_mutex_t>,
    functions_len: AtomicU64,
    functions: [FunctionSlot; FUNCTIONS_MAX],
    pub(super) world: std::cell::UnsafeCell<World>,
}

/// A function by name: how often it was called and what shall go wrong with it. Read without the
/// lock, because it is read at every call.
#[repr(C)]
pub(crate) struct FunctionSlot {
    /// UTF-8, filled up with zeros; written once, under the lock.
    name: [AtomicU64; 8],
    pub(crate) calls: AtomicU64,
    /// The first call that fails, counted from 1; 0 if none does.
    pub(crate) fails_from: AtomicU64,
    /// How many calls fail from there on.
    pub(crate) fails_times: AtomicU64,
    /// What a call that fails returns.
    pub(crate) fails_code: AtomicU64,
    pub(crate) delay_ns: AtomicU64,
    pub(crate) is_missing: AtomicU64,
}

/// A file that is mapped.
#[derive(Debug)]
pub(crate) struct Shared {
    layout: NonNull<Layout>,
    file: ManuallyDrop<File>,
}

// SAFETY: the mapping lives as long as the process, and what is in it is either atomic or reached
// only through the lock.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// A file of cards could not be made or opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The system refused.
    #[error("open the cards in {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another build of this crate made the file, or something else did.
    #[error(
        "read {path}: it does not hold cards of this build\n\
         hint: remove the file, and use one build of the driver in all processes"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// There is a file already.
    #[error("make cards in {path}: the file exists\nhint: open it, or name another file")]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

impl Shared {
    /// Makes a file whose world is what `fill` makes of zeros.
    pub(crate) fn create(path: &Path, fill: impl FnOnce(&mut World)) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let temporary = PathBuf::from(name);
        let file = options().create_new(true).open(&temporary).map_err(failed)?;
        let made = Self::fill(file, fill).map_err(failed);
        let linked = match &made {
            Ok(_) => fs::hard_link(&temporary, path),
            Err(_) => Ok(()),
        };
        fs::remove_file(&temporary).map_err(failed)?;
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(OpenError::Exists { path: path.to_owned() })
            }
            Err(error) => Err(failed(error)),
            Ok(()) => made,
        }
    }

    fn fill(file: File, fill: impl FnOnce(&mut World)) -> io::Result<Self> {
        file.set_len(mem::size_of::<Layout>() as u64)?;
        let shared = Self::map(file)?;
        lock::initialise(shared.layout())?;
        fill(&mut shared.lock());
        let layout = shared.layout();
        layout.bytes.store(mem::size_of::<Layout>() as u64, Ordering::Relaxed);
        layout.magic.store(MAGIC, Ordering::Release);
        Ok(shared)
    }

    /// Opens a file that was made before.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let foreign = || OpenError::Foreign { path: path.to_owned() };
        let bytes = mem::size_of::<Layout>() as u64;
        let file = options().open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() != bytes {
            return Err(foreign());
        }
        let shared = Self::map(file).map_err(failed)?;
        let layout = shared.layout();
        let is_ours = layout.magic.load(Ordering::Acquire) == MAGIC
            && layout.bytes.load(Ordering::Relaxed) == bytes;
        if is_ours { Ok(shared) } else { Err(foreign()) }
    }

    fn map(file: File) -> io::Result<Self> {
        // SAFETY: a new shared mapping of the whole file at an address that the system chooses; the
        // file is as long as the layout, for whoever calls has set or compared its length.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                mem::size_of::<Layout>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let layout = NonNull::new(address.cast()).expect("a mapping is never at zero");
        Ok(Self { layout, file: ManuallyDrop::new(file) })
    }

    /// The file's content.
    pub(super) fn layout(&self) -> &Layout {
        // SAFETY: the mapping is as long as a layout, aligned to a page, never unmapped, and every
        // bit pattern is a layout; what changes is atomic or behind an `UnsafeCell`.
        unsafe { self.layout.as_ref() }
    }

    /// The world, for this thread alone until the value is dropped.
    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked::new(self.layout())
    }

    /// Says to the other processes that this one lives, until it ends.
    pub(crate) fn mark_alive(&self, slot: usize) -> io::Result<()> {
        let mut range = byte(slot);
        // SAFETY: the descriptor is open and the request points to one flock structure.
        let code = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_SETLK, &mut range) };
        if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Whether nobody else holds a slot's mark. One's own mark is not seen.
    pub(crate) fn is_unmarked(&self, slot: usize) -> bool {
        let mut range = byte(slot);
        // SAFETY: as above.
        let code = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_GETLK, &mut range) };
        code == 0 && i32::from(range.l_type) == libc::F_UNLCK
    }

    /// Sleeps until another thread changed something after `seen`, or the time is over.
    pub(crate) fn sleep_until_changed(&self, seen: u32, ns_max: u64) {
        let timeout = libc::timespec {
            tv_sec: (ns_max / 1_000_000_000) as libc::time_t,
            tv_nsec: (ns_max % 1_000_000_000) as libc::c_long,
        };
        let word = self.layout().changed.as_ptr();
        // SAFETY: the word is an aligned u32 in shared memory and the timeout is read only now.
        unsafe {
            libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, seen, &timeout, 0, 0);
        }
    }

    /// How often something changed; read under the lock, so that no change is missed.
    pub(crate) fn changes(&self) -> u32 {
        self.layout().changed.load(Ordering::Acquire)
    }

    /// The slot of a function, which is made if there is none.
    pub(crate) fn function(&self, name: &str) -> &FunctionSlot {
        let layout = self.layout();
        let name = packed(name);
        let find = || {
            let used = layout.functions_len.load(Ordering::Acquire) as usize;
            layout.functions[..used.min(FUNCTIONS_MAX)].iter().find(|slot| slot.is_named(&name))
        };
        if let Some(slot) = find() {
            return slot;
        }
        let _guard = self.lock();
        if let Some(slot) = find() {
            return slot;
        }
        let used = layout.functions_len.load(Ordering::Acquire) as usize;
        assert!(used < FUNCTIONS_MAX, "no driver has as many functions as there are slots");
        for (part, value) in layout.functions[used].name.iter().zip(name) {
            part.store(value, Ordering::Relaxed);
        }
        layout.functions_len.store(used as u64 + 1, Ordering::Release);
        &layout.functions[used]
    }

    /// Every function that was called or is to fail.
    pub(crate) fn functions(&self) -> &[FunctionSlot] {
        let used = self.layout().functions_len.load(Ordering::Acquire) as usize;
        &self.layout().functions[..used.min(FUNCTIONS_MAX)]
    }
}

impl FunctionSlot {
    fn is_named(&self, name: &[u64; 8]) -> bool {
        self.name.iter().zip(name).all(|(part, wanted)| part.load(Ordering::Relaxed) == *wanted)
    }

    /// The name; longer ones are cut.
    pub(crate) fn name(&self) -> String {
        let bytes = self.name.iter().flat_map(|part| part.load(Ordering::Relaxed).to_le_bytes());
        let bytes: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_CLOEXEC);
    options
}

fn byte(slot: usize) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: slot as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}

fn packed(name: &str) -> [u64; 8] {
    let mut bytes = [0u8; 64];
    let length = name.len().min(63);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    let mut parts = [0u64; 8];
    for (part, bytes) in parts.iter_mut().zip(bytes.chunks_exact(8)) {
        *part = u64::from_le_bytes(bytes.try_into().expect("the chunk has eight bytes"));
    }
    parts
}
