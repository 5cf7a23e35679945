//! VMs that move to another node (qemu-server 9.2: src/PVE/API2/Qemu.pm, src/PVE/QemuMigrate.pm).

use serde_json::{Map, Value, json};

use super::answer::{Failure, Reply};
use super::call::Call;
use super::hypervisor;
use super::volume::{self, Place};
use super::work::{Job, Work, Worker};
use crate::lab::world::World;

/// `GET .../migrate`: what stands in the way, and where the VM could go.
pub(super) fn preconditions(call: &mut Call) -> Result<Reply, Failure> {
    let (node, vm) = (call.node(), call.vm()?);
    let site = &call.world.site;
    let disks = vm.volumes(call.schema());
    let local = disks.iter().filter_map(|(drive, volid)| {
        let place = volume::place(site, node, volid)?;
        let found = call.world.pve.volumes.get(&place).filter(|_| place.node.is_some())?;
        Some(json!({ "volid": volid, "size": found.bytes, "drivename": drive, "cdrom": 0 }))
    });
    let running = hypervisor::is_running(call.world, call.vmid());
    let mut answer = json!({
        "running": i32::from(running), "local_disks": local.collect::<Value>(), "local_resources": [],
        "mapped-resources": [], "mapped-resource-info": {},
    });
    let others = site.nodes.iter().filter(|other| other.name != node && other.online);
    let (mut allowed, mut refused) = (Vec::new(), Map::new());
    for other in others {
        let storages = disks.iter().filter_map(|(_, volid)| volid.split(':').next());
        let missing: Vec<&str> =
            storages.filter(|storage| volume::usable(site, &other.name, storage).is_err()).collect();
        if missing.is_empty() {
            allowed.push(other.name.as_str());
        } else {
            refused.insert(other.name.clone(), json!({ "unavailable_storages": missing }));
        }
    }
    if !running {
        answer["allowed_nodes"] = allowed.into();
        answer["not_allowed_nodes"] = refused.into();
    }
    Ok(Reply::Data(answer))
}

/// `POST .../migrate`
pub(super) fn call(call: &mut Call) -> Result<Reply, Failure> {
    let target = call.text("target").to_owned();
    if target == call.node() {
        return Err(Failure::param("target", "target is local node."));
    }
    let known = call.world.site.nodes.iter().find(|node| node.name == target);
    let known = known.ok_or_else(|| Failure::die(format!("no such cluster node '{target}'")))?;
    if !known.online {
        return Err(Failure::die(format!("node '{target}' is offline")));
    }
    let vm = call.vm()?;
    vm.check_lock().map_err(Failure::die)?;
    let running = hypervisor::is_running(call.world, call.vmid());
    if running && !call.flag("online") {
        return Err(Failure::die("can't migrate running VM without --online"));
    }
    let local_disks = running && !call.flag("with-local-disks");
    let work = Work::Migrate { target, refuse_local: local_disks };
    Ok(Reply::Task(Job::vm("qmigrate", call.node(), call.vmid(), work)))
}

pub(super) fn work(world: &mut World, worker: &Worker, vmid: u32, target: &str, refuse: bool) -> Result<(), String> {
    let (node, schema) = (worker.job.node.as_str(), world.pve.release.schema());
    let address = world.pve.address_of(target).0.split('/').next().unwrap_or_default().to_owned();
    let log = |world: &mut World, line: String| world.pve.tasks.log(&worker.order.upid, line);
    log(world, format!("starting migration of VM {vmid} to node '{target}' ({address})"));
    let Some(vm) = world.pve.vms.get(&vmid) else { return Ok(()) };
    let mut moves: Vec<(Place, Place)> = Vec::new();
    for (_, volid) in vm.volumes(schema) {
        let storage = volid.split(':').next().unwrap_or_default();
        let shared = volume::usable(&world.site, target, storage)?.shared;
        if !shared && refuse {
            return Err("can't live migrate attached local disks without with-local-disks option".into());
        }
        if let (false, Some(from)) = (shared, volume::place(&world.site, node, &volid)) {
            let to = Place { node: Some(target.to_owned()), ..from.clone() };
            moves.push((from, to));
        }
    }
    for (from, to) in moves {
        log(world, format!("copying local disk '{}:{}'", from.storage, from.name));
        if let Some(found) = world.pve.volumes.remove(&from) {
            world.pve.volumes.insert(to, found);
        }
    }
    if let Some(vm) = world.pve.vms.get_mut(&vmid) {
        target.clone_into(&mut vm.node);
    }
    log(world, "migration finished successfully (duration 00:00:01)".to_owned());
    Ok(())
}
