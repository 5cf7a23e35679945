//! Rules that v1alpha1 and the Kubernetes documents share: the kubelet, and names of labels.

use serde_json::Value;

use super::{Findings, at, net, texts};
use crate::machineconfig::go::quoted;

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

/// What a v1alpha1 authorizer, or a document of one, may be.
pub(super) const AUTHORIZERS: [&str; 3] = ["Node", "RBAC", "Webhook"];

/// `machine.kubelet`.
pub(super) fn kubelet(kubelet: &Value, found: &mut Findings) {
    for subnet in at(kubelet, &["nodeIP"]).into_iter().flat_map(|node| texts(node, "validSubnets")) {
        if let Err(bare) = net::subnet(subnet) {
            found.error(format!("kubelet nodeIP subnet is not valid: {bare}", bare = quoted(bare)));
        }
    }
    protected(kubelet.get("extraConfig"), found);
}

pub(super) fn protected(config: Option<&Value>, found: &mut Findings) {
    for field in PROTECTED {
        let set = config.is_some_and(|config| config.get(field).is_some());
        found.check(!set, format!("kubelet configuration field {field} can't be overridden", field = quoted(field)));
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

/// Annotations in which Talos keeps what it owns of a node.
const RESERVED: [&str; 3] = ["talos.dev/owned-annotations", "talos.dev/owned-labels", "talos.dev/owned-taints"];
/// Most bytes that the annotations of an object may have, as Kubernetes counts them.
const ANNOTATIONS: usize = 262_144;

/// What is wrong with labels, annotations or taints, by key.
pub(super) fn problems(map: Option<&Value>, what: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut entries: Vec<_> = map.and_then(Value::as_object).into_iter().flatten().collect();
    entries.sort_by_key(|(key, _)| key.as_str());
    let mut size = 0;
    for (key, value) in entries {
        let value = value.as_str().unwrap_or_default();
        let name = qualified_name(key).err();
        match what {
            "labels" => problems.extend(name.into_iter().chain(value_problem(value))),
            // Of a taint the first problem is told.
            "taints" => problems.extend(name.or_else(|| taint_problem(value))),
            _ => {
                problems.extend(name);
                if RESERVED.contains(&key.as_str()) {
                    problems.push(format!("annotation {key} is reserved", key = quoted(key)));
                }
                size += key.len() + value.len();
            }
        }
    }
    if size > ANNOTATIONS {
        problems.push(format!("total annotation size exceeds limit of {ANNOTATIONS} bytes"));
    }
    problems
}

/// What is wrong with `value:Effect`, or with `Effect` alone.
fn taint_problem(taint: &str) -> Option<String> {
    let (value, effect) = taint.split_once(':').unwrap_or(("", taint));
    if matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        value_problem(value)
    } else {
        Some(format!("invalid taint effect: {effect}", effect = quoted(effect)))
    }
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
        return Err(format!("domain name length exceeds limit of 253: {name}", name = quoted(name)));
    }
    let lower = |symbol: char| symbol.is_ascii_lowercase() || symbol.is_ascii_digit();
    let label = |label: &str| {
        label.starts_with(lower) && label.ends_with(lower) && label.chars().all(|symbol| lower(symbol) || symbol == '-')
    };
    if name.split('.').all(label) {
        Ok(())
    } else {
        Err(format!("domain doesn't match required format: {name}", name = quoted(name)))
    }
}

/// A name with an optional prefix, such as labels have.
pub(super) fn qualified_name(value: &str) -> Result<(), String> {
    let (prefix, name) = value.split_once('/').map_or((None, value), |(prefix, name)| (Some(prefix), name));
    if name.contains('/') {
        return Err(format!("invalid format: too many slashes: {value}", value = quoted(value)));
    }
    match prefix {
        Some("") => return Err(format!("prefix cannot be empty: {value}", value = quoted(value))),
        Some(prefix) => {
            subdomain(prefix).map_err(|why| format!("prefix {prefix} is invalid: {why}", prefix = quoted(prefix)))?;
        }
        None => {}
    }
    if name.is_empty() {
        Err(format!("name cannot be empty: {value}", value = quoted(value)))
    } else if name.len() > 63 {
        Err(format!("name is too long: {value} (limit is 63)", value = quoted(value)))
    } else if !is_name(name) {
        Err(format!("name {name} is invalid", name = quoted(name)))
    } else {
        Ok(())
    }
}

fn value_problem(value: &str) -> Option<String> {
    if value.len() > 63 {
        Some(format!("label value length exceeds limit of 63: {value}", value = quoted(value)))
    } else {
        (!value.is_empty() && !is_name(value)).then(|| format!("label value {value} is invalid", value = quoted(value)))
    }
}
