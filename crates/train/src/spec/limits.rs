//! What the machine may be asked for.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// What the machine may be asked for. No limit changes any result.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Threads that run chunks.
    pub threads: usize,
    /// Tokens up to which pieces of different tenants are run together.
    pub tokens_chunk: usize,
    /// Tokens of a round; a plan that is larger goes alone.
    pub round_tokens_max: usize,
    /// Bytes of tapes kept between forward and backward; what does not fit is computed twice.
    pub tape_bytes_max: usize,
    /// Bytes of adapters and their optimizers' states that are on a device at a time, where it keeps
    /// them; the others are aside, in memory of the host.
    pub kept_bytes_max: usize,
    /// The cache of what lies below the lowest adapted layer.
    pub prefix: PrefixLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            threads: 1,
            tokens_chunk: 256,
            round_tokens_max: 4096,
            tape_bytes_max: 320 << 20,
            kept_bytes_max: 1 << 30,
            prefix: PrefixLimits::default(),
        }
    }
}

/// Bounds of the cache of frozen prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixLimits {
    /// Bytes in memory; 0 in memory and on disk turns the cache off.
    pub memory_bytes_max: usize,
    /// Where to put what does not fit in memory; made if it is not there.
    pub folder: Option<PathBuf>,
    /// Bytes in that folder.
    pub disk_bytes_max: u64,
}

impl PrefixLimits {
    /// Whether anything may be cached at all.
    pub fn is_on(&self) -> bool {
        self.memory_bytes_max > 0 || self.on_disk().is_some()
    }

    /// The folder, if it may hold anything.
    pub(crate) fn on_disk(&self) -> Option<&Path> {
        self.folder.as_deref().filter(|_| self.disk_bytes_max > 0)
    }
}

/// Limits that nothing can run under.
#[derive(Debug, Error)]
pub enum LimitsError {
    /// A limit is 0.
    #[error("{key} is 0, but must be at least 1\nhint: raise {key}, or leave its default")]
    Zero {
        /// The limit.
        key: &'static str,
    },
    /// The cache folder cannot be used.
    #[error(
        "failed to open prefix cache folder {folder}\n\
         hint: name a folder that you may write, or none to keep the cache in memory"
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Limits {
    /// Refuses limits that nothing can run under.
    pub fn check(&self) -> Result<(), LimitsError> {
        for (key, value) in [
            ("threads", self.threads),
            ("tokens_chunk", self.tokens_chunk),
            ("round_tokens_max", self.round_tokens_max),
        ] {
            if value == 0 {
                return Err(LimitsError::Zero { key });
            }
        }
        Ok(())
    }
}
