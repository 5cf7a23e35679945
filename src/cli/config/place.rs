//! Where a result goes: stdout for `-`, else a file that only its owner reads.
//!
//! talosctl writes configurations 0644, although they hold the cluster's keys; here they are 0600.

use std::path::Path;

use super::super::failure::{Code, Failure};
use super::super::print;
use super::refused;
use crate::secrets::file::write_private;

/// The name that means stdout.
pub(super) const STDOUT: &str = "-";

/// Refuses to take the place of what is there, unless forced.
pub(super) fn vacant(path: &Path, force: bool) -> Result<(), Failure> {
    if !force && path.symlink_metadata().is_ok() {
        return Err(refused(format!("file \"{}\" already exists, use --force to overwrite", path.display())));
    }
    Ok(())
}

/// Writes to `path`, or to stdout.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if path.as_os_str() == STDOUT {
        print(text);
        return Ok(());
    }
    write_private(path, text.as_bytes())
        .map_err(|error| Failure::new(Code::Usage, format!("cannot write {}: {error}", path.display())))
}
