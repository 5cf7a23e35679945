//! Deployments and daemon sets that Talos's manifests bring: CoreDNS, kube-proxy, flannel.

use serde_json::{Value, json};

use super::{Cluster, Node, Objects, SYSTEM, object};

/// The tail of CoreDNS's replica set, as its pods carry it.
pub(super) const COREDNS: &str = "coredns-7d764666f9";

/// How many copies of CoreDNS there are.
pub(super) const COPIES: usize = 2;

/// Name, image, and whether a node runs it.
pub(super) type Daemon = (&'static str, &'static str, fn(&Node<'_>) -> bool);

/// Daemons that use the host's network, and so run without a CNI.
pub(super) const DAEMONS: [Daemon; 2] = [
    ("kube-flannel", "ghcr.io/siderolabs/flannel:v0.27.4", |node| node.record.flannel),
    ("kube-proxy", "registry.k8s.io/kube-proxy", |node| node.record.kube_proxy),
];

pub(super) fn add(cluster: &Cluster<'_>, objects: &mut Objects) {
    for (name, image, runs) in DAEMONS {
        let wanted = cluster.nodes.iter().filter(|node| runs(node)).count();
        if wanted == 0 {
            continue;
        }
        let ready = cluster.nodes.iter().filter(|node| runs(node) && node.alive).count();
        let labels = json!({"k8s-app": name, "tier": "node"});
        let rest = json!({
            "spec": {
                "selector": {"matchLabels": {"k8s-app": name}}, "template": template(name, image, &labels),
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            },
            "status": {
                "currentNumberScheduled": wanted, "desiredNumberScheduled": wanted, "numberAvailable": ready,
                "numberMisscheduled": 0, "numberReady": ready, "observedGeneration": 1, "updatedNumberScheduled": wanted,
            },
        });
        objects.push(object("daemonsets", Some(SYSTEM), name, &labels, rest));
    }
    if !cluster.nodes.iter().any(|node| node.is_control_plane() && node.record.coredns) {
        return;
    }
    let ready = if cluster.nodes.iter().any(|node| node.ready) { COPIES } else { 0 };
    let labels = json!({"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"});
    let spec = json!({
        "replicas": COPIES, "selector": {"matchLabels": {"k8s-app": "kube-dns"}},
        "template": template("coredns", "registry.k8s.io/coredns/coredns:v1.13.1", &labels),
    });
    let mut status =
        json!({"observedGeneration": 1, "replicas": COPIES, "readyReplicas": ready, "availableReplicas": ready});
    objects.push(object("replicasets", Some(SYSTEM), COREDNS, &labels, json!({"spec": spec, "status": status})));
    let (word, reason, message) = if ready > 0 {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    status["updatedReplicas"] = json!(COPIES);
    status["unavailableReplicas"] = json!(COPIES - ready);
    status["conditions"] = json!([{"type": "Available", "status": word, "reason": reason, "message": message}]);
    objects.push(object("deployments", Some(SYSTEM), "coredns", &labels, json!({"spec": spec, "status": status})));
}

fn template(name: &str, image: &str, labels: &Value) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": name, "image": image}]}})
}
