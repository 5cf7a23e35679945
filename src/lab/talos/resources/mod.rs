//! The resources that a machine shows, built from the fleet's state at the moment of asking.
//!
//! Every spec comes in both encodings, as Talos sends them. Enums are words in
//! YAML, MACs are text, and absent things have no resource at all.

mod cluster;
mod definitions;
mod hardware;
mod network;
mod runtime;

use prost::Message;
use serde_json::Value;

pub use definitions::{NAMESPACES, known, meta};
pub(super) use runtime::machine_status;

use crate::lab::fleet::{Fleet, Machine, System};

/// One resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    pub namespace: &'static str,
    /// The full type name.
    pub kind: &'static str,
    pub id: String,
    pub proto: Vec<u8>,
    pub yaml: String,
}

/// What this machine shows of `kind`, and perhaps of its relatives: only the family is built, because building
/// everything for each read was most of what a large cluster cost the lab.
pub fn of(fleet: &Fleet, vmid: u32, kind: &str) -> Vec<Resource> {
    let Some(machine) = fleet.machine(vmid) else { return Vec::new() };
    let Some(system) = &machine.system else { return Vec::new() };
    let view = View { fleet, machine, system };
    let mut list = Vec::new();
    match kind.split_once('.').map(|(_, group)| group) {
        Some("net.talos.dev") => network::add(&view, &mut list),
        Some("block.talos.dev" | "hardware.talos.dev") => hardware::add(&view, &mut list),
        Some("cluster.talos.dev") => cluster::members(&view, &mut list),
        Some("kubernetes.talos.dev") => cluster::kubernetes(&view, &mut list),
        _ => runtime::add(&view, &mut list),
    }
    list
}

/// What resources are built from.
struct View<'a> {
    fleet: &'a Fleet,
    machine: &'a Machine,
    system: &'a System,
}

fn resource(
    namespace: &'static str,
    kind: &'static str,
    id: impl Into<String>,
    proto: &impl Message,
    yaml: &Value,
) -> Resource {
    let yaml = serde_saphyr::to_string(yaml).expect("a JSON value is a YAML value");
    Resource { namespace, kind, id: id.into(), proto: proto.encode_to_vec(), yaml }
}
