//! YAML as Talos reads and writes it.
//!
//! Reading goes to a tree that keeps the source text of every scalar, because Go decodes by the *target* type:
//! `0644` is the text `"0644"` in a string field and the number 420 in a free-form object. `serde_json::Value`
//! alone has lost that by the time the field is known. Aliases and merge keys are resolved here, so nothing
//! above this file knows of them.

mod natural;
mod notes;
mod quote;
mod read;
mod scalar;
mod timestamp;
mod tree;
mod write;

use serde_json::{Map, Number, Value};

use crate::machineconfig::go::quoted;
pub(super) use natural::natural;
pub(super) use notes::Notes;
pub(super) use quote::{double, key, looks_like_other, single};
pub(super) use read::{documents, documents_at};
pub(super) use timestamp::{as_texts, is_date};
pub(super) use tree::Tree;
pub(super) use write::{emit, joined};

/// One node of a document, with the line (from 1) at which it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    /// How it was written: errors quote it so.
    pub(super) style: Style,
    /// How the key before it was written.
    pub(super) key: Style,
    /// The tag, `!!str`, and behind `!!binary` the text as it was; errors quote that, too.
    pub(super) mark: Option<Box<str>>,
    /// What a mapping merges under `<<`, and how many entries were its own: the merged ones come after those.
    pub(super) merge: Option<Box<(usize, Node)>>,
    pub(super) notes: Option<Box<Notes>>,
    /// Why it cannot be decoded: Talos finds out only then, and nobody does when it is deleted before.
    pub(super) wrong: Option<Box<SyntaxError>>,
    pub(super) data: Data,
}

/// How a node was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Scalars plain, the others indented.
    Usual,
    /// A list or mapping in one line, `{a: 1}`.
    Flow,
    Single,
    Double,
    Literal,
    Folded,
    /// `*name`, without the star.
    Alias(Box<str>),
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    /// `plain` is false for anything quoted, in a block, or tagged as other than what plain texts can be: that is a
    /// string whatever it looks like.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// Keys are texts: no type of the configuration has other keys.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The first thing in it that cannot be decoded.
    pub(super) fn wrong(&self) -> Option<&SyntaxError> {
        let below = || match &self.data {
            Data::Scalar { .. } => None,
            Data::List(items) => items.iter().find_map(Self::wrong),
            Data::Map(entries) => entries.iter().find_map(|(_, node)| node.wrong()),
        };
        self.wrong.as_deref().or_else(below)
    }

    /// Adds notes. Where there is nothing to note, nothing is kept.
    fn noted(&mut self, note: impl FnOnce(&mut Notes)) {
        let mut notes = self.notes.take().map(|notes| *notes).unwrap_or_default();
        note(&mut notes);
        self.notes = notes.kept();
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(&self.data, Data::Scalar { text, plain: true } if is_null(text))
    }

    /// Whether it is a plain date, which some Talos takes for no text.
    pub(super) fn is_date(&self) -> bool {
        matches!(&self.data, Data::Scalar { text, plain: true } if is_date(text))
    }

    pub(super) fn as_map(&self) -> Option<&[(String, Node)]> {
        if let Data::Map(entries) = &self.data { Some(entries) } else { None }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// The text of a scalar that is not null.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// The text of a scalar as it stands there, a null included, and of an alias its name. That is what Talos sees
    /// where it looks at a node before anything decodes it.
    pub(super) fn source(&self) -> Option<&str> {
        match (&self.style, &self.data) {
            (Style::Alias(name), _) => Some(name),
            (_, Data::Scalar { text, .. }) => Some(text),
            _ => None,
        }
    }

    /// The node as an untyped value: what a Go `any` would hold.
    pub(super) fn to_value(&self) -> Value {
        match &self.data {
            Data::Scalar { text, plain: false } => Value::String(text.clone()),
            Data::Scalar { text, plain: true } => resolve(text),
            Data::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Data::Map(entries) => {
                Value::Object(entries.iter().map(|(key, node)| (key.clone(), node.to_value())).collect())
            }
        }
    }

    /// The reverse, for trees that never were text: the generator's and a JSON patch's result. Numbers and the order of
    /// keys are those of the YAML that Talos makes of JSON.
    pub(super) fn of_value(value: &Value) -> Self {
        let plain = |text: String| (Style::Usual, Data::Scalar { text, plain: true });
        let (style, data) = match value {
            Value::Null => plain("null".to_owned()),
            Value::Bool(flag) => plain(flag.to_string()),
            Value::Number(number) => plain(write::number(number)),
            Value::String(text) => match timestamp::of(text) {
                Some(time) => plain(time.to_owned()),
                None => (quote::as_written(text), Data::Scalar { text: text.clone(), plain: false }),
            },
            Value::Array(items) => (Style::Usual, Data::List(items.iter().map(Self::of_value).collect())),
            Value::Object(map) => {
                let entry = |(key, value): (&String, &Value)| {
                    (key.clone(), Self { key: quote::as_written(key), ..Self::of_value(value) })
                };
                let mut entries: Vec<_> = map.iter().map(entry).collect();
                entries.sort_by(|(a, _), (b, _)| natural(a, b));
                (Style::Usual, Data::Map(entries))
            }
        };
        Self { line: 1, style, key: Style::Usual, mark: None, merge: None, notes: None, wrong: None, data }
    }
}

/// The text is not YAML, or it is YAML that this reader refuses to hold in memory.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SyntaxError {
    #[error("decode error: yaml: line {line}, column {column}: {text}")]
    Scan { line: usize, column: usize, text: String },
    #[error("decode error: yaml: line {line}: mapping key {} is already defined at line {first}", quoted(.key))]
    DuplicateKey { line: usize, key: String, first: usize },
    #[error("decode error: yaml: line {line}: {what}")]
    Refused { line: usize, what: &'static str },
}

pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// A plain scalar as YAML 1.2 core with the octal numbers of 1.1, which is what Go's reader does.
fn resolve(text: &str) -> Value {
    if is_null(text) {
        return Value::Null;
    }
    match text {
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Some(time) = timestamp::read(text) {
        return Value::String(time);
    }
    if let Some(number) = integer(text) {
        return Value::Number(number);
    }
    // Go takes underscores out of what begins as a number, and a point is no such beginning.
    let begins = if text.contains('_') { "+-0123456789" } else { "+-.0123456789" };
    let looks_like_float = text.starts_with(|first| begins.contains(first))
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E' | b'_'))
        && text.bytes().any(|byte| byte.is_ascii_digit());
    if looks_like_float
        && let Ok(float) = text.replace('_', "").parse::<f64>()
        && let Some(number) = Number::from_f64(float)
    {
        return Value::Number(number);
    }
    Value::String(text.to_owned())
}

/// An integer in any of the notations that Go's reader knows.
pub(super) fn integer(text: &str) -> Option<Number> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if !digits.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let digits = digits.replace('_', "");
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    // Rust would take a second sign behind the `0x`.
    let magnitude = i128::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with(['+', '-']))?;
    let value = sign * magnitude;
    i64::try_from(value).map(Number::from).or_else(|_| u64::try_from(value).map(Number::from)).ok()
}

/// A scalar in a boolean field. Some words of YAML 1.1 count there, and only there; those even when quoted.
pub(super) fn boolean(text: &str, plain: bool) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" if plain => Some(true),
        "false" | "False" | "FALSE" if plain => Some(false),
        "y" | "Y" | "yes" | "on" => Some(true),
        "n" | "N" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Adds `value` under `key` in place, keeping the order of first insertion.
pub(super) fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
}
