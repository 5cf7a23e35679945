//! Rules that v1alpha1 and the Kubernetes documents share: the kubelet, and names of labels.

use serde_json::Value;

use super::{Findings, at, net, texts};

/// What Talos sets in the kubelet's configuration itself.
const PROTECTED: [&str; 13] = [
    "apiVersion",
    "authentication",
    "authorization",
    "cgroupRoot",
    "kind",
    "kubeletCgroups",
    "port",
    "protectKernelDefaults",
    "resolvConf",
    "rotateCertificates",
    "systemCgroups",
    "staticPodPath",
    "seccompDefault",
];

/// `machine.kubelet`.
pub(super) fn kubelet(kubelet: &Value, found: &mut Findings) {
    for subnet in at(kubelet, &["nodeIP"]).into_iter().flat_map(|node| texts(node, "validSubnets")) {
        if let Err(bare) = net::subnet(subnet) {
            found.error(format!("kubelet nodeIP subnet is not valid: {bare:?}"));
        }
    }
    protected(kubelet.get("extraConfig"), found);
}

pub(super) fn protected(config: Option<&Value>, found: &mut Findings) {
    for field in PROTECTED {
        let set = config.is_some_and(|config| config.get(field).is_some());
        found.check(!set, format!("kubelet configuration field {field:?} can't be overridden"));
    }
}

/// `nodeLabels`, `nodeAnnotations` and `nodeTaints` below `machine`.
pub(super) fn labels(machine: &Value, found: &mut Findings) {
    for (key, what) in [("nodeLabels", "labels"), ("nodeAnnotations", "annotations"), ("nodeTaints", "taints")] {
        for problem in problems(machine.get(key), what) {
            found.error(format!("invalid machine node {what}: {problem}"));
        }
    }
}

/// What is wrong with labels, annotations or taints, by key.
pub(super) fn problems(map: Option<&Value>, what: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut entries: Vec<_> = map.and_then(Value::as_object).into_iter().flatten().collect();
    entries.sort_by_key(|(key, _)| key.as_str());
    for (key, value) in entries {
        problems.extend(key_problem(key));
        let value = value.as_str().unwrap_or_default();
        problems.extend(match what {
            "labels" => value_problem(value),
            "taints" => {
                let (text, effect) = value.split_once(':').unwrap_or(("", value));
                let known = matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute");
                value_problem(text).or_else(|| (!known).then(|| format!("invalid taint effect: {effect:?}")))
            }
            _ => None,
        });
    }
    problems
}

fn is_name(text: &str) -> bool {
    let edge = |symbol: char| symbol.is_ascii_alphanumeric();
    text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|symbol| edge(symbol) || matches!(symbol, '-' | '_' | '.'))
}

/// The first key of `requests` and `limits` that Talos does not know as a resource.
pub(super) fn odd_resource(resources: &Value) -> Option<&String> {
    let keys = |key| resources.get(key).and_then(Value::as_object).into_iter().flat_map(serde_json::Map::keys);
    keys("requests").chain(keys("limits")).find(|key| !matches!(key.as_str(), "memory" | "cpu"))
}

/// A name as DNS has subdomains (RFC 1123).
pub(super) fn subdomain(name: &str) -> Result<(), String> {
    if name.len() > 253 {
        return Err(format!("domain name length exceeds limit of 253: {name:?}"));
    }
    let lower = |symbol: char| symbol.is_ascii_lowercase() || symbol.is_ascii_digit();
    let label = |label: &str| {
        label.starts_with(lower) && label.ends_with(lower) && label.chars().all(|symbol| lower(symbol) || symbol == '-')
    };
    if name.split('.').all(label) { Ok(()) } else { Err(format!("domain doesn't match required format: {name:?}")) }
}

fn key_problem(key: &str) -> Option<String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return Some(format!("prefix cannot be empty: {key:?}"));
        }
        let label = |label: &str| is_name(label) && !label.contains(['_', '.']);
        if prefix.len() > 253 || prefix.chars().any(char::is_uppercase) || !prefix.split('.').all(label) {
            return Some(format!("prefix {prefix:?} is invalid"));
        }
    }
    if name.len() > 63 {
        Some(format!("name is too long: {name:?} (limit is 63)"))
    } else if !is_name(name) {
        Some(format!("name {name:?} is invalid"))
    } else {
        None
    }
}

fn value_problem(value: &str) -> Option<String> {
    if value.len() > 63 {
        Some(format!("label value length exceeds limit of 63: {value:?}"))
    } else {
        (!value.is_empty() && !is_name(value)).then(|| format!("label value {value:?} is invalid"))
    }
}
