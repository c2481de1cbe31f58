//! Which partitions the pool holds, written down so that a crash forgets none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cotenant_types::{CardId, MigPlace};
use serde::{Deserialize, Serialize};

use super::error::PartitionError;

/// A partition that the pool holds, or made and could not yet destroy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lease {
    /// Who holds it; nobody any more where it is only still to be destroyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    pub(super) card: CardId,
    /// Whether the pool made it, or is about to.
    pub(super) is_made: bool,
    pub(super) place: MigPlace,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(default)]
    lease: Vec<Lease>,
}

/// Most bytes of a record that are read: that of many more partitions than a machine has.
const BYTES_MAX: u64 = 1 << 20;

/// What was written down; nothing where nothing was.
pub(super) fn load(path: &Path) -> Result<Vec<Lease>, PartitionError> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(path, source)),
    }
    let record: Record = toml::from_str(&text).map_err(|source| PartitionError::Damaged {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    Ok(record.lease)
}

/// Writes it down, whole or not at all.
pub(super) fn store(path: &Path, leases: &[Lease]) -> Result<(), PartitionError> {
    let new = path.with_extension("new");
    let written = || {
        let record = Record { lease: leases.to_vec() };
        let text = toml::to_string(&record).map_err(io::Error::other)?;
        let mut options = OpenOptions::new();
        let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: io::Error) -> PartitionError {
    PartitionError::Record { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("partitions.toml");
        assert_eq!(load(&path).unwrap(), []);
        let lease = |owner: Option<&str>, start| Lease {
            owner: owner.map(str::to_owned),
            card: "GPU-1".parse().unwrap(),
            is_made: owner.is_some(),
            place: MigPlace { profile: "1g.10gb+me".to_owned(), start },
        };
        let leases = [lease(Some("job-1-1-0"), 0), lease(None, 4)];
        store(&path, &leases).unwrap();
        assert_eq!(load(&path).unwrap(), leases);
        fs::write(&path, "lease = 3").unwrap();
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("is damaged; compare it with nvidia-smi"), "{error}");
    }
}
