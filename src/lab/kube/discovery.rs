//! What the API says about itself: enough for kubectl to find nodes, namespaces, pods and services.

use serde_json::{Value, json};

/// The document at a discovery path. `version` is the API server's, with its `v`.
pub(super) fn document(path: &str, version: &str) -> Option<Value> {
    match path {
        "/version" => {
            let mut numbers = version.trim_start_matches('v').split('.');
            let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
            Some(json!({
                "major": major, "minor": minor, "gitVersion": version, "gitCommit": "lab", "gitTreeState": "clean",
                "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.25", "compiler": "gc", "platform": "linux/amd64",
            }))
        }
        "/api" => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        "/apis" => Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})),
        "/api/v1" => Some(json!({
            "kind": "APIResourceList", "groupVersion": "v1",
            "resources": [
                resource("namespaces", "namespace", "Namespace", false, "ns"),
                resource("nodes", "node", "Node", false, "no"),
                resource("pods", "pod", "Pod", true, "po"),
                resource("services", "service", "Service", true, "svc"),
            ],
        })),
        _ => None,
    }
}

fn resource(name: &str, singular: &str, kind: &str, namespaced: bool, short: &str) -> Value {
    json!({
        "name": name, "singularName": singular, "kind": kind, "namespaced": namespaced, "shortNames": [short],
        "verbs": ["get", "list", "watch"],
    })
}
