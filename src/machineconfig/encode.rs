//! From the decoded form to the tree that is written: Go's `omitempty`, field by field.

use serde_json::{Map, Value};

use super::documents::Document;
use super::schema::{Field, Struct, Text, Type};

pub(super) fn document(document: &Document) -> Value {
    let mut tree = Map::new();
    let kind = document.schema();
    if !kind.name.is_empty() {
        tree.insert("apiVersion".to_owned(), "v1alpha1".into());
        tree.insert("kind".to_owned(), kind.name.into());
    }
    fields(&kind.root, &document.body, &mut tree);
    Value::Object(tree)
}

fn fields(root: &Struct, body: &Map<String, Value>, tree: &mut Map<String, Value>) {
    for field in &root.fields {
        if let Some(value) = one(field, body.get(field.name)) {
            tree.insert(field.name.to_owned(), value);
        }
    }
}

/// The value to write for a field, if it is written at all.
fn one(field: &Field, value: Option<&Value>) -> Option<Value> {
    let Some(value) = value else { return field.always.then(|| zero(field)) };
    let written = written(&field.kind, value);
    let zero_by = |key| value.get(key).is_none_or(|value| *value == Value::Array(Vec::new()) || *value == "");
    let is_zero = if field.zero_by.is_empty() || field.pointer {
        is_zero(&field.kind, value, &written)
    } else {
        field.zero_by.split('+').all(zero_by)
    };
    (field.always || field.pointer || !is_zero).then_some(written)
}

pub(super) fn written(kind: &Type, value: &Value) -> Value {
    match (kind, value) {
        (Type::Struct(root), Value::Object(body)) => {
            let mut tree = Map::new();
            fields(root, body, &mut tree);
            Value::Object(tree)
        }
        (Type::List(item), Value::Array(items)) => items.iter().map(|value| written(item, value)).collect(),
        (Type::Map(item), Value::Object(body)) => {
            sorted(body.iter().map(|(key, value)| (key.clone(), written(item, value))).collect())
        }
        (Type::Args | Type::Free, value) => deep_sorted(value),
        (Type::Text(Text::Enum(words)), Value::String(text)) if text.is_empty() => zero_word(words).into(),
        (Type::Text(Text::Table), Value::String(text)) if text.is_empty() => "unspec".into(),
        (_, value) => value.clone(),
    }
}

fn zero_word(words: &str) -> &str {
    words.split('|').next().unwrap_or_default().trim_start_matches('=')
}

/// Go writes the keys of maps sorted.
fn sorted(map: Map<String, Value>) -> Value {
    let mut entries: Vec<_> = map.into_iter().collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Value::Object(entries.into_iter().collect())
}

fn deep_sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => sorted(map.iter().map(|(key, value)| (key.clone(), deep_sorted(value))).collect()),
        Value::Array(items) => items.iter().map(deep_sorted).collect(),
        Value::Number(number) => whole(number),
        value => value.clone(),
    }
}

/// Go writes a float without a fraction as if it were an integer, and reads one back.
fn whole(number: &serde_json::Number) -> Value {
    let float = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < 9.0e15);
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction, and the bound above fits")]
    float.map_or_else(|| Value::Number(number.clone()), |float| Value::from(float as i64))
}

fn is_zero(kind: &Type, value: &Value, written: &Value) -> bool {
    match (kind, value) {
        (_, Value::Null) => true,
        (_, Value::String(text)) => match kind {
            Type::Duration => text == "0s",
            _ => text.is_empty(),
        },
        (_, Value::Number(number)) => number.as_f64() == Some(0.0),
        (_, Value::Bool(flag)) => !flag,
        (_, Value::Array(items)) => items.is_empty(),
        // A plain struct is zero when nothing in it was set; what it always writes does not count.
        (Type::Struct(root), Value::Object(body)) => body.iter().all(|(key, value)| {
            root.field(key).is_none_or(|field| {
                !field.pointer && is_zero(&field.kind, value, written.get(key).unwrap_or(&Value::Null))
            })
        }),
        // A certificate and key are a pointer in Go: empty is not absent.
        (Type::Pem(_), Value::Object(_)) => false,
        (_, Value::Object(map)) => map.is_empty(),
    }
}

/// What an absent field looks like when it is written nevertheless.
fn zero(field: &Field) -> Value {
    if field.pointer {
        return Value::Null;
    }
    match &field.kind {
        Type::Struct(root) => {
            let mut tree = Map::new();
            fields(root, &Map::new(), &mut tree);
            Value::Object(tree)
        }
        Type::List(_) => Value::Array(Vec::new()),
        Type::Map(_) | Type::Args | Type::Free => Value::Object(Map::new()),
        Type::Int | Type::Uint(_) | Type::Text(Text::Mode) => 0.into(),
        Type::Bool => false.into(),
        Type::Pem(_) => Value::Null,
        Type::Duration => "0s".into(),
        Type::Text(Text::Enum(words)) => zero_word(words).into(),
        Type::Text(Text::Table) => "unspec".into(),
        Type::Text(_) | Type::Cel | Type::Bytes | Type::Url => Value::String(String::new()),
    }
}
