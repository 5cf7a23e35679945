//! `BGPInstanceConfig` (Talos 1.14).

use ipnet::IpNet;
use serde_json::Value;

use super::duration;
use crate::machineconfig::go;
use crate::machineconfig::go::quoted;
use crate::machineconfig::validate::{Findings, list, number, text};

pub(super) fn check(name: &str, tree: &Value, found: &mut Findings) {
    found.check(!name.is_empty(), "name must be specified");
    found.check(number(tree, "localASN") != 0, "localASN must be specified");
    let router = text(tree, "routerID");
    let is_v4 = go::addr(router).is_ok_and(|address| address.is_ipv4());
    found.check(router.is_empty() || is_v4, "routerID must be an IPv4 address");
    let neighbors = list(tree, "neighbors");
    if neighbors.is_empty() {
        found.warning("BGPInstanceConfig has no neighbors configured");
    }
    let mut seen = Vec::new();
    for (index, neighbor) in neighbors.iter().enumerate() {
        let key = match (text(neighbor, "address"), text(neighbor, "link")) {
            (address, "") if !address.is_empty() => Some(address),
            ("", link) if !link.is_empty() => Some(link),
            _ => None,
        };
        found.check(key.is_some(), format!("neighbor[{index}]: exactly one of address or link must be set"));
        behaviour(index, neighbor, !text(tree, "vrf").is_empty(), found);
        if let Some(key) = key {
            found
                .check(!seen.contains(&key), format!("neighbor[{index}]: duplicate neighbor {key}", key = quoted(key)));
            seen.push(key);
        }
    }
    imports(name, list(tree, "importRoutes"), found);
}

fn behaviour(index: usize, neighbor: &Value, in_vrf: bool, found: &mut Findings) {
    found.check(duration(neighbor, "holdTime") >= 0, format!("neighbor[{index}]: holdTime must not be negative"));
    let Some(bfd) = neighbor.get("bfd") else { return };
    found.check(!in_vrf, format!("neighbor[{index}]: bfd is not supported for VRF-bound BGP instances"));
    for key in ["transmitInterval", "receiveInterval"] {
        found.check(duration(bfd, key) >= 0, format!("neighbor[{index}]: bfd.{key} must not be negative"));
    }
}

/// Routes of other instances: every prefix once, and none inside another.
fn imports(name: &str, routes: &[Value], found: &mut Findings) {
    let (mut sources, mut selectors) = (Vec::new(), Vec::<(IpNet, usize)>::new());
    for (index, route) in routes.iter().enumerate() {
        let at = format!("importRoutes[{index}]");
        let source = text(route, "bgpInstance");
        if source.is_empty() {
            found.error(format!("{at}: bgpInstance must be specified"));
        } else if source == name {
            found.error(format!("{at}: cannot import from the same BGP instance {name}", name = quoted(name)));
        }
        let prefixes: Vec<Option<IpNet>> = texts_or_empty(route).map(|text| go::prefix(text).ok()).collect();
        prefixes_of(&at, &prefixes, found);
        if !source.is_empty() {
            found.check(
                !sources.contains(&source),
                format!("{at}: duplicate source BGP instance {source}", source = quoted(source)),
            );
            sources.push(source);
        }
        for prefix in prefixes.into_iter().flatten().filter(|prefix| prefix.trunc() == *prefix) {
            for (other, from) in selectors.iter().filter(|(other, from)| *from != index && overlap(other, &prefix)) {
                found.error(format!("{at}: prefix {prefix} overlaps importRoutes[{from}] prefix {other}"));
            }
            selectors.push((prefix, index));
        }
    }
}

fn texts_or_empty(route: &Value) -> impl Iterator<Item = &str> {
    list(route, "prefixes").iter().map(|prefix| prefix.as_str().unwrap_or_default())
}

fn prefixes_of(at: &str, prefixes: &[Option<IpNet>], found: &mut Findings) {
    found.check(!prefixes.is_empty(), format!("{at}: at least one prefix must be specified"));
    for (index, prefix) in prefixes.iter().enumerate() {
        let at = format!("{at}.prefixes[{index}]");
        let Some(prefix) = prefix else {
            found.error(format!("{at}: invalid prefix"));
            continue;
        };
        found.check(prefix.trunc() == *prefix, format!("{at}: prefix {prefix} must be masked"));
        for (before, other) in prefixes[..index].iter().enumerate() {
            if let Some(other) = other.filter(|other| overlap(other, prefix)) {
                found.error(format!("{at}: prefix {prefix} overlaps prefixes[{before}] {other}"));
            }
        }
    }
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(&other.addr()) || other.contains(&one.addr())
}
