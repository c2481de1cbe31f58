//! Base embeddings kept on disk between runs: a workspace that is run again with other settings,
//! or resumed, does not embed its documents again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cotenant_train::Texts;
use cotenant_transformer::random;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use super::vectors::Vectors;

/// Bytes of all files together; the ones unused for longest go first.
const BYTES_MAX: u64 = 2 << 30;

/// Kept embeddings of one model.
#[derive(Clone, Debug)]
pub struct VectorCache {
    folder: PathBuf,
    fingerprint: u64,
}

impl VectorCache {
    /// A cache in a folder that need not exist, for a model with this fingerprint.
    pub fn new(folder: PathBuf, fingerprint: u64) -> Self {
        Self { folder, fingerprint }
    }

    /// The embeddings of these texts, if they were kept; a damaged file is none.
    pub fn load(&self, texts: &dyn Texts, ids: &[u32]) -> Option<Vectors> {
        let path = self.file(texts, ids);
        let bytes = fs::read(&path).ok()?;
        let tensors = SafeTensors::deserialize(&bytes).ok()?;
        let tensor = tensors.tensor("embeddings").ok()?;
        let checksum = tensors.tensor("checksum").ok()?;
        let &[rows, width] = tensor.shape() else { return None };
        let is_whole = tensor.dtype() == Dtype::F32 && rows == ids.len();
        if !is_whole || checksum.data() != sum(tensor.data()).to_le_bytes() {
            return None;
        }
        // The time of the last use decides what goes first; a file system without it loses order.
        let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        let words = tensor.data().chunks_exact(4);
        let values = words.map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes"))).collect();
        Some(Vectors { values, width })
    }

    /// Keeps embeddings that are not too large for it; an error leaves the cache as it was.
    pub fn store(&self, texts: &dyn Texts, ids: &[u32], vectors: &Vectors) -> io::Result<()> {
        let path = self.file(texts, ids);
        let data: Vec<u8> = vectors.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let checksum = sum(&data).to_le_bytes();
        let view = |dtype, shape, data| TensorView::new(dtype, shape, data).expect("fitting bytes");
        let tensors = [
            ("embeddings", view(Dtype::F32, vec![vectors.len(), vectors.width], &data)),
            ("checksum", view(Dtype::U64, vec![1], &checksum)),
        ];
        let bytes = serialize(tensors, None).map_err(io::Error::other)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Ok(());
        }
        fs::create_dir_all(&self.folder)?;
        make_room(&self.folder, bytes.len() as u64)?;
        let draft = path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, &path)).inspect_err(|_| {
            // A draft that cannot be removed is only waste, and the first error says more.
            let _ = fs::remove_file(&draft);
        })
    }

    fn file(&self, texts: &dyn Texts, ids: &[u32]) -> PathBuf {
        let keys = |seed| ids.iter().fold(seed, |key, &id| random::mix(&[key, texts.key(id)]));
        let (one, two) = (keys(self.fingerprint), keys(!self.fingerprint));
        self.folder.join(format!("{one:016x}{two:016x}.safetensors"))
    }
}

/// Removes files, the longest unused first, until `more` bytes fit.
fn make_room(folder: &Path, more: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        files.push((about.modified()?, about.len(), entry.path()));
    }
    files.sort();
    let mut held: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if held.saturating_add(more) <= BYTES_MAX {
            break;
        }
        fs::remove_file(path)?;
        held -= bytes;
    }
    Ok(())
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(bytes.len() as u64, |state, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        random::scramble(state ^ u64::from_le_bytes(word))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cotenant_train::TextError;

    use super::*;

    struct Keys;

    impl Texts for Keys {
        fn tokens(&self, _: u32) -> Result<Arc<[u32]>, TextError> {
            unreachable!("keys are enough")
        }

        fn key(&self, text: u32) -> u64 {
            u64::from(text) * 7
        }
    }

    #[test]
    fn what_was_kept_is_found_for_the_same_texts_and_model_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = VectorCache::new(folder.path().join("vectors"), 5);
        let vectors = Vectors { values: vec![1.0, 2.0, 3.0, 4.0], width: 2 };
        assert_eq!(cache.load(&Keys, &[1, 2]), None);
        cache.store(&Keys, &[1, 2], &vectors).unwrap();
        assert_eq!(cache.load(&Keys, &[1, 2]), Some(vectors));
        assert_eq!(cache.load(&Keys, &[2, 1]), None);
        let other = VectorCache::new(folder.path().join("vectors"), 6);
        assert_eq!(other.load(&Keys, &[1, 2]), None);
    }

    #[test]
    fn a_damaged_file_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let cache = VectorCache::new(folder.path().into(), 5);
        let vectors = Vectors { values: vec![1.0, 2.0], width: 2 };
        cache.store(&Keys, &[1], &vectors).unwrap();
        let path = cache.file(&Keys, &[1]);
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x10;
            fs::write(&path, &broken).unwrap();
            let found = cache.load(&Keys, &[1]);
            assert!(found.is_none() || found == Some(vectors.clone()), "byte {at}");
            fs::write(&path, &bytes[..at]).unwrap();
            assert_eq!(cache.load(&Keys, &[1]), None, "cut at {at}");
        }
    }
}
