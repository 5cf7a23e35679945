//! `DELETE /nodes/{node}/qemu/{vmid}`.

use super::answer::{Failure, Reply};
use super::call::{Call, no_config};
use super::hypervisor;
use super::sdn;
use super::volume;
use super::work::{Job, Work, Worker};
use crate::lab::world::World;

pub(super) fn call(call: &mut Call) -> Result<Reply, Failure> {
    if call.flag("skiplock") && !call.who.is_root() {
        return Err(Failure::param("skiplock", "Only root may use this option."));
    }
    let (node, vmid) = (call.node().to_owned(), call.vmid());
    check(call.world, &node, vmid).map_err(Failure::die)?;
    if call.world.pve.ha.contains_key(&vmid) && !call.flag("purge") {
        return Err(Failure::die(format!(
            "unable to remove VM {vmid} - used in HA resources and purge parameter not set."
        )));
    }
    let work = Work::Destroy { purge: call.flag("purge"), unreferenced: call.flag("destroy-unreferenced-disks") };
    let mut job = Job::vm("qmdestroy", &node, vmid, work);
    job.skip_lock = call.flag("skiplock");
    Ok(Reply::Task(job))
}

/// What forbids it: checked by the request, and again by the worker.
fn check(world: &World, node: &str, vmid: u32) -> Result<(), String> {
    let vm = world.pve.vm_on(node, vmid).ok_or_else(|| no_config(node, vmid))?;
    if vm.protected() {
        return Err(format!("can't remove VM {vmid} - protection mode enabled"));
    }
    if hypervisor::is_running(world, vmid) {
        return Err(format!("VM {vmid} is running - destroy failed"));
    }
    Ok(())
}

pub(super) fn work(
    world: &mut World,
    worker: &Worker,
    vmid: u32,
    purge: bool,
    unreferenced: bool,
) -> Result<(), String> {
    let (upid, node) = (worker.order.upid.as_str(), worker.job.node.as_str());
    check(world, node, vmid)?;
    let schema = world.pve.release.schema();
    let Some(vm) = world.pve.vms.get(&vmid) else { return Err(no_config(node, vmid)) };
    if !worker.job.skip_lock && !vm.is_suspended() {
        vm.check_lock()?;
    }
    let base_in_use = |(_, volid): &(String, String)| {
        let place = volume::place(&world.site, node, volid);
        volume::is_base(volid) && place.is_some_and(|place| volume::is_used_base(&world.pve.volumes, &place))
    };
    if let Some((_, volid)) = vm.volumes(schema).iter().find(|disk| base_in_use(disk)) {
        return Err(format!("base volume '{volid}' is still in use by linked cloned"));
    }
    // A disk of another VM may be attached here: it stays.
    let mine = |volid: &String| ["vm", "base"].iter().any(|stem| volid.contains(&format!("{stem}-{vmid}-")));
    let mut volids: Vec<String> = vm.volumes(schema).into_iter().map(|(_, volid)| volid).filter(mine).collect();
    if unreferenced {
        let owned =
            world.pve.volumes.iter().filter(|(place, volume)| {
                volume.vmid == Some(vmid) && place.node.as_deref().is_none_or(|at| at == node)
            });
        volids.extend(owned.map(|(place, _)| format!("{}:{}", place.storage, place.name)));
    }
    let volids: std::collections::BTreeSet<String> = volids.into_iter().collect();
    for volid in volids {
        let path = world.site.storages.get(volume::storage_of(&volid)).filter(|storage| volume::is_file_based(storage));
        let path = path.zip(volid.split_once(':')).map(|(storage, (_, name))| volume::path(storage, name));
        if !super::free(world, node, &volid)
            && let Some(path) = path
        {
            world.pve.tasks.log(upid, format!("disk image '{path}' does not exist"));
        }
    }
    if purge {
        world.pve.tasks.log(upid, format!("purging VM {vmid} from related configurations.."));
        world.pve.ha.remove(&vmid);
    }
    sdn::free_all(world, vmid);
    world.pve.vms.remove(&vmid);
    world.site.acl.retain(|entry| entry.path != format!("/vms/{vmid}"));
    for pool in world.pve.pools.values_mut() {
        pool.vms.remove(&vmid);
    }
    Ok(())
}
