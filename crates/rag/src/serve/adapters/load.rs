//! Reading one adapter, whatever its folder holds.
//!
//! A training run may replace the folder meanwhile. What is read counts only if the files were the
//! same before and after, and had been left alone for a moment: whoever writes them one after the
//! other is between two of them for longer than reading takes.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use cotenant_transformer::{Adapter, EncoderConfig};

use super::error::AdapterError;
use super::{AdapterSource, Loaded};
use crate::index::adapter_digest;

/// The files of an adapter.
const FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];
/// How long files must have been left alone.
const QUIET: Duration = Duration::from_millis(100);
/// How often a folder is read that changes under the reader.
const READS_MAX: u32 = 10;

/// What tells whether a file is the one it was: its identity, its size, its time.
type Stamp = [Option<(u64, u64, u64, SystemTime)>; FILES.len()];

/// Reads an adapter's files for a model of this shape.
pub(super) fn load(
    source: Arc<AdapterSource>,
    generation: u64,
    (config, bytes_max): (&EncoderConfig, u64),
) -> Result<Loaded, AdapterError> {
    for _ in 0..READS_MAX {
        let before = stamp(&source, bytes_max)?;
        let read = Adapter::load_peft(&source.folder, config);
        if let Some(wait) = unquiet(&before) {
            thread::sleep(wait);
        }
        if stamp(&source, bytes_max)? != before {
            continue;
        }
        let name = source.name.clone();
        let adapter = read.map_err(|error| AdapterError::Load { name, source: Arc::new(error) })?;
        let digest = adapter_digest(&adapter);
        return Ok(Loaded { source, generation, adapter, digest });
    }
    Err(AdapterError::Changing { name: source.name.clone() })
}

/// What the files are now.
fn stamp(source: &AdapterSource, bytes_max: u64) -> Result<Stamp, AdapterError> {
    let name = || source.name.clone();
    let mut stamp = [None; FILES.len()];
    for (file, stamp) in FILES.into_iter().zip(&mut stamp) {
        // A pipe would hold the thread for as long as nobody writes into it; a file that is not
        // there is told of by whoever reads it.
        let Ok(about) = fs::metadata(source.folder.join(file)) else { continue };
        if !about.is_file() {
            return Err(AdapterError::NotAFile { name: name(), file });
        }
        if about.len() > bytes_max {
            return Err(AdapterError::TooLarge { name: name(), bytes: about.len(), bytes_max });
        }
        *stamp = Some(of_file(&about));
    }
    Ok(stamp)
}

fn of_file(about: &fs::Metadata) -> (u64, u64, u64, SystemTime) {
    use std::os::unix::fs::MetadataExt;

    let time = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    (about.dev(), about.ino(), about.len(), time)
}

/// How long to wait until files have been left alone for long enough.
fn unquiet(stamp: &Stamp) -> Option<Duration> {
    let now = SystemTime::now();
    // A time in the future is one that nobody can wait for.
    let ages = stamp.iter().flatten().filter_map(|(.., time)| now.duration_since(*time).ok());
    ages.min().filter(|age| *age < QUIET).map(|age| QUIET - age)
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use cotenant_transformer::random::{mix, unit};
    use cotenant_transformer::{AdapterLayout, LayerChoice, LoraSpec, Module};

    use super::*;

    const VERSIONS: u64 = 6;

    pub(in super::super) fn config() -> EncoderConfig {
        EncoderConfig {
            hidden: 32,
            layers: 2,
            heads: 4,
            intermediate: 64,
            vocab: 100,
            positions: 66,
            token_types: 2,
            norm_eps: 1e-12,
            position_offset: 0,
        }
    }

    /// A version of an adapter: other values and another scale, in tensors of the same shapes.
    pub(in super::super) fn adapter(version: u64) -> Adapter {
        let spec = LoraSpec {
            rank: 8,
            alpha: 8.0 + version as f32,
            rslora: false,
            targets: vec![Module::Query, Module::Value],
            layers: LayerChoice::All,
        };
        let layout = Arc::new(AdapterLayout::from_spec(&spec, &config()).unwrap());
        let mut adapter = Adapter::initial(layout, version);
        for (at, value) in (0..).zip(&mut adapter.values) {
            *value = unit(mix(&[version, at]));
        }
        adapter
    }

    fn source(folder: &Path) -> Arc<AdapterSource> {
        let (name, folder) = ("law".to_owned(), folder.to_owned());
        Arc::new(AdapterSource { name, folder, ..AdapterSource::default() })
    }

    /// One writer puts version after version over each other as PEFT does, file by file and in parts;
    /// it goes on once a version was read. Whatever was read is one of them.
    #[test]
    fn a_folder_that_is_being_written_is_read_as_a_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let versions: Vec<_> = (0..VERSIONS).map(|it| place.path().join(it.to_string())).collect();
        let digests: Vec<String> = (0..)
            .zip(&versions)
            .map(|(version, folder)| {
                adapter(version).save_peft(folder, "base").unwrap();
                adapter_digest(&adapter(version))
            })
            .collect();
        let law = place.path().join("law");
        adapter(0).save_peft(&law, "base").unwrap();
        let was_read: Vec<AtomicBool> = (0..VERSIONS).map(|_| AtomicBool::new(false)).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                for (folder, was_read) in versions.iter().zip(&was_read) {
                    for file in FILES.into_iter().rev() {
                        let bytes = fs::read(folder.join(file)).unwrap();
                        let mut parts = bytes.chunks(bytes.len().div_ceil(3));
                        fs::write(law.join(file), parts.next().unwrap()).unwrap();
                        for part in parts {
                            use std::io::Write;
                            let file = fs::OpenOptions::new().append(true).open(law.join(file));
                            file.unwrap().write_all(part).unwrap();
                            thread::yield_now();
                        }
                    }
                    while !was_read.load(Ordering::Relaxed) {
                        thread::yield_now();
                    }
                }
            });
            while !was_read[VERSIONS as usize - 1].load(Ordering::Relaxed) {
                let Ok(loaded) = load(source(&law), 1, (&config(), 1 << 30)) else { continue };
                let version = digests.iter().position(|digest| *digest == loaded.digest);
                let version = version.expect("a mixture of two versions was read");
                was_read[version].store(true, Ordering::Relaxed);
            }
        });
    }

    #[test]
    fn a_folder_that_changed_long_ago_is_read_at_once_and_one_that_is_half_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let law = place.path().join("law");
        adapter(3).save_peft(&law, "base").unwrap();
        let then = SystemTime::now() - Duration::from_secs(60);
        for file in FILES {
            let file = fs::OpenOptions::new().append(true).open(law.join(file)).unwrap();
            file.set_modified(then).unwrap();
        }
        let quiet = stamp(&source(&law), 1 << 30).unwrap();
        assert_eq!(unquiet(&quiet), None);
        let loaded = load(source(&law), 1, (&config(), 1 << 30)).unwrap();
        assert_eq!(loaded.digest, adapter_digest(&adapter(3)));
        let weights = law.join(FILES[1]);
        let whole = fs::read(&weights).unwrap();
        fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
        assert!(unquiet(&stamp(&source(&law), 1 << 30).unwrap()).is_some());
        let half = load(source(&law), 1, (&config(), 1 << 30));
        assert!(matches!(half, Err(AdapterError::Load { .. })));
    }
}
