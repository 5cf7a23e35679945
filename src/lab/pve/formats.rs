//! Named formats: the validators that are functions upstream.
//!
//! Most are a pattern and a text, and live in the tables. What no pattern can
//! say is here (pve-common: src/PVE/JSONSchema.pm).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::schema::{Code, Format, Modifier, Schema};

/// Checks one value against a named format; the error text ends in a newline, as upstream dies.
pub(super) fn check(schema: &Schema, name: &str, value: &str) -> Result<(), String> {
    let Some(Format::Code { code, modifier }) = schema.formats.get(name) else { return Ok(()) };
    match modifier {
        Modifier::Opt if value.is_empty() => Ok(()),
        Modifier::One | Modifier::Opt => check_code(schema, code, value),
        Modifier::List => split_list(value).into_iter().try_for_each(|item| check_code(schema, code, item)),
    }
}

/// The items of a `-list` value: split at NUL if there is one, else at commas, semicolons and white space.
pub(super) fn split_list(value: &str) -> Vec<&str> {
    if value.contains('\0') {
        return value.split('\0').filter(|item| !item.is_empty()).collect();
    }
    value
        .split(|letter: char| matches!(letter, ',' | ';') || letter.is_whitespace())
        .filter(|item| !item.is_empty())
        .collect()
}

fn check_code(schema: &Schema, code: &str, value: &str) -> Result<(), String> {
    match code {
        "pve-priv" if !schema.roles["Administrator"].iter().any(|known| known == value) => {
            return Err(format!("invalid privilege '{value}'\n"));
        }
        "storage-pair" => return storage_pair(schema, value),
        "pve-hotplug-features" => return hotplug(value),
        _ => {}
    }
    let Some(rule) = schema.codes.get(code) else { return Ok(()) };
    let text = |template: &str| template.replace("{value}", value).replace("{item}", value);
    for pre in &rule.pre {
        let hit = match pre.condition.as_str() {
            "length>8" => value.len() > 8,
            "length<2" => value.len() < 2,
            "length<3" => value.len() < 3,
            "length>64" => value.len() > 64,
            _ => value.split('/').count() > 3,
        };
        if hit {
            return Err(text(&pre.error).replace("(N >", &format!("({} >", value.len())));
        }
    }
    if fits(rule, code, value) { Ok(()) } else { Err(text(&rule.error)) }
}

/// `SOURCE:TARGET`, a target for all, or a `1` that leaves everything where it is.
fn storage_pair(schema: &Schema, value: &str) -> Result<(), String> {
    let pair = value.split_once(':').filter(|(from, to)| !from.is_empty() && !to.is_empty() && !to.contains(':'));
    let ids = match pair {
        Some((from, to)) => vec![from, to],
        None if value == "1" => Vec::new(),
        None => vec![value],
    };
    let checked = ids.into_iter().try_for_each(|id| check_code(schema, "pve-storage-id", id));
    checked.map_err(|text| format!("entry '{value}' contains invalid ID - {text}\n\n"))
}

fn hotplug(value: &str) -> Result<(), String> {
    let known = ["network", "disk", "cpu", "memory", "usb", "cloudinit"];
    let items = if matches!(value, "0" | "1") { Vec::new() } else { split_list(value) };
    match items.into_iter().find(|item| !known.contains(item)) {
        Some(item) => Err(format!("invalid hotplug feature '{item}'\n")),
        None => Ok(()),
    }
}

fn fits(rule: &Code, code: &str, value: &str) -> bool {
    if let (Some(separator), Some(regex)) = (&rule.split, &rule.regex) {
        // Perl takes a bare 0 for nothing at all.
        if value == "0" {
            return false;
        }
        let mut parts = value.split(separator.as_str()).filter(|part| !part.trim().is_empty()).peekable();
        return parts.peek().is_some() && parts.all(|part| regex.matches(part));
    }
    match &rule.regex {
        Some(regex) => regex.matches(value),
        None => by_function(code, value),
    }
}

fn by_function(code: &str, value: &str) -> bool {
    let v4 = || value.parse::<Ipv4Addr>().is_ok();
    let v6 = || value.parse::<Ipv6Addr>().is_ok();
    match code {
        "ipv4" => v4(),
        "ipv6" => v6(),
        "ip" => v4() || v6(),
        "address" => v4() || v6() || is_dns_name(value),
        "CIDRv4" => is_cidr4(value),
        "CIDRv6" => is_cidr6(value),
        "CIDR" => is_cidr4(value) || is_cidr6(value),
        "pve-ipv4-config" => matches!(value, "dhcp" | "manual") || is_cidr4(value),
        "pve-ipv6-config" => matches!(value, "auto" | "dhcp" | "manual") || is_cidr6(value),
        "pve-phys-bits" => value == "host" || value.parse().is_ok_and(|bits: u32| (8..=64).contains(&bits)),
        "pve-storage-content" => {
            matches!(value, "images" | "rootdir" | "vztmpl" | "iso" | "backup" | "snippets" | "none" | "import")
        }
        "pve-cpuset" => {
            !value.is_empty()
                && value.trim().split(',').all(|part| {
                    let mut ends = part.splitn(2, '-');
                    ends.all(|end| !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit()))
                })
        }
        _ => true,
    }
}

fn is_dns_name(value: &str) -> bool {
    let label = |label: &str| {
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        edge(label.bytes().next())
            && edge(label.bytes().last())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    value.split('.').all(label)
}

fn is_cidr4(value: &str) -> bool {
    value.split_once('/').is_some_and(|(ip, bits)| {
        ip.parse::<Ipv4Addr>().is_ok() && bits.parse().is_ok_and(|bits: u8| (8..=32).contains(&bits))
    })
}

fn is_cidr6(value: &str) -> bool {
    value.split_once('/').is_some_and(|(ip, bits)| {
        ip.parse::<Ipv6Addr>().is_ok() && bits.parse().is_ok_and(|bits: u8| (8..=128).contains(&bits))
    })
}
