//! What Kubernetes makes by itself: namespaces, its own service, accounts, the health of its components.

use serde_json::{Value, json};

use super::{Cluster, Objects, SYSTEM, object};

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", SYSTEM];

/// Where an API server listens.
const PORT: u16 = 6443;

pub(super) fn add(cluster: &Cluster<'_>, objects: &mut Objects) {
    for name in NAMESPACES {
        let labels = json!({"kubernetes.io/metadata.name": name});
        let rest = json!({"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
        objects.push(object("namespaces", None, name, &labels, rest));
        objects.push(object("serviceaccounts", Some(name), "default", &json!({}), json!({})));
        let authority = json!({"data": {"ca.crt": ""}});
        objects.push(object("configmaps", Some(name), "kube-root-ca.crt", &json!({}), authority));
    }
    // The API's own service, which every cluster has.
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    objects.push(service("default", "kubernetes", &labels, "10.96.0.1", &json!([port_of("https", 443, PORT, "TCP")])));
    let addresses: Vec<Value> =
        cluster.nodes.iter().filter(|node| node.is_control_plane()).map(|node| json!({"ip": node.ip()})).collect();
    let subsets = json!([{"addresses": addresses, "ports": [{"name": "https", "port": PORT, "protocol": "TCP"}]}]);
    objects.push(object("endpoints", Some("default"), "kubernetes", &json!({}), json!({"subsets": subsets})));
    if cluster.nodes.iter().any(|node| node.is_control_plane() && node.record.coredns) {
        let labels =
            json!({"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"});
        let ports = json!([
            port_of("dns", 53, 53, "UDP"),
            port_of("dns-tcp", 53, 53, "TCP"),
            port_of("metrics", 9153, 9153, "TCP"),
        ]);
        objects.push(service(SYSTEM, "kube-dns", &labels, "10.96.0.10", &ports));
    }
    for (name, message) in [("controller-manager", "ok"), ("scheduler", "ok"), ("etcd-0", "ok")] {
        let conditions = json!([{"type": "Healthy", "status": "True", "message": message}]);
        objects.push(object("componentstatuses", None, name, &json!({}), json!({"conditions": conditions})));
    }
    for name in ["cluster-admin", "admin", "edit", "view", "system:discovery", "system:basic-user"] {
        objects.push(object("clusterroles", None, name, &json!({}), json!({"rules": []})));
    }
    for (name, value) in [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)] {
        objects.push(object("priorityclasses", None, name, &json!({}), json!({"value": value})));
    }
}

fn port_of(name: &str, port: u16, target: u16, protocol: &str) -> Value {
    json!({"name": name, "port": port, "protocol": protocol, "targetPort": target})
}

fn service(namespace: &str, name: &str, labels: &Value, ip: &str, ports: &Value) -> (&'static super::Kind, Value) {
    let spec = json!({
        "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": ports, "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
    });
    object("services", Some(namespace), name, labels, json!({"spec": spec, "status": {"loadBalancer": {}}}))
}
