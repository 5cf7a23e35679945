//! Documents by themselves, one function per kind that has rules.

mod kube;
mod links;
mod volumes;

use serde_json::Value;

use super::{Findings, list, text};
use crate::machineconfig::documents::Document;
use crate::machineconfig::go::{self, Url};
use crate::machineconfig::minor::Minor;

pub(super) fn check(document: &Document, minor: &Minor, found: &mut Findings) {
    let tree = Value::Object(document.body.clone());
    let name = document.name().unwrap_or_default();
    match document.kind() {
        "HostnameConfig" => hostname(&tree, found),
        "TimeSyncConfig" => found.check(
            tree.get("ntp").is_none() || tree.get("ptp").is_none(),
            "only one of ntp or ptp configuration can be specified",
        ),
        "ResolverConfig" => resolver(&tree, found),
        "StaticHostConfig" => {
            found.check(super::net::is_ip(name), "name must be a valid IP address");
            found.check(!list(&tree, "hostnames").is_empty(), "at least one hostname is required");
        }
        "KmsgLogConfig" => kmsg(name, &tree, found),
        "NetworkRuleConfig" => rule(name, &tree, found),
        "ExtensionServiceConfig" => extension_service(name, &tree, found),
        "WatchdogTimerConfig" => {
            found.check(!text(&tree, "device").is_empty(), "watchdog device: empty value");
        }
        "UnattendedInstallConfig" => install(&tree, found),
        "DiscoveryIdentityConfig" => identity(&tree, found),
        "Layer2VIPConfig" | "HCloudVIPConfig" => {
            if let Err(why) = go::addr(name) {
                found.error(format!("name must be a valid IP address: {why}"));
            }
            found.check(!text(&tree, "link").is_empty(), "link must be specified");
        }
        "LinkConfig" | "DummyLinkConfig" | "BridgeConfig" | "BondConfig" | "VLANConfig" | "VRFConfig"
        | "WireguardConfig" | "VethConfig" | "LinkAliasConfig" | "DHCPv4Config" | "DHCPv6Config" => {
            links::check(document.kind(), name, &tree, found);
        }
        "VolumeConfig" | "UserVolumeConfig" | "RawVolumeConfig" | "SwapVolumeConfig" | "ExistingVolumeConfig" => {
            volumes::check(document.kind(), name, &tree, minor, found);
        }
        "KubeSpanConfig" => {
            let mtu = tree.get("mtu").and_then(Value::as_i64);
            found.check(mtu.is_none_or(|mtu| mtu >= 1280), "kubespan link MTU must be at least 1280");
        }
        kind if kind.starts_with("Kube") => kube::check(kind, &tree, found),
        _ => {}
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
    if hostname.len() > 253 {
        found.error(format!("fqdn is too long: {}", hostname.len()));
    } else if label.is_empty() || label.len() > 63 {
        found.error(format!("invalid hostname {label:?}"));
    }
}

fn resolver(tree: &Value, found: &mut Findings) {
    for (index, server) in list(tree, "nameservers").iter().enumerate() {
        found.check(
            !text(server, "address").is_empty(),
            format!("nameserver address must be a valid IP: entry {index}"),
        );
    }
}

fn kmsg(name: &str, tree: &Value, found: &mut Findings) {
    found.check(!name.is_empty(), "name is required");
    let url = text(tree, "url");
    if url.is_empty() {
        return found.error("url is required");
    }
    let url = Url::parse(url).unwrap_or_default();
    if !matches!(url.scheme.as_str(), "tcp" | "udp") {
        return found.error("url scheme must be tcp:// or udp://");
    }
    found.check(!url.port().is_empty(), "url port is required");
    found.check(matches!(url.path.as_str(), "" | "/"), "url path must be empty");
}

fn rule(name: &str, tree: &Value, found: &mut Findings) {
    if name.is_empty() {
        return found.error("name is required");
    }
    let ports = tree.get("portSelector").map(|selector| list(selector, "ports")).unwrap_or_default();
    found.check(!ports.is_empty(), "portSelector.ports is required");
    for range in ports.iter().filter_map(Value::as_str) {
        let bounds = range.split_once('-').map(|(low, high)| (low.trim().parse::<u16>(), high.trim().parse::<u16>()));
        let upside_down = matches!(bounds, Some((Ok(low), Ok(high))) if low > high);
        found.check(!upside_down, format!("invalid port range: {range}"));
    }
}

fn extension_service(name: &str, tree: &Value, found: &mut Findings) {
    if name.is_empty() {
        return found.error("name is required");
    }
    let (files, environment) = (list(tree, "configFiles"), list(tree, "environment"));
    found.check(!files.is_empty() || !environment.is_empty(), format!("no config files found for extension {name:?}"));
    for file in files {
        found.check(
            !text(file, "mountPath").is_empty(),
            format!("extension service config mountPath is required for extension {name:?}"),
        );
        found.check(
            !text(file, "content").is_empty(),
            format!("extension service config content is required for extension {name:?}"),
        );
    }
}

fn install(tree: &Value, found: &mut Findings) {
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
            if let Some(why) = volumes::cel_problem(selector) {
                found.error(format!("disk selector is invalid: {why}"));
            }
        }
    }
}

fn identity(tree: &Value, found: &mut Findings) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    found.check(!text(tree, "clusterID").is_empty(), "clusterID is required");
    let length = STANDARD.decode(text(tree, "clusterSecret")).map(|bytes| bytes.len());
    match length {
        Ok(32) => {}
        Ok(other) => found.error(format!("invalid clusterSecret: expected 32 bytes, got {other}")),
        Err(_) => found.error("invalid clusterSecret: illegal base64 data"),
    }
}
