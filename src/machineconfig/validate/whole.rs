//! Rules about a configuration as a whole. Up to Talos 1.13 v1alpha1 holds everything that they look at, so they sit
//! there; from 1.14 on they look across documents.

use serde_json::Value;

use super::{Mode, at, cluster, flag, machine, text};
use crate::machineconfig::documents::{Document, Documents};
use crate::machineconfig::minor::Minor;

/// Kinds that Talos takes on control planes only.
pub(in crate::machineconfig) const CONTROL_PLANE_ONLY: [&str; 14] = [
    "KubeAPIServerConfig",
    "KubeAdmissionControlConfig",
    "KubeAggregatorCAConfig",
    "KubeAuditPolicyConfig",
    "KubeAuthenticationConfig",
    "KubeAuthorizerConfig",
    "KubeControllerManagerConfig",
    "KubeCoreDNSConfig",
    "KubeEtcdEncryptionConfig",
    "KubeFlannelCNIConfig",
    "KubeProxyConfig",
    "KubeSchedulerConfig",
    "KubeServiceAccountConfig",
    "KubeTalosAPIAccessConfig",
];

pub(super) fn check(documents: &Documents, mode: Mode, minor: &Minor, errors: &mut Vec<String>) {
    if !minor.cross_document_checks {
        return;
    }
    let look = |path: &[&str]| documents.v1alpha1().and_then(|document| document.get(path));
    let first = |kind: &'static str| documents.of_kind(kind).next();
    host_dns(documents, mode, errors);

    let cluster = look(&["cluster"]);
    let given = |key: &str, field: &str| {
        cluster.is_some_and(|cluster| !text(cluster, key).is_empty())
            || first("DiscoveryIdentityConfig").is_some_and(|document| document.get(&[field]).is_some())
    };
    let by_field = cluster.is_some_and(cluster::uses_discovery_service);
    let by_service = documents.has_kind("DiscoveryServiceConfig") || by_field;
    if by_service {
        for (what, key, field) in [("cluster ID", "id", "clusterID"), ("cluster secret", "secret", "clusterSecret")] {
            if !given(key, field) {
                errors.push(format!(
                    "{what} (.cluster.{key} or DiscoveryIdentityConfig) should be set when cluster discovery \
                     (DiscoveryServiceConfig) is enabled"
                ));
            }
        }
    }
    let on = |value: Option<&Value>| value == Some(&Value::Bool(true));
    let kubespan = on(look(&["machine", "network", "kubespan", "enabled"]))
        || first("KubeSpanConfig").is_some_and(|document| on(document.get(&["enabled"])));
    let discovery = documents.has_kind("DiscoveryServiceConfig") || on(look(&["cluster", "discovery", "enabled"]));
    if kubespan && !discovery {
        errors.push("KubeSpan requires cluster discovery to be enabled".to_owned());
    }

    let kind = look(&["machine"]).and_then(|machine| machine::kind(text(machine, "type")));
    let control_plane = machine::is_control_plane(kind);
    let secret = |key: &str| cluster.is_some_and(|cluster| !text(cluster, key).is_empty());
    let encrypted = secret("secretboxEncryptionSecret")
        || secret("aescbcEncryptionSecret")
        || documents.has_kind("KubeEtcdEncryptionConfig");
    let api_server =
        documents.has_kind("KubeAPIServerConfig") || cluster.is_some_and(|cluster| cluster.get("apiServer").is_some());
    if control_plane && api_server && !encrypted {
        errors.push("etcd encryption config is required for control plane machines running kube-apiserver".to_owned());
    }
    if !control_plane {
        let mut kinds: Vec<&str> = documents.iter().map(Document::kind).collect();
        kinds.retain(|kind| CONTROL_PLANE_ONLY.contains(kind));
        kinds.sort_unstable();
        kinds.dedup();
        if !kinds.is_empty() {
            errors.push(format!(
                "the following document kinds are only allowed on control plane machines: [{}]",
                kinds.join(" ")
            ));
        }
    }
}

fn host_dns(documents: &Documents, mode: Mode, errors: &mut Vec<String>) {
    let modern = documents.of_kind("ResolverConfig").find_map(|document| document.get(&["hostDNS"]));
    let legacy = || documents.v1alpha1()?.get(&["machine", "features", "hostDNS"]);
    let config = modern.or_else(legacy);
    let on = |key: &str| config.and_then(|config| flag(config, key)) == Some(true);
    if mode == Mode::Container {
        if config.is_none() {
            errors.push("hostDNS config is required in container mode".to_owned());
        } else {
            if !on("enabled") {
                errors.push("hostDNS must be enabled in container mode".to_owned());
            }
            if !on("forwardKubeDNSToHost") {
                errors.push("forwardKubeDNSToHost must be enabled in container mode".to_owned());
            }
        }
    }
    let servers = documents.of_kind("ResolverConfig").filter_map(|document| document.get(&["nameservers"]));
    let mut protocols = servers
        .flat_map(|servers| servers.as_array().into_iter().flatten())
        .filter_map(|server| at(server, &["protocol"])?.as_str());
    if protocols.any(|protocol| !matches!(protocol, "" | "default" | "udp" | "tcp")) && !on("enabled") {
        errors.push("hostDNS must be enabled when using non-default DNS protocols".to_owned());
    }
}
