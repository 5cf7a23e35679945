//! What is to be written, borrowed from where it is kept: a configuration is written without being copied first.

use serde_json::{Number, Value};

use super::timestamp;

/// One value, its maps in the order in which they are written.
pub(in crate::machineconfig) enum Tree<'a> {
    Null,
    Bool(bool),
    Number(Number),
    /// A number that is written in octal, `0o644`: a file's mode.
    Octal(u64),
    Text(&'a str),
    /// A time, which stands there without quotes.
    Time(&'a str),
    List(Vec<Tree<'a>>),
    Map(Vec<(&'a str, Tree<'a>)>),
}

impl<'a> Tree<'a> {
    pub(in crate::machineconfig) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => timestamp::of(text).map_or(Self::Text(text), Self::Time),
            Value::Array(items) => Self::List(items.iter().map(Self::of).collect()),
            Value::Object(map) => Self::Map(map.iter().map(|(key, value)| (key.as_str(), Self::of(value))).collect()),
        }
    }

    /// The same as a value that owns everything, for those who compare and rewrite.
    pub(in crate::machineconfig) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => (*flag).into(),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Octal(mode) => (*mode).into(),
            Self::Text(text) => (*text).into(),
            Self::Time(text) => timestamp::value(text).into(),
            Self::List(items) => items.iter().map(Self::to_value).collect(),
            Self::Map(entries) => {
                Value::Object(entries.iter().map(|(key, tree)| ((*key).to_owned(), tree.to_value())).collect())
            }
        }
    }
}
