//! The objects: nodes as they registered, and the pods that Talos and its defaults bring.

use serde_json::{Value, json};

use crate::inventory::Role;
use crate::lab::fleet;

/// A node with its present readiness.
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    pub(super) record: &'a fleet::Node,
    pub(super) ready: bool,
}

/// Objects of one kind.
pub(super) struct List {
    pub(super) kind: &'static str,
    pub(super) items: Vec<Value>,
    /// One was asked for by name.
    pub(super) single: bool,
}

/// When the lab's clusters were born, for everybody who prints an age.
const BORN: &str = "2026-01-01T00:00:00Z";

impl List {
    pub(super) fn empty(kind: &'static str) -> Self {
        Self { kind, items: Vec::new(), single: false }
    }

    /// As the API wraps it.
    pub(super) fn object(&self) -> Value {
        json!({
            "kind": format!("{}List", self.kind), "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
            "items": self.items,
        })
    }

    /// Keeps what `labelSelector` and `fieldSelector` ask for: equalities, and of fields the name alone.
    pub(super) fn selected(mut self, parameters: &[(String, String)]) -> Self {
        let terms = |wanted: &'static str| {
            let selectors = parameters.iter().filter(move |(key, _)| key == wanted);
            selectors.flat_map(|(_, selector)| selector.split(',')).filter(|term| !term.is_empty())
        };
        for term in terms("labelSelector") {
            let (key, value) = pair(term);
            self.items.retain(|item| {
                let label = item["metadata"]["labels"].get(key).and_then(Value::as_str);
                label.is_some_and(|label| value.is_none_or(|value| value == label))
            });
        }
        for (_, value) in terms("fieldSelector").map(pair).filter(|(key, _)| *key == "metadata.name") {
            self.items.retain(|item| item["metadata"]["name"].as_str() == value);
        }
        self
    }

    /// The beginning of a watch: everything there is. It ends there, and the client watches again.
    pub(super) fn watched(&self) -> String {
        self.items.iter().map(|item| json!({"type": "ADDED", "object": item}).to_string() + "\n").collect()
    }

    fn of(kind: &'static str, items: Vec<Value>, name: Option<&str>) -> Self {
        let wanted = |item: &Value| name.is_none_or(|name| item["metadata"]["name"] == name);
        Self { kind, items: items.into_iter().filter(wanted).collect(), single: name.is_some() }
    }
}

/// `key=value`, `key==value`, or a key alone.
fn pair(term: &str) -> (&str, Option<&str>) {
    match term.split_once('=') {
        Some((key, value)) => (key, Some(value.trim_start_matches('='))),
        None => (term, None),
    }
}

pub(super) fn nodes(nodes: &[Node<'_>], name: Option<&str>) -> List {
    List::of("Node", nodes.iter().map(node).collect(), name)
}

fn node(node: &Node<'_>) -> Value {
    let Node { name, record: node, ready } = node;
    let mut labels =
        json!({"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"});
    if node.role == Role::ControlPlane {
        labels["node-role.kubernetes.io/control-plane"] = json!("");
    }
    let taints = if node.tainted {
        json!([{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}])
    } else {
        json!([])
    };
    let (status, reason, message) = match (*ready, node.flannel) {
        (true, _) => ("True", "KubeletReady", "kubelet is posting ready status"),
        (false, true) => ("False", "KubeletNotReady", "container runtime network not ready: NetworkReady=false"),
        (false, false) => (
            "False",
            "KubeletNotReady",
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized",
        ),
    };
    let ip = node.ip.map(|ip| ip.to_string()).unwrap_or_default();
    let memory = format!("{}Ki", node.memory_mib * 1024);
    json!({
        "kind": "Node", "apiVersion": "v1",
        "metadata": {"name": name, "uid": format!("lab-{}", node.vmid), "creationTimestamp": BORN, "labels": labels, "resourceVersion": "1"},
        "spec": {"taints": taints},
        "status": {
            "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": message, "lastHeartbeatTime": BORN, "lastTransitionTime": BORN}],
            "addresses": [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}],
            "capacity": {"cpu": node.cores.to_string(), "memory": memory, "pods": "110"},
            "allocatable": {"cpu": node.cores.to_string(), "memory": memory, "pods": "110"},
            "nodeInfo": {
                "kubeletVersion": node.kubelet, "kubeProxyVersion": node.kubelet, "osImage": format!("Talos ({})", node.talos),
                "operatingSystem": "linux", "architecture": "amd64", "kernelVersion": "6.18.0-talos",
                "containerRuntimeVersion": "containerd://2.2.0", "machineID": "lab", "systemUUID": "lab", "bootID": "lab",
            },
        },
    })
}

pub(super) fn namespaces(name: Option<&str>) -> List {
    let items = ["default", "kube-node-lease", "kube-public", "kube-system"].map(|name| {
        json!({
            "kind": "Namespace", "apiVersion": "v1",
            "metadata": {"name": name, "uid": format!("lab-{name}"), "creationTimestamp": BORN, "labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        })
    });
    List::of("Namespace", items.into(), name)
}

pub(super) fn pods(nodes: &[Node<'_>], name: Option<&str>) -> List {
    let mut items = Vec::new();
    for node in nodes {
        if node.record.role == Role::ControlPlane {
            for app in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
                let labels = json!({"k8s-app": app, "component": app, "tier": "control-plane"});
                items.push(pod(&format!("{app}-{}", node.name), &labels, Some(node), true));
            }
        }
        // Daemons that use the host's network run without a CNI.
        let daemons = [("kube-proxy", node.record.kube_proxy), ("kube-flannel", node.record.flannel)];
        for (app, _) in daemons.iter().filter(|(_, runs)| *runs) {
            let labels = json!({"k8s-app": app, "tier": "node"});
            items.push(pod(&format!("{app}-{:05x}", node.record.vmid), &labels, Some(node), true));
        }
    }
    let coredns = nodes.iter().any(|node| node.record.role == Role::ControlPlane && node.record.coredns);
    for copy in 0..if coredns { 2 } else { 0 } {
        let ready: Vec<&Node<'_>> = nodes.iter().filter(|node| node.ready).collect();
        let home = if ready.is_empty() { None } else { Some(ready[copy % ready.len()]) };
        let labels = json!({"k8s-app": "kube-dns"});
        items.push(pod(&format!("coredns-7d764666f9-{copy:05}"), &labels, home, home.is_some()));
    }
    List::of("Pod", items, name)
}

fn pod(name: &str, labels: &Value, home: Option<&Node<'_>>, runs: bool) -> Value {
    let status = if runs { "True" } else { "False" };
    let app = labels["k8s-app"].as_str().unwrap_or("app");
    let ip = home.and_then(|node| node.record.ip).map(|ip| ip.to_string());
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "kube-system", "uid": format!("lab-{name}"), "creationTimestamp": BORN, "labels": labels, "resourceVersion": "1"},
        "spec": {"nodeName": home.map(|node| node.name), "containers": [{"name": app, "image": "lab"}]},
        "status": {
            "phase": if runs { "Running" } else { "Pending" },
            "conditions": [{"type": "Ready", "status": status}],
            "containerStatuses": [{"name": app, "ready": runs, "restartCount": 0, "started": runs, "image": "lab", "imageID": "", "state": {}}],
            "hostIP": ip, "podIP": ip, "startTime": BORN,
        },
    })
}
