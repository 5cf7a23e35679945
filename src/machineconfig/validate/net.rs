//! Addresses and URLs as Go's `net` and Talos's own library judge them.

use std::net::IpAddr;

use crate::machineconfig::go::quoted;
use crate::machineconfig::go::{self, Url};

/// `net.ParseIP`, which knows no zones.
pub(super) fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// `net.ParseCIDR`, with its text. Unlike `netip.ParsePrefix` it takes leading zeros in the length.
pub(super) fn cidr(text: &str) -> Result<(), String> {
    let parts = text.split_once('/').and_then(|(ip, length)| Some((ip.parse::<IpAddr>().ok()?, length)));
    let ok = parts.is_some_and(|(ip, length)| {
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        digits && length.parse::<u32>().is_ok_and(|length| length <= longest)
    });
    if ok { Ok(()) } else { Err(format!("invalid CIDR address: {text}")) }
}

/// An address with or without prefix length.
pub(super) fn ip_or_cidr(text: &str) -> Result<(), String> {
    if text.contains('/') {
        cidr(text)
    } else if is_ip(text) {
        Ok(())
    } else {
        Err(format!("failed to parse IP address {text}", text = quoted(text)))
    }
}

/// A subnet or address, with an optional `!` in front; the error is the text without it.
pub(super) fn subnet(text: &str) -> Result<(), &str> {
    let bare = text.strip_prefix('!').unwrap_or(text);
    if go::prefix(bare).is_ok() || go::addr(bare).is_ok() { Ok(()) } else { Err(bare) }
}

/// What is wrong with the URL of an endpoint, if anything is.
pub(in crate::machineconfig) fn endpoint(text: &str) -> Result<(), String> {
    let url = Url::parse(text)?;
    if url.host.matches(':').count() > 2 && !(url.host.contains('[') && url.host.contains(']')) {
        return Err("IPv6 addresses MUST be enclosed by square brackets".to_owned());
    }
    if url.hostname().is_empty() {
        return Err("hostname must not be blank".to_owned());
    }
    match url.port().parse::<i64>() {
        Ok(1..=65_535) => Ok(()),
        Ok(_) => Err("port number must be between 1 and 65535".to_owned()),
        Err(_) if url.port().is_empty() => Ok(()),
        Err(_) => Err("port number must be numeric".to_owned()),
    }
}

/// `net.SplitHostPort`: the host, or its error.
pub(super) fn host_port(text: &str) -> Result<&str, String> {
    let fail = |why: &str| Err(if text.is_empty() { why.to_owned() } else { format!("address {text}: {why}") });
    let Some(colon) = text.rfind(':') else { return fail("missing port in address") };
    // From where on a bracket would be out of place: opening ones in the whole, closing ones behind the host.
    let (host, opening, closing) = if text.starts_with('[') {
        match text.find(']') {
            None => return fail("missing ']' in address"),
            Some(end) if end + 1 == colon => (&text[1..end], 1, end + 1),
            Some(end) if text[end + 1..].starts_with(':') => return fail("too many colons in address"),
            Some(_) => return fail("missing port in address"),
        }
    } else if text[..colon].contains(':') {
        return fail("too many colons in address");
    } else {
        (&text[..colon], 0, 0)
    };
    if text[opening..].contains('[') {
        return fail("unexpected '[' in address");
    }
    if text[closing..].contains(']') {
        return fail("unexpected ']' in address");
    }
    Ok(host)
}

/// Whether an address ends in a port; a host with colons has to be an IP address.
pub(super) fn has_port(text: &str) -> bool {
    host_port(text).is_ok_and(|host| !host.contains(':') || go::addr(host).is_ok())
}

/// A DNS name as Talos takes it for `dnsDomain`.
pub(super) fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        let word = |symbol: char| symbol.is_ascii_alphanumeric() || symbol == '_';
        label.len() <= 63 && label.starts_with(word) && label.chars().all(|symbol| word(symbol) || symbol == '-')
    };
    let labels = |name: &str| name.split('.').all(label);
    // One dot or underscore may end it.
    !name.is_empty()
        && name.len() - name.matches('.').count() <= 255
        && (labels(name) || labels(name.strip_suffix(['.', '_']).unwrap_or_default()))
}

/// Standard base64 of a `WireGuard` key, with Go's texts.
pub(super) fn wireguard_key(text: &str) -> Result<(), String> {
    match go::base64(text) {
        Ok(raw) if raw.len() == 32 => Ok(()),
        Ok(raw) => Err(format!("wrong key {text} length: {}", raw.len(), text = quoted(text))),
        Err(position) => Err(format!("illegal base64 data at input byte {position}")),
    }
}
