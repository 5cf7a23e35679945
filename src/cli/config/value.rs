//! Values of flags as talosctl takes them (spf13/pflag 1.0): switches in every spelling, and lists as a record of CSV, so
//! that a value may hold a comma.

/// A switch's value in every spelling that talosctl takes (Go: strconv.ParseBool).
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

/// What one occurrence of a flag lists.
#[derive(Clone)]
pub(super) struct List(Vec<String>);

impl List {
    /// What all occurrences list, one after the other.
    pub(super) fn joined(lists: &[Self]) -> Vec<String> {
        lists.iter().flat_map(|list| list.0.iter().cloned()).collect()
    }
}

/// A list's value: the first record of a CSV text, as Go's `encoding/csv` reads it. Nothing at all is an empty list.
pub(super) fn list(text: &str) -> Result<List, String> {
    const QUOTE: &str = "extraneous or missing \" in quoted-field";
    let text = text.replace("\r\n", "\n");
    let mut rest = text.strip_suffix('\r').unwrap_or(&text).trim_start_matches('\n');
    if rest.is_empty() {
        return if text.is_empty() { Ok(List(Vec::new())) } else { Err("EOF".to_owned()) };
    }
    let mut fields = Vec::new();
    loop {
        let mut field = String::new();
        let after = if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let (before, after) = quoted.split_once('"').ok_or(QUOTE)?;
                field.push_str(before);
                let Some(more) = after.strip_prefix('"') else { break after };
                field.push('"');
                quoted = more;
            }
        } else {
            let (plain, after) = rest.split_at(rest.find([',', '\n']).unwrap_or(rest.len()));
            if plain.contains('"') {
                return Err("bare \" in non-quoted field".to_owned());
            }
            field.push_str(plain);
            after
        };
        fields.push(field);
        rest = match after.chars().next() {
            None | Some('\n') => return Ok(List(fields)),
            Some(',') => &after[1..],
            Some(_) => return Err(QUOTE.to_owned()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{List, list};

    #[test]
    fn a_list_is_a_record_of_csv() {
        let read = |text: &str| list(text).map(|read| List::joined(&[read]));
        for (text, fields) in [
            ("", vec![]),
            ("a,b", vec!["a", "b"]),
            ("a,", vec!["a", ""]),
            (",", vec!["", ""]),
            ("\"a,b\"", vec!["a,b"]),
            ("\"a\"\"b\", c", vec!["a\"b", " c"]),
            ("a\nb", vec!["a"]),
            ("\"a\nb\"\nc", vec!["a\nb"]),
            ("a\r\nb", vec!["a"]),
        ] {
            assert_eq!(read(text), Ok(fields.iter().map(|field| (*field).to_owned()).collect()), "{text:?}");
        }
        for wrong in ["\"a", "a\"b", "\"a\" ,b", "\n", "\"a\"b"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
