//! The tables that kubectl prints: meta.k8s.io/v1 `Table`, as the API server builds them (pkg/printers/internalversion).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::kinds::Kind;

/// Name, and priority: 0 is always shown, 1 with `-o wide`.
type Column = (&'static str, u8);

/// What the rows of one kind are made of: its columns, and an object's cells.
type Printer = (&'static [Column], fn(&Value, &str) -> Value);

const NODES: [Column; 10] = [
    ("Name", 0),
    ("Status", 0),
    ("Roles", 0),
    ("Age", 0),
    ("Version", 0),
    ("Internal-IP", 1),
    ("External-IP", 1),
    ("OS-Image", 1),
    ("Kernel-Version", 1),
    ("Container-Runtime", 1),
];

const PODS: [Column; 9] = [
    ("Name", 0),
    ("Ready", 0),
    ("Status", 0),
    ("Restarts", 0),
    ("Age", 0),
    ("IP", 1),
    ("Node", 1),
    ("Nominated Node", 1),
    ("Readiness Gates", 1),
];

const NAMESPACES: [Column; 3] = [("Name", 0), ("Status", 0), ("Age", 0)];

const SERVICES: [Column; 7] =
    [("Name", 0), ("Type", 0), ("Cluster-IP", 0), ("External-IP", 0), ("Port(s)", 0), ("Age", 0), ("Selector", 1)];

const DAEMONS: [Column; 11] = [
    ("Name", 0),
    ("Desired", 0),
    ("Current", 0),
    ("Ready", 0),
    ("Up-to-date", 0),
    ("Available", 0),
    ("Node Selector", 0),
    ("Age", 0),
    ("Containers", 1),
    ("Images", 1),
    ("Selector", 1),
];

const DEPLOYMENTS: [Column; 8] = [
    ("Name", 0),
    ("Ready", 0),
    ("Up-to-date", 0),
    ("Available", 0),
    ("Age", 0),
    ("Containers", 1),
    ("Images", 1),
    ("Selector", 1),
];

const REPLICAS: [Column; 8] = [
    ("Name", 0),
    ("Desired", 0),
    ("Current", 0),
    ("Ready", 0),
    ("Age", 0),
    ("Containers", 1),
    ("Images", 1),
    ("Selector", 1),
];

const EVENTS: [Column; 9] = [
    ("Last Seen", 0),
    ("Type", 0),
    ("Reason", 0),
    ("Object", 0),
    ("Subobject", 1),
    ("Source", 1),
    ("Message", 0),
    ("Count", 1),
    ("Name", 1),
];

const COMPONENTS: [Column; 4] = [("Name", 0), ("Status", 0), ("Message", 0), ("Error", 0)];
const CONFIG_MAPS: [Column; 3] = [("Name", 0), ("Data", 0), ("Age", 0)];
const ENDPOINTS: [Column; 3] = [("Name", 0), ("Endpoints", 0), ("Age", 0)];
const LEASES: [Column; 3] = [("Name", 0), ("Holder", 0), ("Age", 0)];
const ACCOUNTS: [Column; 3] = [("Name", 0), ("Secrets", 0), ("Age", 0)];
const PLAIN: [Column; 2] = [("Name", 0), ("Age", 0)];

fn printer(kind: &Kind) -> Printer {
    match kind.plural {
        "nodes" => (&NODES, node),
        "pods" => (&PODS, pod),
        "namespaces" => (&NAMESPACES, |item, age| json!([item["metadata"]["name"], item["status"]["phase"], age])),
        "services" => (&SERVICES, service),
        "daemonsets" => (&DAEMONS, daemons),
        "deployments" => (&DEPLOYMENTS, deployment),
        "replicasets" => (&REPLICAS, replicas),
        "events" => (&EVENTS, event),
        "componentstatuses" => (&COMPONENTS, |item, _| {
            let condition = &item["conditions"][0];
            json!([item["metadata"]["name"], condition["type"], condition["message"], ""])
        }),
        "configmaps" => (&CONFIG_MAPS, |item, age| {
            let data = item["data"].as_object().map_or(0, serde_json::Map::len);
            json!([item["metadata"]["name"], data.to_string(), age])
        }),
        "endpoints" => (&ENDPOINTS, endpoints),
        "leases" => (&LEASES, |item, age| json!([item["metadata"]["name"], item["spec"]["holderIdentity"], age])),
        "serviceaccounts" => (&ACCOUNTS, |item, age| json!([item["metadata"]["name"], "0", age])),
        _ => (&PLAIN, |item, age| json!([item["metadata"]["name"], age])),
    }
}

/// The table of these objects. `include` is the query's `includeObject`: `None`, `Object`, or the default `Metadata`.
pub(super) fn of<'a>(
    kind: &Kind,
    items: impl Iterator<Item = &'a Value>,
    metadata: &Value,
    include: &str,
    now: Timestamp,
) -> Value {
    let (columns, cells) = printer(kind);
    let columns: Vec<Value> = columns
        .iter()
        .map(|(name, priority)| {
            let format = if *name == "Name" && kind.plural != "events" { "name" } else { "" };
            json!({"name": name, "type": "string", "format": format, "description": "", "priority": priority})
        })
        .collect();
    let rows: Vec<Value> = items
        .map(|item| {
            let object = match include {
                "None" => Value::Null,
                "Object" => item.clone(),
                _ => json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}),
            };
            json!({"cells": cells(item, &age(item, now)), "object": object})
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}

/// As k8s.io/apimachinery/pkg/util/duration writes it.
fn age(item: &Value, now: Timestamp) -> String {
    let born = item["metadata"]["creationTimestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let Some(born) = born else { return "<unknown>".into() };
    let seconds = (now.as_second() - born.as_second()).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 > 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 > 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 > 0 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

fn node(item: &Value, age: &str) -> Value {
    let ready = conditions(item).find(|condition| condition["type"] == "Ready");
    let mut status = match ready.and_then(|condition| condition["status"].as_str()) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if item["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    let labels = item["metadata"]["labels"].as_object();
    let roles: Vec<&str> = labels
        .into_iter()
        .flat_map(|labels| labels.keys())
        .filter_map(|label| label.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    let info = &item["status"]["nodeInfo"];
    let addresses = item["status"]["addresses"].as_array();
    let internal = addresses.into_iter().flatten().find(|address| address["type"] == "InternalIP");
    json!([
        item["metadata"]["name"],
        status,
        if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") },
        age,
        info["kubeletVersion"],
        internal.map_or(&Value::Null, |address| &address["address"]),
        "<none>",
        info["osImage"],
        info["kernelVersion"],
        info["containerRuntimeVersion"],
    ])
}

fn conditions(item: &Value) -> impl Iterator<Item = &Value> {
    item["status"]["conditions"].as_array().into_iter().flatten()
}

fn pod(item: &Value, age: &str) -> Value {
    let status = &item["status"];
    let container = &status["containerStatuses"][0];
    let waiting = container["state"]["waiting"]["reason"].as_str();
    json!([
        item["metadata"]["name"],
        if container["ready"] == true { "1/1" } else { "0/1" },
        waiting.or_else(|| status["phase"].as_str()),
        container["restartCount"].as_u64().unwrap_or(0).to_string(),
        age,
        text(&status["podIP"]),
        text(&item["spec"]["nodeName"]),
        "<none>",
        "<none>",
    ])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("<none>")
}

fn service(item: &Value, age: &str) -> Value {
    let spec = &item["spec"];
    let ports = spec["ports"].as_array().into_iter().flatten();
    let ports: Vec<String> =
        ports.map(|port| format!("{}/{}", port["port"], port["protocol"].as_str().unwrap_or("TCP"))).collect();
    json!([
        item["metadata"]["name"],
        spec["type"],
        spec["clusterIP"],
        "<none>",
        ports.join(","),
        age,
        pairs(&spec["selector"])
    ])
}

/// `a=b,c=d`.
fn pairs(map: &Value) -> String {
    let pairs = map.as_object().into_iter().flatten();
    let pairs: Vec<String> =
        pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

/// Containers, images and selector, which every workload shows with `-o wide`.
fn wide(item: &Value) -> [Value; 3] {
    let container = &item["spec"]["template"]["spec"]["containers"][0];
    [container["name"].clone(), container["image"].clone(), json!(pairs(&item["spec"]["selector"]["matchLabels"]))]
}

fn daemons(item: &Value, age: &str) -> Value {
    let status = &item["status"];
    let [containers, images, selector] = wide(item);
    json!([
        item["metadata"]["name"],
        status["desiredNumberScheduled"],
        status["currentNumberScheduled"],
        status["numberReady"],
        status["updatedNumberScheduled"],
        status["numberAvailable"],
        "<none>",
        age,
        containers,
        images,
        selector,
    ])
}

fn deployment(item: &Value, age: &str) -> Value {
    let status = &item["status"];
    let [containers, images, selector] = wide(item);
    let ready = format!("{}/{}", status["readyReplicas"], item["spec"]["replicas"]);
    json!([
        item["metadata"]["name"],
        ready,
        status["updatedReplicas"],
        status["availableReplicas"],
        age,
        containers,
        images,
        selector,
    ])
}

fn replicas(item: &Value, age: &str) -> Value {
    let status = &item["status"];
    let [containers, images, selector] = wide(item);
    json!([
        item["metadata"]["name"],
        item["spec"]["replicas"],
        status["replicas"],
        status["readyReplicas"],
        age,
        containers,
        images,
        selector,
    ])
}

fn event(item: &Value, age: &str) -> Value {
    let about = &item["involvedObject"];
    let object = format!(
        "{}/{}",
        about["kind"].as_str().unwrap_or_default().to_lowercase(),
        about["name"].as_str().unwrap_or_default()
    );
    json!([
        age,
        item["type"],
        item["reason"],
        object,
        "",
        item["source"]["component"],
        item["message"],
        item["count"],
        item["metadata"]["name"],
    ])
}

fn endpoints(item: &Value, age: &str) -> Value {
    let subset = &item["subsets"][0];
    let port = &subset["ports"][0]["port"];
    let addresses = subset["addresses"].as_array().into_iter().flatten();
    let all: Vec<String> =
        addresses.map(|address| format!("{}:{port}", address["ip"].as_str().unwrap_or_default())).collect();
    json!([item["metadata"]["name"], if all.is_empty() { "<none>".to_owned() } else { all.join(",") }, age])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_as_kubectl_reads_them() {
        let item = json!({"metadata": {"creationTimestamp": "1970-01-01T00:00:00Z"}});
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (125, "2m5s"),
            (600, "10m"),
            (11_000, "3h3m"),
            (172_799, "47h"),
            (172_800, "2d"),
            (900_000, "10d"),
        ] {
            assert_eq!(age(&item, Timestamp::from_second(seconds).unwrap()), expected);
        }
    }
}
