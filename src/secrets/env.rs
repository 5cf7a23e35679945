//! The environment: the only place of the product, beside the command line, that reads it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};

use super::{Secret, SecretError};

/// Variables that a secret was read from; children are started without them.
static SECRET_NAMES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The variable `name`, if it is set.
#[expect(clippy::disallowed_methods, reason = "this is the room that the lint sends everybody to")]
pub fn var(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

pub(super) fn read(name: &str, reference: &str) -> Result<Secret, SecretError> {
    let value = var(name).ok_or_else(|| SecretError::Missing { reference: reference.to_owned() })?;
    SECRET_NAMES.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    value.into_string().map(Secret::new).map_err(|_| SecretError::Unusable {
        reference: reference.to_owned(),
        why: "its value is not UTF-8 text".into(),
    })
}

/// Takes the variables that held secrets out of the environment of a child.
pub(super) fn conceal(command: &mut tokio::process::Command) {
    for name in SECRET_NAMES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        command.env_remove(name);
    }
}
