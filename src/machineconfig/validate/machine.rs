//! The v1alpha1 document.

use serde_json::Value;

use super::{Findings, Mode, at, cluster, devices, flag, kubernetes, list, net, oci, storage, text, texts};
use crate::machineconfig::documents::Document;
use crate::machineconfig::go::{self, Url, quoted};
use crate::machineconfig::minor::Minor;

/// What `machine.type` means; `None` for a word that means nothing.
pub(super) fn kind(word: &str) -> Option<&'static str> {
    match word {
        "init" => Some("init"),
        "controlplane" => Some("controlplane"),
        "" | "worker" | "join" => Some("worker"),
        _ => None,
    }
}

pub(super) fn is_control_plane(kind: Option<&str>) -> bool {
    matches!(kind, Some("init" | "controlplane"))
}

pub(super) fn check(document: &Document, mode: Mode, minor: &Minor, found: &mut Findings) {
    let Some(machine) = document.get(&["machine"]) else {
        return found.error("machine instructions are required");
    };
    let cluster = document.get(&["cluster"]);
    if minor.warns_of_files {
        if !list(machine, "files").is_empty() {
            found.warning(".machine.files is deprecated; use dedicated configuration documents instead");
        }
        if machine.get("baseRuntimeSpecOverrides").and_then(Value::as_object).is_some_and(|map| !map.is_empty()) {
            found.warning(
                ".machine.baseRuntimeSpecOverrides is deprecated; use a CRIBaseRuntimeSpecConfig document instead",
            );
        }
    }
    let word = text(machine, "type");
    let kind = kind(word);
    match cluster {
        None => found.error("cluster instructions are required"),
        Some(cluster) => cluster::check(cluster, is_control_plane(kind), minor, found),
    }
    if mode == Mode::Metal {
        storage::install(machine.get("install"), minor, found);
    }
    host_dns(machine, mode, minor, found);
    if let Some(kind) = kind.filter(|kind| *kind != word) {
        found.warning(format!(
            "use {kind} instead of {word} for machine type",
            kind = quoted(kind),
            word = quoted(word)
        ));
    }
    by_role(machine, cluster, kind, minor, found);
    if let Some(network) = machine.get("network") {
        devices::check(network, minor, found);
        let kubespan = network.get("kubespan").filter(|kubespan| flag(kubespan, "enabled") == Some(true));
        let mtu = kubespan.and_then(|kubespan| kubespan.get("mtu")?.as_i64());
        // Zero stands for the default.
        found.check(mtu.is_none_or(|mtu| mtu == 0 || mtu >= 1280), "kubespan link MTU must be at least 1280");
    }
    storage::disks(machine, found);
    if let Some(kubelet) = machine.get("kubelet") {
        kubernetes::kubelet(kubelet, found);
    }
    storage::encryption(machine, found);
    kubespan(machine, cluster, minor, found);
    logging(machine, found);
    storage::extensions(machine, minor, found);
    kubernetes::labels(machine, found);
    features(machine, is_control_plane(kind), minor, found);
    let persist = document.get(&["persist"]).and_then(Value::as_bool);
    found.check(persist != Some(false), ".persist should be enabled");
    if let Some(why) = machine.get("baseRuntimeSpecOverrides").and_then(|overrides| oci::problem(overrides, minor)) {
        found.error(format!("failed to unmarshal base runtime spec overrides: {why}"));
    }
    for section in ["config", "mirrors"] {
        let entries = at(machine, &["registries", section]).and_then(Value::as_object);
        for (key, _) in entries.into_iter().flatten().filter(|(_, value)| value.is_null()) {
            found.error(format!("registries.{section}[{key}] is null", key = quoted(key)));
        }
    }
}

fn host_dns(machine: &Value, mode: Mode, minor: &Minor, found: &mut Findings) {
    let config = at(machine, &["features", "hostDNS"]);
    let on = |key| config.and_then(|config| flag(config, key)).unwrap_or(false);
    if mode == Mode::Container && !minor.cross_document_checks {
        found.check(
            on("enabled"),
            "feature HostDNS should be enabled in container mode (.machine.features.hostDNS.enabled)",
        );
        found.check(
            on("forwardKubeDNSToHost"),
            "feature HostDNS should forward kube-dns to host in container mode \
             (.machine.features.hostDNS.forwardKubeDNSToHost)",
        );
    }
    if minor.host_dns_forward_checked {
        found.check(
            !on("forwardKubeDNSToHost") || on("enabled"),
            "feature hostDNS.forwardKubeDNSToHost requires hostDNS.enabled to be true (.machine.features.hostDNS)",
        );
    }
}

fn by_role(machine: &Value, cluster: Option<&Value>, kind: Option<&str>, minor: &Minor, found: &mut Findings) {
    let ca = machine.get("ca");
    let accepted = list(machine, "acceptedCAs");
    found.check(
        ca.is_some() || !accepted.is_empty(),
        "issuing CA or some accepted CAs are required (.machine.ca, machine.acceptedCAs)",
    );
    match kind {
        Some("init" | "controlplane") => {
            if let Some(cni) = cluster.and_then(|cluster| at(cluster, &["network", "cni"])) {
                cluster::cni(cni, minor, found);
            }
            match ca {
                None => found.error("issuing CA is required (.machine.ca)"),
                Some(ca) => found.check(
                    !text(ca, "key").is_empty(),
                    "issuing CA key is required for controlplane nodes (.machine.ca.key)",
                ),
            }
        }
        Some(_) => {
            let devices = at(machine, &["network", "interfaces"]).and_then(Value::as_array);
            for device in devices.into_iter().flatten() {
                for holder in std::iter::once(device).chain(list(device, "vlans")) {
                    found.check(
                        holder.get("vip").is_none(),
                        "virtual (shared) IP is not allowed on non-controlplane nodes",
                    );
                }
            }
            if let Some(ca) = ca {
                found.check(
                    text(ca, "key").is_empty(),
                    "issuing Talos API CA key is not allowed on non-controlplane nodes (.machine.ca)",
                );
                found.check(
                    !text(ca, "crt").is_empty() || !accepted.is_empty(),
                    "trusted CA certificates are required on non-controlplane nodes \
                     (.machine.ca.crt, .machine.acceptedCAs)",
                );
            }
            let key = cluster.and_then(|cluster| at(cluster, &["ca", "key"])).and_then(Value::as_str);
            found.check(
                key.is_none_or(str::is_empty),
                "issuing Kubernetes API CA key is not allowed on non-controlplane nodes (.cluster.ca)",
            );
        }
        None => found.error(format!("unknown machine type {}", quoted(text(machine, "type")))),
    }
}

fn kubespan(machine: &Value, cluster: Option<&Value>, minor: &Minor, found: &mut Findings) {
    let Some(kubespan) = at(machine, &["network", "kubespan"]) else { return };
    if flag(kubespan, "enabled") != Some(true) {
        return;
    }
    if !minor.cross_document_checks {
        let given = |key| cluster.is_some_and(|cluster| !text(cluster, key).is_empty());
        found.check(
            cluster.and_then(|cluster| at(cluster, &["discovery", "enabled"])) == Some(&Value::Bool(true)),
            ".cluster.discovery should be enabled when .machine.network.kubespan is enabled",
        );
        for key in ["id", "secret"] {
            found.check(given(key), format!(".cluster.{key} should be set when .machine.network.kubespan is enabled"));
        }
    }
    if let Some(filters) = kubespan.get("filters") {
        for subnet in texts(filters, "endpoints") {
            if let Err(bare) = net::subnet(subnet) {
                found.error(format!(
                    "KubeSpan endpoint {} is not valid: {bare}",
                    minor.kubespan_filter_word,
                    bare = quoted(bare)
                ));
            }
        }
        for subnet in texts(filters, "excludeAdvertisedNetworks") {
            found.check(
                go::prefix(subnet).is_ok(),
                format!("KubeSpan exclude advertised networks filter is not valid: {subnet}", subnet = quoted(subnet)),
            );
        }
    }
}

fn logging(machine: &Value, found: &mut Findings) {
    let destinations = at(machine, &["logging", "destinations"]).and_then(Value::as_array);
    for destination in destinations.into_iter().flatten() {
        match destination.get("endpoint").and_then(Value::as_str) {
            None => found.error("empty logging endpoint"),
            Some(endpoint) => {
                let url = Url::parse(endpoint).unwrap_or_default();
                found.check(!url.host.is_empty(), "empty logging endpoint's host");
                let scheme = url.scheme.as_str();
                found.check(
                    matches!(scheme, "tcp" | "udp"),
                    format!("unexpected logging endpoint scheme {scheme}", scheme = quoted(scheme)),
                );
            }
        }
        let format = text(destination, "format");
        found.check(format == "json_lines", format!("unknown logging format {format}", format = quoted(format)));
    }
}

fn features(machine: &Value, control_plane: bool, minor: &Minor, found: &mut Findings) {
    let Some(features) = machine.get("features") else { return };
    let access = features.get("kubernetesTalosAPIAccess").filter(|access| flag(access, "enabled") == Some(true));
    if let Some(access) = access {
        if minor.needs_rbac_feature {
            found.check(
                flag(features, "rbac") == Some(true),
                "feature API RBAC should be enabled when Kubernetes Talos API Access feature is enabled",
            );
        }
        found.check(control_plane, "feature Kubernetes Talos API Access can only be enabled on control plane machines");
        for role in texts(access, "allowedRoles") {
            found.check(
                minor.roles.contains(&role),
                format!("invalid role {role} in allowed roles for Kubernetes Talos API Access", role = quoted(role)),
            );
        }
    }
    let algorithm = text(features, "nodeAddressSortAlgorithm");
    found.check(
        matches!(algorithm.to_ascii_lowercase().as_str(), "" | "v1" | "v2"),
        format!("invalid node address sort algorithm: {algorithm} does not belong to AddressSortAlgorithm values"),
    );
}
