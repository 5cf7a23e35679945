//! Our context in the user's talosconfig: put in, taken out, everything else left as it was.
//!
//! Text in, text out; whoever calls writes the file, with mode 0600 and
//! atomically. Comments are lost, as they are when talosctl edits the file.
//! A context of the same name is replaced, never renamed to `name-1`:
//! creating a cluster twice must not leave two entries.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::{Credentials, TalosError};
use crate::secrets::Secret;

/// How talosctl reaches one cluster.
pub struct Context<'a> {
    /// The cluster's name.
    pub name: &'a str,
    /// Control planes, never the VIP: the API must answer when etcd does not.
    pub endpoints: &'a [String],
    /// What talosctl acts on if it is not told; may be empty.
    pub nodes: &'a [String],
    pub credentials: &'a Credentials,
}

/// `existing` with the context in it and current. Its key is in the result.
pub fn merge(existing: Option<&str>, context: &Context<'_>) -> Result<Secret, TalosError> {
    let mut file = read(existing)?;
    let base64 = |pem: &str| BASE64_STANDARD.encode(pem);
    // Key order as talosctl writes it.
    let mut entry = Map::new();
    entry.insert("endpoints".into(), json!(context.endpoints));
    if !context.nodes.is_empty() {
        entry.insert("nodes".into(), json!(context.nodes));
    }
    entry.insert("ca".into(), base64(&context.credentials.ca_pem).into());
    entry.insert("crt".into(), base64(&context.credentials.crt_pem).into());
    entry.insert("key".into(), base64(context.credentials.key_pem.expose()).into());
    contexts(&mut file)?.insert(context.name.to_owned(), Value::Object(entry));
    file.insert("context".into(), context.name.into());
    write(&file)
}

/// `existing` without the context `name`. If it was current, none is: choosing another cluster for the user's next
/// command is not ours to do. Removing what is not there changes nothing.
pub fn remove(existing: &str, name: &str) -> Result<Secret, TalosError> {
    let mut file = read(Some(existing))?;
    if contexts(&mut file)?.shift_remove(name).is_none() {
        return Ok(Secret::new(existing));
    }
    if file.get("context").is_some_and(|current| current == name) {
        file.insert("context".into(), "".into());
    }
    write(&file)
}

/// Whether there is a context called `name`.
pub fn holds(existing: &str, name: &str) -> Result<bool, TalosError> {
    Ok(contexts(&mut read(Some(existing))?)?.contains_key(name))
}

fn bad(reason: impl Into<String>) -> TalosError {
    TalosError::Talosconfig { reason: reason.into() }
}

fn read(existing: Option<&str>) -> Result<Map<String, Value>, TalosError> {
    let text = existing.unwrap_or_default();
    if text.trim().is_empty() {
        let mut file = Map::new();
        file.insert("context".into(), "".into());
        return Ok(file);
    }
    // Without the snippet: it could quote a key.
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true, legacy_octal_numbers: true };
    match serde_saphyr::from_str_with_options(text, options) {
        Ok(Value::Object(file)) => Ok(file),
        Ok(_) => Err(bad("it is no YAML mapping")),
        Err(error) => Err(bad(match error.location() {
            Some(at) => format!("it is no valid YAML, line {}", at.line()),
            None => "it is no valid YAML".into(),
        })),
    }
}

fn contexts(file: &mut Map<String, Value>) -> Result<&mut Map<String, Value>, TalosError> {
    let contexts = file.entry("contexts").or_insert_with(|| json!({}));
    if contexts.is_null() {
        *contexts = json!({});
    }
    contexts.as_object_mut().ok_or_else(|| bad("its `contexts` is no mapping"))
}

fn write(file: &Map<String, Value>) -> Result<Secret, TalosError> {
    // Go's reader refuses a block scalar whose first line begins with a tab: quote such text instead.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(file, options).map(Secret::new).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests;
