//! The page on which the preload library counts, as the watcher has it: a file that is read, never
//! mapped, so that nothing that a program does to it can harm the watcher.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use cotenant_types::trace::{TRACED_MAX, TraceLayout, TraceWord};

use crate::card::CardCounts;
use crate::error::DoctorError;

/// Where a page lies best: in memory.
const MEMORY: &str = "/dev/shm";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A page; its file goes when the value is dropped.
#[derive(Debug)]
pub(super) struct TracePage {
    path: PathBuf,
    file: File,
}

impl TracePage {
    pub(super) fn create() -> Result<Self, DoctorError> {
        let folder = match fs::metadata(MEMORY) {
            Ok(data) if data.is_dir() && !data.permissions().readonly() => MEMORY.into(),
            Ok(_) | Err(_) => std::env::temp_dir(),
        };
        Self::create_in(&folder)
    }

    fn create_in(folder: &Path) -> Result<Self, DoctorError> {
        let number = NEXT.fetch_add(1, Relaxed);
        let path = folder.join(format!("cotenant-doctor-{}-{number}", std::process::id()));
        let failed = |source| DoctorError::Page { path: path.clone(), source };
        // One of a process that had this number before and was killed.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(failed)?;
        let page = Self { path: path.clone(), file };
        page.file.set_len(TraceLayout::BYTES as u64).map_err(failed)?;
        Ok(page)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What each process that used a card has counted, as of now.
    pub(super) fn read(&self) -> Vec<CardCounts> {
        let slots = (0..TRACED_MAX).map(|slot| self.slot(slot));
        let taken = slots
            .take_while(|words| words.as_ref().is_some_and(|words| words[TraceWord::PID] != 0));
        taken.flatten().filter_map(|words| CardCounts::new(words, now_ns())).collect()
    }

    fn slot(&self, slot: usize) -> Option<Vec<u64>> {
        let mut bytes = [0; TraceLayout::SLOT_STRIDE * 8];
        let at = TraceLayout::slot(slot) * 8;
        self.file.read_exact_at(&mut bytes, at as u64).ok()?;
        let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("they are eight"));
        Some(bytes.chunks_exact(8).map(word).collect())
    }
}

impl Drop for TracePage {
    fn drop(&mut self) {
        // If it cannot be removed there is nobody to tell, and it is small.
        let _ = fs::remove_file(&self.path);
    }
}

/// The machine's steady clock, by which the library counts.
pub(super) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_empty_at_first_and_gone_at_last() {
        let folder = tempfile::tempdir().unwrap();
        let page = TracePage::create_in(folder.path()).unwrap();
        assert!(page.read().is_empty());
        let path = page.path().to_owned();
        let put = |word: usize, value: u64| {
            let at = (TraceLayout::slot(0) + word) * 8;
            page.file.write_all_at(&value.to_ne_bytes(), at as u64).unwrap();
        };
        put(TraceWord::PID, 7);
        assert!(page.read().is_empty(), "it has submitted nothing");
        put(TraceWord::FIRST_NS, 1);
        put(TraceWord::KERNELS, 5);
        let read = page.read();
        assert_eq!((read[0].pid(), read[0].submissions()), (7, 5));
        assert!(read[0].window_ns() > 0);
        // A program may do to the file what it wants.
        page.file.set_len(100).unwrap();
        assert!(page.read().is_empty());
        drop(page);
        assert!(!path.exists());
        let error = TracePage::create_in(&folder.path().join("none")).unwrap_err();
        assert!(error.to_string().contains("hint: "), "{error}");
    }
}
