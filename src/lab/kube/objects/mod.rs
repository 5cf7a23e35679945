//! The objects: nodes as they registered, what Talos and its defaults bring, and what Kubernetes makes by itself.
//!
//! They are built from the fleet whenever somebody looks, without anything that
//! only time gives: versions, ages and transition times are the store's.

mod nodes;
mod pods;
mod system;
mod workloads;

use serde_json::{Value, json};

use super::kinds::{KINDS, Kind};
use crate::inventory::Role;
use crate::lab::fleet;

/// The namespace of everything that Talos brings.
pub(super) const SYSTEM: &str = "kube-system";

/// A cluster at one moment.
pub(super) struct Cluster<'a> {
    pub(super) nodes: Vec<Node<'a>>,
}

/// A node with its present readiness.
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    pub(super) record: &'a fleet::Node,
    pub(super) ready: bool,
    /// Its kubelet reports.
    pub(super) alive: bool,
}

impl Node<'_> {
    fn is_control_plane(&self) -> bool {
        self.record.role == Role::ControlPlane
    }

    fn ip(&self) -> String {
        self.record.ip.map(|ip| ip.to_string()).unwrap_or_default()
    }
}

/// Every object of the cluster, with its kind.
pub(super) fn all(cluster: &Cluster<'_>) -> Vec<(&'static Kind, Value)> {
    let mut objects = Vec::new();
    nodes::add(cluster, &mut objects);
    system::add(cluster, &mut objects);
    workloads::add(cluster, &mut objects);
    pods::add(cluster, &mut objects);
    objects
}

/// The object of a node as nobody has edited it.
pub(super) fn bare_node(etcd: &fleet::Etcd, name: &str) -> Option<Value> {
    let record = fleet::Node { edit: fleet::Edit::default(), ..etcd.nodes.get(name)?.clone() };
    Some(nodes::of(&Node { name, record: &record, ready: true, alive: true }, 0).1)
}

type Objects = Vec<(&'static Kind, Value)>;

fn kind(plural: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.plural == plural).expect("a kind of the table")
}

/// An object of a kind, with what all objects have.
fn object(plural: &str, namespace: Option<&str>, name: &str, labels: &Value, rest: Value) -> (&'static Kind, Value) {
    let kind = kind(plural);
    let mut value = json!({"kind": kind.name, "apiVersion": kind.api_version(), "metadata": {"name": name}});
    if let Some(namespace) = namespace {
        value["metadata"]["namespace"] = json!(namespace);
    }
    let uid = uuid::Uuid::new_v5(
        &uuid::Uuid::NAMESPACE_OID,
        format!("{}/{}/{name}", kind.qualified(), namespace.unwrap_or_default()).as_bytes(),
    );
    value["metadata"]["uid"] = json!(uid);
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        value["metadata"]["labels"] = labels.clone();
    }
    if let (Some(value), Value::Object(rest)) = (value.as_object_mut(), rest) {
        for (key, field) in rest {
            match (key.as_str(), field) {
                ("metadata", Value::Object(more)) => {
                    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
                        metadata.extend(more);
                    }
                }
                (_, field) => drop(value.insert(key, field)),
            }
        }
    }
    (kind, value)
}

/// Five characters that depend on nothing but `of`, as generated names end.
fn suffix(of: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, of.as_bytes());
    hash.as_ref()[..5].iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}
