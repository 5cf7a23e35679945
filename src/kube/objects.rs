//! Nodes and pods, as far as health looks at them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

/// A Kubernetes node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeNode {
    pub name: String,
    /// `Err` says why not, in the kubelet's words.
    pub ready: Result<(), String>,
    pub internal_ips: Vec<IpAddr>,
    pub schedulable: bool,
    /// `control-plane` of the label `node-role.kubernetes.io/control-plane`.
    pub roles: Vec<String>,
}

/// A pod of kube-system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    /// Empty while it is not scheduled.
    pub node: String,
    pub ready: bool,
    pub phase: String,
    /// `kube-apiserver`, `kube-proxy`, `kube-dns`: what it is a pod of; empty if its labels do not tell.
    pub component: String,
}

impl Pod {
    /// One of the three that every control plane runs.
    pub fn is_control_plane(&self) -> bool {
        matches!(self.component.as_str(), "kube-apiserver" | "kube-controller-manager" | "kube-scheduler")
    }
}

#[derive(Deserialize)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
pub(super) struct NodeObject {
    metadata: Metadata,
    #[serde(default)]
    spec: NodeSpec,
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Default, Deserialize)]
struct NodeSpec {
    #[serde(default)]
    unschedulable: bool,
}

#[derive(Default, Deserialize)]
struct NodeStatus {
    #[serde(default)]
    conditions: Vec<Condition>,
    #[serde(default)]
    addresses: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    r#type: String,
    address: String,
}

impl From<NodeObject> for KubeNode {
    fn from(node: NodeObject) -> Self {
        let role = |label: &String| label.strip_prefix("node-role.kubernetes.io/").map(str::to_owned);
        Self {
            name: node.metadata.name,
            ready: readiness(&node.status.conditions),
            internal_ips: node
                .status
                .addresses
                .iter()
                .filter(|address| address.r#type == "InternalIP")
                .filter_map(|address| address.address.parse().ok())
                .collect(),
            schedulable: !node.spec.unschedulable,
            roles: node.metadata.labels.keys().filter_map(role).collect(),
        }
    }
}

fn readiness(conditions: &[Condition]) -> Result<(), String> {
    match conditions.iter().find(|condition| condition.r#type == "Ready") {
        None => Err("its kubelet has not reported yet".into()),
        Some(condition) if condition.status == "True" => Ok(()),
        Some(Condition { reason, message, .. }) => Err([reason.as_str(), message.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": ")),
    }
}

#[derive(Deserialize)]
pub(super) struct PodObject {
    metadata: Metadata,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    phase: String,
    conditions: Vec<Condition>,
}

impl From<PodObject> for Pod {
    fn from(pod: PodObject) -> Self {
        let Metadata { name, mut labels } = pod.metadata;
        // Talos sets both on its static pods; kube-proxy and CoreDNS have only the second.
        let component = labels.remove("component").or_else(|| labels.remove("k8s-app")).unwrap_or_default();
        Self {
            name,
            node: pod.spec.node_name,
            ready: readiness(&pod.status.conditions).is_ok(),
            phase: pod.status.phase,
            component,
        }
    }
}
