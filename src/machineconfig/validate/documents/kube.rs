//! Kubernetes documents (Talos 1.14).

use serde_json::Value;

use super::subnets;
use crate::machineconfig::go::Url;
use crate::machineconfig::go::quoted;
use crate::machineconfig::minor::Minor;
use crate::machineconfig::pki;
use crate::machineconfig::validate::{Findings, flag, kubernetes, multi, net, number, text, texts};

/// Prefixes of API server arguments that have documents of their own.
const DENIED: [(&str, &str); 6] = [
    ("anonymous-auth", "use KubeAuthenticationConfig"),
    ("oidc-", "use KubeAuthenticationConfig"),
    ("authentication-config", "use KubeAuthenticationConfig"),
    ("authorization-config", "use KubeAuthorizationConfig"),
    ("authorization-mode", "use KubeAuthorizationConfig"),
    ("authorization-webhook-", "use KubeAuthorizationConfig"),
];

pub(super) fn check(kind: &str, name: &str, tree: &Value, minor: &Minor, found: &mut Findings) {
    let is_off = flag(tree, "enabled") == Some(false);
    match kind {
        "KubeletConfig" => {
            image(tree, "kubelet", found);
            kubernetes::protected(tree.get("config"), found);
        }
        "KubeNodeConfig" => node(tree, found),
        "KubeNetworkConfig" => subnets::check(tree, found),
        "KubePrismConfig" => {
            let port = number(tree, "port");
            found.check((1..=65_535).contains(&port), format!("invalid port {port}: must be in range 1-65535"));
        }
        "KubeAPIServerConfig" => {
            image(tree, "kube-apiserver", found);
            let args = tree.get("extraArgs").and_then(Value::as_object).into_iter().flatten();
            let mut denied: Vec<_> = args
                .filter_map(|(name, _)| {
                    DENIED.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(prefix, why)| (prefix, name, why))
                })
                .collect();
            denied.sort();
            for (_, name, instead) in denied {
                found.error(format!(
                    "kube-apiserver extra argument {name} is not allowed: {instead}",
                    name = quoted(name)
                ));
            }
            resources(tree, found);
        }
        // A component that is off may be described in any way.
        "KubeControllerManagerConfig" | "KubeSchedulerConfig" | "KubeProxyConfig" if is_off => {}
        "KubeControllerManagerConfig" => {
            image(tree, "kube-controller-manager", found);
            resources(tree, found);
        }
        "KubeSchedulerConfig" => {
            image(tree, "scheduler", found);
            resources(tree, found);
        }
        "KubeProxyConfig" => proxy(tree, found),
        "KubeFlannelCNIConfig" => {
            found.check(!text(tree, "backendType").is_empty(), "flannel backend type must be specified");
            resources(tree, found);
        }
        "KubeClusterConfig" => {
            found.check(!text(tree, "clusterName").is_empty(), "clusterName must be specified");
            match text(tree, "endpoint") {
                "" => found.error("endpoint must be specified"),
                endpoint => {
                    if let Err(why) = net::endpoint(endpoint) {
                        found.error(format!("cluster endpoint is invalid: {why}"));
                    }
                }
            }
        }
        "KubeAdmissionControlConfig" => found.check(!name.is_empty(), "admission control plugin name is required"),
        "KubeAuthorizerConfig" => authorizer(name, tree, found),
        "KubeEtcdEncryptionConfig" => found.check(has(tree, "config"), "etcd encryption config is required"),
        "KubeInlineManifestConfig" => subdomain("manifest", name, found),
        "KubeExternalManifestConfig" => {
            subdomain("manifest", name, found);
            match text(tree, "url") {
                "" => found.error("manifest URL is required"),
                url => {
                    let scheme = Url::parse(url).unwrap_or_default().scheme;
                    let ok = matches!(scheme.as_str(), "http" | "https");
                    found.check(
                        ok,
                        format!("manifest URL scheme must be http or https: {scheme}", scheme = quoted(&scheme)),
                    );
                }
            }
        }
        "KubeStaticPodConfig" => {
            subdomain("static pod", name, found);
            found.check(has(tree, "pod"), "static pod spec is required");
        }
        "KubeTalosAPIAccessConfig" => {
            for role in texts(tree, "allowedRoles").filter(|role| !minor.roles.contains(role)) {
                found.error(format!("invalid role {role} in .allowedRoles", role = quoted(role)));
            }
        }
        "KubeAPIServerCAConfig" | "KubeAggregatorCAConfig" => authority(kind, tree, found),
        "KubeServiceAccountConfig" => {
            let issuer = tree.get("issuer").unwrap_or(&Value::Null);
            match text(issuer, "privateKey") {
                "" => found.error("service issuer private key is required"),
                key => {
                    if let Err(why) = pki::check_key(key) {
                        // Here Talos leaves out a colon.
                        let why = why.replace("unsupported key type: ", "unsupported key type ");
                        found.error(format!("service issuer private key is invalid: {why}"));
                    }
                }
            }
            found.check(!text(issuer, "issuerURL").is_empty(), "service issuer URL is required");
        }
        _ => {}
    }
}

fn has(tree: &Value, key: &str) -> bool {
    tree.get(key).and_then(Value::as_object).is_some_and(|map| !map.is_empty())
}

fn image(tree: &Value, what: &str, found: &mut Findings) {
    found.check(!text(tree, "image").is_empty(), format!("{what} image cannot be empty"));
}

/// The first resource that is neither memory nor CPU.
fn resources(tree: &Value, found: &mut Findings) {
    if let Some(key) = tree.get("resources").and_then(kubernetes::odd_resource) {
        found.error(format!("unsupported pod resource {key}", key = quoted(key)));
    }
}

fn node(tree: &Value, found: &mut Findings) {
    for subnet in tree.get("nodeIP").into_iter().flat_map(|node| texts(node, "validSubnets")) {
        if let Err(bare) = net::subnet(subnet) {
            found.error(format!("nodeIP subnet is not valid: {bare}", bare = quoted(bare)));
        }
    }
    for what in ["labels", "annotations", "taints"] {
        let problems = kubernetes::problems(tree.get(what), what);
        if !problems.is_empty() {
            found.error(format!("invalid node {what}: {}", multi(&problems)));
        }
    }
}

fn subdomain(what: &str, name: &str, found: &mut Findings) {
    if name.is_empty() {
        found.error(format!("{what} name is required"));
    } else if let Err(why) = kubernetes::subdomain(name) {
        found.error(format!("{what} name is invalid: {why}"));
    }
}

fn authorizer(name: &str, tree: &Value, found: &mut Findings) {
    found.check(!name.is_empty(), "authorizer name is required");
    let kind = text(tree, "type");
    found.check(!kind.is_empty(), "authorizer type is required");
    found.check(
        kubernetes::AUTHORIZERS.contains(&kind),
        format!("authorizer type {kind} is not allowed, allowed types are [Node RBAC Webhook]"),
    );
    match (kind, has(tree, "webhook")) {
        ("Webhook", false) => found.error("authorizer webhook configuration is required for Webhook authorizer type"),
        ("Webhook", true) | (_, false) => {}
        _ => found.warning("authorizer webhook configuration is not allowed non-Webhook authorizer types"),
    }
}

fn authority(kind: &str, tree: &Value, found: &mut Findings) {
    match tree.get("issuingCA") {
        Some(pair) => {
            if let Err(why) = pair_problem(pair) {
                found.error(format!("issuing CA: {why}"));
            }
        }
        None => found.check(kind != "KubeAggregatorCAConfig", "issuing CA is not set"),
    }
    for (index, certificate) in texts(tree, "acceptedCAs").enumerate() {
        if let Err(why) = pki::check_pem(certificate, Some("CERTIFICATE")) {
            found.error(format!("accepted CA #{index}: {why}"));
        }
    }
}

/// A certificate with its key, both as PEM, and both readable.
fn pair_problem(pair: &Value) -> Result<(), String> {
    let (certificate, key) = (text(pair, "cert"), text(pair, "key"));
    pki::check_pair(certificate, key)?;
    pki::check_certificate(certificate).map_err(|why| format!("certificate is invalid: {why}"))?;
    pki::check_key(key).map_err(|why| format!("key is invalid: {why}"))
}

fn proxy(tree: &Value, found: &mut Findings) {
    image(tree, "proxy", found);
    match text(tree, "mode") {
        "" | "nftables" => {}
        mode @ ("iptables" | "ipvs") => {
            found.warning(format!(
                "proxy mode {mode} is not recommended, please switch to nftables if possible",
                mode = quoted(mode)
            ));
        }
        mode => {
            found.error(format!(
                "invalid proxy mode {mode}: supported modes are iptables, ipvs and nftables",
                mode = quoted(mode)
            ));
        }
    }
    if has(tree, "extraArgs") {
        found.warning("extra arguments for kube-proxy may not work as expected, please use configuration instead");
    }
    resources(tree, found);
}
