//! What a configuration says about the network: links with their addresses, and shared addresses.
//!
//! The two forms differ in what they leave alone. An entry of
//! `machine.network.interfaces` takes the default DHCP from the links that it
//! selects; a network document takes it from *every* link (Talos 1.12:
//! `RunDefaultDHCPOperators`).

use std::net::Ipv4Addr;

use regex::Regex;
use serde_json::Value;

use super::{Applied, Reader, scalar};

/// The settings for one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub selector: Selector,
    /// Address and prefix length; 32 for a bare address of the old form.
    pub addresses: Vec<(Ipv4Addr, u8)>,
    pub dhcp: bool,
}

/// Which link is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `eth0`, `ens18`.
    Name(String),
    /// A glob over the lower-case MAC. Talos compares case and all: a selector in upper case finds nothing.
    Mac(String),
    /// Any physical link: a selector by driver, bus or `physical`.
    Physical,
}

pub(super) fn read(reader: &Reader<'_>, applied: &mut Applied) {
    for interface in reader.list("/machine/network/interfaces") {
        if interface.get("ignore").and_then(Value::as_bool) == Some(true) {
            continue;
        }
        let selector = match (interface.get("interface").and_then(scalar), interface.get("deviceSelector")) {
            (Some(name), _) => Selector::Name(name),
            (None, Some(selector)) => ["hardwareAddr", "permanentAddr"]
                .iter()
                .find_map(|key| selector.get(*key).and_then(scalar))
                .map_or(Selector::Physical, Selector::Mac),
            (None, None) => continue,
        };
        let addresses = interface.get("addresses").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let addresses = addresses
            .iter()
            .filter_map(scalar)
            .chain(interface.get("cidr").and_then(scalar))
            .filter_map(|text| address(&text));
        applied.vips.extend(interface.pointer("/vip/ip").and_then(ip));
        applied.links.push(Link {
            selector,
            addresses: addresses.map(|(ip, prefix)| (ip, prefix.unwrap_or(32))).collect(),
            dhcp: interface.get("dhcp").and_then(Value::as_bool) == Some(true),
        });
    }
    for document in reader.documents("LinkConfig") {
        let Some(selector) = document.get("name").and_then(scalar).map(|name| named(reader, name)) else { continue };
        let addresses = document.get("addresses").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let addresses = addresses
            .iter()
            .filter_map(|entry| entry.get("address").and_then(scalar))
            .filter_map(|text| address(&text));
        applied.network_documents = true;
        applied.links.push(Link {
            selector,
            addresses: addresses.filter_map(|(ip, prefix)| Some((ip, prefix?))).collect(),
            dhcp: false,
        });
    }
    for document in reader.documents("DHCPv4Config") {
        let Some(selector) = document.get("name").and_then(scalar).map(|name| named(reader, name)) else { continue };
        applied.network_documents = true;
        applied.links.push(Link { selector, addresses: Vec::new(), dhcp: true });
    }
    for document in reader.documents("Layer2VIPConfig") {
        applied.vips.extend(document.get("name").and_then(ip));
    }
}

/// A link name, which may be an alias that a `LinkAliasConfig` gives by MAC.
fn named(reader: &Reader<'_>, name: String) -> Selector {
    let alias = reader.documents("LinkAliasConfig").find(|document| {
        document.get("name").and_then(scalar).is_some_and(|alias| alias == name || alias.replace("%d", "0") == name)
    });
    let Some(expression) = alias.and_then(|alias| alias.pointer("/selector/match").and_then(scalar)) else {
        return Selector::Name(name);
    };
    let mac = Regex::new(r"(?i)(?:[0-9a-f*]{1,2}:){2,5}[0-9a-f*]{1,2}").expect("the pattern is constant");
    mac.find(&expression).map_or(Selector::Physical, |found| Selector::Mac(found.as_str().to_owned()))
}

fn address(text: &str) -> Option<(Ipv4Addr, Option<u8>)> {
    match text.split_once('/') {
        Some((ip, prefix)) => Some((ip.parse().ok()?, Some(prefix.parse().ok()?))),
        None => Some((text.parse().ok()?, None)),
    }
}

fn ip(value: &Value) -> Option<Ipv4Addr> {
    scalar(value)?.parse().ok()
}

impl Selector {
    /// Whether a physical link of this name and (lower-case) MAC is meant.
    pub fn matches(&self, name: &str, mac: &str) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Mac(glob) => glob_matches(glob, mac),
            Self::Physical => true,
        }
    }
}

/// `*` stands for any run of characters; everything else for itself.
fn glob_matches(glob: &str, text: &str) -> bool {
    let parts: Vec<&str> = glob.split('*').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return glob == text };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
