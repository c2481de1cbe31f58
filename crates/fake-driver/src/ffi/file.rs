//! Files without a name, by which processes hand over what cannot be told otherwise.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::fs::FileExt;

use crate::codes::{Code, cuda};

/// How long what a file holds is.
const BYTES: usize = 64;

/// A descriptor of a new file that holds these words; the program closes it.
pub(crate) fn file_of(words: &[u64; 8]) -> Result<i32, Code> {
    // SAFETY: the name ends with a zero, and the descriptor is new.
    let mut file = unsafe {
        let descriptor = libc::memfd_create(c"fake-memory".as_ptr(), libc::MFD_CLOEXEC);
        if descriptor < 0 {
            return Err(cuda::OPERATING_SYSTEM);
        }
        File::from_raw_fd(descriptor)
    };
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    file.write_all(&bytes).map_err(|_| cuda::OPERATING_SYSTEM)?;
    Ok(file.into_raw_fd())
}

/// The words that a file holds, whose descriptor stays the program's.
pub(crate) fn words_of(descriptor: i32) -> Result<[u64; 8], Code> {
    if descriptor < 0 {
        return Err(cuda::INVALID_VALUE);
    }
    // SAFETY: the program says that the descriptor is open; if not, reading says so.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) });
    let mut bytes = [0; BYTES];
    file.read_exact_at(&mut bytes, 0).map_err(|_| cuda::INVALID_VALUE)?;
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("the chunk has eight bytes"));
    }
    Ok(words)
}
