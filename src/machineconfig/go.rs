//! The few habits of Go's standard library that show in configurations: durations, URLs, addresses.

use std::net::IpAddr;

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

/// The parts of a URL that merge one by one. Nothing is normalised: Go keeps `https://h` without a slash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: String,
    pub(super) user: String,
    /// With its port, and brackets around IPv6.
    pub(super) host: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) fragment: String,
    /// `mailto:x`: everything after the colon.
    pub(super) opaque: String,
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: String| Err(format!("parse {text:?}: {what}"));
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return wrong("net/url: invalid control character in URL".to_owned());
        }
        let mut url = Self::default();
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        fragment.clone_into(&mut url.fragment);
        let mut rest = rest;
        if let Some((scheme, tail)) = rest.split_once(':')
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|symbol| symbol.is_ascii_alphanumeric() || "+-.".contains(symbol))
        {
            url.scheme = scheme.to_ascii_lowercase();
            rest = tail;
        } else if rest.starts_with(':') {
            return wrong("missing protocol scheme".to_owned());
        }
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        query.clone_into(&mut url.query);
        if let Some(authority) = before.strip_prefix("//") {
            let (authority, path) = authority.find('/').map_or((authority, ""), |at| authority.split_at(at));
            let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
            user.clone_into(&mut url.user);
            host.clone_into(&mut url.host);
            path.clone_into(&mut url.path);
            if let Some(problem) = bad_host(host) {
                return wrong(problem);
            }
        } else if !url.scheme.is_empty() && !before.starts_with('/') {
            before.clone_into(&mut url.opaque);
        } else {
            if url.scheme.is_empty() && before.split('/').next().is_some_and(|first| first.contains(':')) {
                return wrong("first path segment in URL cannot contain colon".to_owned());
            }
            before.clone_into(&mut url.path);
        }
        Ok(url)
    }

    /// The host without port and brackets.
    pub(super) fn hostname(&self) -> &str {
        let host = self.host.strip_prefix('[').and_then(|host| host.split_once(']')).map(|(host, _)| host);
        host.unwrap_or_else(|| self.host.rsplit_once(':').map_or(self.host.as_str(), |(host, _)| host))
    }

    /// The port as written; empty without one.
    pub(super) fn port(&self) -> &str {
        let after = self.host.rsplit_once(']').map_or(self.host.as_str(), |(_, after)| after);
        after.rsplit_once(':').map_or("", |(_, port)| port)
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if !self.opaque.is_empty() {
            f.write_str(&self.opaque)?;
        } else {
            if !self.scheme.is_empty() || !self.host.is_empty() || !self.user.is_empty() {
                if !self.host.is_empty() || !self.path.is_empty() || !self.user.is_empty() {
                    f.write_str("//")?;
                }
                if !self.user.is_empty() {
                    write!(f, "{}@", self.user)?;
                }
                f.write_str(&self.host)?;
            }
            if !self.path.is_empty() && !self.path.starts_with('/') && !self.host.is_empty() {
                f.write_str("/")?;
            }
            f.write_str(&self.path)?;
        }
        if !self.query.is_empty() {
            write!(f, "?{}", self.query)?;
        }
        if !self.fragment.is_empty() {
            write!(f, "#{}", self.fragment)?;
        }
        Ok(())
    }
}

fn bad_host(host: &str) -> Option<String> {
    let port = if let Some(tail) = host.strip_prefix('[') {
        let Some((_, port)) = tail.rsplit_once(']') else { return Some("missing ']' in host".to_owned()) };
        port
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    if !port.is_empty() && !(port.starts_with(':') && port[1..].bytes().all(|byte| byte.is_ascii_digit())) {
        return Some(format!("invalid port {port:?} after host"));
    }
    host.chars()
        .find(|symbol| " \"<>\\^`{|}".contains(*symbol))
        .map(|symbol| format!("invalid character {:?} in host name", symbol.to_string()))
}

/// Parses and prints: `url.Parse(x).String()`.
pub(super) fn url(text: &str) -> Result<String, String> {
    Url::parse(text).map(|url| url.to_string())
}

/// `netip.ParseAddr`: an address, with the texts of its errors as far as they matter.
pub(super) fn addr(text: &str) -> Result<IpAddr, String> {
    let bare = text.split_once('%').map_or(text, |(bare, _)| bare);
    if let Ok(addr) = bare.parse() {
        return Ok(addr);
    }
    let why = if text.is_empty() || !text.contains(['.', ':']) {
        "unable to parse IP".to_owned()
    } else if let Some((at, _)) =
        text.char_indices().find(|(_, symbol)| !symbol.is_ascii_hexdigit() && !".:".contains(*symbol))
    {
        format!("unexpected character (at {:?})", &text[at..])
    } else {
        "unable to parse IP".to_owned()
    };
    Err(format!("ParseAddr({text:?}): {why}"))
}
