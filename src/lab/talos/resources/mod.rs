//! The resources that a machine shows, built from the fleet's state at the moment of asking.
//!
//! Every spec comes in both encodings, as Talos sends them. Enums are words in
//! YAML, MACs are text, and absent things have no resource at all.

mod cluster;
mod hardware;
mod network;
mod runtime;

use prost::Message;
use serde_json::Value;

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

pub const NAMESPACES: [&str; 15] = [
    "runtime",
    "network",
    "network-config",
    "hardware",
    "config",
    "cluster",
    "cluster-raw",
    "k8s",
    "controlplane",
    "etcd",
    "secrets",
    "files",
    "perf",
    "cri",
    "meta",
];

/// Types that the lab knows and anybody may read, whether or not it ever has one.
const OPEN: [&str; 36] = [
    "LinkStatuses.net.talos.dev",
    "AddressStatuses.net.talos.dev",
    "NodeAddresses.net.talos.dev",
    "HostnameStatuses.net.talos.dev",
    "RouteStatuses.net.talos.dev",
    "ResolverStatuses.net.talos.dev",
    "TimeServerStatuses.net.talos.dev",
    "NetworkStatuses.net.talos.dev",
    "SystemInformations.hardware.talos.dev",
    "Processors.hardware.talos.dev",
    "MemoryModules.hardware.talos.dev",
    "Disks.block.talos.dev",
    "SystemDisks.block.talos.dev",
    "DiscoveredVolumes.block.talos.dev",
    "VolumeStatuses.block.talos.dev",
    "MachineStatuses.runtime.talos.dev",
    "SecurityStates.talos.dev",
    "ExtensionStatuses.runtime.talos.dev",
    "PlatformMetadatas.talos.dev",
    "MetaKeys.runtime.talos.dev",
    "KernelCmdlines.runtime.talos.dev",
    "Diagnostics.runtime.talos.dev",
    "Services.v1alpha1.talos.dev",
    "TimeStatuses.v1alpha1.talos.dev",
    "MachineTypes.config.talos.dev",
    "Members.cluster.talos.dev",
    "Affiliates.cluster.talos.dev",
    "Identities.cluster.talos.dev",
    "Nodenames.kubernetes.talos.dev",
    "NodeStatuses.kubernetes.talos.dev",
    "StaticPodStatuses.kubernetes.talos.dev",
    "StaticPods.kubernetes.talos.dev",
    "EtcdMembers.etcd.talos.dev",
    "Versions.runtime.talos.dev",
    "BootIDs.runtime.talos.dev",
    "UnattendedInstallStatuses.runtime.talos.dev",
];

/// Types that only an administrator may read.
const SENSITIVE: [&str; 9] = [
    "MachineConfigs.config.talos.dev",
    "LinkSpecs.net.talos.dev",
    "OperatorSpecs.net.talos.dev",
    "DeviceConfigSpecs.net.talos.dev",
    "OSRootSecrets.secrets.talos.dev",
    "VolumeConfigs.block.talos.dev",
    "KubeletSpecs.kubernetes.talos.dev",
    "NodeLabelSpecs.k8s.talos.dev",
    "ExtensionServiceConfigs.runtime.talos.dev",
];

/// `None`: no such type. Else whether it is sensitive. The check forgives letter case; the store does not.
pub fn known(kind: &str) -> Option<bool> {
    if OPEN.iter().any(|open| open.eq_ignore_ascii_case(kind)) {
        return Some(false);
    }
    SENSITIVE.iter().any(|sensitive| sensitive.eq_ignore_ascii_case(kind)).then_some(true)
}

/// Everything that this machine shows.
pub fn all(fleet: &Fleet, vmid: u32) -> Vec<Resource> {
    let Some(machine) = fleet.machine(vmid) else { return Vec::new() };
    let Some(system) = &machine.system else { return Vec::new() };
    let view = View { fleet, machine, system };
    let mut list = Vec::new();
    network::add(&view, &mut list);
    hardware::add(&view, &mut list);
    runtime::add(&view, &mut list);
    cluster::add(&view, &mut list);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_in_any_case_and_unknown_otherwise() {
        assert_eq!(known("linkstatuses.net.talos.dev"), Some(false));
        assert_eq!(known("LinkSpecs.net.talos.dev"), Some(true));
        assert_eq!(known("links"), None);
    }
}
