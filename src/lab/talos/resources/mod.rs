//! The resources that a machine shows, built from the fleet's state at the moment of asking.
//!
//! A builder says what a type has: ids, and values with the keys of the YAML. How a spec is
//! written is in `shapes.txt`, and `encode` writes it. Absent things have no resource at all.

mod block;
mod cluster;
mod controlplane;
mod definitions;
mod documents;
mod encode;
mod hardware;
mod kernel;
mod kinds;
mod kubernetes;
mod netspec;
mod network;
mod pods;
mod runtime;
mod shape;
mod volumes;

use prost::Message;
use serde_json::Value;

pub use definitions::{known, meta, namespaces, singular};
pub(super) use runtime::machine_status;

use crate::lab::fleet::{Fleet, Machine, System};

/// One resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    pub namespace: &'static str,
    /// The full type name.
    pub kind: &'static str,
    pub id: String,
    /// The controller that keeps it; empty if none does.
    pub owner: &'static str,
    pub proto: Vec<u8>,
    pub yaml: String,
}

/// A resource before it is written.
struct Row {
    id: String,
    /// By the keys of the YAML.
    value: Value,
    /// Where it is, if not in the type's own namespace.
    namespace: Option<&'static str>,
    /// Who keeps it, if not the type's own controller.
    owner: Option<&'static str>,
}

type Rows = Vec<Row>;

fn row(id: impl Into<String>, value: Value) -> Row {
    Row { id: id.into(), value, namespace: None, owner: None }
}

impl Row {
    /// The same in another namespace, where another controller puts it.
    fn within(self, namespace: &'static str, owner: &'static str) -> Self {
        Self { namespace: Some(namespace), owner: Some(owner), ..self }
    }

    fn kept_by(self, owner: &'static str) -> Self {
        Self { owner: Some(owner), ..self }
    }
}

/// What this machine shows of `kind`, and of nothing else, because building
/// everything for each read was most of what a large cluster cost the lab.
pub fn of(fleet: &Fleet, vmid: u32, kind: &str) -> Vec<Resource> {
    let Some(machine) = fleet.machine(vmid) else { return Vec::new() };
    let Some(system) = &machine.system else { return Vec::new() };
    let view = View { fleet, machine, system };
    let Some(kind) = definitions::find(kind, system.minor) else { return Vec::new() };
    if kind.name == "MachineConfigs.config.talos.dev" {
        return runtime::config(&view);
    }
    let builders = [
        network::of,
        netspec::of,
        block::of,
        volumes::of,
        hardware::of,
        cluster::of,
        kubernetes::of,
        controlplane::of,
        runtime::of,
    ];
    let rows = builders.iter().find_map(|build| build(&view, kind.name)).unwrap_or_default();
    let write = |row: Row| {
        let (proto, yaml) = encode::encode(kind.name, system.minor, &row.value);
        Resource {
            namespace: row.namespace.unwrap_or(kind.namespace),
            kind: kind.name,
            id: row.id,
            owner: row.owner.unwrap_or_else(|| shape::owner(kind.name)),
            proto,
            yaml: readable(&yaml),
        }
    };
    rows.into_iter().map(write).collect()
}

fn readable(yaml: &Value) -> String {
    serde_saphyr::to_string(yaml).expect("a JSON value is a YAML value")
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
    let (proto, yaml) = (proto.encode_to_vec(), readable(yaml));
    Resource { namespace, kind, id: id.into(), owner: "", proto, yaml }
}

/// A size as people read it, in powers of 1000 (go-humanize: `Bytes`).
fn pretty(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut unit = 0;
    let mut scale = 1;
    while unit + 1 < UNITS.len() && bytes / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 10 + u128::from(scale) / 2) / u128::from(scale);
    if unit == 0 {
        format!("{bytes} B")
    } else if tenths < 100 {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    } else {
        // Go prints the tenths rounded to even: 10.5 is 10.
        let (whole, rest) = (tenths / 10, tenths % 10);
        let up = rest > 5 || rest == 5 && whole % 2 == 1;
        format!("{} {}", whole + u128::from(up), UNITS[unit])
    }
}
