//! Link documents.

use serde_json::Value;

use super::volumes::cel_problem;
use crate::machineconfig::validate::{Findings, at, list, number, text};

pub(super) fn check(kind: &str, name: &str, tree: &Value, found: &mut Findings) {
    found.check(!name.is_empty(), "name must be specified");
    match kind {
        "LinkAliasConfig" => {
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
    for (index, address) in list(tree, "addresses").iter().enumerate() {
        found.check(!text(address, "address").is_empty(), format!("address {index} must be a valid IP prefix"));
    }
    for (index, route) in list(tree, "routes").iter().enumerate() {
        let destination = text(route, "destination");
        // The default route is a route without destination; spelled out it is refused.
        found.check(
            !matches!(destination, "0.0.0.0/0" | "::/0"),
            format!("route {index} destination must be a valid IP prefix"),
        );
    }
}
