//! `KubeNetworkConfig`: the subnets of pods and services.

use ipnet::IpNet;
use serde_json::Value;

use crate::machineconfig::go;
use crate::machineconfig::validate::{Findings, list, number, texts};

pub(super) fn check(tree: &Value, found: &mut Findings) {
    let mask = |key: &str, longest: i64, default: u8| match number(tree, key) {
        0 => Some(default),
        size => u8::try_from(size).ok().filter(|_| (1..=longest).contains(&size)),
    };
    let (v4, v6) = (mask("nodeCIDRMaskSizeIPv4", 32, 24), mask("nodeCIDRMaskSizeIPv6", 128, 64));
    found.check(v4.is_some(), "nodeCIDRMaskSizeIPv4 must be between 1 and 32");
    found.check(v6.is_some(), "nodeCIDRMaskSizeIPv6 must be between 1 and 128");
    let pods = |subnet: &IpNet| match if subnet.addr().is_ipv4() { v4 } else { v6 } {
        Some(mask) if subnet.prefix_len() > mask => {
            Err(format!("invalid subnet: {subnet} is smaller than the per-node pod CIDR mask size /{mask}"))
        }
        Some(mask) if mask - subnet.prefix_len() > 16 => Err(format!(
            "invalid subnet: {subnet} is too large for the per-node pod CIDR mask size /{mask}, the difference must be \
             at most 16 bits"
        )),
        _ => Ok(()),
    };
    let services = |subnet: &IpNet| {
        let longest = subnet.max_prefix_len();
        if longest - subnet.prefix_len() > 20 {
            return Err(format!(
                "invalid subnet: {subnet} is too large, it must be at least /{} (at most 20 host identifier bits)",
                longest - 20
            ));
        }
        Ok(())
    };
    if let Err(why) = all(tree, "podSubnets", pods) {
        found.error(format!("pod subnets: {why}"));
    }
    if let Err(why) = all(tree, "serviceSubnets", services) {
        found.error(format!("service subnets: {why}"));
    }
    found.check(
        list(tree, "podSubnets").len() == list(tree, "serviceSubnets").len(),
        "the number of pod subnets must match the number of service subnets",
    );
}

/// The first thing wrong with a list of pod or service subnets.
fn all(tree: &Value, key: &str, size: impl Fn(&IpNet) -> Result<(), String>) -> Result<(), String> {
    let subnets: Vec<&str> = texts(tree, key).collect();
    match subnets.len() {
        0 => return Err("at least one subnet must be specified".to_owned()),
        1 | 2 => {}
        _ => return Err("at most two subnets can be specified for dual-stack clusters".to_owned()),
    }
    let mut families = Vec::new();
    for text in subnets {
        let subnet = go::prefix(text).map_err(|_| "invalid subnet: invalid Prefix".to_owned())?;
        if subnet.trunc() != subnet {
            return Err(format!("invalid subnet: {text} is not a valid CIDR"));
        }
        let length = subnet.prefix_len();
        if subnet.max_prefix_len() - length < 4 {
            return Err(format!(
                "invalid subnet: /{length} is too small, it must be larger than /{}",
                i16::from(length) - 4
            ));
        }
        size(&subnet)?;
        families.push(subnet.addr().is_ipv4());
    }
    if let [first, second] = families[..]
        && first == second
    {
        return Err("at most one IPv4 and one IPv6 subnet can be specified for dual-stack clusters".to_owned());
    }
    Ok(())
}
