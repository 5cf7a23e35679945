//! Rules about the machines.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use super::network::unusable;
use crate::inventory::Role;
use crate::profile::resolve::Draft;
use crate::profile::types::{MachineSpec, Profile};

/// Talos's minimum for a control plane and a worker, in MiB (Talos: system requirements).
const MEMORY_CONTROL_PLANE: u64 = 2 << 10;
const MEMORY_WORKER: u64 = 1 << 10;
/// Talos's minimum disk, in GiB.
const DISK: u64 = 10;

pub(super) fn count(profile: &Profile, draft: &mut Draft) {
    let count = profile.of_role(Role::ControlPlane).count();
    if count == 0 {
        draft.problem("nodes.controlplane.assignments", "is empty", "a cluster has at least one control plane");
    } else if count.is_multiple_of(2) {
        draft.problem(
            "nodes.controlplane.assignments",
            format!(
                "has {count} control planes: etcd needs a majority of {}, so the last one adds risk and no safety",
                count / 2 + 1
            ),
            format!("make it {} or {}", count - 1, count + 1),
        );
    }
}

pub(super) fn unique(profile: &Profile, draft: &mut Draft) {
    twins(profile, draft, "name", |machine| Some(machine.name.clone()));
    twins(profile, draft, "ip", |machine| Some(machine.ip));
    twins(profile, draft, "vmid", |machine| machine.vmid);
    twins(profile, draft, "mac", |machine| machine.mac);
}

/// Complains about every machine whose `field` an earlier one has.
fn twins<T: Eq + Hash + Display>(
    profile: &Profile,
    draft: &mut Draft,
    field: &str,
    value: impl Fn(&MachineSpec) -> Option<T>,
) {
    let mut taken: HashMap<T, usize> = HashMap::new();
    for (index, machine) in profile.machines.iter().enumerate() {
        let Some(value) = value(machine) else { continue };
        if let Some(first) = taken.get(&value) {
            let first = format!("{} ({})", profile.machines[*first].name, draft.machines[*first]);
            let path = format!("{}.{field}", draft.machines[index]);
            draft.problem(path, format!("{value} is taken by {first}"), format!("give each machine its own {field}"));
        } else {
            taken.insert(value, index);
        }
    }
}

pub(super) fn addresses(profile: &Profile, draft: &mut Draft) {
    for (index, machine) in profile.machines.iter().enumerate() {
        if let Some(reason) = unusable(machine.ip, profile) {
            let path = format!("{}.ip", draft.machines[index]);
            draft.problem(path, reason, format!("give {} a host address of its own inside it", machine.name));
        }
    }
}

pub(super) fn macs(profile: &Profile, draft: &mut Draft) {
    for (index, machine) in profile.machines.iter().enumerate() {
        let Some(mac) = machine.mac else { continue };
        // The lowest bit of the first byte is the group bit.
        if mac.0[0] & 1 == 1 || mac.0 == [0; 6] {
            draft.problem(
                format!("{}.mac", draft.machines[index]),
                format!("{mac} is no unicast address, and no card can have it"),
                "make the first byte even, for instance BC:24:11:…, Proxmox's own prefix",
            );
        }
    }
}

pub(super) fn sizes(profile: &Profile, draft: &mut Draft) {
    for (index, machine) in profile.machines.iter().enumerate() {
        let memory = match machine.role {
            Role::ControlPlane => MEMORY_CONTROL_PLANE,
            Role::Worker => MEMORY_WORKER,
        };
        if machine.memory_mib < memory {
            let path = source(draft, index, machine.role, "memory");
            let message =
                format!("{} MiB is below Talos's minimum for a {}, {memory} MiB", machine.memory_mib, machine.role);
            draft.problem(path, message, format!("give at least {}Gi", memory >> 10));
        }
        let path = source(draft, index, machine.role, "disk");
        if machine.disk_gib < DISK && !draft.complained(&path) {
            let message =
                format!("{} GiB is below Talos's minimum of {DISK} GiB; a bare number is MiB", machine.disk_gib);
            draft.problem(path, message, format!("give at least {DISK}G"));
        }
        if machine.role == Role::ControlPlane && machine.cores < 2 {
            draft.warn(format!(
                "{} has one core; Talos asks for two on a control plane, and etcd gets slow on one.",
                machine.name
            ));
        }
    }
}

/// The level that gave machine `index` its `field`: so that one wrong line is one problem, not one for each machine.
fn source(draft: &Draft, index: usize, role: Role, field: &str) -> String {
    let group = match role {
        Role::ControlPlane => "nodes.controlplane",
        Role::Worker => "nodes.workers",
    };
    let levels = [draft.machines[index].as_str(), group, "nodes"].map(|level| format!("{level}.{field}"));
    levels.iter().find(|path| draft.given(path)).unwrap_or(&levels[0]).clone()
}
