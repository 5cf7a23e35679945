//! The v1alpha1 document.

use serde_json::Value;

use super::{Findings, Mode, at, cluster, devices, flag, kubernetes, list, net, number, text, texts};
use crate::machineconfig::documents::Document;
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
        install(machine.get("install"), minor, found);
    }
    host_dns(machine, mode, minor, found);
    if let Some(kind) = kind.filter(|kind| *kind != word) {
        found.warning(format!("use {kind:?} instead of {word:?} for machine type"));
    }
    by_role(machine, cluster, kind, minor, found);
    if let Some(network) = machine.get("network") {
        devices::check(network, found);
        let kubespan = network.get("kubespan").filter(|kubespan| flag(kubespan, "enabled") == Some(true));
        let mtu = kubespan.and_then(|kubespan| kubespan.get("mtu")?.as_i64());
        found.check(mtu.is_none_or(|mtu| mtu >= 1280), "kubespan link MTU must be at least 1280");
    }
    disks(machine, found);
    if let Some(kubelet) = machine.get("kubelet") {
        kubernetes::kubelet(kubelet, found);
    }
    encryption(machine, found);
    kubespan(machine, cluster, minor, found);
    logging(machine, found);
    extensions(machine, minor, found);
    kubernetes::labels(machine, found);
    features(machine, is_control_plane(kind), minor, found);
    let persist = document.get(&["persist"]).and_then(Value::as_bool);
    found.check(persist != Some(false), ".persist should be enabled");
    for section in ["config", "mirrors"] {
        let entries = at(machine, &["registries", section]).and_then(Value::as_object);
        for (key, _) in entries.into_iter().flatten().filter(|(_, value)| value.is_null()) {
            found.error(format!("registries.{section}[{key:?}] is null"));
        }
    }
}

fn install(install: Option<&Value>, minor: &Minor, found: &mut Findings) {
    let Some(install) = install else {
        return found.check(!minor.install_required, "install instructions are required in \"metal\" mode");
    };
    let selector = install.get("diskSelector");
    let problem = selector.and_then(|selector| {
        let kind = text(selector, "type");
        if !text(selector, "name").is_empty() {
            Some("selector on name is not supported".to_owned())
        } else if !matches!(kind, "" | "ssd" | "hdd" | "nvme" | "sd") {
            Some(format!("unsupported disk type {kind:?}"))
        } else {
            None
        }
    });
    let selects = problem.is_none() && selector.and_then(Value::as_object).is_some_and(|map| !map.is_empty());
    if let Some(problem) = problem {
        found.error(format!("install disk selector is invalid: {problem}"));
    }
    found.check(selects || !text(install, "disk").is_empty(), "either install disk or diskSelector should be defined");
    found.check(
        list(install, "extraKernelArgs").is_empty() || flag(install, "grubUseUKICmdline") != Some(true),
        "install.extraKernelArgs and install.grubUseUKICmdline can't be used together",
    );
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
            on("enabled") && on("forwardKubeDNSToHost"),
            "feature HostDNS should forward kube-dns to host in container mode \
             (.machine.features.hostDNS.forwardKubeDNSToHost)",
        );
    }
    if minor.host_dns_forward_checked && config.is_some() && mode != Mode::Container {
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
        None => found.error(format!("unknown machine type {:?}", text(machine, "type"))),
    }
}

fn disks(machine: &Value, found: &mut Findings) {
    for disk in list(machine, "disks") {
        let partitions = list(disk, "partitions");
        let last = partitions.len().saturating_sub(1);
        for partition in &partitions[..last] {
            found.check(
                !matches!(text(partition, "size"), "" | "0"),
                format!(
                    "partition for disk {:?} is set to occupy full disk, but it's not the last partition in the list",
                    text(disk, "device")
                ),
            );
        }
    }
}

fn encryption(machine: &Value, found: &mut Findings) {
    for (key, label) in [("ephemeral", "EPHEMERAL"), ("state", "STATE")] {
        let Some(config) = at(machine, &["systemDiskEncryption", key]) else { continue };
        let keys = list(config, "keys");
        found.check(!keys.is_empty(), format!("partition {label:?}: no encryption keys provided"));
        let mut slots = Vec::new();
        for key in keys {
            let slot = number(key, "slot");
            found.check(
                !slots.contains(&slot),
                format!("partition {label:?}: encryption key slot {slot} is already in use"),
            );
            slots.push(slot);
            found.check(
                ["nodeID", "static", "kms", "tpm"].iter().any(|kind| key.get(kind).is_some()),
                format!("partition {label:?}: encryption key at slot {slot} doesn't have the configuration parameters"),
            );
        }
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
                found.error(format!("KubeSpan endpoint filter is not valid: {bare:?}"));
            }
        }
        for subnet in texts(filters, "excludeAdvertisedNetworks") {
            found.check(
                net::cidr(subnet).is_ok(),
                format!("KubeSpan exclude advertised networks filter is not valid: {subnet:?}"),
            );
        }
    }
}

fn logging(machine: &Value, found: &mut Findings) {
    use crate::machineconfig::go::Url;
    let destinations = at(machine, &["logging", "destinations"]).and_then(Value::as_array);
    for destination in destinations.into_iter().flatten() {
        match destination.get("endpoint").and_then(Value::as_str) {
            None => found.error("empty logging endpoint"),
            Some(endpoint) => {
                let url = Url::parse(endpoint).unwrap_or_default();
                if !matches!(url.scheme.as_str(), "tcp" | "udp") {
                    found.error(format!("unexpected logging endpoint scheme {:?}", url.scheme));
                } else if url.host.is_empty() {
                    found.error("empty logging endpoint's host");
                }
            }
        }
        let format = text(destination, "format");
        found.check(format == "json_lines", format!("unknown logging format {format:?}"));
    }
}

fn extensions(machine: &Value, minor: &Minor, found: &mut Findings) {
    let listed = at(machine, &["install", "extensions"]).and_then(Value::as_array);
    let images: Vec<&str> = listed.into_iter().flatten().map(|extension| text(extension, "image")).collect();
    for (index, image) in images.iter().enumerate() {
        found.check(!images[..index].contains(image), format!("duplicate system extension {image:?}"));
    }
    if !images.is_empty() {
        found.warning(format!(".machine.install.extensions is deprecated, please see {}", minor.extensions_guide));
    }
}

fn features(machine: &Value, control_plane: bool, minor: &Minor, found: &mut Findings) {
    const ROLES: [&str; 7] = [
        "os:admin",
        "os:operator",
        "os:reader",
        "os:etcd:backup",
        "os:impersonator",
        "os:image:verifier",
        "os:meta:writer",
    ];
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
                ROLES.contains(&role),
                format!("invalid role {role:?} in allowed roles for Kubernetes Talos API Access"),
            );
        }
    }
    let algorithm = text(features, "nodeAddressSortAlgorithm");
    found.check(
        matches!(algorithm, "" | "v1" | "v2"),
        format!("invalid node address sort algorithm: {algorithm} does not belong to AddressSortAlgorithm values"),
    );
}
