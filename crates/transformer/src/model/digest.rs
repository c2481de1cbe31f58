//! Hashes of files, to tell models apart by content.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::ModelError;

/// Bytes hashed at a time.
const BUFFER_BYTES: usize = 1 << 16;

/// A SHA-256: equal for equal content, and not to be forged. Displayed in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Hashes a file's content, as `sha256sum` does.
    pub fn of_file(path: &Path) -> Result<Self, ModelError> {
        let failed = |source| ModelError::Io { action: "read", path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let mut state = Sha256::new();
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(Self(state.finalize().into())),
                Ok(bytes) => state.update(&buffer[..bytes]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Hashes bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first 64 bits: enough for a key within one machine's caches.
    pub fn short(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}
