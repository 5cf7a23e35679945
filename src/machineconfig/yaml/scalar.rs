//! One scalar as Go takes it: escapes that it does not know, and what tags make of a text.

use base64::Engine as _;
use granit_parser::Tag;
use serde_json::Value;

/// What Go does not read in a text between double quotes, and JSON or YAML 1.2 does: `\/`, and half of a pair.
pub(super) fn unknown_escape(quoted: &str) -> Option<&'static str> {
    let mut rest = quoted;
    while let Some((_, escape)) = rest.split_once('\\') {
        if escape.starts_with('/') {
            return Some("found unknown escape character");
        }
        let half = escape.strip_prefix('u').and_then(|digits| u16::from_str_radix(digits.get(..4)?, 16).ok());
        if half.is_some_and(|unit| (0xd800..0xe000).contains(&unit)) {
            return Some("found invalid Unicode character escape code");
        }
        let mut after = escape.chars();
        after.next();
        rest = after.as_str();
    }
    None
}

/// `!!str` or `!own`.
pub(super) fn shown(tag: &Tag) -> Box<str> {
    let handle = tag.handle();
    let handle = if handle == "tag:yaml.org,2002:" { "!!" } else { handle };
    format!("{handle}{}", tag.suffix()).into()
}

/// A scalar as its tag wants it. One that Go does not know, `!!str` and `!!binary` make a text of it; the others say
/// that it is to be read like a plain one.
pub(super) fn tagged(text: String, plain: bool, tag: Option<&str>) -> Result<(String, bool), String> {
    let as_plain = |ok: bool, text: String| if ok { Ok((text, true)) } else { Err(text) };
    match tag {
        None => Ok((text, plain)),
        Some("!!bool") => as_plain(matches!(super::resolve(&text), Value::Bool(_)), text),
        Some("!!null") => as_plain(super::is_null(&text), text),
        Some("!!int") => as_plain(super::integer(&text).is_some(), text),
        Some("!!float") => as_plain(super::resolve(&text).is_number(), text),
        Some("!!timestamp") => as_plain(super::timestamp::read(&text).is_some(), text),
        Some(tag) if tag.starts_with("!!binary") => {
            let joined: String = text.split_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD.decode(joined).ok();
            Ok((bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(text), false))
        }
        Some(_) => Ok((text, false)),
    }
}
