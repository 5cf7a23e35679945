//! Reading and changing a VM's configuration.
//!
//! A change is checked at once ([`super::change`]) and made under the VM's lock
//! ([`super::apply`]): by `PUT` before the answer, by `POST` in a worker.

use serde_json::Value;

use super::answer::{Failure, Reply};
use super::apply::Maker;
use super::auth::Identity;
use super::call::Call;
use super::change::Change;
use super::drive;
use super::snapshots;
use super::vm::Vm;
use super::work::{Job, Work, Worker};
use crate::lab::world::World;

pub(super) fn get(call: &mut Call) -> Result<Reply, Failure> {
    let (current, snapshot) = (call.flag("current"), call.opt("snapshot").filter(|name| !name.is_empty()));
    if let Some(name) = snapshot {
        if current {
            let text = "cannot use 'snapshot' parameter with 'current'";
            return Err(Failure::params(["current", "snapshot"].map(|name| (name.to_owned(), text.to_owned())).into()));
        }
        let vm = call.vm()?;
        let mut shown = snapshots::shown(vm, call.schema(), name)?;
        shown["digest"] = vm.digest().into();
        return Ok(Reply::Data(shown));
    }
    Ok(Reply::Data(call.vm()?.shown(call.schema(), current)))
}

pub(super) fn pending(call: &mut Call) -> Result<Reply, Failure> {
    Ok(Reply::Data(call.vm()?.shown_pending(call.schema())))
}

/// `PUT`: the change is made before the answer.
pub(super) fn put(call: &mut Call) -> Result<Reply, Failure> {
    let change = Change::checked(call)?;
    let (node, vmid, who) = (call.node().to_owned(), call.vmid(), call.who);
    Maker::new(call.world, who, &node, vmid, call.now).make(&change)?;
    Ok(Reply::Data(Value::Null))
}

/// `POST`: a worker makes the change.
pub(super) fn post(call: &mut Call) -> Result<Reply, Failure> {
    let change = Change::checked(call)?;
    let mut job = Job::vm("qmconfig", call.node(), call.vmid(), Work::Configure(change));
    job.patience = call.number("background_delay");
    Ok(Reply::Task(job))
}

pub(super) fn work(world: &mut World, worker: &Worker, vmid: u32, change: &Change) -> Result<(), String> {
    let who: &Identity = &worker.order.who;
    let mut maker = Maker::new(world, who, &worker.job.node, vmid, worker.now);
    let result = maker.make(change);
    for line in std::mem::take(&mut maker.log) {
        world.pve.tasks.log(&worker.order.upid, line);
    }
    result.map_err(|failure| failure.text())
}

/// Whether another drive, or a snapshot, holds the volume.
pub(super) fn is_in_use(world: &World, vm: &Vm, option: &str, volid: &str) -> bool {
    let schema = world.pve.release.schema();
    let drives = vm.config.iter().filter(|(other, _)| *other != option && drive::is_name(other));
    let mut drives = drives.filter_map(|(other, text)| drive::parse(schema, other, text));
    let holds = |drive: super::property::Properties| {
        !drive::is_cdrom(&drive) && drive.get("file").is_some_and(|file| file == volid)
    };
    drives.any(holds) || vm.in_snapshot(volid)
}

/// A device that is gone is not booted from. False if it was not in the order.
pub(super) fn out_of_boot_order(vm: &mut Vm, device: &str) -> bool {
    let mut order = vm.boot_order();
    let before = order.len();
    order.retain(|other| other != device);
    if before > 0 {
        vm.config.insert("boot".into(), super::vm::print_order(&order));
    }
    order.len() < before
}

/// `PUT unlink`: as deleting the disks one by one.
pub(super) fn unlink(call: &mut Call) -> Result<Reply, Failure> {
    let list = call.text("idlist").to_owned();
    call.params.insert("delete".into(), list);
    call.params.remove("idlist");
    put(call)
}

/// `GET feature`: whether every storage of the VM can do it.
pub(super) fn feature(call: &mut Call) -> Result<Reply, Failure> {
    let (node, vmid) = (call.node(), call.vmid());
    let missing = || Failure::die(super::call::not_found(node, vmid));
    let vm = call.world.pve.vm_on(node, vmid).ok_or_else(missing)?;
    if let Some(name) = call.opt("snapname") {
        snapshots::config_of(vm, name).map_err(Failure::die)?;
    }
    let has = match call.text("feature") {
        "copy" => true,
        "clone" => vm.volumes(call.schema()).iter().all(|(_, volid)| super::volume::is_base(volid)),
        _ => snapshots::is_possible(call.world, node, vmid),
    };
    Ok(Reply::Data(serde_json::json!({ "hasFeature": i32::from(has), "nodes": [call.node()] })))
}
