//! Snapshots: what a VM was, under a name.
//!
//! Disks keep no history in the lab; a snapshot is the configuration of its
//! moment, and a rollback brings that back (pve-guest-common 6.0:
//! src/PVE/AbstractConfig.pm).

use serde_json::{Value, json};

use super::answer::{Failure, Reply};
use super::call::{Call, no_config};
use super::drive;
use super::hypervisor;
use super::plug;
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

/// The same, with what is said about that moment.
pub(super) fn described(vm: &Vm, name: &str) -> Result<Config, String> {
    let mut config = config_of(vm, name)?.clone();
    let about = vm.snapshots.get(name).and_then(|snapshot| snapshot.description.clone());
    config.extend(about.map(|text| ("description".to_owned(), text)));
    Ok(config)
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
    let name = call.text("snapname").to_owned();
    if deed == Deed::Take {
        let reserved = ["current", "pending"].into_iter().find(|word| match *word {
            "current" => name == "current",
            word => name.to_lowercase() == word,
        });
        if let Some(word) = reserved {
            return Err(Failure::die(format!("unable to use snapshot name '{word}' (reserved name)")));
        }
        call.vm()?;
    }
    let start = deed == Deed::Rollback && call.flag("start");
    if start && call.release().nine() {
        call.require(&format!("/vms/{}", call.vmid()), &["VM.PowerMgmt"])?;
    }
    let kind = match deed {
        Deed::Take => "qmsnapshot",
        Deed::Drop => "qmdelsnapshot",
        Deed::Rollback => "qmrollback",
    };
    let description = call.opt("description").map(str::trim_end).filter(|text| !text.is_empty()).map(str::to_owned);
    Ok(Reply::Task(Job::vm(kind, call.node(), call.vmid(), Work::Snapshot { deed, name, description, start })))
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
    let node = worker.job.node.as_str();
    let vm = world.pve.vms.get_mut(&vmid).filter(|vm| vm.node == node).ok_or_else(|| no_config(node, vmid))?;
    let known = vm.snapshots.get(name).cloned();
    let missing = || format!("snapshot '{name}' does not exist");
    let template = vm.is_template();
    match deed {
        Deed::Take if template => return Err("you can't take a snapshot if it's a template".into()),
        Deed::Rollback if template => return Err("you can't rollback if vm is a template".into()),
        Deed::Drop | Deed::Rollback if known.is_none() => return Err(missing()),
        _ => vm.check_lock()?,
    }
    match deed {
        Deed::Take if known.is_some() => Err(format!("snapshot name '{name}' already used")),
        Deed::Drop if template => Err("you can't delete a snapshot if vm is a template".into()),
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
            let (mut config, parent) = (vm.config.clone(), vm.parent.replace(name.to_owned()));
            config.retain(|option, _| !stays(option));
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
            let then = known.ok_or_else(missing)?.config;
            let now = std::mem::replace(&mut vm.config, then);
            // Disks that were not there then are not lost.
            let disks = now.iter().filter(|(option, _)| drive::is_name(option));
            let disks = disks.filter_map(|(option, text)| drive::parse(schema, option, text));
            let disks: Vec<String> =
                disks.filter(|drive| !drive::is_cdrom(drive)).filter_map(|mut drive| drive.remove("file")).collect();
            vm.config.extend(now.into_iter().filter(|(option, _)| stays(option)));
            let named: Vec<String> = vm.volumes(schema).into_iter().map(|(_, volid)| volid).collect();
            for volid in disks.iter().filter(|volid| !named.contains(volid)) {
                plug::keep_as_unused(vm, vmid, Some(volid));
            }
            vm.forced.clear();
            vm.parent = Some(name.to_owned());
            vm.pending.clear();
            if hypervisor::is_running(world, vmid) {
                hypervisor::power_off(world, vmid);
            }
            Ok(())
        }
    }
}

/// What is the VM's, whatever its moment.
fn stays(option: &str) -> bool {
    drive::is_unused(option) || matches!(option, "description" | "lock")
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
    let Some(description) = call.opt("description").map(|text| text.trim_end().to_owned()) else {
        return Ok(Reply::Data(Value::Null));
    };
    call.vm()?.check_lock().map_err(Failure::die)?;
    let (vmid, name) = (call.vmid(), call.text("snapname").to_owned());
    let vm = call.world.pve.vms.get_mut(&vmid);
    let snapshot = vm.and_then(|vm| vm.snapshots.get_mut(&name));
    let snapshot = snapshot.ok_or_else(|| Failure::die(format!("snapshot '{name}' does not exist")))?;
    snapshot.description = Some(description).filter(|text| !text.is_empty());
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
