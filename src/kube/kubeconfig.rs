//! Our entries in the user's kubeconfig: put in, taken out, everything else left as it was.
//!
//! Text in, text out; whoever calls writes the file, with mode 0600 and
//! atomically. Cluster, user and context all carry the one name they are given:
//! Talos's own `admin@name` would be a second name for the same thing. Entries of
//! that name are replaced, never renamed to `name-1`. Comments are lost, as
//! they are when kubectl edits the file.

use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use url::{Host, Url};

use super::KubeError;
use crate::reach::Reach;
use crate::secrets::Secret;

/// The lists, and what each entry of them keeps beside its name.
const LISTS: [(&str, &str); 3] = [("clusters", "cluster"), ("users", "user"), ("contexts", "context")];

/// `existing` with the current context of `incoming` in it, called `context` and made current. Its key is in the result.
///
/// Where `reach` leads elsewhere than the server's address, kubectl is told to dial there, and which name to verify.
pub fn merge(existing: Option<&str>, incoming: &Secret, context: &str, reach: &Reach) -> Result<Secret, KubeError> {
    let mut file = read(existing)?;
    let Current { mut cluster, user, namespace } = current(incoming.expose())?;
    redirect(&mut cluster, reach)?;
    let mut link = Map::new();
    link.insert("cluster".into(), context.into());
    if let Some(namespace) = namespace {
        link.insert("namespace".into(), namespace);
    }
    link.insert("user".into(), context.into());
    for ((list, key), body) in LISTS.into_iter().zip([Value::Object(cluster), user, Value::Object(link)]) {
        put(&mut file, list, key, context, body)?;
    }
    file.insert("current-context".into(), context.into());
    write(&file)
}

/// `existing` without cluster, user and context `context`. If it was current, none is: choosing another cluster for the
/// user's next command is not ours to do. Removing what is not there changes nothing.
pub fn remove(existing: &str, context: &str) -> Result<Secret, KubeError> {
    let mut file = read(Some(existing))?;
    let mut removed = false;
    for (list, _) in LISTS {
        let entries = entries(&mut file, list)?;
        let before = entries.len();
        entries.retain(|entry| !is_called(entry, context));
        removed |= entries.len() < before;
    }
    if !removed {
        return Ok(Secret::new(existing));
    }
    if file.get("current-context").is_some_and(|current| current == context) {
        file.insert("current-context".into(), "".into());
    }
    write(&file)
}

/// Whether any cluster, user or context is called `context`.
pub fn holds(existing: &str, context: &str) -> Result<bool, KubeError> {
    let mut file = read(Some(existing))?;
    for (list, _) in LISTS {
        if entries(&mut file, list)?.iter().any(|entry| is_called(entry, context)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads YAML. The error says where, and never quotes: the text holds keys.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true, legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| match error.location() {
        Some(at) => format!("line {} is not what a kubeconfig has there", at.line()),
        None => "it is no kubeconfig".into(),
    })
}

fn bad(reason: impl Into<String>) -> KubeError {
    KubeError::Kubeconfig(reason.into())
}

fn read(existing: Option<&str>) -> Result<Map<String, Value>, KubeError> {
    let text = existing.unwrap_or_default();
    if text.trim().is_empty() {
        let empty = json!({ "apiVersion": "v1", "kind": "Config", "preferences": {},
            "clusters": [], "users": [], "contexts": [], "current-context": "" });
        return Ok(empty.as_object().cloned().unwrap_or_default());
    }
    match parse(text).map_err(bad)? {
        Value::Object(file) => Ok(file),
        _ => Err(bad("it is no YAML mapping")),
    }
}

fn write(file: &Map<String, Value>) -> Result<Secret, KubeError> {
    // Go's reader refuses a block scalar whose first line begins with a tab: quote such text instead.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(file, options).map(Secret::new).map_err(|error| bad(error.to_string()))
}

/// A list of the file. kubectl writes `null` for an empty one.
fn entries<'a>(file: &'a mut Map<String, Value>, list: &str) -> Result<&'a mut Vec<Value>, KubeError> {
    let entries = file.entry(list).or_insert_with(|| json!([]));
    if entries.is_null() {
        *entries = json!([]);
    }
    entries.as_array_mut().ok_or_else(|| bad(format!("its `{list}` is no list")))
}

fn is_called(entry: &Value, name: &str) -> bool {
    entry.get("name").is_some_and(|found| found == name)
}

fn put(file: &mut Map<String, Value>, list: &str, key: &str, name: &str, body: Value) -> Result<(), KubeError> {
    let entries = entries(file, list)?;
    let mut entry = Map::new();
    entry.insert("name".into(), name.into());
    entry.insert(key.into(), body);
    match entries.iter_mut().find(|entry| is_called(entry, name)) {
        Some(old) => *old = Value::Object(entry),
        None => entries.push(Value::Object(entry)),
    }
    Ok(())
}

/// What a kubeconfig's current context leads to.
struct Current {
    cluster: Map<String, Value>,
    user: Value,
    namespace: Option<Value>,
}

fn current(incoming: &str) -> Result<Current, KubeError> {
    let mut file = read(Some(incoming))?;
    let name = file.get("current-context").and_then(Value::as_str).unwrap_or_default().to_owned();
    let context = take(&mut file, "contexts", "context", &name)?;
    let named = |key: &str| context.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let cluster = take(&mut file, "clusters", "cluster", &named("cluster"))?;
    let user = take(&mut file, "users", "user", &named("user"))?;
    match cluster {
        Value::Object(cluster) => Ok(Current { cluster, user, namespace: context.get("namespace").cloned() }),
        _ => Err(bad("its cluster is no mapping")),
    }
}

fn take(file: &mut Map<String, Value>, list: &str, key: &str, name: &str) -> Result<Value, KubeError> {
    let entry = entries(file, list)?.iter_mut().find(|entry| is_called(entry, name));
    let body = entry.and_then(|entry| entry.get_mut(key)).map(Value::take);
    body.ok_or_else(|| bad(format!("it has no {key} {name:?}, which its current context needs")))
}

/// Points the server to where it is reached from here, and keeps the name that its certificate has.
fn redirect(cluster: &mut Map<String, Value>, reach: &Reach) -> Result<(), KubeError> {
    let server = cluster.get("server").and_then(Value::as_str).unwrap_or_default();
    let mut url = Url::parse(server).map_err(|error| bad(format!("its server is no URL: {error}")))?;
    let ip: IpAddr = match url.host() {
        Some(Host::Ipv4(ip)) => ip.into(),
        Some(Host::Ipv6(ip)) => ip.into(),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    let there = reach.ip(ip);
    if there == ip {
        return Ok(());
    }
    url.set_ip_host(there).map_err(|()| bad("its server URL cannot be redirected"))?;
    // Without the slash that the URL type adds: kubectl prints this.
    cluster.insert("server".into(), url.as_str().trim_end_matches('/').into());
    cluster.insert("tls-server-name".into(), ip.to_string().into());
    Ok(())
}

#[cfg(test)]
mod tests;
