//! Link documents.

use std::net::IpAddr;

use serde_json::Value;

use crate::machineconfig::cel::{self, Scope};
use crate::machineconfig::go::quoted;
use crate::machineconfig::minor::Minor;
use crate::machineconfig::validate::{Findings, at, list, net, number, text};

/// Whether `kind` is one of these.
pub(super) fn check(kind: &str, name: &str, tree: &Value, minor: &Minor, found: &mut Findings) -> bool {
    match kind {
        "LinkConfig" | "DummyLinkConfig" | "BridgeConfig" | "BondConfig" | "VLANConfig" | "VRFConfig"
        | "WireguardConfig" | "LinkAliasConfig" | "DHCPv4Config" | "DHCPv6Config" => {
            found.check(!name.is_empty(), "name must be specified");
        }
        "VethConfig" => {
            let peer = tree.get("peer").unwrap_or(&Value::Null);
            let peer_name = text(peer, "name");
            for (what, name) in [("name", name), ("peer name", peer_name)] {
                if let Some(why) = veth_name(name) {
                    found.error(format!("{what} must {why}"));
                }
            }
            found.check(name.is_empty() || name != peer_name, "name and peer name must be different");
            common(tree, found);
            common(peer, found);
            return true;
        }
        _ => return false,
    }
    match kind {
        "LinkAliasConfig" => {
            alias(name, tree, minor, found);
            return true;
        }
        "DHCPv4Config" | "DHCPv6Config" => {
            let raw = !text(tree, "duidRaw").is_empty();
            let duid = text(tree, "clientIdentifier") == "duid";
            found.check(duid || !raw, "duidRaw can only be set if clientIdentifier is 'duid'");
            found.check(raw || !duid, "duidRaw must be set if clientIdentifier is 'duid'");
            return true;
        }
        "BondConfig" => {
            found.check(!list(tree, "links").is_empty(), "at least one link must be specified");
            let mode = text(tree, "bondMode");
            found.check(!mode.is_empty(), "bond mode must be specified");
            if mode == "802.3ad" {
                for key in ["miimon", "updelay", "downdelay"] {
                    if tree.get(key).is_none() {
                        found.warning(format!("{key} was not specified for 802.3ad bond"));
                    }
                }
            }
        }
        "VLANConfig" => {
            found
                .check((1..=4094).contains(&number(tree, "vlanID")), "vlanID must be specified and between 1 and 4094");
            found.check(!text(tree, "parent").is_empty(), "parent must be specified");
        }
        "VRFConfig" => {
            let table = match text(tree, "table") {
                "" => "unspec",
                table => table,
            };
            let reserved = matches!(table, "unspec" | "local" | "main" | "default");
            found.check(!reserved, format!("cannot create vrf with reserved table {table}"));
        }
        "WireguardConfig" => wireguard(tree, found),
        _ => {}
    }
    common(tree, found);
    true
}

fn alias(name: &str, tree: &Value, minor: &Minor, found: &mut Findings) {
    if let Some((prefix, verb)) = name.split_once('%').filter(|_| minor.link_alias_patterns) {
        found.check(
            verb == "d" && !prefix.is_empty(),
            format!("name {name} contains an invalid format verb, use %d suffix", name = quoted(name)),
        );
    }
    match at(tree, &["selector", "match"]).and_then(Value::as_str).filter(|cel| !cel.is_empty()) {
        None => found.error("link selector is required"),
        Some(cel) => {
            if let Some(why) = cel::problem(cel, Scope::Link, minor) {
                found.error(format!("link selector is invalid: {why}"));
            }
        }
    }
}

/// What the name of a link that Linux makes has to be, if it is not.
fn veth_name(name: &str) -> Option<String> {
    match name {
        "" => Some("be specified".to_owned()),
        _ if name.len() > 15 => Some("not exceed 15 bytes".to_owned()),
        "." | ".." => Some(format!("not be {name}", name = quoted(name))),
        _ if name.contains(['/', ':']) => Some("not contain '/' or ':'".to_owned()),
        _ if name.chars().any(|symbol| symbol.is_whitespace() || symbol.is_control()) => {
            Some("not contain whitespace or non-printable characters".to_owned())
        }
        _ => None,
    }
}

fn wireguard(tree: &Value, found: &mut Findings) {
    match text(tree, "privateKey") {
        "" => found.error("wireguard private key must be specified"),
        key => {
            if let Err(why) = wireguard_key(key) {
                found.error(format!("wireguard private key is invalid: {why}"));
            }
        }
    }
    let port = number(tree, "listenPort");
    found.check((0..=65_535).contains(&port), "wireguard listen port must be between 0 and 65535");
    for (index, peer) in list(tree, "peers").iter().enumerate() {
        let at = format!("(peer index {index})");
        match text(peer, "publicKey") {
            "" => found.error(format!("wireguard peer public key must be specified {at}")),
            key => {
                if let Err(why) = wireguard_key(key) {
                    found.error(format!("wireguard peer public key is invalid {at}: {why}"));
                }
            }
        }
        if let Err(why) = Some(text(peer, "presharedKey")).filter(|key| !key.is_empty()).map_or(Ok(()), wireguard_key) {
            found.error(format!("wireguard peer preshared key is invalid {at}: {why}"));
        }
        found.check(
            super::duration(peer, "persistentKeepaliveInterval") >= 0,
            format!("wireguard peer persistent keepalive interval cannot be negative {at}"),
        );
    }
}

/// A key in a document: as in v1alpha1, but for the text about its length.
fn wireguard_key(key: &str) -> Result<(), String> {
    net::wireguard_key(key)
        .map_err(|why| if why.starts_with("wrong key") { "invalid wireguard key length".to_owned() } else { why })
}

fn common(tree: &Value, found: &mut Findings) {
    // What does not parse was refused while decoding; left is what parses and means nothing.
    let is_unspecified = |text: &str| {
        let bare = text.split_once('/').map_or(text, |(bare, _)| bare);
        bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
    };
    for (index, address) in list(tree, "addresses").iter().enumerate() {
        match text(address, "address") {
            "" => found.error(format!("address {index} must be specified")),
            address => {
                found.check(!is_unspecified(address), format!("address {index} must be a valid IP address"));
            }
        }
    }
    for (index, route) in list(tree, "routes").iter().enumerate() {
        // The default route is the one without destination; spelled out it is refused.
        for (key, what) in [("destination", "prefix"), ("gateway", "address"), ("source", "address")] {
            found.check(!is_unspecified(text(route, key)), format!("route {index} {key} must be a valid IP {what}"));
        }
    }
}
