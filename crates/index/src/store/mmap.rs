//! Files as memory: the one place of this crate with unsafe code.

use std::fs::File;
use std::io;

use memmap2::Mmap;

use crate::bytes::Bytes;

/// A file's bytes, read from disk as they are looked at.
///
/// The file must have its final content: the store maps only files that were written once, synced
/// and named in a manifest, and removes them by name alone, which leaves the mapping whole.
pub(super) fn map(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::from_vec(Vec::new()));
    }
    // SAFETY: the bytes must not change while they are borrowed. No code of ours writes to a file
    // once it is finished, and the folder's lock keeps other processes that use this crate away.
    // A stranger who rewrites the file meanwhile breaks this, as for every program that maps.
    let map = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
