//! JSON Patch (RFC 6902) with the habits of the library that Talos uses: negative indices, `replace` of an absent key,
//! its texts. That is why no crate does this here.

use std::num::IntErrorKind;

use serde_json::{Map, Value};

use crate::machineconfig::go::quoted;
use crate::machineconfig::minor::Minor;
use crate::machineconfig::yaml;

/// One operation, kept loosely: what is wrong with it is told when it is applied, as Talos does.
#[derive(Clone)]
pub(in crate::machineconfig) struct Operation {
    op: String,
    path: Pointer,
    from: Pointer,
    /// `None` is an absent value, and in JSON a null as well.
    value: Option<Value>,
}

/// A JSON pointer as an operation gives it.
#[derive(Clone)]
enum Pointer {
    Text(String),
    Absent,
    /// Something else than a text.
    Wrong,
}

impl Pointer {
    fn read(&self, absent: &str) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Absent => Err(absent.to_owned()),
            Self::Wrong => Err("json: cannot unmarshal into Go value of type string".to_owned()),
        }
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// Reads a JSON list of operations, or a YAML one. An empty text is an empty list; where empty documents fail as
/// strategic patches, one at the front makes the whole text an empty list.
pub(in crate::machineconfig) fn parse(text: &str, minor: &Minor) -> Result<Vec<Operation>, String> {
    let json: Result<Vec<Map<String, Value>>, _> = serde_json::from_str(text);
    let is_json = json.is_ok();
    let list = match json {
        Ok(list) => list,
        Err(error) => {
            // Of several documents the first one is read, and nothing looks at the others.
            let read = yaml::documents_at(text);
            let nodes = read.list;
            if nodes.first().map_or(read.end.is_some(), |(_, node)| node.wrong().is_some()) {
                return Err(error.to_string());
            }
            let mut tree = nodes.first().map_or(Value::Null, |(_, node)| node.to_value());
            yaml::as_texts(&mut tree);
            if tree.is_null() && (nodes.len() <= 1 || minor.null_documents_fail) {
                return Ok(Vec::new());
            }
            serde_json::from_value(tree).map_err(|_| error.to_string())?
        }
    };
    let operation = |mut map: Map<String, Value>| {
        // A null of JSON is as good as nothing; one of YAML is the text of nothing.
        if is_json {
            map.retain(|_, value| !value.is_null());
        }
        let pointer = |key: &str| match map.get(key) {
            Some(Value::String(text)) => Pointer::Text(text.clone()),
            Some(Value::Null) => Pointer::Text(String::new()),
            Some(_) => Pointer::Wrong,
            None => Pointer::Absent,
        };
        let op = match pointer("op") {
            Pointer::Text(op) => op,
            Pointer::Absent | Pointer::Wrong => "unknown".to_owned(),
        };
        Operation { op, path: pointer("path"), from: pointer("from"), value: map.get("value").cloned() }
    };
    Ok(list.into_iter().map(operation).collect())
}

/// A failure comes with the number of its operation, from 0.
pub(super) fn apply(mut tree: Value, operations: &[Operation]) -> Result<Value, (usize, String)> {
    for (at, operation) in operations.iter().enumerate() {
        operation
            .apply(&mut tree)
            .map_err(|why| (at, format!("failure applying rfc6902 patches to talos machine config: {why}")))?;
    }
    Ok(tree)
}

impl Operation {
    /// The JSON pointer that it is about.
    pub(super) fn pointer(&self) -> &str {
        self.path.text().unwrap_or_default()
    }

    /// `replace /machine/certSANs/0`, for messages.
    pub(super) fn shown(&self) -> String {
        format!("{} {}", self.op, self.pointer())
    }

    fn apply(&self, tree: &mut Value) -> Result<(), String> {
        let op = self.op.as_str();
        if !matches!(op, "add" | "remove" | "replace" | "move" | "copy" | "test") {
            return Err(format!("Unexpected kind: {op}"));
        }
        let value = || self.value.clone().unwrap_or_default();
        // Some operations name the reason, others one for all.
        let path = |all: bool| {
            let read = self.path.read("operation missing path field: missing value");
            read.map_err(|why| {
                format!("{op} operation failed to decode path: {}", if all { "missing value" } else { &why })
            })
        };
        let from = || {
            let read = self.from.read("operation, missing from field: missing value");
            read.map_err(|why| format!("{op} operation failed to decode from: {why}"))
        };
        match op {
            "add" => {
                let path = path(true)?;
                let (container, key) = parent(tree, path).ok_or_else(|| no_path(op, &format!("path: \"{path}\"")))?;
                put(container, key, value()).map_err(|why| format!("error in {op} for path: '{path}': {why}"))
            }
            "remove" => {
                let path = path(true)?;
                let (container, key) = parent(tree, path).ok_or_else(|| no_path(op, &format!("path: \"{path}\"")))?;
                take(container, &key).map(drop).map_err(|why| format!("error in {op} for path: '{path}': {why}"))
            }
            "replace" => replace(tree, path(false)?, value()),
            "move" => {
                let from = from()?;
                let source = |key: &str, why| format!("error in move for path: '{key}': {why}");
                let (container, key) = parent(tree, from).ok_or_else(|| no_place(op, "from", from))?;
                fetch(container, &key).map_err(|why| source(&key, why))?;
                let value = take(container, &key).map_err(|why| source(&key, why))?;
                let path = path(false)?;
                let (container, key) = parent(tree, path).ok_or_else(|| no_place(op, "destination", path))?;
                put(container, key, value).map_err(|why| source(path, why))
            }
            "copy" => {
                let from = from()?;
                let (container, key) = parent(tree, from).ok_or_else(|| no_place(op, "from", from))?;
                let value = fetch(container, &key).map_err(|why| format!("error in copy for from: '{from}': {why}"))?;
                let value = value.cloned().unwrap_or_default();
                let path = path(true)?;
                let (container, key) = parent(tree, path).ok_or_else(|| no_place(op, "destination", path))?;
                put(container, key, value).map_err(|why| format!("error while adding value during copy: {why}"))
            }
            _ => {
                let path = path(false)?;
                let found = if path.is_empty() {
                    Some(&*tree)
                } else {
                    let absent = || format!("test operation does not apply: is missing path: {path}: missing value");
                    let (container, key) = parent(tree, path).ok_or_else(absent)?;
                    fetch(container, &key).map_err(|why| format!("error in test for path: '{path}': {why}"))?
                };
                let same = found.filter(|found| !found.is_null()) == self.value.as_ref();
                if same { Ok(()) } else { Err(format!("testing value {path} failed: test failed")) }
            }
        }
    }
}

fn no_path(op: &str, what: &str) -> String {
    format!("{op} operation does not apply: doc is missing {what}: missing value")
}

fn unescape(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}

/// The container that holds the last key of a path, and that key.
fn parent<'a>(tree: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (above, key) = path.rsplit_once('/')?;
    let mut value = tree;
    for part in above.split('/').skip(1) {
        value = child_mut(value, &unescape(part))?;
    }
    (value.is_object() || value.is_array()).then(|| (value, unescape(key)))
}

fn child_mut<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    match value {
        Value::Object(map) => map.get_mut(key),
        Value::Array(list) => {
            let at = index(key, list.len())?;
            list.get_mut(at)
        }
        _ => None,
    }
}

/// The value under a key; `None` where an object has none. A list has to have it.
fn fetch<'a>(container: &'a Value, key: &str) -> Result<Option<&'a Value>, String> {
    match container {
        Value::Array(list) => {
            let at = index(key, list.len()).ok_or_else(|| bad_index(key))?;
            Ok(list.get(at))
        }
        container => Ok(container.get(key)),
    }
}

fn bad_index(key: &str) -> String {
    match key.parse::<i64>() {
        Ok(index) => format!("Unable to access invalid index: {index}: invalid index referenced"),
        Err(error) if matches!(error.kind(), IntErrorKind::PosOverflow | IntErrorKind::NegOverflow) => {
            format!("strconv.Atoi: parsing {key}: value out of range", key = quoted(key))
        }
        Err(_) => format!("strconv.Atoi: parsing {key}: invalid syntax", key = quoted(key)),
    }
}

fn no_place(op: &str, which: &str, path: &str) -> String {
    format!("{op} operation does not apply: doc is missing {which} path: {path}: missing value")
}

/// An index into `length` elements; -1 is the last one.
fn index(key: &str, length: usize) -> Option<usize> {
    let at: i64 = key.parse().ok()?;
    let length = i64::try_from(length).ok()?;
    let at = if at < 0 { at + length } else { at };
    usize::try_from(at).ok().filter(|_| at < length)
}

fn put(container: &mut Value, key: String, value: Value) -> Result<(), String> {
    match container {
        Value::Object(map) => {
            map.insert(key, value);
        }
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => {
            // One past the end is allowed when adding; from the back, one before the first.
            let at = index(&key, list.len() + 1).ok_or_else(|| match bad_index(&key) {
                why if why.starts_with("strconv") => format!("value was not a proper array index: '{key}': {why}"),
                why => why,
            })?;
            list.insert(at, value);
        }
        _ => return Err(bad_index(&key)),
    }
    Ok(())
}

fn take(container: &mut Value, key: &str) -> Result<Value, String> {
    match container {
        Value::Object(map) => {
            map.shift_remove(key).ok_or_else(|| format!("Unable to remove nonexistent key: {key}: missing value"))
        }
        Value::Array(list) => {
            let at = index(key, list.len()).ok_or_else(|| bad_index(key))?;
            Ok(list.remove(at))
        }
        _ => Err(bad_index(key)),
    }
}

fn replace(tree: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        if !value.is_object() && !value.is_array() {
            // The library forgot which error it meant.
            return Err("replace operation value must be object or array: %!w(<nil>)".to_owned());
        }
        *tree = value;
        return Ok(());
    }
    let (container, key) = parent(tree, path).ok_or_else(|| no_path("replace", &format!("path: {path}")))?;
    match container {
        Value::Object(map) => {
            map.insert(key, value);
        }
        container => {
            let element = child_mut(container, &key);
            *element.ok_or_else(|| no_path("replace", &format!("key: {path}")))? = value;
        }
    }
    Ok(())
}

/// Whether a whole list or object takes the place of another, which merging does not do, or not always.
pub(in crate::machineconfig) fn replaces(operations: &[Operation]) -> bool {
    operations.iter().any(|operation| {
        let whole = matches!(operation.value, Some(Value::Array(_) | Value::Object(_)));
        whole && operation.path.text().is_some_and(|path| !path.ends_with("/-"))
    })
}

/// The operations as one strategic patch. Adding to the end of a list is what merging does anyway; other places in a
/// list have no strategic form.
pub(in crate::machineconfig) fn strategic(operations: &[Operation]) -> Option<Value> {
    let mut tree = Value::Object(Map::new());
    for operation in operations {
        let path = operation.path.text()?;
        let value = || operation.value.clone().unwrap_or_default();
        let (path, value) = match (operation.op.as_str(), path.strip_suffix("/-")) {
            ("add", Some(list)) => (list, Value::Array(vec![value()])),
            ("add" | "replace", None) => (path, value()),
            ("remove", None) => (path, serde_json::json!({ "$patch": "delete" })),
            _ => return None,
        };
        let mut at = &mut tree;
        for key in path.split('/').skip(1).map(unescape) {
            if key.parse::<i64>().is_ok() {
                return None;
            }
            if at.is_null() {
                *at = Value::Object(Map::new());
            }
            at = at.as_object_mut()?.entry(key).or_insert(Value::Null);
        }
        if let (Value::Array(list), Value::Array(more)) = (&mut *at, &value) {
            list.extend(more.iter().cloned());
        } else {
            *at = value;
        }
    }
    Some(tree)
}
