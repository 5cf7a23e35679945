//! The tables that kubectl prints: meta.k8s.io/v1 `Table`, as the API server builds them.

use serde_json::{Value, json};

use super::objects::List;

/// Name, type, and priority: 0 is always shown, 1 with `-o wide`.
type Column = (&'static str, &'static str, u8);

const NODES: [Column; 10] = [
    ("Name", "string", 0),
    ("Status", "string", 0),
    ("Roles", "string", 0),
    ("Age", "string", 0),
    ("Version", "string", 0),
    ("Internal-IP", "string", 1),
    ("External-IP", "string", 1),
    ("OS-Image", "string", 1),
    ("Kernel-Version", "string", 1),
    ("Container-Runtime", "string", 1),
];

const PODS: [Column; 7] = [
    ("Name", "string", 0),
    ("Ready", "string", 0),
    ("Status", "string", 0),
    ("Restarts", "string", 0),
    ("Age", "string", 0),
    ("IP", "string", 1),
    ("Node", "string", 1),
];

const NAMESPACES: [Column; 3] = [("Name", "string", 0), ("Status", "string", 0), ("Age", "string", 0)];

const SERVICES: [Column; 6] = [
    ("Name", "string", 0),
    ("Type", "string", 0),
    ("Cluster-IP", "string", 0),
    ("External-IP", "string", 0),
    ("Port(s)", "string", 0),
    ("Age", "string", 0),
];

/// A table for each object, as watches send them.
pub(super) fn each(list: &List) -> Vec<Value> {
    let alone = |item: &Value| of(&List { kind: list.kind, items: vec![item.clone()], single: None });
    list.items.iter().map(alone).collect()
}

pub(super) fn of(list: &List) -> Value {
    let (columns, cells): (&[Column], fn(&Value) -> Value) = match list.kind {
        "Node" => (&NODES, node),
        "Pod" => (&PODS, pod),
        "Service" => (&SERVICES, service),
        _ => (&NAMESPACES, namespace),
    };
    let columns: Vec<Value> = columns
        .iter()
        .map(|(name, kind, priority)| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({"name": name, "type": kind, "format": format, "description": "", "priority": priority})
        })
        .collect();
    let rows: Vec<Value> = list
        .items
        .iter()
        .map(|item| {
            let object =
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]});
            json!({"cells": cells(item), "object": object})
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "1"},
        "columnDefinitions": columns, "rows": rows,
    })
}

fn node(item: &Value) -> Value {
    let ready = item["status"]["conditions"][0]["status"] == "True";
    let control_plane = item["metadata"]["labels"].get("node-role.kubernetes.io/control-plane").is_some();
    let info = &item["status"]["nodeInfo"];
    json!([
        item["metadata"]["name"],
        if ready { "Ready" } else { "NotReady" },
        if control_plane { "control-plane" } else { "<none>" },
        AGE,
        info["kubeletVersion"],
        item["status"]["addresses"][0]["address"],
        "<none>",
        info["osImage"],
        info["kernelVersion"],
        info["containerRuntimeVersion"],
    ])
}

fn pod(item: &Value) -> Value {
    let status = &item["status"];
    let ready = status["containerStatuses"][0]["ready"] == true;
    let text = |value: &Value| value.as_str().unwrap_or("<none>").to_owned();
    json!([
        item["metadata"]["name"],
        if ready { "1/1" } else { "0/1" },
        status["phase"],
        "0",
        AGE,
        text(&status["podIP"]),
        text(&item["spec"]["nodeName"]),
    ])
}

fn service(item: &Value) -> Value {
    let (spec, port) = (&item["spec"], &item["spec"]["ports"][0]);
    let ports = format!("{}/{}", port["port"], port["protocol"].as_str().unwrap_or("TCP"));
    json!([item["metadata"]["name"], spec["type"], spec["clusterIP"], "<none>", ports, AGE])
}

fn namespace(item: &Value) -> Value {
    json!([item["metadata"]["name"], item["status"]["phase"], AGE])
}

/// The lab's clusters do not age.
const AGE: &str = "1m";
