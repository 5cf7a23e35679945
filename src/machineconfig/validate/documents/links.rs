//! Link documents.

use std::net::IpAddr;

use serde_json::Value;

use super::volumes::cel_problem;
use crate::machineconfig::validate::{Findings, at, list, number, text};

pub(super) fn check(kind: &str, name: &str, tree: &Value, found: &mut Findings) {
    found.check(!name.is_empty(), "name must be specified");
    match kind {
        "LinkAliasConfig" => {
            if let Some((prefix, verb)) = name.split_once('%') {
                found.check(
                    verb == "d" && !prefix.is_empty(),
                    format!("name {name:?} contains an invalid format verb, use %d suffix"),
                );
            }
            match at(tree, &["selector", "match"]).and_then(Value::as_str).filter(|cel| !cel.is_empty()) {
                None => found.error("link selector is required"),
                Some(cel) => {
                    if let Some(why) = cel_problem(cel) {
                        found.error(format!("link selector is invalid: {why}"));
                    }
                }
            }
            return;
        }
        "DHCPv4Config" | "DHCPv6Config" => return,
        "BondConfig" => {
            found.check(!list(tree, "links").is_empty(), "at least one link must be specified");
            let mode = text(tree, "bondMode");
            found.check(!mode.is_empty(), "bond mode must be specified");
            if mode == "802.3ad" {
                for key in ["updelay", "downdelay"] {
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
        _ => {}
    }
    common(tree, found);
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
