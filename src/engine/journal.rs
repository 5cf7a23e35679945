//! The journal: one JSON object a line, flushed and synced before anything is done.
//!
//! The first line is the header with the plan, every other line a [`Record`] with
//! its time. A torn last line (the machine lost power while writing it) is dropped
//! on load; anything else that does not parse, and any transition that cannot
//! happen, is an error: a journal that lies is worse than none.
//!
//! Format `MAJOR.MINOR`: another major is refused, a newer minor may be read but
//! not written to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state::{Impossible, State};
use crate::event::Record;
use crate::plan::Plan;

const MAJOR: u32 = 1;
const MINOR: u32 = 0;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{action} {path}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cluster {cluster} is being worked on by another pvetalos (it holds {path})")]
    Locked { cluster: String, path: PathBuf },
    #[error("cluster {cluster} was begun by another pvetalos a moment ago ({path}): run the same command again")]
    Begun { cluster: String, path: PathBuf },
    #[error(
        "{path} was written in journal format {found}; this program continues {MAJOR}.{MINOR} and older: use the version that wrote it"
    )]
    Format { path: PathBuf, found: String },
    #[error("{path}:{line}: not a journal line")]
    Line { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("{path}:{line}: a line that cannot follow what stands before it")]
    Order { path: PathBuf, line: usize, source: Impossible },
}

#[derive(Serialize, Deserialize)]
struct Header<P> {
    format: String,
    program: String,
    plan: P,
}

/// One line: when, and what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    pub at: jiff::Timestamp,
    #[serde(flatten)]
    pub record: Record,
}

/// An open journal, holding its cluster's lock for as long as it lives.
pub struct Journal {
    path: PathBuf,
    file: File,
    _lock: File,
    state: State,
    lines: Vec<Line>,
    /// Bytes that are whole lines.
    whole: u64,
}

impl Journal {
    /// The directory of `cluster` in the state directory.
    pub fn directory(state_dir: &Path, cluster: &str) -> PathBuf {
        state_dir.join("clusters").join(cluster)
    }

    /// Starts a journal for `plan`. The cluster must have none.
    pub fn create(state_dir: &Path, plan: &Plan) -> Result<Self, JournalError> {
        let directory = Self::directory(state_dir, &plan.mark.cluster);
        let lock = lock(&directory, &plan.mark.cluster)?;
        let path = directory.join("journal.jsonl");
        let mut file = match open(&path, OpenOptions::new().create_new(true).append(true)) {
            // Between the look for a journal and the lock, somebody else had the lock and gave it back.
            Err(JournalError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                return Err(JournalError::Begun { cluster: plan.mark.cluster.clone(), path });
            }
            opened => opened?,
        };
        let header = Header { format: format!("{MAJOR}.{MINOR}"), program: env!("CARGO_PKG_VERSION").to_owned(), plan };
        let written = write_line(&mut file, 0, &header, &path).and_then(|whole| {
            // The directory entry must survive too, or a crash right after the first create would find no journal.
            File::open(&directory).and_then(|directory| directory.sync_all()).map_err(io_error("sync", &directory))?;
            Ok(whole)
        });
        match written {
            Ok(whole) => Ok(Self { path, file, _lock: lock, state: State::default(), lines: Vec::new(), whole }),
            // What was refused has not begun.
            Err(error) => {
                fs::remove_file(&path).ok();
                Err(error)
            }
        }
    }

    /// Opens the journal of `cluster`, if there is one, and replays it.
    pub fn open(state_dir: &Path, cluster: &str) -> Result<Option<(Self, Plan)>, JournalError> {
        let directory = Self::directory(state_dir, cluster);
        let path = directory.join("journal.jsonl");
        if !path.exists() {
            return Ok(None);
        }
        let lock = lock(&directory, cluster)?;
        let bytes = match fs::read(&path) {
            // Whoever had the lock has destroyed the cluster meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(io_error("read", &path))?,
        };
        let Some(Replayed { format, plan, lines, state, whole }) = replay(&bytes, &path)? else {
            // Not even the header was written completely: nothing can have been done yet.
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
            return Ok(None);
        };
        // A newer program may have meant more by its lines than we understand.
        if format.split_once('.').and_then(|(_, minor)| minor.parse().ok()).is_none_or(|minor: u32| minor > MINOR) {
            return Err(JournalError::Format { path, found: format });
        }
        let file = open(&path, OpenOptions::new().append(true))?;
        file.set_len(whole).map_err(io_error("truncate", &path))?;
        Ok(Some((Self { path, file, _lock: lock, state, lines, whole }, plan)))
    }

    /// Reads a journal without locking or changing it, for `status`.
    pub fn read(state_dir: &Path, cluster: &str) -> Result<Option<(State, Plan)>, JournalError> {
        let path = Self::directory(state_dir, cluster).join("journal.jsonl");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        Ok(replay(&bytes, &path)?.map(|replayed| (replayed.state, replayed.plan)))
    }

    /// The clusters that the state directory knows.
    pub fn clusters(state_dir: &Path) -> Vec<String> {
        let Ok(entries) = fs::read_dir(state_dir.join("clusters")) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().join("journal.jsonl").exists())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Appends one record: it is on the disk when this returns. A record that could not be written counts as part of
    /// [`Journal::state`] all the same, so that whoever still unwinds undoes what it announced.
    pub fn append(&mut self, record: Record) -> Result<(), JournalError> {
        let line = self.lines.len() + 2;
        self.state.apply(&record).map_err(|source| JournalError::Order { path: self.path.clone(), line, source })?;
        let line = Line { at: jiff::Timestamp::now(), record };
        self.whole = write_line(&mut self.file, self.whole, &line, &self.path)?;
        self.lines.push(line);
        Ok(())
    }

    /// What the lines add up to.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Every line after the header.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything is gone: the journal steps aside as `last.jsonl`, so that the name is free and the story is kept.
    pub fn close(self) -> Result<PathBuf, JournalError> {
        let aside = self.path.with_file_name("last.jsonl");
        fs::rename(&self.path, &aside).map_err(io_error("rename", &self.path))?;
        Ok(aside)
    }
}

struct Replayed {
    format: String,
    plan: Plan,
    lines: Vec<Line>,
    state: State,
    /// Bytes that are whole lines.
    whole: u64,
}

/// What the whole lines say; `None` when the header itself is torn.
///
/// Bytes, and not text: the line that was torn may have been torn inside of a letter.
fn replay(bytes: &[u8], path: &Path) -> Result<Option<Replayed>, JournalError> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut lines = bytes[..whole].split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    let Some((_, header)) = lines.next() else { return Ok(None) };
    let bad = |line: usize| move |source| JournalError::Line { path: path.to_owned(), line: line + 1, source };
    let head: Header<serde_json::Value> = serde_json::from_slice(header).map_err(bad(0))?;
    if head.format.split('.').next() != Some(MAJOR.to_string().as_str()) {
        return Err(JournalError::Format { path: path.to_owned(), found: head.format });
    }
    let plan = serde_json::from_value(head.plan).map_err(bad(0))?;
    let mut state = State::default();
    let mut read = Vec::new();
    for (number, text) in lines {
        let line: Line = serde_json::from_slice(text).map_err(bad(number))?;
        state.apply(&line.record).map_err(|source| JournalError::Order {
            path: path.to_owned(),
            line: number + 1,
            source,
        })?;
        read.push(line);
    }
    Ok(Some(Replayed { format: head.format, plan, lines: read, state, whole: whole as u64 }))
}

fn lock(directory: &Path, cluster: &str) -> Result<File, JournalError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io_error("create", directory))?;
    let path = directory.join("lock");
    let file = open(&path, OpenOptions::new().create(true).write(true))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(JournalError::Locked { cluster: cluster.to_owned(), path }),
        Err(fs::TryLockError::Error(source)) => Err(io_error("lock", &path)(source)),
    }
}

fn open(path: &Path, options: &mut OpenOptions) -> Result<File, JournalError> {
    options.write(true).mode(0o600).open(path).map_err(io_error("open", path))
}

/// Writes one line after `whole` bytes, and answers how many there are then.
///
/// Of a disk that is full half a line may be taken. It is cut off again, or the next line, if there is room for one by
/// then, would be written onto its end, and nobody could read the journal any more.
fn write_line(file: &mut File, whole: u64, line: &impl Serialize, path: &Path) -> Result<u64, JournalError> {
    let mut bytes = serde_json::to_vec(line).expect("records are plain data");
    bytes.push(b'\n');
    match file.write_all(&bytes).and_then(|()| file.sync_data()) {
        Ok(()) => Ok(whole + bytes.len() as u64),
        Err(error) => {
            file.set_len(whole).ok();
            Err(io_error("write", path)(error))
        }
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { action, path, source }
}
