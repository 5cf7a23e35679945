//! Pods of kube-system: the static ones of the control planes, one of each daemon on each node, CoreDNS.

use serde_json::{Value, json};

use super::workloads::{COPIES, COREDNS, DAEMONS};
use super::{Cluster, Node, Objects, SYSTEM, object, suffix};

const STATIC: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

pub(super) fn add(cluster: &Cluster<'_>, objects: &mut Objects) {
    for node in &cluster.nodes {
        let version = &node.record.kubelet;
        if node.is_control_plane() {
            for app in STATIC {
                let labels = json!({"k8s-app": app, "component": app, "tier": "control-plane"});
                let name = format!("{app}-{}", node.name);
                let pod = Pod {
                    app,
                    image: format!("registry.k8s.io/{app}:{version}"),
                    home: Some(node),
                    runs: true,
                    host: true,
                };
                objects.push(pod.object(&name, &labels, &Value::Null));
            }
        }
        for (app, image, _) in DAEMONS.iter().filter(|(_, _, runs)| runs(node)) {
            let labels = json!({"k8s-app": app, "tier": "node"});
            let image = if image.contains(':') { (*image).to_owned() } else { format!("{image}:{version}") };
            let pod = Pod { app, image, home: Some(node), runs: true, host: true };
            let owner =
                json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": app, "uid": app, "controller": true}]);
            objects.push(pod.object(&format!("{app}-{}", suffix(node.name)), &labels, &owner));
        }
    }
    if !cluster.nodes.iter().any(|node| node.is_control_plane() && node.record.coredns) {
        return;
    }
    let ready: Vec<&Node<'_>> = cluster.nodes.iter().filter(|node| node.ready && !node.record.edit.drained).collect();
    for copy in 0..COPIES {
        let home = if ready.is_empty() { None } else { Some(ready[copy % ready.len()]) };
        let labels = json!({"k8s-app": "kube-dns", "pod-template-hash": "7d764666f9"});
        let image = "registry.k8s.io/coredns/coredns:v1.13.1".to_owned();
        let pod = Pod { app: "coredns", image, home, runs: home.is_some(), host: false };
        let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": COREDNS, "uid": COREDNS, "controller": true}]);
        // Where it runs is part of its name: a pod that moves is another pod.
        let name = home.map_or("", |node| node.name);
        objects.push(pod.object(&format!("{COREDNS}-{}", suffix(&format!("{copy}/{name}"))), &labels, &owner));
    }
}

struct Pod<'a> {
    app: &'a str,
    image: String,
    home: Option<&'a Node<'a>>,
    runs: bool,
    /// It uses the host's network.
    host: bool,
}

impl Pod<'_> {
    fn object(&self, name: &str, labels: &Value, owner: &Value) -> (&'static super::Kind, Value) {
        let ready = self.runs && self.home.is_some_and(|node| node.alive);
        let status = if ready { "True" } else { "False" };
        let host = self.home.map(Node::ip);
        let own = match (&host, self.host) {
            (Some(ip), true) => Some(ip.clone()),
            (Some(_), false) => {
                Some(format!("10.244.0.{}", name.bytes().fold(2, |sum, byte| (sum + u32::from(byte)) % 250) + 2))
            }
            (None, _) => None,
        };
        let mut state = json!({"waiting": {"reason": "ContainerCreating"}});
        if self.runs {
            state = json!({"running": {}});
        }
        let mut conditions: Vec<Value> = Vec::new();
        if self.home.is_some() {
            for kind in ["PodReadyToStartContainers", "Initialized"] {
                conditions.push(json!({"type": kind, "status": "True"}));
            }
            for kind in ["Ready", "ContainersReady"] {
                conditions.push(json!({"type": kind, "status": status}));
            }
            conditions.push(json!({"type": "PodScheduled", "status": "True"}));
        } else {
            conditions.push(json!({
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": "no nodes available to schedule pods",
            }));
        }
        let mut spec = json!({
            "containers": [{"name": self.app, "image": self.image, "resources": {}, "imagePullPolicy": "IfNotPresent"}],
            "hostNetwork": self.host, "restartPolicy": "Always", "priorityClassName": "system-cluster-critical",
        });
        let mut told = json!({"phase": if self.runs { "Running" } else { "Pending" }, "conditions": conditions, "qosClass": "BestEffort"});
        if let (Some(node), Some(host), Some(own)) = (self.home, host, own) {
            spec["nodeName"] = json!(node.name);
            told["hostIP"] = json!(host);
            told["hostIPs"] = json!([{"ip": host}]);
            told["podIP"] = json!(own);
            told["podIPs"] = json!([{"ip": own}]);
            told["containerStatuses"] = json!([{
                "name": self.app, "ready": ready, "restartCount": 0, "started": self.runs, "image": self.image,
                "imageID": "", "state": state,
            }]);
        }
        let mut rest = json!({"spec": spec, "status": told});
        if !owner.is_null() {
            rest["metadata"] = json!({"ownerReferences": owner});
        }
        object("pods", Some(SYSTEM), name, labels, rest)
    }
}
