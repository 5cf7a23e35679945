//! Files that only their owner can read, replaced whole or not at all.
//!
//! What is to be in a file is written beside it, under a name that is always the
//! same (`.NAME.pvetalos`), and renamed over it. Always the same, because a process
//! can die in the middle: what it left, which may be half a secrets bundle, is found
//! and removed by whoever comes next, where a random name would stay for ever. And
//! because it can be locked: two that change one file, such as the kubeconfig of two
//! clusters, take turns, and neither loses what the other one wrote.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Secret, SecretError};

/// How often somebody else may be faster before it is an error.
const TURNS: usize = 1_000;

/// What a file is going to be. While it lives, every other [`Draft`] of that file waits.
pub struct Draft {
    path: PathBuf,
    beside: PathBuf,
    /// Locked, and made by ourselves: nobody else has it open.
    file: File,
    stays: bool,
}

impl Draft {
    /// Waits for its turn at `path`. Missing directories are made with mode 0700. A symbolic link stays one, and the
    /// file it points to is meant.
    pub fn of(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let beside = beside(&path)?;
        DirBuilder::new().recursive(true).mode(0o700).create(folder(&path))?;
        for _ in 0..TURNS {
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside) {
                Ok(file) => {
                    file.lock()?;
                    // Whoever saw it before it was locked took it for a dead process's, and removed it.
                    if is_at(&file, &beside)? {
                        return Ok(Self { path, beside, file, stays: false });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => remove_dead(&beside, true)?,
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("others keep {} in use", beside.display())))
    }

    /// Replaces the file: its mode is 0600, and it is on the disk when this returns.
    pub fn put(mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_all()?;
        fs::rename(&self.beside, &self.path)?;
        self.stays = true;
        // The rename itself is durable only when its directory is.
        File::open(folder(&self.path))?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.stays {
            // Failing is no worse than dying here: the next one removes it.
            fs::remove_file(&self.beside).ok();
        }
    }
}

/// Writes `bytes` to `path` as [`Draft::put`] does.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Draft::of(path)?.put(bytes)
}

/// Removes what a process left that died while it wrote `path`. What somebody is writing now stays.
pub fn tidy(path: &Path) -> io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    remove_dead(&beside(&path)?, false)
}

/// Removes a draft once nobody holds it: waits for that, or leaves it alone.
fn remove_dead(beside: &Path, wait: bool) -> io::Result<()> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match beside.symlink_metadata() {
        Ok(found) if found.is_file() => {}
        // A link that somebody put there would be followed when it is opened. Its removal cannot hurt its target.
        Ok(_) => return fs::remove_file(beside),
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    }
    let file = match OpenOptions::new().write(true).open(beside) {
        Err(error) if gone(&error) => return Ok(()),
        opened => opened?,
    };
    if wait {
        file.lock()?;
    } else if let Err(fs::TryLockError::WouldBlock) = file.try_lock() {
        return Ok(());
    }
    if is_at(&file, beside)? { fs::remove_file(beside) } else { Ok(()) }
}

/// Whether `path` is still the name of this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match path.symlink_metadata() {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it has no file name"))?;
    Ok(folder(path).join(format!(".{}.pvetalos", name.to_string_lossy())))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn read(path: &Path, reference: &str) -> Result<Secret, SecretError> {
    let io_error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => SecretError::Missing { reference: reference.to_owned() },
        _ => SecretError::Io { verb: "read", reference: reference.to_owned(), source },
    };
    let unusable = |why| SecretError::Unusable { reference: reference.to_owned(), why };
    let mut file = File::open(path).map_err(io_error)?;
    // Asked of the open file, so that nobody swaps it between the look and the read.
    let mode = file.metadata().map_err(io_error)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(unusable(format!("others may read it (mode {mode:03o}): chmod 600 {}", path.display())));
    }
    let mut text = Zeroizing::new(Vec::new());
    file.read_to_end(&mut text).map_err(io_error)?;
    str::from_utf8(&text).map(Secret::new).map_err(|_| unusable("it is not UTF-8 text".into()))
}

pub(super) fn write(path: &Path, secret: &Secret, reference: &str) -> Result<(), SecretError> {
    write_private(path, secret.expose().as_bytes()).map_err(|source| SecretError::Io {
        verb: "write",
        reference: reference.to_owned(),
        source,
    })
}

pub(super) fn remove(path: &Path, reference: &str) -> Result<(), SecretError> {
    let removed = match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => tidy(path),
    };
    removed.map_err(|source| SecretError::Io { verb: "remove", reference: reference.to_owned(), source })
}

pub(super) fn exists(path: &Path, reference: &str) -> Result<bool, SecretError> {
    path.try_exists().map_err(|source| SecretError::Io { verb: "look for", reference: reference.to_owned(), source })
}
