//! Rules about a configuration as a whole. Up to Talos 1.13 v1alpha1 holds everything that they look at, so they sit
//! there; from 1.14 on they look across documents.

use serde_json::Value;

use super::documents::dependency_problems;
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
    let v1alpha1 = documents.v1alpha1();
    let look = |path: &[&str]| v1alpha1.and_then(|document| document.get(path));
    let cluster = look(&["cluster"]);
    host_dns(documents, mode, errors);
    let discovers =
        cluster.is_some_and(cluster::uses_discovery_service) || documents.has_kind("DiscoveryServiceConfig");
    if discovers {
        identity(documents, cluster, errors);
    }
    errors.extend(dependency_problems(documents.of_kind("ContainerConfig")));
    let kubespan = match documents.of_kind("KubeSpanConfig").next() {
        Some(document) => document.get(&["enabled"]),
        None => look(&["machine", "network", "kubespan", "enabled"]),
    };
    if kubespan == Some(&Value::Bool(true)) && !discovers {
        errors.push("KubeSpan requires cluster discovery to be enabled".to_owned());
    }

    let kind = look(&["machine"]).and_then(|machine| machine::kind(text(machine, "type")));
    let control_plane = machine::is_control_plane(kind);
    let secret = |key: &str| cluster.is_some_and(|cluster| !text(cluster, key).is_empty());
    let encrypted = secret("secretboxEncryptionSecret")
        || secret("aescbcEncryptionSecret")
        || documents.has_kind("KubeEtcdEncryptionConfig");
    // An API server is one with a CA: a configuration that says nothing of the server itself has the default one.
    let given = |key: &str| cluster.and_then(|cluster| cluster.get(key)).is_some_and(|value| !value.is_null());
    let api_server = documents.has_kind("KubeAPIServerCAConfig") || given("ca") || given("acceptedCAs");
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

/// Discovery through the service needs to know which cluster it is: from v1alpha1 if that says anything about it.
fn identity(documents: &Documents, cluster: Option<&Value>, errors: &mut Vec<String>) {
    let legacy = |key: &str| cluster.map(|cluster| text(cluster, key)).unwrap_or_default();
    let modern = |key: &str| {
        let document = documents.of_kind("DiscoveryIdentityConfig").next();
        document.and_then(|document| document.get(&[key])).and_then(Value::as_str).unwrap_or_default()
    };
    let old = !(legacy("id").is_empty() && legacy("secret").is_empty());
    for (what, key, field) in [("cluster ID", "id", "clusterID"), ("cluster secret", "secret", "clusterSecret")] {
        let value = if old { legacy(key) } else { modern(field) };
        if value.is_empty() {
            errors.push(format!(
                "{what} (.cluster.{key} or DiscoveryIdentityConfig) should be set when cluster discovery \
                 (DiscoveryServiceConfig) is enabled"
            ));
        }
    }
}

fn host_dns(documents: &Documents, mode: Mode, errors: &mut Vec<String>) {
    let resolver = documents.of_kind("ResolverConfig").next();
    // A document counts only when it turns the feature on.
    let modern = resolver.and_then(|document| document.get(&["hostDNS"]));
    let modern = modern.filter(|config| flag(config, "enabled") == Some(true));
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
    let servers = resolver.and_then(|document| document.get(&["nameservers"]));
    let mut protocols = servers
        .into_iter()
        .flat_map(|servers| servers.as_array().into_iter().flatten())
        .filter_map(|server| at(server, &["protocol"])?.as_str());
    if protocols.any(|protocol| !matches!(protocol, "" | "Do53")) && !on("enabled") {
        errors.push("hostDNS must be enabled when using non-default DNS protocols".to_owned());
    }
}
