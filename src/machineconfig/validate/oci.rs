//! What `containerd` is to start every container with: overrides of an OCI runtime specification.
//!
//! Talos turns them into JSON and reads that into the specification's Go types, so what is wrong with them is said in
//! the words of `encoding/json`. The types are data (`oci.fields`, runtime-spec 1.3.0: one line per struct, Go's own
//! notation, `@1.N` for the first Talos minor that has a field; then names of plain types).

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::machineconfig::minor::Minor;

struct Field {
    name: &'static str,
    kind: &'static str,
    since: u32,
}

#[derive(Default)]
struct Table {
    structs: HashMap<&'static str, Vec<Field>>,
    /// Go's plain type behind a name.
    plain: HashMap<&'static str, &'static str>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    for line in include_str!("oci.fields").lines() {
        if let Some((name, plain)) = line.split_once(" = ") {
            table.plain.insert(name, plain);
        } else if let Some((name, fields)) = line.split_once(':') {
            table.structs.insert(name, fields.split(',').filter_map(field).collect());
        }
    }
    table
});

fn field(code: &'static str) -> Option<Field> {
    let (name, kind) = code.trim().split_once(':')?;
    let (kind, since) = kind.split_once("@1.").unwrap_or((kind, "9"));
    Some(Field { name, kind, since: since.parse().ok()? })
}

/// What is wrong with overrides, if anything is.
pub(super) fn problem(overrides: &Value, minor: &Minor) -> Option<String> {
    fault(overrides, "Spec", &Place { holder: "", path: "" }, minor)
}

/// The struct that holds a field, and the path to the field from the top.
struct Place<'a> {
    holder: &'a str,
    path: &'a str,
}

/// The first value that does not fit. JSON has its keys in order, and null fits everything.
fn fault(value: &Value, kind: &'static str, place: &Place<'_>, minor: &Minor) -> Option<String> {
    let kind = kind.trim_start_matches('*');
    let wrong = |what: &str| {
        let field = format!("struct field {}.{}", place.holder, place.path);
        let target = if place.path.is_empty() { "value" } else { &field };
        Some(format!("json: cannot unmarshal {what} into Go {target} of type {}", shown(kind)))
    };
    if let Some(fields) = TABLE.structs.get(kind) {
        let map = match value {
            Value::Object(map) => map,
            Value::Null => return None,
            other => return wrong(word(other)),
        };
        return sorted(map).into_iter().find_map(|(key, value)| {
            let known = |field: &&Field| minor.knows(field.since);
            let field = fields.iter().filter(known).find(|field| field.name.eq_ignore_ascii_case(key))?;
            let path =
                if place.path.is_empty() { field.name.to_owned() } else { format!("{}.{}", place.path, field.name) };
            fault(value, field.kind, &Place { holder: kind, path: &path }, minor)
        });
    }
    if let Some(item) = kind.strip_prefix("[]") {
        return match value {
            Value::Array(items) => items.iter().find_map(|value| fault(value, item, place, minor)),
            Value::Null => None,
            other => wrong(word(other)),
        };
    }
    if let Some(item) = kind.strip_prefix("map[string]") {
        return match value {
            Value::Object(map) => sorted(map).into_iter().find_map(|(_, value)| fault(value, item, place, minor)),
            Value::Null => None,
            other => wrong(word(other)),
        };
    }
    let plain = TABLE.plain.get(kind).copied().unwrap_or(kind);
    match (value, plain) {
        (Value::Null, _) | (_, "interface{}") | (Value::Bool(_), "bool") | (Value::String(_), "string") => None,
        (Value::Number(number), _) => {
            let digits = digits(number);
            match range(plain) {
                None => wrong("number"),
                Some(range) => {
                    let fits = digits.parse::<i128>().is_ok_and(|number| range.contains(&number));
                    if fits { None } else { wrong(&format!("number {digits}")) }
                }
            }
        }
        _ => wrong(word(value)),
    }
}

/// What an integer type of Go holds; `None` for what is no integer.
fn range(plain: &str) -> Option<std::ops::RangeInclusive<i128>> {
    Some(match plain {
        "int" | "int64" => i64::MIN.into()..=i64::MAX.into(),
        "int32" => i32::MIN.into()..=i32::MAX.into(),
        "uint" | "uint64" => 0..=u64::MAX.into(),
        "uint32" | "os.FileMode" => 0..=u32::MAX.into(),
        "uint16" => 0..=u16::MAX.into(),
        _ => return None,
    })
}

/// A number as Go writes it to JSON: a float without a fraction looks like an integer.
fn digits(number: &serde_json::Number) -> String {
    match number.as_f64().filter(|float| number.is_f64() && float.abs() < 1e21) {
        Some(float) => format!("{float}"),
        None => number.to_string(),
    }
}

fn sorted(map: &serde_json::Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| key.as_str());
    entries
}

/// What `encoding/json` calls a value.
fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A type with its package, as Go prints it.
fn shown(kind: &str) -> String {
    let at = kind.rfind([']', '*']).map_or(0, |at| at + 1);
    let (before, name) = kind.split_at(at);
    match name {
        "os.FileMode" => format!("{before}fs.FileMode"),
        name if name.starts_with(|first: char| first.is_ascii_uppercase()) => format!("{before}specs.{name}"),
        name => format!("{before}{name}"),
    }
}
