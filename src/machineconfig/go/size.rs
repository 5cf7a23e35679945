//! Sizes that people write, as go-humanize reads them.

use super::quoted;

/// `10GiB`, `1.5 TB`, `1,000` in bytes. The error is Go's text.
pub(in crate::machineconfig) fn bytes(text: &str) -> Result<u64, String> {
    let end = text.find(|symbol: char| !symbol.is_numeric() && !matches!(symbol, '.' | ',')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number.replace(',', "");
    let wrong = || format!("strconv.ParseFloat: parsing {number}: invalid syntax", number = quoted(&number));
    let value: f64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim().to_lowercase();
    let scale: u64 = match unit.strip_suffix('b').unwrap_or(&unit) {
        "" => 1,
        "k" => 1000,
        "m" => 1000_u64.pow(2),
        "g" => 1000_u64.pow(3),
        "t" => 1000_u64.pow(4),
        "p" => 1000_u64.pow(5),
        "e" => 1000_u64.pow(6),
        "ki" => 1 << 10,
        "mi" => 1 << 20,
        "gi" => 1 << 30,
        "ti" => 1 << 40,
        "pi" => 1 << 50,
        "ei" => 1 << 60,
        _ => return Err(format!("unhandled size name: {unit}")),
    };
    #[expect(clippy::cast_precision_loss, reason = "go-humanize computes with floats, too")]
    let (bytes, most) = (value * scale as f64, u64::MAX as f64);
    if bytes >= most {
        return Err(format!("too large: {text}"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above, and no sign is read")]
    Ok(bytes as u64)
}

/// `2.0 GB`, where that says it exactly.
pub(in crate::machineconfig) fn shown_bytes(size: u64) -> Option<String> {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let power = size.max(1).ilog(1000);
    #[expect(clippy::cast_precision_loss, reason = "go-humanize computes with floats, too")]
    let value = (size as f64 / 1000_f64.powi(power.cast_signed()) * 10.0 + 0.5).floor() / 10.0;
    let unit = UNITS.get(power as usize)?;
    let text = match value {
        _ if size < 10 => format!("{size} {unit}"),
        value if value < 10.0 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    };
    (bytes(&text) == Ok(size)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_where_nothing_is_lost() {
        for (size, text) in [
            (2_000_000_000, Some("2.0 GB")),
            (100_000_000, Some("100 MB")),
            (12_500_000_000, None),
            (1_500_000, Some("1.5 MB")),
            (1 << 30, None),
        ] {
            assert_eq!(shown_bytes(size).as_deref(), text, "{size}");
        }
    }

    #[test]
    fn sizes_and_what_is_none() {
        for (text, size) in
            [("10GiB", 10 << 30), ("1.5 tb", 1_500_000_000_000), ("1,000", 1000), ("5b", 5), ("3Ki", 3072)]
        {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for (text, why) in [
            ("", "strconv.ParseFloat: parsing \"\": invalid syntax"),
            ("-1", "strconv.ParseFloat: parsing \"\": invalid syntax"),
            ("1.2.3", "strconv.ParseFloat: parsing \"1.2.3\": invalid syntax"),
            ("10 %", "unhandled size name: %"),
            ("9999999999999GiB", "too large: 9999999999999GiB"),
        ] {
            assert_eq!(bytes(text), Err(why.to_owned()), "{text}");
        }
    }
}
