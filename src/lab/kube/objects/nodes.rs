//! Nodes, their leases, and what happened to them.

use serde_json::{Value, json};

use super::{Cluster, Node, Objects, object, suffix};
use crate::lab::fleet::{Edit, KERNEL};

/// Talos's kubelet reserves this much of a node's memory (MiB).
const RESERVED: u64 = 100 + 384;

pub(super) fn add(cluster: &Cluster<'_>, objects: &mut Objects) {
    for (index, node) in cluster.nodes.iter().enumerate() {
        let (kind, value) = of(node, index);
        let uid = value["metadata"]["uid"].clone();
        objects.push((kind, value));
        // Renewed by the store while the node is alive.
        let spec = json!({"holderIdentity": node.name, "leaseDurationSeconds": 40, "alive": node.alive});
        let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": uid}]);
        let rest = json!({"metadata": {"ownerReferences": owner}, "spec": spec});
        objects.push(object("leases", Some("kube-node-lease"), node.name, &json!({}), rest));
        happenings(node, objects);
    }
}

pub(super) fn of(node: &Node<'_>, index: usize) -> (&'static super::Kind, Value) {
    let Node { name, record, ready, alive } = node;
    let mut labels = json!({
        "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
    });
    if node.is_control_plane() {
        labels["node-role.kubernetes.io/control-plane"] = json!("");
        labels["node.kubernetes.io/exclude-from-external-load-balancers"] = json!("");
    }
    Edit::overlay(&mut labels, &record.edit.labels);
    let mut annotations =
        json!({"node.alpha.kubernetes.io/ttl": "0", "volumes.kubernetes.io/controller-managed-attach-detach": "true"});
    Edit::overlay(&mut annotations, &record.edit.annotations);
    let mut taints = Vec::new();
    match &record.edit.taints {
        Some(edited) => taints.clone_from(edited),
        None if record.tainted => {
            taints.push(json!({"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}));
        }
        None => {}
    }
    if record.edit.unschedulable {
        taints.push(json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}));
    }
    if !alive {
        taints.push(json!({"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}));
    } else if !ready {
        taints.push(json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}));
    }
    let cidr = format!("10.244.{index}.0/24");
    let mut spec = json!({"podCIDR": cidr, "podCIDRs": [cidr]});
    if !taints.is_empty() {
        spec["taints"] = json!(taints);
    }
    if record.edit.unschedulable {
        spec["unschedulable"] = json!(true);
    }
    let memory = record.memory_mib * 1024 * 97 / 100;
    let size = |memory: u64, cpu: String| json!({"cpu": cpu, "ephemeral-storage": "28Gi", "hugepages-2Mi": "0", "memory": format!("{memory}Ki"), "pods": "110"});
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes());
    let rest = json!({
        "metadata": {"annotations": annotations},
        "spec": spec,
        "status": {
            "addresses": [{"type": "InternalIP", "address": node.ip()}, {"type": "Hostname", "address": name}],
            "allocatable": size(memory.saturating_sub(RESERVED * 1024), format!("{}m", record.cores * 1000 - 50)),
            "capacity": size(memory, record.cores.to_string()),
            "conditions": conditions(node),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "architecture": "amd64", "bootID": id, "containerRuntimeVersion": "containerd://2.2.0",
                "kernelVersion": KERNEL, "kubeProxyVersion": "", "kubeletVersion": record.kubelet,
                "machineID": id.simple().to_string(), "operatingSystem": "linux",
                "osImage": format!("Talos ({})", record.talos), "systemUUID": id,
            },
        },
    });
    object("nodes", None, name, &labels, rest)
}

fn conditions(node: &Node<'_>) -> Vec<Value> {
    if !node.alive {
        // The controller manager fills in for a kubelet that is silent.
        return ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"]
            .map(|kind| {
                json!({"type": kind, "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."})
            })
            .to_vec();
    }
    let fine = [
        ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ];
    let mut conditions: Vec<Value> = fine
        .map(|(kind, reason, message)| json!({"type": kind, "status": "False", "reason": reason, "message": message}))
        .to_vec();
    conditions.push(if node.ready {
        json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"})
    } else {
        json!({
            "type": "Ready", "status": "False", "reason": "KubeletNotReady",
            "message": "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized",
        })
    });
    conditions
}

/// Events about the node.
fn happenings(node: &Node<'_>, objects: &mut Objects) {
    let mut tell = |kind: &str, reason: &str, message: String, component: &str| {
        let name = format!("{}.{}", node.name, suffix(&format!("{}/{reason}", node.name)));
        let rest = json!({
            "involvedObject": {"kind": "Node", "name": node.name, "uid": node.name},
            "reason": reason, "message": message, "type": kind, "count": 1,
            "source": {"component": component}, "reportingComponent": component, "reportingInstance": "",
        });
        objects.push(object("events", Some("default"), &name, &json!({}), rest));
    };
    tell("Normal", "Starting", "Starting kubelet.".into(), "kubelet");
    tell(
        "Normal",
        "RegisteredNode",
        format!("Node {0} event: Registered Node {0} in Controller", node.name),
        "node-controller",
    );
    match (node.alive, node.ready) {
        (true, true) => tell("Normal", "NodeReady", format!("Node {} status is now: NodeReady", node.name), "kubelet"),
        (false, _) => {
            tell(
                "Normal",
                "NodeNotReady",
                format!("Node {} status is now: NodeNotReady", node.name),
                "node-controller",
            );
        }
        (true, false) => {}
    }
}
