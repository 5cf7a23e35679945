//! Which texts need quotes, and which kind.
//!
//! A text stays plain unless a reader would take it for something else: Go's (1.2 with the octal and underscored
//! numbers of 1.1, and timestamps), one of YAML 1.2 (core schema), or one of YAML 1.1, as many scripts have. The kind
//! of quotes is Talos 1.14's: double where Go itself would misread the type, single where only the syntax or another
//! reader would, double again where something has to be escaped.

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    /// A block after `|`.
    Literal,
}

pub(super) fn style(text: &str) -> Style {
    let mut plain = !begins_as_syntax(text);
    let (mut single, mut block) = (true, text.contains('\n') && !text.trim().is_empty());
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let blank_follows = chars.peek().is_none_or(|next| matches!(next, ' ' | '\t' | '\n'));
        match char {
            ' ' if blank_follows => block &= chars.peek().is_some_and(|next| *next != '\n'),
            ':' if blank_follows => plain = false,
            '#' if matches!(before, ' ' | '\t') => plain = false,
            '\n' | '\t' => (plain, single) = (false, false),
            char if !is_printable(char) => return Style::Double,
            _ => {}
        }
        before = char;
    }
    // Spaces at an end are no part of a plain text, and nobody sees them in a block.
    plain &= !text.starts_with(' ') && before != ' ';
    match lookalike(text) {
        _ if block => Style::Literal,
        _ if !single => Style::Double,
        Some(style) => style,
        None if plain => Style::Plain,
        None => Style::Single,
    }
}

/// The first character, or the first three, mean something else to YAML.
fn begins_as_syntax(text: &str) -> bool {
    const ALWAYS: &[char] = &['#', ',', '[', ']', '{', '}', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`'];
    let before_blank = || text.len() == 1 || text[1..].starts_with([' ', '\t']);
    text.starts_with(ALWAYS)
        || text.starts_with("---")
        || text.starts_with("...")
        || (text.starts_with(['-', '?', ':']) && before_blank())
}

/// What Go writes as it is. Beyond 16 bits it escapes, and the line breaks of YAML 1.1 would get lost.
fn is_printable(char: char) -> bool {
    matches!(char, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

const WORDS: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false", "null", ".nan", ".inf", "+.inf", "-.inf"];

/// The quotes that a text needs because it would read as something other than a text.
fn lookalike(text: &str) -> Option<Style> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" | "true" | "True" | "TRUE" | "false" | "False" | "FALSE" | ".nan"
        | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF" => {
            return Some(Style::Double);
        }
        "<<" | "=" => return Some(Style::Single),
        // YAML 1.1, and beyond what it says: some readers take its words in any mix of cases.
        short if short.len() <= 5 && WORDS.iter().any(|word| word.eq_ignore_ascii_case(short)) => {
            return Some(Style::Single);
        }
        _ => {}
    }
    if !text.starts_with(|char: char| matches!(char, '0'..='9' | '+' | '-' | '.')) {
        return None;
    }
    if is_sexagesimal(text) {
        return Some(Style::Single);
    }
    (is_number(text) || is_timestamp(text)).then_some(Style::Double)
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}

/// A number in any notation of any reader, too great ones included. Underscores go anywhere but in front.
fn is_number(text: &str) -> bool {
    let magnitude = unsigned(text);
    // Some readers fail on a `0x_`, so underscores do for digits.
    let underscored = magnitude.contains('_');
    let joined = if underscored { magnitude.replace('_', "").into() } else { std::borrow::Cow::Borrowed(magnitude) };
    let magnitude = joined.as_ref();
    let radix = match magnitude.as_bytes() {
        [b'0', b'x' | b'X', ..] => 16,
        [b'0', b'o' | b'O', ..] => 8,
        [b'0', b'b' | b'B', ..] => 2,
        _ => 10,
    };
    if radix != 10 {
        let digits = &magnitude[2..];
        return (underscored || !digits.is_empty()) && digits.chars().all(|char| char.is_digit(radix));
    }
    let (mantissa, exponent) = match magnitude.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(unsigned(exponent))),
        None => (magnitude, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && digits(fraction)
        && (underscored || !(whole.is_empty() && fraction.is_empty()))
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

/// `190:20:30`, as YAML 1.1 counts in sixties; a MAC address of digits is one, too.
fn is_sexagesimal(text: &str) -> bool {
    let mut parts = unsigned(text).split(':');
    let first = parts.next().unwrap_or_default();
    if !first.starts_with(|char: char| char.is_ascii_digit()) || !first.bytes().all(is_digit_or_underscore) {
        return false;
    }
    let mut more = parts.peekable();
    if more.peek().is_none() {
        return false;
    }
    while let Some(part) = more.next() {
        let part = match part.split_once('.') {
            Some((part, fraction)) if more.peek().is_none() && fraction.bytes().all(is_digit_or_underscore) => part,
            _ => part,
        };
        if !matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']) {
            return false;
        }
    }
    true
}

fn is_digit_or_underscore(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'_'
}

/// A date, alone or with a time after it. Ones that cannot be, such as a 30th of February, count: some readers fail on them.
fn is_timestamp(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let day_and_time = (|| {
        let rest = text.get(4..).filter(|_| digits(text) == 4)?.strip_prefix('-')?;
        let month = digits(rest);
        let rest = rest[month..].strip_prefix('-').filter(|_| matches!(month, 1 | 2))?;
        let day = digits(rest);
        matches!(day, 1 | 2).then_some(&rest[day..])
    })();
    let time = |byte: u8| matches!(byte, b'0'..=b'9' | b':' | b'.' | b',' | b'+' | b'-' | b' ' | b'\t' | b'Z' | b'z');
    day_and_time.is_some_and(|rest| {
        rest.is_empty() || (rest.starts_with(['T', 't', ' ', '\t']) && rest.bytes().skip(1).all(time))
    })
}

/// Whether some reader would take the text for something else, not only for want of quotes as syntax.
pub(in crate::machineconfig) fn looks_like_other(text: &str) -> bool {
    lookalike(text).is_some()
}

/// How a text would stand in a file that go-yaml 2 wrote, which is what JSON patches go through.
pub(super) fn as_written(text: &str) -> super::Style {
    match style(text) {
        Style::Plain => super::Style::Usual,
        Style::Single if !looks_like_other(text) => super::Style::Single,
        Style::Single | Style::Double => super::Style::Double,
        Style::Literal => super::Style::Literal,
    }
}

/// A key, which is one line.
pub(in crate::machineconfig) fn key(key: &str, out: &mut String) {
    write(key, style(key), out);
}

/// A text that may not be a block.
pub(super) fn write(text: &str, style: Style, out: &mut String) {
    match style {
        Style::Plain => out.push_str(text),
        Style::Single => single(text, out),
        Style::Double | Style::Literal => double(text, out),
    }
}

pub(in crate::machineconfig) fn single(text: &str, out: &mut String) {
    out.push('\'');
    for (index, part) in text.split('\'').enumerate() {
        out.push_str(if index > 0 { "''" } else { "" });
        out.push_str(part);
    }
    out.push('\'');
}

/// With YAML's own escapes; the line breaks of YAML 1.1 among them.
pub(in crate::machineconfig) fn double(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            char if is_printable(char) => out.push(char),
            char => escape(char, out),
        }
    }
    out.push('"');
}

fn escape(char: char, out: &mut String) {
    use std::fmt::Write as _;
    let short = match char {
        '\0' => '0',
        '\x07' => 'a',
        '\x08' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\x0b' => 'v',
        '\x0c' => 'f',
        '\r' => 'r',
        '\x1b' => 'e',
        '\u{85}' => 'N',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        char => {
            let code = u32::from(char);
            let written = match code {
                0..=0xff => write!(out, "\\x{code:02X}"),
                0x100..=0xffff => write!(out, "\\u{code:04X}"),
                _ => write!(out, "\\U{code:08X}"),
            };
            return written.expect("a String accepts every write");
        }
    };
    out.extend(['\\', short]);
}
