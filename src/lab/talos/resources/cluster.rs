//! What a machine knows of its cluster: members, its Kubernetes node, its static pods.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Resource, View, resource};
use crate::inventory::Role;
use crate::talos::wire::common::NetIp;
use crate::talos::wire::specs::{MachineType, MemberSpec, NodeStatusSpec, StaticPodStatusSpec};

/// The machines that discovery finds: all that are configured for this cluster and answer.
pub(super) fn members(view: &View<'_>, list: &mut Vec<Resource>) {
    let Some(config) = view.system.config.as_ref().filter(|config| config.complete) else { return };
    for machine in view.fleet.machines() {
        let Some(system) = &machine.system else { continue };
        let Some(other) = system.config.as_ref().filter(|other| other.complete) else { continue };
        if other.identity() != config.identity() || machine.api().is_none() {
            continue;
        }
        let (kind, word) = match other.role() {
            Role::ControlPlane => (MachineType::TypeControlPlane, "controlplane"),
            Role::Worker => (MachineType::TypeWorker, "worker"),
        };
        let ips: Vec<std::net::Ipv4Addr> = system.addresses.iter().map(|address| address.ip).collect();
        let release = format!("Talos ({})", system.image.version);
        let spec = MemberSpec {
            node_id: format!("lab-{}", machine.hardware.vmid),
            addresses: ips.iter().map(|ip| NetIp { ip: ip.octets().to_vec() }).collect(),
            hostname: system.hostname.clone(),
            machine_type: kind.into(),
            operating_system: release.clone(),
        };
        let yaml = json!({
            "nodeId": spec.node_id, "addresses": ips.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "hostname": system.hostname, "machineType": word, "operatingSystem": release,
        });
        list.push(resource("cluster", "Members.cluster.talos.dev", system.hostname.clone(), &spec, &yaml));
    }
}

/// Its Kubernetes node, and what runs there without being asked of the API.
pub(super) fn kubernetes(view: &View<'_>, list: &mut Vec<Resource>) {
    if let Some(node) = view.system.joined.and_then(|id| view.fleet.etcd(id)?.nodes.get(&view.system.hostname)) {
        let name = &view.system.hostname;
        let ready = view.system.node_ready;
        let labels: HashMap<String, String> = [("kubernetes.io/hostname".to_owned(), name.clone())].into();
        let spec = NodeStatusSpec {
            nodename: name.clone(),
            node_ready: ready,
            unschedulable: false,
            labels,
            ..NodeStatusSpec::default()
        };
        let yaml = json!({"nodename": name, "nodeReady": ready, "unschedulable": false, "labels": {"kubernetes.io/hostname": name}});
        list.push(resource("k8s", "NodeStatuses.kubernetes.talos.dev", name.clone(), &spec, &yaml));
        if node.role == Role::ControlPlane && view.system.kube_up {
            static_pods(name, list);
        }
    }
}

fn static_pods(node: &str, list: &mut Vec<Resource>) {
    let condition = json!({"type": "Ready", "status": "True"});
    let status = json!({"phase": "Running", "conditions": [condition]});
    for name in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let spec = StaticPodStatusSpec { pod_status: wire(&status).and_then(into_struct) };
        let id = format!("kube-system/{name}-{node}");
        list.push(resource("k8s", "StaticPodStatuses.kubernetes.talos.dev", id, &spec, &status));
    }
}

fn wire(value: &Value) -> Option<prost_types::Value> {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64()?),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            Kind::ListValue(prost_types::ListValue { values: items.iter().filter_map(wire).collect() })
        }
        Value::Object(fields) => {
            let fields = fields.iter().filter_map(|(name, value)| Some((name.clone(), wire(value)?))).collect();
            Kind::StructValue(prost_types::Struct { fields })
        }
    };
    Some(prost_types::Value { kind: Some(kind) })
}

fn into_struct(value: prost_types::Value) -> Option<prost_types::Struct> {
    match value.kind? {
        prost_types::value::Kind::StructValue(fields) => Some(fields),
        _ => None,
    }
}
