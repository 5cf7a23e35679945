//! The factory's YAML, byte for byte: how it writes one string.
//!
//! Written by hand because no Rust YAML crate writes these bytes: the factory marshals
//! with go-yaml (image-factory 1.1–1.4: go.yaml.in/yaml/v4 rc.4), which indents by 4, never
//! folds, and quotes by rules of its own. Where releases of go-yaml differ, or where the
//! rules were never verified, [`Unsupported`] says so, and the server's id is the only one.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;

/// A value whose canonical form is not known for certain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the schematic's id can only be given by the factory, because of {field}: {why}")]
pub struct Unsupported {
    /// `customization.extraKernelArgs[0]`.
    pub field: String,
    pub why: &'static str,
}

/// Words that YAML 1.1 took for booleans. go-yaml v4 rc.6 quotes them in another style than its neighbours.
const OLD_BOOLEANS: [&str; 7] = ["y", "n", "yes", "no", "on", "off", "<<"];

/// Appends `text` as it is written after `key: ` or `- `; `column` is where a block's lines begin.
pub(super) fn scalar(out: &mut String, text: &str, column: usize) -> Result<(), &'static str> {
    certain(text)?;
    if text.contains('\n') && block_allowed(text) {
        block(out, text, column);
    } else if resolves(text)? || text.contains('\n') || !text.chars().all(printable) {
        double_quoted(out, text)?;
    } else if needs_quotes(text) {
        let _infallible = write!(out, "'{}'", text.replace('\'', "''"));
    } else {
        out.push_str(text);
    }
    Ok(())
}

/// Refuses what go-yaml's releases write differently.
fn certain(text: &str) -> Result<(), &'static str> {
    static BASE60: LazyLock<Regex> = LazyLock::new(|| regex(r"^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$"));
    let same_case = |word: &str| text == word || text == word.to_uppercase() || text == capitalised(word);
    if OLD_BOOLEANS.iter().any(|word| same_case(word)) {
        return Err("go-yaml's releases quote this YAML 1.1 word differently");
    }
    if BASE60.is_match(text) {
        return Err("go-yaml's releases quote base-60 numbers differently");
    }
    if text.starts_with('\n') {
        return Err("go-yaml's releases write a leading line break differently");
    }
    if text.starts_with('\u{feff}') {
        return Err("a leading byte order mark is not reproducible");
    }
    if text.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
        return Err("Unicode line breaks are not reproducible");
    }
    Ok(())
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern compiles")
}

/// Whether a plain `text` would be read back as something else than a string.
fn resolves(text: &str) -> Result<bool, &'static str> {
    static FLOAT: LazyLock<Regex> = LazyLock::new(|| regex(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"));
    static DATE: LazyLock<Regex> = LazyLock::new(|| regex(r"^([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(.*)$"));
    if matches!(
        text,
        "" | "~"
            | "null"
            | "Null"
            | "NULL"
            | "true"
            | "True"
            | "TRUE"
            | "false"
            | "False"
            | "FALSE"
            | ".nan"
            | ".NaN"
            | ".NAN"
    ) {
        return Ok(true);
    }
    if matches!(text.trim_start_matches(['+', '-']), ".inf" | ".Inf" | ".INF") && text.len() <= 5 {
        return Ok(true);
    }
    if let Some(parts) = DATE.captures(text) {
        if parts[4].starts_with(['T', 't', ' ']) {
            return Err("it looks like a time stamp");
        }
        let number = |index: usize| parts[index].parse::<i16>().unwrap_or(-1);
        let (month, day) = (i8::try_from(number(2)).unwrap_or(-1), i8::try_from(number(3)).unwrap_or(-1));
        return Ok(parts[4].is_empty() && jiff::civil::Date::new(number(1), month, day).is_ok());
    }
    // Numbers are only looked for where one can begin, underscores inside are ignored.
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return Ok(false);
    }
    let digits = text.replace('_', "");
    // A number out of float64's range stays plain.
    let float = FLOAT.is_match(&digits) && digits.parse::<f64>().is_ok_and(f64::is_finite);
    Ok(float || integer(&digits))
}

/// Go's integer syntax of base 0, in 64 bits.
fn integer(text: &str) -> bool {
    let (sign, body) = match text.strip_prefix(['+', '-']) {
        Some(body) => (text.starts_with('-'), body),
        None => (false, text),
    };
    let signed = body.len() < text.len();
    let lower = body.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // The sign has been taken off; Rust would accept a second one.
    if digits.starts_with(['+', '-']) {
        return false;
    }
    let Ok(value) = u64::from_str_radix(digits, radix) else { return false };
    !signed || i64::try_from(value).is_ok() || sign && value == 1 << 63
}

/// What go-yaml writes raw. Everything above the basic plane is escaped.
fn printable(char: char) -> bool {
    matches!(char, '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && char != '\u{feff}'
}

/// Whether a printable single line is more than plain text to a YAML reader.
fn needs_quotes(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next().unwrap_or(' ');
    let second = chars.next().unwrap_or(' ');
    text.starts_with("---")
        || text.starts_with("...")
        || "#,[]{}&*!|>'\"%@`".contains(first)
        || "?:-".contains(first) && second == ' '
        || text.contains(": ")
        || text.ends_with(':')
        || text.contains(" #")
        || text.starts_with(' ')
        || text.ends_with(' ')
}

fn block_allowed(text: &str) -> bool {
    let sound = |char| char == '\n' || printable(char);
    !text.ends_with(' ') && !text.contains(" \n") && text.chars().all(sound) && !text.trim().is_empty()
}

fn block(out: &mut String, text: &str, column: usize) {
    let hint = if text.starts_with(' ') { "4" } else { "" };
    let body = text.trim_end_matches('\n');
    let chomp = match text.len() - body.len() {
        0 => "-",
        1 => "",
        _ => "+",
    };
    let _infallible = write!(out, "|{hint}{chomp}");
    let lines = text.strip_suffix('\n').unwrap_or(text);
    for line in lines.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            let _infallible = write!(out, "{:column$}{line}", "");
        }
    }
}

fn double_quoted(out: &mut String, text: &str) -> Result<(), &'static str> {
    out.push('"');
    for char in text.chars() {
        let escape = match char {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\0' => "\\0",
            '\x07' => "\\a",
            '\x08' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\x0b' => "\\v",
            '\x0c' => "\\f",
            '\r' => "\\r",
            '\x1b' => "\\e",
            '\u{a0}' => return Err("a no-break space inside double quotes is not reproducible"),
            char if printable(char) => {
                out.push(char);
                continue;
            }
            char => {
                let code = u32::from(char);
                let _infallible = match code {
                    0..=0xff => write!(out, "\\x{code:02X}"),
                    0x100..=0xffff => write!(out, "\\u{code:04X}"),
                    _ => write!(out, "\\U{code:08X}"),
                };
                continue;
            }
        };
        out.push_str(escape);
    }
    out.push('"');
    Ok(())
}

#[cfg(test)]
mod tests;
