//! Scalars by the type of their field.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::machineconfig::go;
use crate::machineconfig::schema::{Text, Type};
use crate::machineconfig::yaml;

/// Reads one scalar that is not null; the error says what was expected, without a position.
pub(super) fn read(text: &str, plain: bool, kind: &Type) -> Result<Value, String> {
    let wrong = |what: &str| Err(format!("cannot construct `{text}` into {what}"));
    match kind {
        Type::Int => match yaml::integer(text).filter(|_| plain) {
            Some(number) => Ok(Value::Number(number)),
            None => wrong("an integer"),
        },
        Type::Bool => match yaml::boolean(text, plain) {
            Some(flag) => Ok(Value::Bool(flag)),
            None => wrong("a boolean"),
        },
        Type::Duration => match go::duration(text).or_else(|| yaml::integer(text)?.as_i64().filter(|_| plain)) {
            Some(nanoseconds) => Ok(Value::String(go::show_duration(nanoseconds))),
            None => wrong("a duration such as 90s or 1h30m"),
        },
        Type::Url => go::url(text).map(Value::String),
        Type::Text(kind) => of_kind(text, *kind),
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn of_kind(text: &str, kind: Text) -> Result<Value, String> {
    let ok = match kind {
        Text::Any | Text::Size => true,
        Text::Enum(words) if words.is_empty() || text.is_empty() => true,
        Text::Enum(words) if words.split('|').any(|word| word == text) => true,
        Text::Enum(words) => return Err(format!("`{text}` is none of {}", words.replace('|', ", "))),
        Text::SizeMatch => {
            let bare = text.trim_start_matches(['<', '>', '=', '!', ' ']);
            if go::size(bare).is_none() {
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
        Text::Addr => text.is_empty() || go::addr(text).is_ok(),
        Text::AddrPort => text.is_empty() || text.parse::<std::net::SocketAddr>().is_ok(),
        Text::Prefix => text.is_empty() || text.parse::<ipnet::IpNet>().is_ok(),
        Text::Mac => text.split(':').all(|byte| byte.len() == 2 && u8::from_str_radix(byte, 16).is_ok()),
    };
    if !ok {
        let what = match kind {
            Text::Addr => "an IP address",
            Text::AddrPort => "an IP address with port",
            Text::Prefix => "an IP prefix such as 10.0.0.0/24",
            _ => "a hardware address",
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
