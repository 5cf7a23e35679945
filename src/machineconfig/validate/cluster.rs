//! The `cluster` section of v1alpha1.

use serde_json::Value;

use super::{Findings, at, flag, kubernetes, list, net, text, texts};
use crate::machineconfig::go::Url;
use crate::machineconfig::go::quoted;
use crate::machineconfig::minor::Minor;

pub(super) fn check(cluster: &Value, control_plane: bool, minor: &Minor, found: &mut Findings) {
    match at(cluster, &["controlPlane", "endpoint"]).and_then(Value::as_str) {
        Some(endpoint) => {
            if let Err(why) = net::endpoint(endpoint) {
                found.error(format!("invalid controlplane endpoint: {why}"));
            }
        }
        None if minor.control_plane_required || cluster.get("controlPlane").is_some() => {
            return found.error("cluster controlplane endpoint is required");
        }
        None => {}
    }
    let domain = at(cluster, &["network", "dnsDomain"]).and_then(Value::as_str).unwrap_or_default();
    found.check(
        domain.is_empty() || net::is_dns_name(domain),
        format!("{domain} is not a valid DNS name", domain = quoted(domain)),
    );
    if let Some(provider) = cluster.get("externalCloudProvider") {
        cloud_provider(provider, found);
    }
    if let Some(config) = cluster.get("etcd") {
        if control_plane {
            etcd(config, found);
        } else {
            found.error("etcd config is only allowed on control plane machines");
        }
    }
    let key = at(cluster, &["ca", "key"]).and_then(Value::as_str).unwrap_or_default();
    found.check(
        control_plane || key.is_empty(),
        "cluster CA key is not allowed on non-controlplane nodes (.cluster.ca)",
    );
    manifests(cluster, found);
    discovery(cluster, found);
    if let Some(problem) = cluster.get("apiServer").and_then(authorization) {
        found.error(problem);
    } else {
        resources(cluster, "apiServer", "apiserver", found);
    }
    resources(cluster, "controllerManager", "controller-manager", found);
    resources(cluster, "scheduler", "scheduler", found);
}

fn resources(cluster: &Value, key: &str, what: &str, found: &mut Findings) {
    if let Some(name) = at(cluster, &[key, "resources"]).and_then(kubernetes::odd_resource) {
        found.error(format!("{what} resource validation failed: unsupported pod resource {name}", name = quoted(name)));
    }
}

/// The first problem with the API server's authorizers.
fn authorization(server: &Value) -> Option<String> {
    let authorizers = server.get("authorizationConfig")?.as_array()?;
    for name in server.get("extraArgs").and_then(Value::as_object).into_iter().flat_map(serde_json::Map::keys) {
        if name == "authorization-mode" {
            return Some(
                "authorization-mode cannot be used in conjunction with AuthorizationConfig, use eitherr \
                 AuthorizationConfig or authorization-mode"
                    .to_owned(),
            );
        }
        if name.starts_with("authorization-webhook-") {
            return Some(
                "authorization-webhook-* flags cannot be used in conjunction with AuthorizationConfig, use either \
                 AuthorizationConfig or authorization-webhook-* flags"
                    .to_owned(),
            );
        }
    }
    authorizers.iter().find_map(|authorizer| {
        let kind = text(authorizer, "type");
        let problem = if kind.is_empty() {
            "authorizer type must be set".to_owned()
        } else if text(authorizer, "name").is_empty() {
            "authorizer name must be set".to_owned()
        } else if !kubernetes::AUTHORIZERS.contains(&kind) {
            format!("authorizer type {kind} is not allowed, allowed types are [Node RBAC Webhook]")
        } else {
            return None;
        };
        Some(format!("apiserver authorization config validation failed: {problem}"))
    })
}

fn cloud_provider(provider: &Value, found: &mut Findings) {
    let manifests = list(provider, "manifests");
    if flag(provider, "enabled") != Some(true) && !manifests.is_empty() {
        return found.error("external cloud provider is disabled, but manifests are provided");
    }
    for url in texts(provider, "manifests") {
        if let Err(why) = net::endpoint(url) {
            found.error(format!("invalid external cloud provider manifest url {url}: {why}", url = quoted(url)));
        }
    }
}

fn etcd(config: &Value, found: &mut Findings) {
    found.check(config.get("ca").is_some_and(|ca| !ca.is_null()), "key/cert combination should not be empty");
    let subnet = text(config, "subnet");
    let advertised: Vec<&str> = texts(config, "advertisedSubnets").collect();
    found.check(subnet.is_empty() || advertised.is_empty(), "etcd subnet can't be set when advertised subnets are set");
    let listen: Vec<&str> = texts(config, "listenSubnets").collect();
    // What is advertised is listened on, unless that is said apart; so a bad one is reported twice. The older single
    // subnet is only advertised.
    let listen = if listen.is_empty() { advertised.clone() } else { listen };
    let advertised = if advertised.is_empty() && !subnet.is_empty() { vec![subnet] } else { advertised };
    for (what, subnets) in [("advertised", advertised), ("listen", listen)] {
        for subnet in subnets {
            if let Err(bare) = net::subnet(subnet) {
                found.error(format!("etcd {what} subnet is not valid: {bare}", bare = quoted(bare)));
            }
        }
    }
}

fn manifests(cluster: &Value, found: &mut Findings) {
    let names: Vec<&str> = list(cluster, "inlineManifests").iter().map(|manifest| text(manifest, "name")).collect();
    for (index, name) in names.iter().enumerate() {
        found.check(!name.trim().is_empty(), "inline manifest name can't be empty");
        found.check(
            !names[..index].contains(name),
            format!("inline manifest name {name} is duplicate", name = quoted(name)),
        );
    }
}

/// Where v1alpha1 sends discovery, when it turns the service on.
fn discovery_endpoint(cluster: &Value) -> Option<&str> {
    let config = cluster.get("discovery").filter(|config| flag(config, "enabled") == Some(true))?;
    let service = at(config, &["registries", "service"]).unwrap_or(&Value::Null);
    let endpoint = Some(text(service, "endpoint")).filter(|endpoint| !endpoint.is_empty());
    (flag(service, "disabled") != Some(true)).then_some(endpoint.unwrap_or("https://discovery.talos.dev/"))
}

/// Whether v1alpha1 turns discovery through the service on, at an address that is one.
pub(super) fn uses_discovery_service(cluster: &Value) -> bool {
    discovery_endpoint(cluster).is_some_and(|endpoint| Url::parse(endpoint).is_ok())
}

fn discovery(cluster: &Value, found: &mut Findings) {
    let Some(endpoint) = discovery_endpoint(cluster) else { return };
    match Url::parse_request(endpoint) {
        Err(why) => found.error(format!("cluster discovery service registry endpoint is invalid: {why}")),
        Ok(url) => {
            found.check(matches!(url.path.as_str(), "" | "/"), "cluster discovery service path should be empty");
        }
    }
    for key in ["id", "secret"] {
        found.check(!text(cluster, key).is_empty(), format!("cluster discovery service requires .cluster.{key}"));
    }
}

pub(super) fn cni(cni: &Value, minor: &Minor, found: &mut Findings) {
    let name = text(cni, "name");
    let urls: Vec<&str> = texts(cni, "urls").collect();
    match name {
        "flannel" => {
            found.check(urls.is_empty(), format!("\"urls\" field should be empty for {name} CNI", name = quoted(name)));
        }
        "none" | "custom" => {
            if name == "none" {
                found.check(
                    urls.is_empty(),
                    format!("\"urls\" field should be empty for {name} CNI", name = quoted(name)),
                );
            } else if urls.is_empty() {
                found.warning(format!("\"urls\" field should not be empty for {name} CNI", name = quoted(name)));
            }
            let flannel = cni.get("flannel");
            let args = flannel.is_some_and(|flannel| !list(flannel, "extraArgs").is_empty());
            found.check(
                !args,
                format!("\"flanneldExtraArgs\" field should be empty for {name} CNI", name = quoted(name)),
            );
            let policies = flannel.and_then(|flannel| flag(flannel, "kubeNetworkPoliciesEnabled")) == Some(true);
            found.check(
                !(policies && minor.flannel_policies_checked),
                format!(
                    "\"flannelKubeNetworkPoliciesEnabled\" should not be enabled for {name} CNI",
                    name = quoted(name)
                ),
            );
            if name == "custom" {
                for url in urls {
                    if let Err(why) = net::endpoint(url) {
                        found.error(why);
                    }
                }
            }
        }
        _ => found.error("cni name should be one of [\"flannel\", \"custom\", \"none\"]"),
    }
}
