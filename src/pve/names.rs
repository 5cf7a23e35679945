//! Names that become part of a path. The generated clients do not escape them, so only harmless ones may pass.

use super::error::PveError;

/// `name` if it is one that Proxmox VE could have given to a node or a storage.
pub(super) fn checked<'a>(what: &'static str, name: &'a str) -> Result<&'a str, PveError> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(harmless) {
        return Err(PveError::BadName { what, name: name.to_owned() });
    }
    Ok(name)
}

pub(super) fn node(name: &str) -> Result<&str, PveError> {
    checked("node", name)
}

pub(super) fn storage(name: &str) -> Result<&str, PveError> {
    checked("storage", name)
}
