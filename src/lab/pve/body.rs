//! Parameters out of queries, forms and JSON, as pve-http-server decodes them.

use percent_encoding::percent_decode;
use serde_json::Value;

use super::verify::Raw;

/// A body that cannot be read: the whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub u16, pub String);

/// `application/x-www-form-urlencoded`, strictly as upstream: split at `&` **and** `;`, and everything after a second
/// raw `=` of a part is lost. A repeated name becomes a list.
pub(super) fn form(text: &[u8]) -> Raw {
    let mut raw = Raw::new();
    for part in text.split(|byte| matches!(byte, b'&' | b';')).filter(|part| !part.is_empty()) {
        let mut pieces = part.split(|byte| *byte == b'=');
        let name = decode(pieces.next().unwrap_or_default());
        let value = Value::String(decode(pieces.next().unwrap_or_default()));
        match raw.get_mut(&name) {
            None => {
                raw.insert(name, value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    raw
}

fn decode(text: &[u8]) -> String {
    let blanks: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&blanks).decode_utf8_lossy().into_owned()
}

/// A JSON body, which must be an object.
pub(super) fn json(text: &[u8]) -> Result<Raw, Unreadable> {
    let at = |line: u32| format!(" at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line {line}.\n");
    match serde_json::from_slice::<Value>(text) {
        Ok(Value::Object(object)) => Ok(object.into_iter().collect()),
        Ok(_) => Err(Unreadable(500, format!("Not a HASH reference{}", at(978)))),
        Err(error) => {
            let offset = error.column().min(text.len());
            let rest = String::from_utf8_lossy(&text[offset..]).into_owned();
            let before = if rest.is_empty() { "(end of string)".to_owned() } else { rest };
            let what = "malformed JSON string, neither tag, array, object, number, string or atom";
            Err(Unreadable(500, format!("{what}, at character offset {offset} (before \"{before}\"){}", at(934))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unescaped_semicolon_or_equals_sign_tears_a_value_apart() {
        let raw = form(b"boot=order=scsi0;net0&tags=a&tags=b&description=a+b%20c%2Bd&x");
        assert_eq!(raw["boot"], "order");
        assert_eq!(raw["net0"], "");
        assert_eq!(raw["tags"], serde_json::json!(["a", "b"]));
        assert_eq!(raw["description"], "a b c+d");
        assert_eq!(raw["x"], "");
    }
}
