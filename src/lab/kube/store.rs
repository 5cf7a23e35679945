//! The cluster's memory: which object has which version, since when, and what is gone.
//!
//! Objects are built from the fleet whenever somebody looks. The store compares
//! them with what it knew, numbers what changed, and keeps the times at which it
//! did. So a version means the same to a list and to a watch, and a watch that
//! begins where a list ended misses nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::kinds::Kind;

/// Qualified plural, namespace, name.
type Key = (String, String, String);

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Added,
    Modified,
    Deleted,
}

/// An object with its place in history.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kind: &'static Kind,
    pub(super) object: Value,
    /// The version at which it came to be.
    created: u64,
    /// The version of its last change; of its end, if it is gone.
    pub(super) version: u64,
}

/// One cluster's objects.
#[derive(Debug)]
pub struct Store {
    version: u64,
    entries: BTreeMap<Key, Entry>,
    gone: Vec<(Key, Entry)>,
}

/// How many ends are remembered: a watch that slept through more has to list again.
const GONE: usize = 1000;

impl Default for Store {
    fn default() -> Self {
        // A real cluster has written a good deal before anybody can look.
        Self { version: 300, entries: BTreeMap::new(), gone: Vec::new() }
    }
}

impl Store {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Takes what there is now.
    pub(super) fn sync(&mut self, objects: Vec<(&'static Kind, Value)>, now: Timestamp) {
        let mut old = std::mem::take(&mut self.entries);
        for (kind, mut object) in objects {
            let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
            let key = (kind.qualified(), text("namespace"), text("name"));
            let known = old.remove(&key);
            stamp(known.as_ref().map(|known| &known.object), &mut object, now);
            let entry = if let Some(known) = known {
                object["metadata"]["resourceVersion"] = known.object["metadata"]["resourceVersion"].clone();
                if known.object == object {
                    known
                } else {
                    self.version += 1;
                    Entry { version: self.version, object, ..known }
                }
            } else {
                self.version += 1;
                Entry { kind, object, created: self.version, version: self.version }
            };
            self.entries.insert(key, entry.numbered());
        }
        for (key, entry) in old {
            self.version += 1;
            self.gone.push((key, Entry { version: self.version, ..entry }.numbered()));
        }
        let surplus = self.gone.len().saturating_sub(GONE);
        self.gone.drain(..surplus);
    }

    /// Objects of a kind, by namespace and name.
    pub(super) fn of<'a>(&'a self, kind: &'a Kind, namespace: Option<&'a str>) -> impl Iterator<Item = &'a Entry> {
        let wanted = kind.qualified();
        self.entries.iter().filter_map(move |((plural, space, _), entry)| {
            (*plural == wanted && namespace.is_none_or(|namespace| namespace == space)).then_some(entry)
        })
    }

    /// What happened to objects of a kind after `version`, oldest first.
    pub(super) fn since(&self, kind: &Kind, namespace: Option<&str>, version: u64) -> Vec<(Change, Entry)> {
        let mut changes: Vec<(Change, Entry)> = self
            .of(kind, namespace)
            .filter(|entry| entry.version > version)
            .map(|entry| (if entry.created > version { Change::Added } else { Change::Modified }, entry.clone()))
            .collect();
        let wanted = kind.qualified();
        let gone = self.gone.iter().filter(|((plural, space, _), entry)| {
            *plural == wanted
                && namespace.is_none_or(|namespace| namespace == space)
                && entry.version > version
                && entry.created <= version
        });
        changes.extend(gone.map(|(_, entry)| (Change::Deleted, entry.clone())));
        changes.sort_by_key(|(_, entry)| entry.version);
        changes
    }
}

impl Entry {
    fn numbered(mut self) -> Self {
        self.object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self
    }
}

/// Fills in what only time gives: when an object came to be, and since when its conditions have held.
fn stamp(old: Option<&Value>, object: &mut Value, now: Timestamp) {
    let text = json!(seconds(now));
    let born = old.map_or(&text, |old| &old["metadata"]["creationTimestamp"]).clone();
    object["metadata"]["creationTimestamp"] = born.clone();
    let before = old.and_then(|old| old.pointer("/status/conditions")).and_then(Value::as_array);
    if let Some(conditions) = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
        for condition in conditions {
            let same = |known: &&Value| known["type"] == condition["type"] && known["status"] == condition["status"];
            let since = before.and_then(|before| before.iter().find(same));
            let since = since.map_or(&text, |known| &known["lastTransitionTime"]).clone();
            condition["lastHeartbeatTime"] = since.clone();
            condition["lastTransitionTime"] = since;
        }
    }
    match object["kind"].as_str() {
        Some("Pod") if object["spec"].get("nodeName").is_some() => {
            object["status"]["startTime"] = born.clone();
            if let Some(running) = object.pointer_mut("/status/containerStatuses/0/state/running") {
                running["startedAt"] = born;
            }
        }
        Some("Event") => {
            object["firstTimestamp"] = born.clone();
            object["lastTimestamp"] = born;
        }
        Some("Lease") => {
            // Every ten seconds, as long as somebody is there to do it.
            let alive = object["spec"].as_object_mut().and_then(|spec| spec.remove("alive")) == Some(json!(true));
            let last = old.map(|old| old["spec"]["renewTime"].clone());
            let tens = Timestamp::from_second(now.as_second() / 10 * 10).unwrap_or(now);
            let renewed = json!(format!("{}.000000Z", seconds(tens).trim_end_matches('Z')));
            object["spec"]["renewTime"] = last.filter(|_| !alive).unwrap_or(renewed);
        }
        _ => {}
    }
}

/// As `metav1.Time` is written.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::kube::kinds::KINDS;

    fn nodes() -> &'static Kind {
        KINDS.iter().find(|kind| kind.plural == "nodes").unwrap()
    }

    fn node(name: &str, ready: &str) -> (&'static Kind, Value) {
        let status = json!({"conditions": [{"type": "Ready", "status": ready}]});
        (nodes(), json!({"kind": "Node", "metadata": {"name": name}, "status": status}))
    }

    #[test]
    fn versions_grow_with_changes_and_a_watch_sees_all_of_them() {
        let (mut store, at) = (Store::default(), |second| Timestamp::from_second(second).unwrap());
        store.sync(vec![node("a", "False"), node("b", "True")], at(0));
        let listed = store.version();
        store.sync(vec![node("a", "False"), node("b", "True")], at(5));
        assert_eq!(store.version(), listed, "nothing changed");
        store.sync(vec![node("a", "True"), node("c", "True")], at(10));
        let changes = store.since(nodes(), None, listed);
        let told: Vec<(Change, &str)> = changes
            .iter()
            .map(|(change, entry)| (*change, entry.object["metadata"]["name"].as_str().unwrap()))
            .collect();
        assert_eq!(told, [(Change::Modified, "a"), (Change::Added, "c"), (Change::Deleted, "b")]);
        let changed = &changes[0].1.object;
        assert_eq!(changed["metadata"]["creationTimestamp"], "1970-01-01T00:00:00Z");
        assert_eq!(changed["status"]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:10Z");
        assert!(store.since(nodes(), None, store.version()).is_empty());
    }
}
