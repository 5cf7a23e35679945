//! Documents by themselves, one function per kind that has rules.

mod bgp;
mod container;
mod kube;
mod links;
mod pools;
mod routes;
mod runtime;
mod services;
mod subnets;
mod volumes;

use serde_json::Value;

use super::{Findings, list, text};
use crate::machineconfig::cel::{self, Scope};
use crate::machineconfig::documents::Document;
use crate::machineconfig::go;
use crate::machineconfig::go::quoted;
use crate::machineconfig::minor::Minor;
pub(super) use container::dependency_problems;

pub(super) fn check(document: &Document, minor: &Minor, found: &mut Findings) {
    let tree = Value::Object(document.body.clone());
    let name = document.name().unwrap_or_default();
    match document.kind() {
        "HostnameConfig" => hostname(&tree, found),
        "TimeSyncConfig" => time_sync(&tree, found),
        "ResolverConfig" if minor.resolver_checked => resolver(&tree, found),
        "StaticHostConfig" => {
            found.check(!name.is_empty(), "name is required");
            found.check(go::addr(name).is_ok(), "name must be a valid IP address");
            found.check(!list(&tree, "hostnames").is_empty(), "at least one hostname is required");
        }
        "NetworkRuleConfig" => rule(name, &tree, found),
        "UnattendedInstallConfig" => install(&tree, minor, found),
        "DiscoveryIdentityConfig" => identity(&tree, found),
        "DiscoveryServiceConfig" => discovery_service(name, &tree, found),
        "BGPInstanceConfig" => bgp::check(name, &tree, found),
        "ContainerConfig" => container::check(name, &tree, found),
        "KubeSpanConfig" => {
            let mtu = tree.get("mtu").and_then(Value::as_i64);
            found.check(mtu.is_none_or(|mtu| mtu >= 1280), "kubespan link MTU must be at least 1280");
            for filter in tree.get("filters").into_iter().flat_map(|filters| super::texts(filters, "endpoints")) {
                if let Err(bare) = super::net::subnet(filter) {
                    found.error(format!("KubeSpan endpoint filter is not valid: {bare}", bare = quoted(bare)));
                }
            }
        }
        "VolumeConfig"
        | "UserVolumeConfig"
        | "RawVolumeConfig"
        | "SwapVolumeConfig"
        | "ExistingVolumeConfig"
        | "ExternalVolumeConfig"
        | "ZswapConfig"
        | "FilesystemTrimConfig"
        | "FilesystemScrubConfig" => {
            volumes::check(document.kind(), name, &tree, minor, found);
        }
        kind if kind.starts_with("Kube") && kind != "KubeSpanEndpointsConfig" => {
            kube::check(kind, name, &tree, minor, found);
        }
        kind => {
            let _ = links::check(kind, name, &tree, minor, found)
                || routes::check(kind, name, &tree, found)
                || pools::check(kind, name, &tree, minor, found)
                || runtime::check(kind, name, &tree, minor, found)
                || services::check(kind, name, &tree, minor, found);
        }
    }
}

/// A duration field in nanoseconds.
fn duration(tree: &Value, key: &str) -> i64 {
    go::duration(text(tree, key)).unwrap_or_default()
}

fn time_sync(tree: &Value, found: &mut Findings) {
    found.check(duration(tree, "bootTimeout") >= 0, "bootTimeout cannot be negative");
    found.check(
        tree.get("ntp").is_none() || tree.get("ptp").is_none(),
        "only one of ntp or ptp configuration can be specified",
    );
    if let Some(ntp) = tree.get("ntp").filter(|ntp| super::flag(ntp, "useNTS") == Some(true)) {
        for server in super::texts(ntp, "servers").filter(|server| super::net::is_ip(server)) {
            found.error(format!("NTS requires hostnames, not IP addresses: {server}", server = quoted(server)));
        }
    }
}

fn hostname(tree: &Value, found: &mut Findings) {
    let (auto, hostname) = (text(tree, "auto"), text(tree, "hostname"));
    match (auto, hostname) {
        ("", "") => found.error("either 'auto' or 'hostname' must be set"),
        ("" | "off", _) | (_, "") => {}
        _ => found.error("'auto' and 'hostname' cannot be set at the same time"),
    }
    found.check(matches!(auto, "" | "off" | "stable"), format!("invalid value for 'auto': {auto}"));
    if hostname.is_empty() {
        return;
    }
    let label = hostname.split('.').next().unwrap_or_default();
    found.check(hostname.len() <= 253, format!("fqdn is too long: {}", hostname.len()));
    found.check((1..=63).contains(&label.len()), format!("invalid hostname {label}", label = quoted(label)));
}

fn resolver(tree: &Value, found: &mut Findings) {
    if let Some(host) = tree.get("hostDNS")
        && super::flag(host, "enabled") != Some(true)
    {
        for key in ["forwardKubeDNSToHost", "resolveMemberNames"] {
            let on = super::flag(host, key) == Some(true);
            found.check(!on, format!("hostDNS.{key} cannot be enabled when hostDNS.enabled is false"));
        }
    }
    let servers = list(tree, "nameservers");
    let mut encrypted = 0;
    for (index, server) in servers.iter().enumerate() {
        let has_name = !text(server, "tlsServerName").is_empty();
        match text(server, "protocol") {
            protocol @ ("DoT" | "DoH") => {
                encrypted += 1;
                found.check(has_name, format!("tlsServerName must be set when protocol is {protocol}: entry {index}"));
            }
            _ => found.check(!has_name, format!("tlsServerName must be empty when protocol is Do53: entry {index}")),
        }
        found.check(
            !text(server, "address").is_empty(),
            format!("nameserver address must be a valid IP: entry {index}"),
        );
    }
    if encrypted > 0 && encrypted == servers.len() {
        found.warning(
            "all configured nameservers use encrypted DNS (DoT or DoH): validating certificates requires a correct \
             system clock, so boot may stall when NTP servers are configured by hostname; consider keeping at least \
             one plain-DNS fallback or configuring NTP servers by IP address",
        );
    }
}

fn rule(name: &str, tree: &Value, found: &mut Findings) {
    if name.is_empty() {
        return found.error("name is required");
    }
    let ports = tree.get("portSelector").map(|selector| list(selector, "ports")).unwrap_or_default();
    if ports.is_empty() {
        return found.error("portSelector.ports is required");
    }
    if let Err(why) = port_ranges(ports) {
        return found.error(why);
    }
    for rule in list(tree, "ingress") {
        if text(rule, "subnet").is_empty() {
            return found.error("invalid subnet: invalid Prefix");
        }
    }
}

/// Ranges in ascending order may not overlap, nor stand upside down.
fn port_ranges(ports: &[Value]) -> Result<(), String> {
    let bounds = |range: &Value| {
        let shown = range.as_str().map_or_else(|| range.to_string(), str::to_owned);
        let (low, high) = shown.split_once('-').unwrap_or((&shown, &shown));
        let (low, high): (u16, u16) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
        Some((low, high, format!("{low}-{high}")))
    };
    let mut ranges: Vec<(u16, u16, String)> = ports.iter().filter_map(bounds).collect();
    ranges.sort_by_key(|(low, ..)| *low);
    for (at, (low, high, shown)) in ranges.iter().enumerate() {
        if low > high {
            return Err(format!("invalid port range: {shown}"));
        }
        if let Some((_, end, previous)) = at.checked_sub(1).map(|at| &ranges[at])
            && low <= end
        {
            return Err(format!("invalid port range: {shown}, overlaps with {previous}"));
        }
    }
    Ok(())
}

fn install(tree: &Value, minor: &Minor, found: &mut Findings) {
    if tree.get("installer").is_none_or(|installer| text(installer, "image").is_empty()) {
        found.warning(
            "installer.image is not set, if Talos is not booted from asset built by Image Factory, installation will \
             fail",
        );
    }
    let selector = super::at(tree, &["provisioning", "diskSelector", "match"]).and_then(Value::as_str);
    match selector.filter(|selector| !selector.is_empty()) {
        // Talos says "volume" here, though the field is the disk's.
        None => found.error("provisioning.volumeSelector.match is required"),
        Some(selector) => {
            if let Some(why) = cel::problem(selector, Scope::Disk, minor) {
                found.error(format!("provisioning.volumeSelector.match: {why}"));
            }
        }
    }
}

fn discovery_service(name: &str, tree: &Value, found: &mut Findings) {
    let endpoint = text(tree, "endpoint");
    if name.is_empty() {
        return found.error("name is required");
    }
    if endpoint.is_empty() {
        return found.error("endpoint is required");
    }
    let url = go::Url::parse(endpoint).unwrap_or_default();
    match url.scheme.as_str() {
        "" => found.error("endpoint scheme is required"),
        "http" | "https" | "grpc" => found.check(!url.hostname().is_empty(), "endpoint host is required"),
        _ => found.error("endpoint scheme must be http://, https:// or grpc://"),
    }
}

fn identity(tree: &Value, found: &mut Findings) {
    if text(tree, "clusterID").is_empty() {
        return found.error("clusterID is required");
    }
    // Talos quotes the secret in what it says of it. This does not.
    match text(tree, "clusterSecret") {
        "" => found.error("clusterSecret is required"),
        secret => match go::base64(secret) {
            Ok(bytes) if bytes.len() == 32 => {}
            Ok(bytes) => found.error(format!("invalid clusterSecret: expected 32 bytes, got {}", bytes.len())),
            Err(_) => found.error("invalid clusterSecret: illegal base64 data"),
        },
    }
}
