//! Parameters out of queries, forms and JSON, as pve-http-server decodes them.

use percent_encoding::percent_decode;
use serde_json::Value;

use super::json_fault;
use super::verify::{Raw, plain};

/// A body that cannot be read: the whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub u16, pub String);

/// `application/x-www-form-urlencoded`, strictly as upstream: split at `&` **and** `;`, and everything after a second
/// raw `=` of a part is lost. A repeated name becomes a list.
pub(super) fn form(text: &[u8]) -> Raw {
    let mut raw = Raw::new();
    // Empty parts at the end are no parts; elsewhere they are a parameter without a name.
    let filled = text.iter().rposition(|byte| !matches!(byte, b'&' | b';')).map_or(0, |last| last + 1);
    if filled == 0 {
        return raw;
    }
    for part in text[..filled].split(|byte| matches!(byte, b'&' | b';')) {
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
        Ok(Value::Null) => Ok(Raw::new()),
        Ok(single @ (Value::String(_) | Value::Number(_))) => {
            let text = format!("Can't use string (\"{}\") as a HASH ref while \"strict refs\" in use", plain(&single));
            Err(Unreadable(500, format!("{text}{}", at(978))))
        }
        Ok(_) => Err(Unreadable(500, format!("Not a HASH reference{}", at(978)))),
        Err(error) => {
            let fault = json_fault::of(&String::from_utf8_lossy(text)).unwrap_or_else(|| error.to_string());
            Err(Unreadable(500, format!("{fault}{}", at(934))))
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
