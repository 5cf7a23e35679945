//! Snapshots: what a VM was, under a name.
//!
//! Disks keep no history in the lab; a snapshot is the configuration of its
//! moment, and a rollback brings that back (pve-guest-common 6.0:
//! src/PVE/AbstractConfig.pm).

use serde_json::{Value, json};

use super::answer::{Failure, Reply};
use super::call::Call;
use super::drive;
use super::hypervisor;
use super::vm::{Config, Vm};
use super::volume;
use super::work::{Job, Work, Worker};
use crate::lab::world::World;

/// A moment of a VM.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    config: Config,
    description: Option<String>,
    /// Epoch seconds.
    time: i64,
    /// The snapshot before it.
    parent: Option<String>,
}

impl Snapshot {
    pub(super) fn holds(&self, volid: &str) -> bool {
        self.config.values().any(|text| text == volid || text.starts_with(&format!("{volid},")))
    }
}

/// The configuration of a moment.
pub(super) fn config_of<'v>(vm: &'v Vm, name: &str) -> Result<&'v Config, String> {
    vm.snapshots.get(name).map(|snapshot| &snapshot.config).ok_or_else(|| format!("snapshot '{name}' does not exist"))
}

/// What a task does to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Take,
    Drop,
    Rollback,
}

/// `POST snapshot`, `DELETE snapshot/{snapname}`, `POST snapshot/{snapname}/rollback`
pub(super) fn call(call: &mut Call, deed: Deed) -> Result<Reply, Failure> {
    call.vm()?;
    let name = call.text("snapname").to_owned();
    if deed == Deed::Take && (name == "current" || name == "pending") {
        return Err(Failure::die(format!("unable to use snapshot name '{name}' (reserved name)")));
    }
    let kind = match deed {
        Deed::Take => "qmsnapshot",
        Deed::Drop => "qmdelsnapshot",
        Deed::Rollback => "qmrollback",
    };
    let description = call.opt("description").map(str::to_owned);
    Ok(Reply::Task(Job::vm(kind, call.node(), call.vmid(), Work::Snapshot { deed, name, description })))
}

pub(super) fn work(
    world: &mut World,
    worker: &Worker,
    vmid: u32,
    deed: Deed,
    name: &str,
    description: Option<&str>,
) -> Result<(), String> {
    let schema = world.pve.release.schema();
    let possible = is_possible(world, &worker.job.node, vmid);
    let Some(vm) = world.pve.vms.get_mut(&vmid) else { return Ok(()) };
    vm.check_lock()?;
    let known = vm.snapshots.get(name).cloned();
    let missing = || format!("snapshot '{name}' does not exist");
    match deed {
        Deed::Take if known.is_some() => Err(format!("snapshot name '{name}' already used")),
        Deed::Take if vm.is_template() => Err("you can't take a snapshot if it's a template".into()),
        Deed::Take if !possible => Err("snapshot feature is not available".into()),
        Deed::Take => {
            let drives = drive::names()
                .filter_map(|option| Some((drive::parse(schema, &option, vm.config.get(&option)?)?, option)));
            let disks = drives.filter(|(drive, _)| !drive::is_cdrom(drive));
            let lines: Vec<String> = disks
                .map(|(drive, option)| {
                    format!("snapshotting 'drive-{option}' ({})", drive.get("file").map_or("", String::as_str))
                })
                .collect();
            let (config, parent) = (vm.config.clone(), vm.parent.replace(name.to_owned()));
            let description = description.map(str::to_owned);
            vm.snapshots.insert(name.to_owned(), Snapshot { config, description, time: worker.now, parent });
            for line in lines {
                world.pve.tasks.log(&worker.order.upid, line);
            }
            Ok(())
        }
        Deed::Drop => {
            let gone = vm.snapshots.remove(name).ok_or_else(missing)?;
            let parents = vm.snapshots.values_mut().map(|other| &mut other.parent).chain([&mut vm.parent]);
            for parent in parents.filter(|parent| parent.as_deref() == Some(name)) {
                parent.clone_from(&gone.parent);
            }
            Ok(())
        }
        Deed::Rollback => {
            vm.config = known.ok_or_else(missing)?.config;
            vm.parent = Some(name.to_owned());
            vm.pending.clear();
            if hypervisor::is_running(world, vmid) {
                hypervisor::power_off(world, vmid);
            }
            Ok(())
        }
    }
}

/// Whether every disk's storage and format can do it: raw files cannot, and neither can plain LVM.
pub(super) fn is_possible(world: &World, node: &str, vmid: u32) -> bool {
    let Some(vm) = world.pve.vms.get(&vmid) else { return false };
    vm.volumes(world.pve.release.schema()).into_iter().all(|(_, volid)| {
        let storage = volid.split(':').next().and_then(|name| world.site.storages.get(name));
        let block = storage.is_some_and(|storage| matches!(storage.kind.as_str(), "lvmthin" | "zfspool" | "rbd"));
        let place = volume::place(&world.site, node, &volid);
        block || place.and_then(|place| world.pve.volumes.get(&place)).is_some_and(|volume| volume.format == "qcow2")
    })
}

/// `GET snapshot`: all of them, and the present.
pub(super) fn list(call: &mut Call) -> Result<Reply, Failure> {
    let running = hypervisor::is_running(call.world, call.vmid());
    let vm = call.vm()?;
    let mut rows: Vec<Value> = vm.snapshots.iter().map(|(name, snapshot)| row(name, snapshot)).collect();
    rows.push(present(vm, running));
    Ok(Reply::Data(rows.into()))
}

fn row(name: &str, snapshot: &Snapshot) -> Value {
    let description = snapshot.description.clone().unwrap_or_default();
    let mut row = json!({ "name": name, "snaptime": snapshot.time, "description": description, "vmstate": 0 });
    if let Some(parent) = &snapshot.parent {
        row["parent"] = parent.as_str().into();
    }
    row
}

fn present(vm: &Vm, running: bool) -> Value {
    let mut row = json!({
        "name": "current", "description": "You are here!", "digest": vm.digest(), "running": i32::from(running),
    });
    if let Some(parent) = &vm.parent {
        row["parent"] = parent.as_str().into();
    }
    row
}

/// `PUT snapshot/{snapname}/config`: nothing but its description can change.
pub(super) fn describe(call: &mut Call) -> Result<Reply, Failure> {
    call.vm()?.check_lock().map_err(Failure::die)?;
    let (vmid, name) = (call.vmid(), call.text("snapname").to_owned());
    let description = call.opt("description").map(str::to_owned);
    let vm = call.world.pve.vms.get_mut(&vmid);
    let snapshot = vm.and_then(|vm| vm.snapshots.get_mut(&name));
    let snapshot = snapshot.ok_or_else(|| Failure::die(format!("snapshot '{name}' does not exist")))?;
    snapshot.description = description.or(snapshot.description.take());
    Ok(Reply::Data(Value::Null))
}

/// `GET snapshot/{snapname}/config`
pub(super) fn config(call: &mut Call) -> Result<Reply, Failure> {
    let (name, schema) = (call.text("snapname"), call.schema());
    shown(call.vm()?, schema, name).map(Reply::Data)
}

/// The configuration of a moment, as it is shown.
pub(super) fn shown(vm: &Vm, schema: &'static super::schema::Schema, name: &str) -> Result<Value, Failure> {
    let snapshot = vm.snapshots.get(name);
    let snapshot = snapshot.ok_or_else(|| Failure::die(format!("snapshot '{name}' does not exist")))?;
    let mut then = vm.clone();
    then.config.clone_from(&snapshot.config);
    then.config.extend(snapshot.description.clone().map(|text| ("description".to_owned(), text)));
    then.parent.clone_from(&snapshot.parent);
    then.pending.clear();
    let mut shown = then.shown(schema, true);
    shown["snaptime"] = snapshot.time.into();
    if let Some(map) = shown.as_object_mut() {
        map.remove("digest");
    }
    Ok(shown)
}
