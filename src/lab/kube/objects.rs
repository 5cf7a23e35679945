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
    /// The name of the one that was asked for.
    pub(super) single: Option<String>,
}

/// When the lab's clusters were born, for everybody who prints an age.
const BORN: &str = "2026-01-01T00:00:00Z";

impl List {
    /// The resource, as it stands in paths.
    pub(super) fn plural(&self) -> &'static str {
        match self.kind {
            "Node" => "nodes",
            "Pod" => "pods",
            "Service" => "services",
            _ => "namespaces",
        }
    }

    /// As the API wraps it.
    pub(super) fn object(&self) -> Value {
        json!({
            "kind": format!("{}List", self.kind), "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
            "items": self.items,
        })
    }

    /// Keeps what `labelSelector` and `fieldSelector` ask for: (in)equality and presence; of fields, those that kubectl asks for.
    pub(super) fn selected(mut self, parameters: &[(String, String)]) -> Self {
        let terms = |wanted: &'static str| {
            let selectors = parameters.iter().filter(move |(key, _)| key == wanted);
            selectors.flat_map(|(_, selector)| selector.split(',')).filter(|term| !term.is_empty()).map(Term::parse)
        };
        for term in terms("labelSelector") {
            self.items.retain(|item| term.holds(item["metadata"]["labels"].get(term.key).and_then(Value::as_str)));
        }
        for term in terms("fieldSelector") {
            let path = match term.key {
                "metadata.name" => "/metadata/name",
                "metadata.namespace" => "/metadata/namespace",
                "spec.nodeName" => "/spec/nodeName",
                "status.phase" => "/status/phase",
                _ => continue,
            };
            self.items.retain(|item| term.holds(item.pointer(path).and_then(Value::as_str)));
        }
        self
    }

    fn of(kind: &'static str, items: Vec<Value>, name: Option<&str>) -> Self {
        let wanted = |item: &Value| name.is_none_or(|name| item["metadata"]["name"] == name);
        Self { kind, items: items.into_iter().filter(wanted).collect(), single: name.map(str::to_owned) }
    }
}

/// `key=value`, `key==value`, `key!=value`, `key`, or `!key`.
struct Term<'a> {
    key: &'a str,
    /// `None`: presence is enough.
    value: Option<&'a str>,
    negated: bool,
}

impl<'a> Term<'a> {
    fn parse(term: &'a str) -> Self {
        if let Some((key, value)) = term.split_once("!=") {
            return Self { key, value: Some(value), negated: true };
        }
        if let Some(key) = term.strip_prefix('!') {
            return Self { key, value: None, negated: true };
        }
        match term.split_once('=') {
            Some((key, value)) => Self { key, value: Some(value.trim_start_matches('=')), negated: false },
            None => Self { key: term, value: None, negated: false },
        }
    }

    fn holds(&self, found: Option<&str>) -> bool {
        found.is_some_and(|found| self.value.is_none_or(|value| value == found)) != self.negated
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

/// The API's own service, which every cluster has.
pub(super) fn services(namespace: Option<&str>, name: Option<&str>) -> List {
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({
        "kind": "Service", "apiVersion": "v1",
        "metadata": {"name": "kubernetes", "namespace": "default", "uid": "lab-kubernetes", "creationTimestamp": BORN, "labels": labels, "resourceVersion": "1"},
        "spec": {
            "type": "ClusterIP", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"],
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
        "status": {"loadBalancer": {}},
    });
    let here = namespace.is_none_or(|namespace| namespace == "default");
    List::of("Service", if here { vec![service] } else { Vec::new() }, name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_keep_what_they_name() {
        let kept = |key: &str, selector: &str| -> Vec<String> {
            let list = namespaces(None).selected(&[(key.to_owned(), selector.to_owned())]);
            list.items.iter().filter_map(|item| item["metadata"]["name"].as_str()).map(str::to_owned).collect()
        };
        assert_eq!(kept("labelSelector", "kubernetes.io/metadata.name=default"), ["default"]);
        assert_eq!(kept("labelSelector", "kubernetes.io/metadata.name!=default").len(), 3);
        assert_eq!(kept("labelSelector", "!kubernetes.io/metadata.name"), [""; 0]);
        assert_eq!(kept("fieldSelector", "metadata.name=kube-public,status.phase==Active"), ["kube-public"]);
    }
}
