//! The few habits of Go's standard library that show in configurations: durations, URLs, addresses, base64, sizes.

mod addr;
mod base64;
mod escape;
mod quote;
mod size;
pub(super) mod types;
mod url;

pub(super) use addr::{addr, addr_port, prefix};
pub(super) use base64::base64;
pub use quote::quoted;
pub(super) use size::{bytes, shown_bytes};
pub(super) use url::{Url, url};

/// `1h30m`, `0s`, `-1.5ms`: nanoseconds, as `time.ParseDuration` has them.
pub(super) fn duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut whole: i128 = 0;
    let mut part = 0.0_f64;
    while !rest.is_empty() {
        let end = rest.find(|symbol: char| !symbol.is_ascii_digit() && symbol != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|symbol: char| symbol.is_ascii_digit() || symbol == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
        if integer.is_empty() && fraction.is_empty() {
            return None;
        }
        if !integer.is_empty() {
            whole = whole.checked_add(integer.parse::<i128>().ok()?.checked_mul(scale)?)?;
        }
        if !fraction.is_empty() {
            #[expect(clippy::cast_precision_loss, reason = "a scale is at most 3.6e12, exact in an f64")]
            let scale = scale as f64;
            part += format!("0.{fraction}").parse::<f64>().ok()? * scale;
        }
        rest = tail;
    }
    #[expect(clippy::cast_possible_truncation, reason = "Go truncates below one nanosecond, too")]
    let nanoseconds = whole + part as i128;
    i64::try_from(if sign < 0.0 { -nanoseconds } else { nanoseconds }).ok()
}

/// The reverse, as `Duration.String`: `168h0m0s`, `1m30s`, `1.5s`, `20ms`, `0s`.
pub(super) fn show_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let digits = unit.ilog10() as usize;
        let rest = format!("{:0digits$}", value % unit);
        let rest = if digits == 0 { "" } else { rest.trim_end_matches('0') };
        if rest.is_empty() { (value / unit).to_string() } else { format!("{}.{rest}", value / unit) }
    };
    match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{total}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(total, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(total, 1_000_000)),
        _ => {
            let seconds = total / 1_000_000_000;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = fraction(total % 60_000_000_000, 1_000_000_000);
            match (hours, minutes) {
                (0, 0) => format!("{sign}{rest}s"),
                (0, _) => format!("{sign}{minutes}m{rest}s"),
                _ => format!("{sign}{hours}h{minutes}m{rest}s"),
            }
        }
    }
}

/// `strconv.ParseUint` of a decimal number of so many bits, with its error.
pub(super) fn unsigned(text: &str, bits: u32) -> Result<u64, String> {
    let fail = |why: &str| Err(format!("strconv.ParseUint: parsing {text}: {why}", text = quoted(text)));
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return fail("invalid syntax");
    }
    match text.parse::<u64>() {
        Ok(number) if bits == 64 || number >> bits == 0 => Ok(number),
        _ => fail("value out of range"),
    }
}
