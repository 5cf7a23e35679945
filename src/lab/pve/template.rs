//! Templates: VMs whose disks others are made from (qemu-server 9.2: src/PVE/API2/Qemu.pm).

use super::answer::{Failure, Reply};
use super::call::Call;
use super::drive;
use super::hypervisor;
use super::volume;
use super::work::{Job, Work};
use crate::lab::world::World;

/// `POST .../template`
pub(super) fn call(call: &mut Call) -> Result<Reply, Failure> {
    let vm = call.vm()?;
    vm.check_lock().map_err(Failure::die)?;
    let disk = call.opt("disk").map(str::to_owned);
    // One disk of a template is asked for again when the first time went wrong.
    if vm.is_template() && disk.is_none() {
        return Err(Failure::die("you can't convert a template to a template"));
    }
    if !vm.snapshots.is_empty() {
        return Err(Failure::die("unable to create template, because VM contains snapshots"));
    }
    if hypervisor::is_running(call.world, call.vmid()) {
        return Err(Failure::die("you can't convert a VM to template if VM is running"));
    }
    Ok(Reply::Task(Job::vm("qmtemplate", call.node(), call.vmid(), Work::Template { disk })))
}

/// Disks become base volumes: all of them, or `disk` alone.
pub(super) fn work(world: &mut World, node: &str, vmid: u32, disk: Option<&str>) {
    let schema = world.pve.release.schema();
    let World { site, pve, fleet, .. } = world;
    let Some(vm) = pve.vms.get_mut(&vmid) else { return };
    for (option, volid) in vm.volumes(schema) {
        // What is unused stays as it is.
        if disk.is_some_and(|disk| disk != option) || drive::is_unused(&option) {
            continue;
        }
        let base = volid.replace(&format!("vm-{vmid}-disk"), &format!("base-{vmid}-disk"));
        let (from, to) = (volume::place(site, node, &volid), volume::place(site, node, &base));
        if let (Some(from), Some(to)) = (from, to)
            && let Some(found) = pve.volumes.remove(&from)
        {
            pve.volumes.insert(to, found);
            fleet.rename(&volid, &base);
        }
        if let Some(text) = vm.config.get_mut(&option) {
            *text = text.replace(&volid, &base);
        }
    }
    vm.config.insert("template".into(), "1".into());
}
