//! Scalars by the type of their field.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

use crate::machineconfig::go;
use crate::machineconfig::go::quoted;
use crate::machineconfig::minor::Minor;
use crate::machineconfig::schema::{Text, Type};
use crate::machineconfig::yaml;

/// What is wrong with a scalar, without a position.
pub(super) struct Wrong {
    /// What was expected, for people.
    pub(super) why: String,
    /// What the type's own decoder says in Go. The YAML reader of Talos 1.11 says nothing else then, and stops.
    pub(super) own: Option<String>,
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self { why, own: None }
    }
}

impl Wrong {
    /// Go's text does for both.
    pub(super) fn own(why: String) -> Self {
        Self { own: Some(why.clone()), why }
    }
}

/// Reads one scalar that is not null.
pub(super) fn read(text: &str, plain: bool, kind: &Type, minor: &Minor) -> Result<Value, Wrong> {
    let wrong = |what: &str| Err(format!("cannot construct `{text}` into {what}").into());
    match kind {
        Type::Int => match number(text, minor).filter(|_| plain) {
            Some(number) => Ok(Value::Number(number)),
            None => wrong("an integer"),
        },
        Type::Uint(bits) => {
            let fits = |number: &Number| number.as_u64().is_some_and(|value| value >> (bits - 1) <= 1);
            match number(text, minor).filter(|number| plain && fits(number)) {
                Some(number) => Ok(Value::Number(number)),
                None => wrong("an integer that is not negative and not too large"),
            }
        }
        Type::Bool => match yaml::boolean(text, plain) {
            Some(flag) => Ok(Value::Bool(flag)),
            None => wrong("a boolean"),
        },
        // A plain number has no unit.
        Type::Duration
            if plain && minor.dates_are_no_texts && yaml::integer(text).is_none() && whole(text, false).is_some() =>
        {
            let nanoseconds = whole(text, false).and_then(|number| number.as_i64()).unwrap_or_default();
            Ok(Value::String(go::show_duration(nanoseconds)))
        }
        Type::Duration => match go::duration(text).filter(|nanoseconds| {
            !plain || yaml::integer(text).is_none() || (*nanoseconds == 0 && minor.durations_take_zero)
        }) {
            Some(nanoseconds) => Ok(Value::String(go::show_duration(nanoseconds))),
            None => wrong("a duration such as 90s or 1h30m"),
        },
        Type::Text(Text::Any) | Type::Url if plain && minor.dates_are_no_texts && yaml::is_date(text) => {
            wrong("a text")
        }
        Type::Url => go::url(text).map(Value::String).map_err(Wrong::own),
        Type::Text(kind) => of_kind(text, plain, *kind, minor),
        Type::Bytes => size(text, minor).map_err(|own| Wrong { why: no_size(text), own: Some(own) }),
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// A null among the values of a map.
pub(super) fn zero(kind: &Type) -> Value {
    match kind {
        Type::Text(_) | Type::Duration | Type::Url | Type::Cel | Type::Bytes => Value::String(String::new()),
        Type::Int | Type::Uint(_) => 0.into(),
        Type::Bool => false.into(),
        _ => Value::Null,
    }
}

fn number(text: &str, minor: &Minor) -> Option<Number> {
    yaml::integer(text).or_else(|| whole(text, minor.integers_cut_fractions))
}

/// Go reads a float into an integer, with or without cutting off what is behind the point.
fn whole(text: &str, cuts: bool) -> Option<Number> {
    let float = text.parse::<f64>().ok().filter(|float| float.abs() < 9.0e15)?;
    let float = Some(float.trunc()).filter(|whole| cuts || (float - whole).abs() == 0.0)?;
    let number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    #[expect(clippy::cast_possible_truncation, reason = "truncating is the point, and the bound above fits")]
    number.then_some((float as i64).into())
}

fn no_size(text: &str) -> String {
    format!("cannot construct `{text}` into a size such as 10GiB")
}

/// A size keeps its spelling.
fn size(text: &str, minor: &Minor) -> Result<Value, String> {
    let magnitude = text.strip_prefix('-').filter(|_| minor.sizes_may_be_negative).unwrap_or(text);
    if !text.is_empty() {
        go::bytes(magnitude)?;
    }
    Ok(Value::from(text))
}

fn of_kind(text: &str, plain: bool, kind: Text, minor: &Minor) -> Result<Value, Wrong> {
    match kind {
        Text::Any | Text::Enum("") => Ok(Value::from(text)),
        Text::Enum(words) => enumeration(text, words, minor),
        Text::Size => match text.strip_suffix('%').filter(|_| minor.sizes_take_percent) {
            Some(percent) => {
                let percent = percent.strip_prefix('-').filter(|_| minor.sizes_may_be_negative).unwrap_or(percent);
                let ok = percent.parse::<f64>().is_ok_and(|percent| (0.0..=100.0).contains(&percent));
                let why = || format!("`{text}` is not a size such as 10GiB or 50%");
                if ok { Ok(Value::from(text)) } else { Err(why().into()) }
            }
            None => size(text, minor).map_err(|own| Wrong { why: no_size(text), own: Some(own) }),
        },
        Text::DiskSize => {
            let size = go::bytes(text).map_err(Wrong::own)?;
            let shown = go::shown_bytes(size).filter(|_| size > 0 && size % 1000 == 0);
            Ok(shown.map_or_else(|| Value::from(size), Value::from))
        }
        Text::Table => match text.to_ascii_lowercase().as_str() {
            word @ ("unspec" | "default" | "main" | "local") => Ok(Value::from(word)),
            word => {
                let is_table = |table: u8| (1..=252).contains(&table) && !word.starts_with(['0', '+']);
                let ok = word.parse().is_ok_and(is_table);
                if ok { Ok(Value::from(text)) } else { Err(format!("`{text}` is not a routing table").into()) }
            }
        },
        Text::SizeMatch => {
            let text = text.trim();
            let size = [">=", "<=", "==", ">", "<"].iter().find_map(|sign| text.strip_prefix(sign)).unwrap_or(text);
            let why = |why| Wrong::own(format!("failed to parse disk size {size}: {why}"));
            go::bytes(size.trim()).map(|_| Value::from(text)).map_err(why)
        }
        Text::Base64 => base64(text).map(Value::String).map_err(Wrong::own),
        Text::Mode => {
            let number = number(text, minor).and_then(|number| number.as_u64()).filter(|mode| plain && *mode <= 0o7777);
            number.map(Value::from).ok_or_else(|| format!("`{text}` is no file mode such as 0o644").into())
        }
        Text::Port => port(text, plain, minor),
        Text::Addr | Text::AddrPort | Text::Prefix if text.is_empty() => Ok(Value::from(text)),
        Text::Addr => {
            let zone = text.find('%').map_or("", |at| &text[at..]);
            go::addr(text).map(|addr| Value::String(format!("{addr}{zone}"))).map_err(Wrong::own)
        }
        Text::AddrPort => go::addr_port(text).map(|both| Value::from(both.to_string())).map_err(Wrong::own),
        Text::Prefix => go::prefix(text).map(|prefix| Value::from(prefix.to_string())).map_err(Wrong::own),
        Text::Mac => {
            let digits: String = text.split(':').collect();
            let bytes = hex::decode(&digits).map_err(|_| format!("`{text}` is not a hardware address"))?;
            let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Ok(Value::String(pairs.join(":")))
        }
    }
}

/// One of the words, in any case. `word~12` came with Talos 1.12, `word~9-12` went with 1.13.
fn enumeration(text: &str, words: &str, minor: &Minor) -> Result<Value, Wrong> {
    let knows = |since: &str| since.parse().is_ok_and(|since| minor.knows(since));
    let known = words.split('|').filter_map(|word| {
        let (word, range) = word.split_once('~').unwrap_or((word, "9"));
        let (first, last) = range.split_once('-').unwrap_or((range, ""));
        let gone = last.parse::<u32>().is_ok_and(|last| minor.knows(last + 1));
        (knows(first) && !gone).then_some(word)
    });
    let known: Vec<&str> = known.filter(|word| !word.starts_with('=')).collect();
    if let Some(word) = known.iter().find(|word| word.eq_ignore_ascii_case(text)) {
        return Ok(Value::from(*word));
    }
    let name = ENUMERATIONS.iter().find(|(word, _)| known.contains(word)).map(|(_, name)| name);
    Err(Wrong {
        why: format!("`{text}` is none of {}", known.join(", ")),
        own: name.map(|name| format!("{text} does not belong to {name} values")),
    })
}

/// Go's names of the enumerations that Talos 1.11 has, by one of their words.
const ENUMERATIONS: [(&str, &str); 4] = [
    ("accept", "DefaultAction"),
    ("icmp", "Protocol"),
    ("luks2", "EncryptionProviderType"),
    ("ext4", "FilesystemType"),
];

/// `80` or `80-90`.
fn port(text: &str, plain: bool, minor: &Minor) -> Result<Value, Wrong> {
    let single = number(text, minor).and_then(|number| number.as_u64()).filter(|_| plain);
    if let Some(port) = single.and_then(|port| u16::try_from(port).ok()) {
        return Ok(Value::from(port));
    }
    let port = |text: &str| text.parse::<u16>().ok().filter(|_| !text.starts_with('+'));
    match text.split_once('-').and_then(|(low, high)| port(low).zip(port(high))) {
        Some((low, high)) if low == high => Ok(Value::from(low)),
        Some((low, high)) => Ok(Value::from(format!("{low}-{high}"))),
        None => Err(Wrong::own(format!("invalid port range: {text}", text = quoted(text)))),
    }
}

/// Base64 in canonical spelling.
pub(super) fn base64(text: &str) -> Result<String, String> {
    let bytes = go::base64(text).map_err(|at| format!("illegal base64 data at input byte {at}"))?;
    Ok(STANDARD.encode(bytes))
}
