//! Points in time, which Go's reader makes of plain texts that look like them: `2024-01-01` in a free-form object comes
//! out as `2024-01-01T00:00:00Z`, without quotes.
//!
//! A `serde_json::Value` has no such kind, and a text of the same letters is something else, since it is written with
//! quotes. So a time is a text behind a character that no text has.

use serde_json::Value;

/// Unicode promises never to assign this one.
const MARK: char = '\u{fdd0}';

/// The time in a value's text, if it is one: somebody's text may begin with any character.
pub(super) fn of(text: &str) -> Option<&str> {
    text.strip_prefix(MARK).filter(|time| read(time).as_deref() == Some(text))
}

/// The value's text for a time.
pub(super) fn value(time: &str) -> String {
    format!("{MARK}{time}")
}

/// All times as mere texts, as JSON has them.
pub(in crate::machineconfig) fn as_texts(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(time) = of(text) {
                *text = time.to_owned();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(as_texts),
        Value::Object(map) => map.values_mut().for_each(as_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a plain text is one of those.
pub(in crate::machineconfig) fn is_date(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit()) && read(text).is_some()
}

/// What go-yaml 3 and 4 take for a time, as RFC 3339 behind the mark: a date, one with a time of day after a blank, or
/// after a `T` with its offset as well.
pub(super) fn read(text: &str) -> Option<String> {
    let (year, rest) = text.split_at_checked(4).filter(|(year, _)| year.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (month, rest) = number(rest.strip_prefix('-')?)?;
    let (day, rest) = number(rest.strip_prefix('-')?)?;
    jiff::civil::Date::new(year.parse().ok()?, month, day).ok()?;
    let date = format!("{year}-{month:02}-{day:02}");
    if rest.is_empty() {
        return Some(value(&format!("{date}T00:00:00Z")));
    }
    let zoned = rest.starts_with(['T', 't']);
    let (hour, rest) = number(rest.strip_prefix(['T', 't', ' '])?)?;
    let (minute, rest) = number(rest.strip_prefix(':')?)?;
    let (second, rest) = number(rest.strip_prefix(':')?)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let digits = rest.strip_prefix(['.', ',']).map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    let (fraction, offset) = if digits > 0 { (&rest[1..=digits], &rest[1 + digits..]) } else { ("", rest) };
    // Go counts nanoseconds.
    let fraction = fraction[..digits.min(9)].trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let offset = match offset {
        "" if !zoned => "Z",
        "Z" | "+00:00" | "-00:00" if zoned => "Z",
        offset if zoned && is_offset(offset) => offset,
        _ => return None,
    };
    Some(value(&format!("{date}T{hour:02}:{minute:02}:{second:02}{point}{fraction}{offset}")))
}

/// One or two digits, and what is behind them.
fn number(text: &str) -> Option<(i8, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count().min(2);
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

/// `+01:30`
fn is_offset(text: &str) -> bool {
    let number = |part: &str, limit: u8| part.len() == 2 && part.parse::<u8>().is_ok_and(|number| number <= limit);
    text.strip_prefix(['+', '-'])
        .and_then(|text| text.split_once(':'))
        .is_some_and(|(hours, minutes)| number(hours, 24) && number(minutes, 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_takes_for_a_time() {
        for (text, time) in [
            ("2024-01-01", "2024-01-01T00:00:00Z"),
            ("2024-1-2", "2024-01-02T00:00:00Z"),
            ("2001-12-14t21:59:43.10-05:00", "2001-12-14T21:59:43.1-05:00"),
            ("2001-12-14 21:59:43", "2001-12-14T21:59:43Z"),
            ("2001-12-14T1:2:3+00:00", "2001-12-14T01:02:03Z"),
        ] {
            assert_eq!(read(text).as_deref().and_then(of), Some(time), "{text}");
        }
        let others = [
            "2024-02-30",
            "2024-01",
            "2024-01-01T00:00:00",
            "2024-01-01 00:00:00Z",
            "12:30:00",
            "20240-1-1",
            "2024-01-01x",
        ];
        for text in others {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(of("\u{fdd0}tory.talos.dev"), None, "somebody's own text");
    }
}
