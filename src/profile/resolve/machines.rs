//! One machine from three levels: its own line, its role, all machines.

use super::{Draft, patches};
use crate::inventory::Role;
use crate::profile::forms::{Leaf, Size};
use crate::profile::raw::{RawGroup, RawMachine, RawNodes};
use crate::profile::tree::element;
use crate::profile::types::MachineSpec;

/// What a machine gets when no level says anything: Talos's recommendation for cores and memory, and a disk that
/// holds the system, etcd and some images.
struct Fallback {
    cores: u32,
    memory: u64,
    disk: u64,
}

/// Control planes first, each role in the order of the file.
pub(super) fn resolve(raw: RawNodes, draft: &mut Draft) -> Vec<MachineSpec> {
    let all = Level { path: "nodes", cores: raw.cores, memory: raw.memory, disk: raw.disk };
    let mut machines = group(raw.controlplane, &all, Role::ControlPlane, draft);
    machines.extend(group(raw.workers, &all, Role::Worker, draft));
    machines
}

/// The sizes that one level gives.
struct Level<'a> {
    path: &'a str,
    cores: Option<u32>,
    memory: Option<Leaf<Size>>,
    disk: Option<Leaf<Size>>,
}

fn group(raw: RawGroup, all: &Level<'_>, role: Role, draft: &mut Draft) -> Vec<MachineSpec> {
    let (path, fallback) = match role {
        Role::ControlPlane => ("nodes.controlplane", Fallback { cores: 4, memory: 4 << 10, disk: 32 << 10 }),
        Role::Worker => ("nodes.workers", Fallback { cores: 2, memory: 2 << 10, disk: 32 << 10 }),
    };
    let group = Level { path, cores: raw.cores, memory: raw.memory, disk: raw.disk };
    let machines = raw.assignments.into_iter().enumerate();
    machines
        .map(|(index, raw)| {
            let path = element(&format!("{path}.assignments"), index);
            let machine = machine(raw, &path, role, [&group, all], &fallback, draft);
            draft.machines.push(path);
            machine
        })
        .collect()
}

fn machine(
    raw: RawMachine,
    path: &str,
    role: Role,
    levels: [&Level<'_>; 2],
    fallback: &Fallback,
    draft: &mut Draft,
) -> MachineSpec {
    let own = Level { path, cores: raw.cores, memory: raw.memory, disk: raw.disk };
    let levels = [&own, levels[0], levels[1]];
    let disk = levels.iter().find_map(|level| level.disk.as_ref().map(|disk| (level.path, disk.0.0)));
    let (from, disk) = disk.unwrap_or((path, fallback.disk));
    if !disk.is_multiple_of(1 << 10) {
        draft.problem(
            format!("{from}.disk"),
            format!("is {disk} MiB, which is no whole number of GiB, and Proxmox allocates disks in GiB"),
            if disk < 1 << 10 {
                format!("a bare number is MiB: write {disk}G if GiB are meant")
            } else {
                format!("write {}G", disk.div_ceil(1 << 10))
            },
        );
    }
    MachineSpec {
        name: raw.name.0.0,
        role,
        node: raw.node.map(|node| node.0.0),
        vmid: raw.vmid,
        ip: raw.ip.0,
        mac: raw.mac.map(|mac| mac.0),
        cores: levels.iter().find_map(|level| level.cores).unwrap_or(fallback.cores),
        memory_mib: levels.iter().find_map(|level| level.memory.as_ref()).map_or(fallback.memory, |memory| memory.0.0),
        disk_gib: disk.div_ceil(1 << 10),
        patches: patches(raw.patches, &format!("{path}.patches"), draft),
    }
}
