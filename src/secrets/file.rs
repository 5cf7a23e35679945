//! Files that only their owner can read.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::{Secret, SecretError};

/// Writes `bytes` to `path` with mode 0600: whole or not at all, and on the disk when this returns.
///
/// Missing directories are made with mode 0700. A symbolic link stays one, and the file it points to is replaced.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // tempfile makes files with mode 0600, whatever the umask.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    // The rename itself is durable only when its directory is.
    File::open(folder)?.sync_all()
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
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(SecretError::Io { verb: "remove", reference: reference.to_owned(), source })
        }
        _ => Ok(()),
    }
}

pub(super) fn exists(path: &Path, reference: &str) -> Result<bool, SecretError> {
    path.try_exists().map_err(|source| SecretError::Io { verb: "look for", reference: reference.to_owned(), source })
}
