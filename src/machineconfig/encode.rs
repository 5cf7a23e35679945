//! From the decoded form to the tree that is written: Go's `omitempty`, field by field.

use serde_json::{Map, Number, Value};

use super::documents::Document;
use super::minor::Minor;
use super::schema::{Field, Struct, Text, Type};
use super::yaml::{Tree, natural};

pub(super) fn document(document: &Document) -> Tree<'_> {
    let mut tree = Vec::new();
    let kind = document.schema();
    if document.leftover().is_some() {
        return Tree::Map(tree);
    }
    if !kind.name.is_empty() {
        tree.extend([("apiVersion", Tree::Text("v1alpha1")), ("kind", Tree::Text(kind.name))]);
    }
    tree.extend(fields(&kind.root, Some(&document.body), document.minor()));
    Tree::Map(tree)
}

fn fields<'a>(
    root: &'a Struct,
    body: Option<&'a Map<String, Value>>,
    minor: &'a Minor,
) -> impl Iterator<Item = (&'a str, Tree<'a>)> {
    root.fields.iter().filter_map(move |field| {
        let value = body.and_then(|body| body.get(field.name));
        one(field, value, minor).map(|tree| (field.name, tree))
    })
}

/// What to write for a field, if it is written at all.
fn one<'a>(field: &'a Field, value: Option<&'a Value>, minor: &'a Minor) -> Option<Tree<'a>> {
    let always = field.always || (field.once_always && minor.null_control_plane_written);
    let Some(value) = value else { return always.then(|| zero(field, minor)) };
    let zero_by = |key| match (&field.kind, value.get(key)) {
        (Type::Struct(root), Some(value)) => root.field(key).is_none_or(|field| is_zero(&field.kind, value)),
        _ => true,
    };
    let is_zero = if field.zero_by.is_empty() || field.pointer || !minor.zero_by_fields {
        is_zero(&field.kind, value)
    } else {
        field.zero_by.split('+').all(zero_by)
    };
    (always || field.pointer || !is_zero).then(|| written(&field.kind, value, minor))
}

fn written<'a>(kind: &'a Type, value: &'a Value, minor: &'a Minor) -> Tree<'a> {
    match (kind, value) {
        (Type::Struct(root), Value::Object(body)) => Tree::Map(fields(root, Some(body), minor).collect()),
        (Type::List(item), Value::Array(items)) => {
            Tree::List(items.iter().map(|value| written(item, value, minor)).collect())
        }
        (Type::Map(item), Value::Object(body)) => sorted(body, |value| written(item, value, minor)),
        (Type::Args | Type::Free, value) => free(value),
        (Type::Text(Text::Mode), Value::Number(mode)) => mode.as_u64().map_or(Tree::Null, Tree::Octal),
        (Type::Text(Text::Enum(words)), Value::String(text)) if text.is_empty() => Tree::Text(zero_word(words)),
        (Type::Text(Text::Table), Value::String(text)) if text.is_empty() => Tree::Text("unspec"),
        (_, value) => Tree::of(value),
    }
}

fn zero_word(words: &str) -> &str {
    words.split('|').next().unwrap_or_default().trim_start_matches('=')
}

/// A zero of its kind, spelled out or not.
pub(super) fn is_zero_text(kind: Text, text: &str) -> bool {
    match kind {
        Text::Enum(words) if !words.is_empty() => text.is_empty() || text == zero_word(words),
        Text::Table => matches!(text, "" | "unspec"),
        _ => text.is_empty(),
    }
}

/// Go's YAML writes the keys of maps sorted as people do.
fn sorted<'a>(map: &'a Map<String, Value>, mut tree: impl FnMut(&'a Value) -> Tree<'a>) -> Tree<'a> {
    let mut entries: Vec<_> = map.iter().map(|(key, value)| (key.as_str(), tree(value))).collect();
    entries.sort_by(|(a, _), (b, _)| natural(a, b));
    Tree::Map(entries)
}

fn free(value: &Value) -> Tree<'_> {
    match value {
        Value::Object(map) => sorted(map, free),
        Value::Array(items) => Tree::List(items.iter().map(free).collect()),
        Value::Number(number) => Tree::Number(whole(number).unwrap_or_else(|| number.clone())),
        value => Tree::of(value),
    }
}

/// Go writes 1.0 as 1, which from then on is an integer; from a million on it writes an exponent.
fn whole(number: &Number) -> Option<Number> {
    let float = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < 1e6)?;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole, and less than a million")]
    (float != 0.0 || float.is_sign_positive()).then(|| (float as i64).into())
}

fn is_zero(kind: &Type, value: &Value) -> bool {
    match (kind, value) {
        (_, Value::Null) => true,
        (_, Value::String(text)) => match kind {
            Type::Duration => text == "0s",
            Type::Text(kind) => is_zero_text(*kind, text),
            _ => text.is_empty(),
        },
        (_, Value::Number(number)) => number.as_f64() == Some(0.0),
        (_, Value::Bool(flag)) => !flag,
        (_, Value::Array(items)) => items.is_empty(),
        // A plain struct is zero when nothing in it was set; what it always writes does not count.
        (Type::Struct(root), Value::Object(body)) => body
            .iter()
            .all(|(key, value)| root.field(key).is_none_or(|field| !field.pointer && is_zero(&field.kind, value))),
        // A certificate and key are a pointer in Go: empty is not absent.
        (Type::Pem(_), Value::Object(_)) => false,
        (_, Value::Object(map)) => map.is_empty(),
    }
}

/// What an absent field looks like when it is written nevertheless.
fn zero<'a>(field: &'a Field, minor: &'a Minor) -> Tree<'a> {
    if field.pointer {
        return Tree::Null;
    }
    match &field.kind {
        Type::Struct(root) => Tree::Map(fields(root, None, minor).collect()),
        Type::List(_) => Tree::List(Vec::new()),
        Type::Map(_) | Type::Args | Type::Free => Tree::Map(Vec::new()),
        Type::Text(Text::Mode) => Tree::Octal(0),
        Type::Int | Type::Uint(_) => Tree::Number(0.into()),
        Type::Bool => Tree::Bool(false),
        Type::Pem(_) => Tree::Null,
        Type::Duration => Tree::Text("0s"),
        Type::Text(Text::Enum(words)) => Tree::Text(zero_word(words)),
        Type::Text(Text::Table) => Tree::Text("unspec"),
        Type::Text(_) | Type::Cel | Type::Bytes | Type::Url => Tree::Text(""),
    }
}
