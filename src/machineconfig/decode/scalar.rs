//! Scalars by the type of their field.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::machineconfig::go;
use crate::machineconfig::minor::Minor;
use crate::machineconfig::schema::{Text, Type};
use crate::machineconfig::yaml;

/// Reads one scalar that is not null; the error says what was expected, without a position.
pub(super) fn read(text: &str, plain: bool, kind: &Type, minor: &Minor) -> Result<Value, String> {
    let wrong = |what: &str| Err(format!("cannot construct `{text}` into {what}"));
    match kind {
        Type::Int => {
            match yaml::integer(text).or_else(|| whole(text, minor.integers_cut_fractions)).filter(|_| plain) {
                Some(number) => Ok(Value::Number(number)),
                None => wrong("an integer"),
            }
        }
        Type::Uint(bits) => {
            let number = yaml::integer(text).or_else(|| whole(text, minor.integers_cut_fractions));
            let fits = |number: &serde_json::Number| number.as_u64().is_some_and(|value| value >> (bits - 1) <= 1);
            match number.filter(|number| plain && fits(number)) {
                Some(number) => Ok(Value::Number(number)),
                None => wrong("an integer that is not negative and not too large"),
            }
        }
        Type::Bool => match yaml::boolean(text, plain) {
            Some(flag) => Ok(Value::Bool(flag)),
            None => wrong("a boolean"),
        },
        // A plain number has no unit.
        Type::Duration => match go::duration(text).filter(|nanoseconds| {
            !plain || yaml::integer(text).is_none() || (*nanoseconds == 0 && minor.durations_take_zero)
        }) {
            Some(nanoseconds) => Ok(Value::String(go::show_duration(nanoseconds))),
            None => wrong("a duration such as 90s or 1h30m"),
        },
        Type::Url => go::url(text).map(Value::String),
        Type::Text(kind) => of_kind(text, *kind),
        Type::Bytes if !is_size(text) => wrong("a size such as 10GiB"),
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// Go reads a float into an integer, with or without cutting off what is behind the point.
fn whole(text: &str, cuts: bool) -> Option<serde_json::Number> {
    let float = text.parse::<f64>().ok().filter(|float| float.abs() < 9.0e15)?;
    let float = Some(float.trunc()).filter(|whole| cuts || (float - whole).abs() == 0.0)?;
    let number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    #[expect(clippy::cast_possible_truncation, reason = "truncating is the point, and the bound above fits")]
    number.then_some((float as i64).into())
}

fn is_size(text: &str) -> bool {
    text.is_empty() || go::size(text.strip_prefix('-').unwrap_or(text)).is_ok()
}

fn of_kind(text: &str, kind: Text) -> Result<Value, String> {
    let ok = match kind {
        Text::Size => match text.split_once('%') {
            Some((percent, "")) => {
                let percent = percent.strip_prefix('-').unwrap_or(percent);
                percent.parse::<f64>().is_ok_and(|percent| (0.0..=100.0).contains(&percent))
            }
            Some(_) => false,
            None => is_size(text),
        },
        Text::Any | Text::Enum("") => true,
        Text::Enum(words) => {
            let word = words.split('|').find(|word| word.eq_ignore_ascii_case(text) && !word.starts_with('='));
            return match word {
                Some(word) => Ok(Value::from(word)),
                None => Err(format!("`{text}` is none of {}", words.replace('|', ", "))),
            };
        }
        Text::Table => match text.to_ascii_lowercase().as_str() {
            word @ ("unspec" | "default" | "main" | "local") => return Ok(Value::from(word)),
            text => text.parse::<u8>().is_ok_and(|table| (1..=252).contains(&table) && !text.starts_with(['0', '+'])),
        },
        Text::SizeMatch => {
            let bare = text.trim_start_matches(['<', '>', '=', '!', ' ']);
            if go::size(bare).is_err() {
                return Err(format!("failed to parse disk size {text}"));
            }
            true
        }
        Text::Base64 => return base64(text).map(Value::String),
        Text::Mode => {
            let number = yaml::integer(text).and_then(|number| number.as_u64()).filter(|mode| *mode <= 0o7777);
            return number.map(Value::from).ok_or_else(|| format!("`{text}` is no file mode such as 0o644"));
        }
        Text::Port => {
            let bounds = text.split_once('-').unwrap_or((text, text));
            let port = |text: &str| text.trim().parse::<u16>().ok();
            let (low, high) =
                port(bounds.0).zip(port(bounds.1)).ok_or_else(|| format!("`{text}` is no port or range of ports"))?;
            return Ok(if low == high { Value::from(low) } else { Value::String(text.to_owned()) });
        }
        Text::Addr | Text::AddrPort | Text::Prefix if text.is_empty() => true,
        Text::Addr => {
            let zone = text.find('%').map_or("", |at| &text[at..]);
            return go::addr(text).map(|addr| Value::String(format!("{addr}{zone}")));
        }
        Text::AddrPort => match text.parse::<std::net::SocketAddr>() {
            Ok(both) => return Ok(Value::String(both.to_string())),
            Err(_) => false,
        },
        Text::Prefix => return go::prefix(text).map(|prefix| Value::String(prefix.to_string())),
        Text::Mac => {
            let digits: String = text.split(':').collect();
            let Ok(bytes) = hex::decode(&digits) else { return Err(format!("`{text}` is not a hardware address")) };
            let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(Value::String(pairs.join(":")));
        }
    };
    if !ok {
        let what = match kind {
            Text::AddrPort => "an IP address with port",
            Text::Size => "a size such as 10GiB or 50%",
            _ => "a routing table",
        };
        return Err(format!("`{text}` is not {what}"));
    }
    Ok(Value::String(text.to_owned()))
}

/// Base64 in canonical spelling. The redaction mark passes: a machine hands it out and takes it back.
pub(super) fn base64(text: &str) -> Result<String, String> {
    if text == "******" {
        return Ok(text.to_owned());
    }
    let joined: String = text.split(['\n', '\r']).collect();
    let bytes = STANDARD.decode(&joined).map_err(|error| match error {
        base64::DecodeError::InvalidByte(at, _) => format!("illegal base64 data at input byte {at}"),
        _ => format!("illegal base64 data at input byte {}", joined.len()),
    })?;
    Ok(STANDARD.encode(bytes))
}
