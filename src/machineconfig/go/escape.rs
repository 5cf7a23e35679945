//! Which bytes of a URL `net/url` escapes, part by part.

use super::quoted;
use std::fmt::Write as _;

/// A part of a URL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Path,
    Host,
    /// What follows `%25` in an address.
    Zone,
    User,
    Fragment,
}

impl Part {
    fn keeps(self, byte: u8) -> bool {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            return true;
        }
        let also: &[u8] = match self {
            Self::Path => b"$&+,/:;=@",
            Self::Host | Self::Zone => b"!$&'()*+,;=:[]<>\"",
            Self::User => b"$&+,;=",
            Self::Fragment => b"$&+,/:;=?@!()*",
        };
        also.contains(&byte)
    }

    /// Whether `text` may stand as it is, though escaping it anew would change it.
    fn allows(self, text: &str) -> bool {
        text.bytes().all(|byte| b"!$&'()*+,;=:@[]%".contains(&byte) || self.keeps(byte))
    }
}

pub(super) fn escape(text: &str, part: Part) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if part.keeps(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The text without escapes, or what is wrong with them. In a host an escape stands only for what is not ASCII.
pub(super) fn unescape(text: &str, part: Part) -> Result<String, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    let strict = matches!(part, Part::Host | Part::Zone);
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            if strict && byte.is_ascii() && !part.keeps(byte) {
                return Err(format!("invalid character {} in host name", quoted(&char::from(byte).to_string())));
            }
            out.push(byte);
            at += 1;
            continue;
        }
        let escape: String = text[at..].chars().take(3).collect();
        let value = bytes.get(at + 1..at + 3).and_then(hex);
        let wrong = |value: u8| match part {
            _ if escape == "%25" => false,
            Part::Host => value < 0x80,
            Part::Zone => value != b' ' && !Part::Host.keeps(value),
            _ => false,
        };
        match value.filter(|value| !wrong(*value)) {
            Some(value) => out.push(value),
            None => return Err(format!("invalid URL escape {escape}", escape = quoted(&escape))),
        }
        at += 3;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// `text` as it is printed: itself where that is a valid way to write it, escaped otherwise.
pub(super) fn normal(text: &str, part: Part) -> Result<String, String> {
    let plain = unescape(text, part)?;
    Ok(if part.allows(text) { text.to_owned() } else { escape(&plain, part) })
}

fn hex(pair: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(pair).ok().filter(|_| pair.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(text, 16).ok()
}
