//! The write-ahead log of a namespace: what was written since its last flush.
//!
//! ```text
//! head      24 bytes   magic, number, XXH3 of both
//! record    24 bytes   u32 bytes, u64 sequence, u64 XXH3 of the payload, u32 of XXH3 of these 20
//!           payload
//! ```
//! A write is acknowledged once its record is synced. Then the *mark*, a small file beside the log,
//! is told how long the log is; it is not synced, because it need not be there: after a power cut
//! it may say less than the truth, never more. So what is broken behind the mark and reaches to the
//! end of the file was never acknowledged and is cut off; what is broken before it is damage.
//!
//! A log whose content is being written to files has a successor, and is written to no more: the
//! manifest that names the successor says how long it is, and all of it was acknowledged.

use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::codec::Reader;
use super::disk::DiskFile;
use super::error::{DamagedFile, IndexError, check_limit};
use super::folder::Folder;
use super::limits::RECORD_BYTES_MAX;
use super::manifest::{OlderLog, log_name, mark_name};
use super::record::Record;

const HEAD_BYTES: usize = 24;
const RECORD_HEAD_BYTES: usize = 24;
const MARK_BYTES: usize = 16;
const MAGIC: &[u8; 8] = b"CTLOG001";

/// A log that is written to.
#[derive(Debug)]
pub(crate) struct Log {
    file: Box<dyn DiskFile>,
    mark: Box<dyn DiskFile>,
    path: PathBuf,
    number: u64,
    /// Its bytes, all of them acknowledged.
    bytes: u64,
    /// The sequence of the next record.
    next: u64,
    /// Whether the file may hold something else than that.
    is_broken: bool,
}

impl Log {
    /// A new log without records, durable but for its name.
    pub(crate) fn create(folder: &Folder, number: u64) -> Result<Self, IndexError> {
        let (name, path) = (log_name(number), folder.at(&log_name(number)));
        let mut file = folder.create(&name)?;
        file.write_at(0, &head(number)).map_err(IndexError::disk("write", &path))?;
        file.sync().map_err(IndexError::disk("sync", &path))?;
        let mark = folder.create(&mark_name(number))?;
        let bytes = HEAD_BYTES as u64;
        Ok(Self { file, mark, path, number, bytes, next: 0, is_broken: false })
    }

    /// Opens a log, cuts off what was never acknowledged, and returns its records in order.
    pub(crate) fn open(folder: &Folder, number: u64) -> Result<(Self, Vec<Record>), IndexError> {
        let (name, path) = (log_name(number), folder.at(&log_name(number)));
        let bytes = folder.read(&name).map_err(|error| absent(error, &path))?;
        let acknowledged = read_mark(folder, number);
        let (records, whole) = read(&path, &bytes, number, acknowledged)?;
        let mut file = folder.reopen(&name)?;
        if whole < bytes.len() {
            file.cut(whole as u64).map_err(IndexError::disk("write", &path))?;
        }
        // What was read may be no more than what the system remembers of a sync that failed.
        file.sync().map_err(IndexError::disk("sync", &path))?;
        let mark = folder.create(&mark_name(number))?;
        let next = records.len() as u64;
        let mut log = Self { file, mark, path, number, bytes: 0, next, is_broken: false };
        log.acknowledge(whole as u64);
        Ok((log, records))
    }

    /// What the manifest says of it once it has a successor.
    pub(crate) fn rest(&self) -> OlderLog {
        OlderLog { number: self.number, bytes: self.bytes }
    }

    /// Whether nothing was written to it.
    pub(crate) fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Whether nobody knows what the disk kept of the last record.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Appends a record and returns once it is durable; a broken log takes none.
    pub(crate) fn append(&mut self, record: &Record) -> Result<(), IndexError> {
        debug_assert!(!self.is_broken, "a record for a broken log");
        let payload = record.encode();
        check_limit(|| "the batch".to_owned(), (payload.len(), RECORD_BYTES_MAX), "bytes")?;
        let mut bytes = record_head(self.number, self.next, &payload).to_vec();
        bytes.extend_from_slice(&payload);
        if let Err(error) = self.file.write_at(self.bytes, &bytes) {
            // A full disk is no reason to stop, if what was written in part can be taken back.
            let is_back = self.file.cut(self.bytes).and_then(|()| self.file.sync());
            self.is_broken = is_back.is_err();
            return Err(IndexError::disk("write", &self.path)(error));
        }
        if let Err(error) = self.file.sync() {
            // What a failed sync leaves behind is known to nobody, even if a second one succeeds.
            self.is_broken = true;
            return Err(IndexError::disk("sync", &self.path)(error));
        }
        self.next += 1;
        self.acknowledge(self.bytes + bytes.len() as u64);
        Ok(())
    }

    /// Checks every record on disk again.
    pub(crate) fn verify(&self, folder: &Folder) -> Result<(), IndexError> {
        let bytes = folder.read(&log_name(self.number))?;
        let (records, _) = read(&self.path, &bytes, self.number, Some(self.bytes))?;
        if records.len() as u64 != self.next {
            let reason = format!("it has {} records of {}", records.len(), self.next);
            return Err(DamagedFile::new(&self.path, reason).into());
        }
        Ok(())
    }

    fn acknowledge(&mut self, bytes: u64) {
        self.bytes = bytes;
        // A mark that cannot be written says less than the truth, which is allowed.
        let _ = self.mark.write_at(0, &mark(self.number, bytes));
    }
}

/// The records of a log that has a successor.
pub(crate) fn read_older(folder: &Folder, log: &OlderLog) -> Result<Vec<Record>, IndexError> {
    let (name, path) = (log_name(log.number), folder.at(&log_name(log.number)));
    let bytes = folder.read(&name).map_err(|error| absent(error, &path))?;
    if bytes.len() as u64 != log.bytes {
        let reason = format!("it has {} bytes, the manifest says {}", bytes.len(), log.bytes);
        return Err(DamagedFile::new(&path, reason).into());
    }
    Ok(read(&path, &bytes, log.number, Some(log.bytes))?.0)
}

/// A log with these payloads and the right checksums, since nobody guesses these.
#[cfg(feature = "fuzzing")]
pub(crate) fn of_payloads<'a>(number: u64, payloads: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = head(number).to_vec();
    for (sequence, payload) in (0..).zip(payloads) {
        bytes.extend(record_head(number, sequence, payload));
        bytes.extend_from_slice(payload);
    }
    bytes
}

fn head(number: u64) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(MAGIC);
    head[8..16].copy_from_slice(&number.to_le_bytes());
    let sum = xxh3_64(&head[..16]);
    head[16..].copy_from_slice(&sum.to_le_bytes());
    head
}

fn record_head(number: u64, sequence: u64, payload: &[u8]) -> [u8; RECORD_HEAD_BYTES] {
    let mut head = [0; RECORD_HEAD_BYTES];
    head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[4..12].copy_from_slice(&sequence.to_le_bytes());
    head[12..20].copy_from_slice(&xxh3_64(payload).to_le_bytes());
    let sum = xxh3_64_with_seed(&head[..20], number) as u32;
    head[20..].copy_from_slice(&sum.to_le_bytes());
    head
}

fn mark(number: u64, bytes: u64) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    mark[..8].copy_from_slice(&bytes.to_le_bytes());
    let sum = xxh3_64_with_seed(&mark[..8], number);
    mark[8..].copy_from_slice(&sum.to_le_bytes());
    mark
}

/// How much was acknowledged at least; a mark that is absent or torn says nothing.
fn read_mark(folder: &Folder, number: u64) -> Option<u64> {
    let bytes = folder.read(&mark_name(number)).ok()?;
    let length = Reader::new(&bytes).u64()?;
    (bytes == mark(number, length)).then_some(length)
}

fn absent(error: IndexError, path: &Path) -> IndexError {
    match error {
        IndexError::Disk { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            DamagedFile::new(path, "the manifest names it, and it is not there").into()
        }
        error => error,
    }
}

/// The records of a log's bytes, and how many bytes they are.
pub(crate) fn read(
    path: &Path,
    bytes: &[u8],
    number: u64,
    acknowledged: Option<u64>,
) -> Result<(Vec<Record>, usize), DamagedFile> {
    if bytes.get(..HEAD_BYTES) != Some(&head(number)) {
        return Err(DamagedFile::at(path, 0, "it does not begin as this log does"));
    }
    let mut records = Vec::new();
    let mut at = HEAD_BYTES;
    while at < bytes.len() {
        match next(&bytes[at..], number, records.len() as u64) {
            Next::Record(record, length) => {
                records.push(record);
                at += length;
            }
            Next::Torn => break,
            Next::Damaged(reason) => return Err(DamagedFile::at(path, at as u64, reason)),
        }
    }
    match acknowledged {
        Some(length) if (at as u64) < length => {
            let reason =
                format!("{length} bytes were acknowledged, and a record of them is broken");
            Err(DamagedFile::at(path, at as u64, reason))
        }
        _ => Ok((records, at)),
    }
}

enum Next {
    /// A record, and its bytes with the head.
    Record(Record, usize),
    /// Possibly the last record, written in part.
    Torn,
    /// Broken in a way that no write in part can be.
    Damaged(&'static str),
}

/// The record at the front of some bytes.
fn next(bytes: &[u8], number: u64, sequence: u64) -> Next {
    let mut reader = Reader::new(bytes);
    let (Some(length), Some(found), Some(sum), Some(_)) =
        (reader.u32(), reader.u64(), reader.u64(), reader.u32())
    else {
        return Next::Torn;
    };
    // Any payload with this sum has this head.
    let mut expected = [0; RECORD_HEAD_BYTES];
    expected[..20].copy_from_slice(&bytes[..20]);
    let head_sum = xxh3_64_with_seed(&expected[..20], number) as u32;
    expected[20..].copy_from_slice(&head_sum.to_le_bytes());
    if bytes[..RECORD_HEAD_BYTES] != expected {
        return Next::Torn;
    }
    if found != sequence {
        return Next::Damaged("a record has the place of another one");
    }
    let Some(payload) = reader.take(length as usize) else { return Next::Torn };
    if xxh3_64(payload) != sum {
        // Each record is synced before the next one is begun, so only the last one can be torn.
        return match reader.is_empty() {
            true => Next::Torn,
            false => Next::Damaged("a record in the middle has another checksum"),
        };
    }
    match Record::decode(payload) {
        Some(record) => Next::Record(record, RECORD_HEAD_BYTES + payload.len()),
        None => Next::Damaged("a record has its checksum and no sense"),
    }
}
