//! The file of an experiment: how it began, then a line for each subject's outcome, then its end.
//!
//! ```text
//! 16 digits of a hash over the line's number and text, a blank, JSON, a line's end
//! ```
//! A line is acknowledged once it is synced, and each is synced before the next is begun. Then the
//! *mark*, a small file beside it, is told how many bytes that makes; it is not synced, because it
//! need not be there: after a power cut it may say less than the truth, never more. So what is broken
//! behind the mark and reaches to the end was never acknowledged and is cut off; what is broken or
//! gone before it is damage.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::ExperimentError;
use super::ticket::to_hex;
use super::trial::{Head, Line, Trial};

/// Largest file: all subjects that an experiment may have need about half of it.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Digits of a line's hash.
const SUM_DIGITS: usize = 16;
/// Ends the name of the file that says how much was acknowledged.
pub(super) const MARK: &str = ".mark";
/// Ends the name of a file that is not whole yet.
pub(super) const DRAFT: &str = ".new";

/// A file that is written to.
#[derive(Debug)]
pub(super) struct TrialFile {
    path: PathBuf,
    file: File,
    mark: File,
    /// The hash of its first line, which no other experiment has: its mark is no other's.
    head_sum: String,
    /// Its bytes, all of them acknowledged.
    bytes: u64,
    lines: usize,
    /// Whether the file may hold something else than that.
    is_broken: bool,
}

impl TrialFile {
    /// A new file, there as a whole or not at all.
    pub(super) fn create(path: &Path, head: Head) -> Result<(Self, Trial), ExperimentError> {
        let line = written(0, &Line::Head(Box::new(head)));
        // The state is made from what the file says, so that a restart makes the same.
        let (lines, _) = read(path, line.as_bytes())?;
        let trial = trial(path, lines)?;
        let mut draft = path.as_os_str().to_owned();
        draft.push(DRAFT);
        let draft = PathBuf::from(draft);
        let made = make(&draft, path, line.as_bytes());
        let file = made.map_err(|error| {
            // It is waste, and removed at the next start if not now.
            let _ = fs::remove_file(&draft);
            disk("write", path)(error)
        })?;
        let mark = open_mark(path)?;
        let (path, head_sum) = (path.to_owned(), line[..SUM_DIGITS].to_owned());
        let mut made = Self { path, file, mark, head_sum, bytes: 0, lines: 0, is_broken: false };
        made.acknowledge(line.len());
        Ok((made, trial))
    }

    /// Opens a file, and cuts off what was never acknowledged.
    pub(super) fn open(path: &Path) -> Result<(Self, Trial, String), ExperimentError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let mut file = file.map_err(disk("open", path))?;
        let mut bytes = Vec::new();
        let limit = (&mut file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
        limit.map_err(disk("read", path))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let reason = format!("it has more than {FILE_BYTES_MAX} bytes");
            return Err(ExperimentError::Damaged { path: path.to_owned(), line: 1, reason });
        }
        let (lines, whole) = read(path, &bytes)?;
        let count = lines.len();
        let mark = open_mark(path)?;
        let head_sum = String::from_utf8_lossy(&bytes[..SUM_DIGITS]).into_owned();
        let acknowledged = read_mark(&mark, &head_sum);
        if acknowledged > whole as u64 {
            let reason = format!("{acknowledged} bytes were acknowledged, and {whole} are whole");
            let (path, line) = (path.to_owned(), count + 1);
            return Err(ExperimentError::Damaged { path, line, reason });
        }
        let tenant = match lines.first() {
            Some(Line::Head(head)) => head.tenant.clone(),
            _ => String::new(),
        };
        let trial = trial(path, lines)?;
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(disk("write", path))?;
        }
        // What was read may be no more than what the system remembers of a sync that failed.
        file.sync_data().map_err(disk("sync", path))?;
        let path = path.to_owned();
        let lines = count - 1;
        let mut opened = Self { path, file, mark, head_sum, bytes: 0, lines, is_broken: false };
        opened.acknowledge(whole);
        Ok((opened, trial, tenant))
    }

    /// Appends a line, and returns once it is durable.
    pub(super) fn append(&mut self, line: &Line) -> Result<(), ExperimentError> {
        if self.is_broken {
            return Err(ExperimentError::Stopped { path: self.path.clone() });
        }
        let text = written(self.lines, line);
        if let Err(error) = self.file.write_all_at(text.as_bytes(), self.bytes) {
            // A full disk is no reason to stop, if what was written in part can be taken back.
            let is_back = self.file.set_len(self.bytes).and_then(|()| self.file.sync_data());
            self.is_broken = is_back.is_err();
            return Err(disk("write", &self.path)(error));
        }
        if let Err(error) = self.file.sync_data() {
            // What a failed sync leaves behind is known to nobody.
            self.is_broken = true;
            return Err(disk("sync", &self.path)(error));
        }
        self.acknowledge(text.len());
        Ok(())
    }

    /// So many bytes more are there, to the end of a line.
    fn acknowledge(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.lines += 1;
        // A mark that cannot be written says less than the truth, which is allowed.
        let line = with_sum(MARK_LINE, &format!("{} {}", self.head_sum, self.bytes));
        let _ = self.mark.write_all_at(line.as_bytes(), 0);
    }
}

/// The mark's line has a number that no line of an experiment has.
const MARK_LINE: usize = usize::MAX;

/// The file beside an experiment's that says how much of it was acknowledged.
pub(super) fn mark_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(MARK);
    PathBuf::from(name)
}

fn open_mark(path: &Path) -> Result<File, ExperimentError> {
    let path = mark_of(path);
    let mark = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    mark.map_err(disk("open", &path))
}

/// How much was acknowledged at least; a mark that is absent, torn or another experiment's says
/// nothing. A shorter number leaves the end of a longer one behind its line.
fn read_mark(mark: &File, head_sum: &str) -> u64 {
    let mut bytes = [0; 64];
    let Ok(read) = mark.read_at(&mut bytes, 0) else { return 0 };
    let Some(end) = bytes[..read].iter().position(|&byte| byte == b'\n') else { return 0 };
    let Some(text) = text_of(MARK_LINE, &bytes[..=end]) else { return 0 };
    let bytes = text.strip_prefix(head_sum).map(|rest| rest.trim_start().parse());
    bytes.and_then(Result::ok).unwrap_or(0)
}

fn make(draft: &Path, path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::create(draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(draft, path)?;
    sync_parent(path).inspect_err(|_| {
        // What is refused now must not be there after a restart.
        let _ = fs::remove_file(path);
    })?;
    Ok(file)
}

/// Makes the name of a file, or that it is gone, durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

pub(super) fn disk(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> ExperimentError + use<> {
    let path = path.to_owned();
    move |source| ExperimentError::Disk { action, path, source }
}

/// A line as the file has it.
pub(super) fn written(number: usize, line: &Line) -> String {
    let text = serde_json::to_string(line).expect("a line is plain JSON");
    with_sum(number, &text)
}

/// A text as the line of that number.
pub(super) fn with_sum(number: usize, text: &str) -> String {
    format!("{} {text}\n", sum(number, text))
}

fn sum(number: usize, text: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((number as u64).to_le_bytes());
    hash.update(text);
    to_hex(&hash.finalize()[..SUM_DIGITS / 2])
}

/// The lines of a file, and how many bytes they are.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<(Vec<Line>, usize), ExperimentError> {
    let mut lines = Vec::new();
    let mut at = 0;
    for raw in bytes.split_inclusive(|&byte| byte == b'\n') {
        let end = at + raw.len();
        match line(lines.len(), raw) {
            Some(Ok(line)) => lines.push(line),
            Some(Err(error)) => {
                let (path, line) = (path.to_owned(), lines.len() + 1);
                return Err(ExperimentError::Damaged { path, line, reason: error.to_string() });
            }
            None if end == bytes.len() && !lines.is_empty() => break,
            None => {
                let (path, line) = (path.to_owned(), lines.len() + 1);
                let reason = "it has another checksum".to_owned();
                return Err(ExperimentError::Damaged { path, line, reason });
            }
        }
        at = end;
    }
    Ok((lines, at))
}

/// A line whose hash is right, and whether it makes sense.
fn line(number: usize, raw: &[u8]) -> Option<serde_json::Result<Line>> {
    text_of(number, raw).map(serde_json::from_str)
}

/// The text of a line whose hash is right.
fn text_of(number: usize, raw: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(raw.strip_suffix(b"\n")?).ok()?;
    let (found, text) = text.split_at_checked(SUM_DIGITS)?;
    let text = text.strip_prefix(' ')?;
    (found == sum(number, text)).then_some(text)
}

/// The state after all lines.
pub(super) fn trial(path: &Path, lines: Vec<Line>) -> Result<Trial, ExperimentError> {
    let damaged = |line: usize, reason: String| {
        let path = path.to_owned();
        ExperimentError::Damaged { path, line, reason }
    };
    let mut lines = (1..).zip(lines);
    let Some((_, Line::Head(head))) = lines.next() else {
        return Err(damaged(1, "it does not begin as an experiment does".to_owned()));
    };
    let mut trial = Trial::begin(&head).map_err(|error| damaged(1, error.to_string()))?;
    for (number, line) in lines {
        trial.replay(line).map_err(|error| damaged(number, error.to_string()))?;
    }
    Ok(trial)
}
