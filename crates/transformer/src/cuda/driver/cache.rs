//! Compiled programs on disk, so that a process compiles only what none has before.
//!
//! A file is replaced as a whole and checked when it is read: what is cut off, damaged or of another
//! form is as if it were not there. Many processes may use one folder.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::compiler::Source;
use super::error::CudaError;
use super::target::{Target, Version};

/// What a file begins with; another number is another form.
const HEAD: &[u8] = b"cotenant kernels 1\n";
const HASH_BYTES: usize = 32;
/// A file that is longer is none of ours.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A folder of compiled programs.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

/// All that machine code depends on, as the name of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// The key of a text that a compiler of this version compiles for a target.
    pub(super) fn new(source: &Source<'_>, compiler: Version, target: Target) -> Self {
        let mut hash = Sha256::new();
        // With the length of each part, so that no part can pass for the end of the one before.
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        part(source.text);
        part(&compiler.to_string());
        part(&target.to_string());
        source.options.iter().for_each(|option| part(option));
        let mut name = String::new();
        for byte in hash.finalize() {
            write!(name, "{byte:02x}").expect("a string takes all text");
        }
        Self(name)
    }
}

impl Cache {
    /// A cache in a folder, which is made when the first program is kept.
    pub(crate) fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The image of a key, if it was kept and is whole.
    pub(super) fn read(&self, key: &Key) -> Option<Vec<u8>> {
        let path = self.path(key);
        if fs::metadata(&path).ok()?.len() > FILE_BYTES_MAX {
            return None;
        }
        let content = fs::read(path).ok()?;
        let (length, rest) = content.strip_prefix(HEAD)?.split_first_chunk::<8>()?;
        let (hash, image) = rest.split_first_chunk::<HASH_BYTES>()?;
        let is_whole = u64::from_le_bytes(*length) == image.len() as u64
            && Sha256::digest(image).as_slice() == hash;
        is_whole.then(|| image.to_vec())
    }

    /// Keeps the image of a key.
    pub(super) fn write(&self, key: &Key, image: &[u8]) -> Result<(), CudaError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let failed = |path: &Path, error: &io::Error| CudaError::Cache {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        fs::create_dir_all(&self.folder).map_err(|error| failed(&self.folder, &error))?;
        let length = (image.len() as u64).to_le_bytes();
        let content = [HEAD, &length, Sha256::digest(image).as_slice(), image].concat();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let own = self.folder.join(format!("{}.{}.{number}", key.0, std::process::id()));
        let path = self.path(key);
        let written = fs::write(&own, content).and_then(|()| fs::rename(&own, &path));
        written.map_err(|error| {
            // What is left of it is of no use, and may not be there.
            drop(fs::remove_file(&own));
            failed(&path, &error)
        })
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(&key.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Cache, Key};
    use crate::cuda::driver::compiler::Source;
    use crate::cuda::driver::target::{Target, Version};

    fn key(text: &str, options: &[&str], minor: u32, target: Target) -> String {
        let source = Source { name: "any", text, options };
        Key::new(&source, Version { major: 13, minor }, target).0
    }

    #[test]
    fn everything_that_changes_the_code_changes_the_key() {
        let machine = Target::Machine(90);
        let keys = [
            key("a", &["-b"], 0, machine),
            key("b", &["-b"], 0, machine),
            key("a", &["-c"], 0, machine),
            key("a", &[], 0, machine),
            key("a", &["-b", ""], 0, machine),
            key("a", &["-", "b"], 0, machine),
            key("a-b", &[], 0, machine),
            key("a", &["-b"], 1, machine),
            key("a", &["-b"], 0, Target::Machine(80)),
            key("a", &["-b"], 0, Target::Text(90)),
        ];
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
        assert_eq!(keys[0], key("a", &["-b"], 0, machine));
        assert_eq!(keys[0].len(), 64);
    }

    #[test]
    fn what_is_kept_is_read_and_what_is_damaged_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("below"));
        let source = Source { name: "any", text: "a", options: &[] };
        let key = Key::new(&source, Version { major: 13, minor: 0 }, Target::Machine(90));
        let path = cache.path(&key);
        assert_eq!(cache.read(&key), None);
        cache.write(&key, b"an image").unwrap();
        assert_eq!(cache.read(&key).as_deref(), Some(&b"an image"[..]));
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert_eq!(cache.read(&key), None, "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(cache.read(&key), None, "cut off at {at}");
        }
        std::fs::write(&path, [whole, b"!".to_vec()].concat()).unwrap();
        assert_eq!(cache.read(&key), None, "longer");
        cache.write(&key, b"another").unwrap();
        assert_eq!(cache.read(&key).as_deref(), Some(&b"another"[..]));
        let files = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "nothing else is left");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let source = Source { name: "any", text: "a", options: &[] };
        let key = Key::new(&source, Version { major: 13, minor: 0 }, Target::Machine(90));
        let error = Cache::at(&file).write(&key, b"an image").unwrap_err().to_string();
        assert!(error.starts_with(&format!("{} cannot be used: ", file.display())), "{error}");
    }
}
