//! Addresses that float, routes that lead nowhere, rules and probes.

use serde_json::Value;

use super::duration;
use crate::machineconfig::go::{self, Url, quoted};
use crate::machineconfig::validate::{Findings, number, text};

/// Priorities of routing rules that Talos keeps for itself and for Linux.
const RESERVED: [u64; 4] = [0, 32_500, 32_766, 32_767];

/// Whether `kind` is one of these.
pub(super) fn check(kind: &str, name: &str, tree: &Value, found: &mut Findings) -> bool {
    match kind {
        "Layer2VIPConfig" | "HCloudVIPConfig" => {
            if name.is_empty() {
                found.error("name must be specified");
            } else if let Err(why) = go::addr(name) {
                found.error(format!("name must be a valid IP address: {why}"));
            }
            found.check(!text(tree, "link").is_empty(), "link must be specified");
            let has_token = kind == "Layer2VIPConfig" || !text(tree, "apiToken").is_empty();
            found.check(has_token, "apiToken must be specified");
        }
        "BlackholeRouteConfig" => {
            found.check(!name.is_empty(), "name must be specified");
            if let Err(why) = go::prefix(name) {
                found.error(format!("name must be a valid address prefix: {why}"));
            }
        }
        "RoutingRuleConfig" => rule(name, tree, found),
        "EthernetConfig" => found.check(!name.is_empty(), "name is required"),
        "TCPProbeConfig" => {
            found.check(!name.is_empty(), "probe name is required");
            found.check(!text(tree, "endpoint").is_empty(), "TCP probe endpoint is required");
            probe("TCP", tree, found);
        }
        "HTTPProbeConfig" => {
            found.check(!name.is_empty(), "probe name is required");
            match text(tree, "url") {
                "" => found.error("HTTP probe URL is required"),
                url => {
                    let url = Url::parse(url).unwrap_or_default();
                    if !matches!(url.scheme.as_str(), "http" | "https") {
                        found
                            .error(format!("HTTP probe URL scheme must be http or https, got {}", quoted(&url.scheme)));
                    } else if !url.opaque.is_empty() || url.hostname().is_empty() {
                        found.error("HTTP probe URL must be an absolute http or https URL with a non-empty host");
                    }
                }
            }
            probe("HTTP", tree, found);
        }
        _ => return false,
    }
    true
}

fn probe(what: &str, tree: &Value, found: &mut Findings) {
    if duration(tree, "timeout") < 0 {
        found.error(format!("{what} probe timeout cannot be negative: {}", text(tree, "timeout")));
    }
    if duration(tree, "interval") < 0 {
        found.error(format!("probe interval cannot be negative: {}", text(tree, "interval")));
    }
    let threshold = number(tree, "failureThreshold");
    found.check(threshold >= 0, format!("probe failure threshold cannot be negative: {threshold}"));
}

fn rule(name: &str, tree: &Value, found: &mut Findings) {
    found.check(!name.is_empty(), "name must be specified");
    let priority = go::unsigned(name, 32).map_err(|why| {
        found.error(format!("invalid name: must be priority parsable unsigned integer: {why}"));
        // What Go makes of a text that is no number; of one too large it makes the largest, which is not reserved.
        if why.ends_with("syntax") { 0 } else { u64::from(u32::MAX) }
    });
    let (Ok(priority) | Err(priority)) = priority;
    let reserved: Vec<String> = RESERVED.iter().map(u64::to_string).collect();
    found.check(
        !RESERVED.contains(&priority),
        format!("priority must be between 1 and 32765 (excluding reserved priorities [{}])", reserved.join(" ")),
    );
    let no_table = matches!(text(tree, "table"), "" | "unspec");
    let unicast = matches!(text(tree, "action"), "" | "unspec" | "unicast");
    found.check(!(no_table && unicast), "either table or a non-unicast action must be specified");
    let marked = number(tree, "fwMask") == 0 || number(tree, "fwMark") != 0;
    found.check(marked, "fwMask requires fwMark to be set");
}
