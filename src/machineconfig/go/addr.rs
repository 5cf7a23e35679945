//! Addresses and prefixes as `net/netip` reads them, with the texts of its errors.

use std::net::{IpAddr, SocketAddr};

use super::quoted;
use ipnet::IpNet;

/// `netip.ParseAddr`, without the zone.
pub(in crate::machineconfig) fn addr(text: &str) -> Result<IpAddr, String> {
    let found = match text.find(['.', ':', '%']).map(|at| &text[at..=at]) {
        Some(".") => v4(text, 0).map_or_else(Err, |()| text.parse().map_err(|_| ("unable to parse IP", None))),
        Some(":") => {
            let bare = text.split_once('%').map_or(text, |(bare, _)| bare);
            v6(text).map_or_else(Err, |()| bare.parse().map_err(|_| ("unable to parse IP", None)))
        }
        Some(_) => Err(("missing IPv6 address", None)),
        None => Err(("unable to parse IP", None)),
    };
    found.map_err(|(why, at)| {
        let at = at.map(|at| format!(" (at {at})", at = quoted(at))).unwrap_or_default();
        format!("ParseAddr({text}): {why}{at}", text = quoted(text))
    })
}

/// `netip.ParsePrefix`.
pub(in crate::machineconfig) fn prefix(text: &str) -> Result<IpNet, String> {
    let fail = |why: String| Err(format!("netip.ParsePrefix({text}): {why}", text = quoted(text)));
    let Some((address, bits)) = text.rsplit_once('/') else { return fail("no '/'".to_owned()) };
    let ip = match addr(address) {
        Ok(ip) => ip,
        Err(why) => return fail(why),
    };
    if address.contains('%') {
        return fail("IPv6 zones cannot be present in a prefix".to_owned());
    }
    let digits = bits.bytes().all(|byte| byte.is_ascii_digit()) && (bits.len() == 1 || !bits.starts_with('0'));
    match bits.parse::<u32>() {
        Ok(number) if digits => {
            let net = u8::try_from(number).ok().and_then(|number| IpNet::new(ip, number).ok());
            net.map_or_else(|| fail("prefix length out of range".to_owned()), Ok)
        }
        _ => fail(format!("bad bits after slash: {bits}", bits = quoted(bits))),
    }
}

type Fault<'a> = (&'static str, Option<&'a str>);

/// What is wrong with an IPv4 address that begins at `from`.
fn v4(whole: &str, from: usize) -> Result<(), Fault<'_>> {
    let text = &whole[from..];
    let bytes = text.as_bytes();
    let (mut value, mut digits, mut fields) = (0_u32, 0, 0);
    for (at, symbol) in text.char_indices() {
        match symbol {
            '0'..='9' => {
                if digits == 1 && value == 0 {
                    return Err(("IPv4 field has octet with leading zero", None));
                }
                value = value * 10 + u32::from(bytes[at] - b'0');
                digits += 1;
                if value > 255 {
                    return Err(("IPv4 field has value >255", None));
                }
            }
            '.' => {
                if at == 0 || at == text.len() - 1 || bytes[at - 1] == b'.' {
                    return Err(("IPv4 field must have at least one digit", Some(&text[at..])));
                }
                if fields == 3 {
                    return Err(("IPv4 address too long", None));
                }
                (fields, value, digits) = (fields + 1, 0, 0);
            }
            _ => return Err(("unexpected character", Some(&text[at..]))),
        }
    }
    if fields < 3 { Err(("IPv4 address too short", None)) } else { Ok(()) }
}

/// What is wrong with an IPv6 address.
fn v6(whole: &str) -> Result<(), Fault<'_>> {
    let (text, zone) = whole.split_once('%').map_or((whole, None), |(text, zone)| (text, Some(zone)));
    if zone == Some("") {
        return Err(("zone must be a non-empty string", None));
    }
    let mut rest = text;
    let (mut fields, mut gap) = (0, None);
    if let Some(after) = text.strip_prefix("::") {
        (gap, rest) = (Some(0), after);
        if rest.is_empty() {
            return Ok(());
        }
    }
    while fields < 8 {
        let end = rest.find(|symbol: char| !symbol.is_ascii_hexdigit()).unwrap_or(rest.len());
        if end > 4 {
            return Err(("each group must have 4 or less digits", Some(rest)));
        }
        if end == 0 {
            return Err(("each colon-separated field must have at least one digit", Some(rest)));
        }
        if rest[end..].starts_with('.') {
            if gap.is_none() && fields != 6 {
                return Err(("embedded IPv4 address must replace the final 2 fields of the address", Some(rest)));
            }
            if fields > 6 {
                return Err(("too many hex fields to fit an embedded IPv4 at the end of the address", Some(rest)));
            }
            v4(text, text.len() - rest.len())?;
            (fields, rest) = (fields + 2, "");
            break;
        }
        (fields, rest) = (fields + 1, &rest[end..]);
        if rest.is_empty() {
            break;
        }
        if !rest.starts_with(':') {
            return Err(("unexpected character, want colon", Some(rest)));
        }
        if rest.len() == 1 {
            return Err(("colon must be followed by more characters", Some(rest)));
        }
        rest = &rest[1..];
        if rest.starts_with(':') {
            if gap.is_some() {
                return Err(("multiple :: in address", Some(rest)));
            }
            (gap, rest) = (Some(fields), &rest[1..]);
            if rest.is_empty() {
                break;
            }
        }
    }
    match (rest, gap) {
        ("", None) if fields < 8 => Err(("address string too short", None)),
        ("", Some(_)) if fields >= 8 => Err(("the :: must expand to at least one field of zeros", None)),
        ("", _) => Ok(()),
        _ => Err(("trailing garbage after address", Some(rest))),
    }
}
/// `10.0.0.1:80`, `[::1]:80` as `netip.ParseAddrPort` has them.
pub(in crate::machineconfig) fn addr_port(text: &str) -> Result<SocketAddr, String> {
    let (ip, port) = text.rsplit_once(':').ok_or("not an ip:port")?;
    if ip.is_empty() {
        return Err("no IP".to_owned());
    }
    if port.is_empty() {
        return Err("no port".to_owned());
    }
    let inner = match ip.strip_prefix('[') {
        Some(inner) => Some(inner.strip_suffix(']').ok_or("missing ]")?),
        None => None,
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u16> = port.parse().ok().filter(|_| digits);
    let number = number
        .ok_or_else(|| format!("invalid port {port} parsing {text}", port = quoted(port), text = quoted(text)))?;
    let ip = addr(inner.unwrap_or(ip))?;
    match (inner, ip) {
        (Some(_), IpAddr::V4(_)) => Err(format!(
            "invalid ip:port {text}, square brackets can only be used with IPv6 addresses",
            text = quoted(text)
        )),
        (None, IpAddr::V6(_)) => Err(format!(
            "invalid ip:port {text}, IPv6 addresses must be surrounded by square brackets",
            text = quoted(text)
        )),
        (_, ip) => Ok(SocketAddr::new(ip, number)),
    }
}
