//! Addresses and URLs as Go's `net` and Talos's own library judge them.

use std::net::IpAddr;

use crate::machineconfig::go::Url;

/// `net.ParseIP`.
pub(super) fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// `net.ParseCIDR`, with its text.
pub(super) fn cidr(text: &str) -> Result<(), String> {
    match text.parse::<ipnet::IpNet>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("invalid CIDR address: {text}")),
    }
}

/// An address with or without prefix length.
pub(super) fn ip_or_cidr(text: &str) -> Result<(), String> {
    if text.contains('/') {
        cidr(text)
    } else if is_ip(text) {
        Ok(())
    } else {
        Err(format!("failed to parse IP address {text:?}"))
    }
}

/// A subnet or address, with an optional `!` in front; the error is the text without it.
pub(super) fn subnet(text: &str) -> Result<(), &str> {
    let bare = text.strip_prefix('!').unwrap_or(text);
    if is_ip(bare) || bare.parse::<ipnet::IpNet>().is_ok() { Ok(()) } else { Err(bare) }
}

/// What is wrong with the URL of an endpoint, if anything is.
pub(in crate::machineconfig) fn endpoint(text: &str) -> Result<(), String> {
    let url = Url::parse(text)?;
    let host = url.hostname();
    if host.is_empty() {
        return Err("hostname must not be blank".to_owned());
    }
    if host.contains(':') && !url.host.starts_with('[') {
        return Err("IPv6 addresses MUST be enclosed by square brackets".to_owned());
    }
    let port = url.port();
    if !port.is_empty() && !port.parse::<u32>().is_ok_and(|port| (1..=65_535).contains(&port)) {
        return Err("port number must be between 1 and 65535".to_owned());
    }
    Ok(())
}

/// A DNS name as Talos takes it for `dnsDomain`.
pub(super) fn is_dns_name(name: &str) -> bool {
    // One dot may end it; an underscore may as well, but that is a letter like any other here.
    let bare = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        let word = |symbol: char| symbol.is_ascii_alphanumeric() || symbol == '_';
        label.len() <= 63 && label.starts_with(word) && label.chars().all(|symbol| word(symbol) || symbol == '-')
    };
    !name.is_empty() && name.len() - name.matches('.').count() <= 255 && bare.split('.').all(label)
}

/// Standard base64 of a WireGuard key, with Go's texts.
pub(super) fn wireguard_key(text: &str) -> Result<(), String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    match STANDARD.decode(text) {
        Ok(raw) if raw.len() == 32 => Ok(()),
        Ok(raw) => Err(format!("wrong key {text:?} length: {}", raw.len())),
        Err(_) => {
            // Go names the first byte of the group of four that it could not read.
            let good = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)).count();
            let position = if good == text.len() { good / 4 * 4 } else { good };
            Err(format!("illegal base64 data at input byte {position}"))
        }
    }
}
