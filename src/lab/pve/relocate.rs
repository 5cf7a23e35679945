//! Disks that move to another storage, or to another VM (qemu-server 9.2: src/PVE/API2/Qemu.pm, `move_vm_disk`).

use super::answer::{Failure, Reply};
use super::call::{Call, no_config};
use super::disks::Workshop;
use super::drive;
use super::property::Properties;
use super::vm::Vm;
use super::work::{Job, Work, Worker};
use super::{clone, config, plug, size, volume};
use crate::lab::world::World;

/// A disk that goes to another storage, as another format or as it is.
pub(super) struct Move {
    disk: String,
    storage: String,
    format: Option<String>,
    delete: bool,
}

/// A disk that goes to another VM.
pub(super) struct Gift {
    disk: String,
    to: u32,
    as_disk: String,
}

/// `POST .../move_disk`
pub(super) fn call(call: &mut Call) -> Result<Reply, Failure> {
    let both = |text: &str| {
        let errors = ["storage", "target-vmid"].map(|name| (name.to_owned(), text.to_owned()));
        Failure::params(errors.into())
    };
    let target: Option<u32> = call.number("target-vmid");
    match (call.opt("storage").map(str::to_owned), target) {
        (Some(_), Some(_)) => Err(both("either set 'storage' or 'target-vmid', but not both")),
        (None, None) => Err(both("both 'storage' and 'target-vmid' missing, either needs to be set")),
        (Some(storage), None) => to_storage(call, storage),
        (None, Some(to)) => to_vm(call, to),
    }
}

fn of(call: &Call, vm: &Vm, disk: &str) -> Option<Properties> {
    drive::parse(call.schema(), disk, vm.config.get(disk)?)
}

fn to_storage(call: &Call, storage: String) -> Result<Reply, Failure> {
    let disk = call.text("disk").to_owned();
    call.require(&format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    let vm = call.vm()?;
    if call.opt("digest").is_some_and(|digest| !digest.is_empty() && digest != vm.digest()) {
        return Err(Failure::die("detected modified configuration - file changed by other user? Try again."));
    }
    vm.check_lock().map_err(Failure::die)?;
    let found = of(call, vm, &disk).ok_or_else(|| Failure::die(format!("disk '{disk}' does not exist")))?;
    if drive::is_cdrom(&found) {
        return Err(Failure::die("you can't move a cdrom"));
    }
    let volid = found.get("file").map_or("", String::as_str);
    let own = volume::place(&call.world.site, call.node(), volid).and_then(|place| call.world.pve.volumes.get(&place));
    let same = call.opt("format").is_none_or(|format| own.is_some_and(|own| own.format == format));
    if volume::storage_of(volid) == storage && same {
        return Err(Failure::die("you can't move to the same storage with same format"));
    }
    clone::image_storage(call, &storage)?;
    if call.flag("delete") && vm.in_snapshot(volid) {
        return Err(Failure::die("you can't move a disk with snapshots and delete the source"));
    }
    let format = call.opt("format").map(str::to_owned);
    let work = Work::Move(Move { disk, storage, format, delete: call.flag("delete") });
    Ok(Reply::Task(Job::vm("qmmove", call.node(), call.vmid(), work)))
}

pub(super) fn work(world: &mut World, worker: &Worker, vmid: u32, order: &Move) -> Result<(), String> {
    let (node, upid, disk) = (worker.job.node.as_str(), worker.order.upid.as_str(), order.disk.as_str());
    let running = super::hypervisor::is_running(world, vmid);
    let World { site, pve, fleet, .. } = &mut *world;
    let (schema, release) = (pve.release.schema(), pve.release);
    let running = running && disk == "tpmstate0";
    let vm = pve.vms.get_mut(&vmid).ok_or_else(|| no_config(node, vmid))?;
    let mut drive = vm.config.get(disk).and_then(|text| drive::parse(schema, disk, text)).unwrap_or_default();
    let old = drive.get("file").cloned().unwrap_or_default();
    if release.nine() {
        let (from, to) = (volume::storage_of(&old), &order.storage);
        pve.tasks.log(upid, format!("copying volume '{old}' from current storage '{from}' to target storage '{to}'"));
    }
    if running {
        return Err("storage migration failed: cannot move TPM state while VM is running".into());
    }
    let mut shop = Workshop::new(site, &mut pve.volumes, &pve.locked_storages, release, (node, vmid), worker.now);
    let made = shop.copy(&format!(" {disk}"), &old, &order.storage, order.format.as_deref());
    let (lines, imprints) = (std::mem::take(&mut shop.log), std::mem::take(&mut shop.imprints));
    for line in lines {
        pve.tasks.log(upid, line);
    }
    let (volid, bytes) = made.map_err(|text| format!("storage migration failed: {text}"))?;
    drive.insert("file".into(), volid);
    if !drive::is_unused(disk) {
        drive.insert("size".into(), size::print(bytes));
    }
    vm.config.insert(disk.to_owned(), drive::print(schema, disk, &drive));
    let kept = if order.delete { None } else { plug::keep_as_unused(vm, vmid, Some(&old)) };
    if let Some(option) = kept.filter(|_| release.nine()) {
        pve.tasks.log(upid, format!("adding source volume '{old}' as '{option}' to config"));
    }
    for (volid, head) in imprints {
        fleet.imprint(&volid, &head);
    }
    if order.delete {
        if release.nine() {
            world.pve.tasks.log(upid, format!("removing source volume '{old}' after successful copy"));
        }
        super::free(world, node, &old);
    }
    Ok(())
}

/// Reassigning a disk: only its name changes.
fn to_vm(call: &Call, to: u32) -> Result<Reply, Failure> {
    let (vmid, disk) = (call.vmid(), call.text("disk").to_owned());
    let as_disk = call.opt("target-disk").unwrap_or(&disk).to_owned();
    if to == vmid {
        return Err(Failure::param("target-vmid", "must be different than source VMID to reassign disk"));
    }
    call.require(&format!("/vms/{to}"), &["VM.Config.Disk"])?;
    let vm = call.world.pve.vms.get(&vmid).ok_or_else(|| Failure::die(format!("could not find VM {vmid}")))?;
    let other = call.world.pve.vms.get(&to);
    let other = other.ok_or_else(|| Failure::die(format!("could not find target VM {to}")))?;
    let die = |text: String| Err(Failure::die(text));
    if other.node != vm.node {
        return die(format!("Both VMs need to be on the same node ({} != {})", vm.node, other.node));
    }
    vm.check_lock().map_err(Failure::die)?;
    other.check_lock().map_err(Failure::die)?;
    if vm.is_template() || other.is_template() {
        return die("Can't move disks from or to template VMs".into());
    }
    for (id, vm, name) in [(vmid, vm, "digest"), (to, other, "target-digest")] {
        if call.opt(name).is_some_and(|digest| !digest.is_empty() && digest != vm.digest()) {
            return die(format!("VM {id}: detected modified configuration - file changed by other user? Try again."));
        }
    }
    let Some(found) = of(call, vm, &disk) else {
        return die(format!("Disk '{disk}' for VM '{vmid}' does not exist"));
    };
    if other.config.contains_key(&as_disk) {
        return die(format!("Target disk key '{as_disk}' is already in use for VM '{to}'"));
    }
    if drive::is_cdrom(&found) {
        return die("CD drive contents can't be moved to another VM".into());
    }
    if vm.in_snapshot(found.get("file").map_or("", String::as_str)) {
        return die("Can't move disk used by a snapshot to another VM".into());
    }
    if super::hypervisor::is_running(call.world, vmid) && !drive::is_unused(&disk) {
        return die("Cannot move disk to another VM while the source VM is running - detach first".into());
    }
    let mut job =
        Job::vm("qmmove", call.node(), vmid, Work::Give(Gift { disk: disk.clone(), to, as_disk: as_disk.clone() }));
    job.id = format!("{vmid}-{disk}>{to}-{as_disk}");
    Ok(Reply::Task(job))
}

pub(super) fn give(world: &mut World, worker: &Worker, vmid: u32, gift: &Gift) -> Result<(), String> {
    let (node, upid) = (worker.job.node.as_str(), worker.order.upid.as_str());
    let Gift { disk, to, as_disk } = gift;
    let World { site, pve, fleet, .. } = world;
    let schema = pve.release.schema();
    pve.tasks.log(
        upid,
        if pve.release.nine() {
            format!("reassign disk '{disk}' from VM '{vmid}' as '{as_disk}' to VM '{to}'")
        } else {
            format!("moving disk '{disk}' from VM '{vmid}' to '{to}'")
        },
    );
    let vm = pve.vms.get_mut(&vmid).ok_or_else(|| no_config(node, vmid))?;
    let text = vm.config.remove(disk).unwrap_or_default();
    let mut drive = drive::parse(schema, disk, &text).unwrap_or_default();
    let old = drive.get("file").cloned().unwrap_or_default();
    if config::out_of_boot_order(vm, disk) {
        pve.tasks.log(upid, format!("removing disk '{disk}' from boot order config"));
    }
    pve.tasks.log(upid, format!("removing disk '{disk}' from VM '{vmid}' config"));
    let place = volume::place(site, node, &old);
    let moved = place.and_then(|place| Some((place.clone(), pve.volumes.remove(&place)?)));
    let (place, mut found) = moved.ok_or_else(|| format!("volume '{old}' does not exist"))?;
    let (name, bytes) = (volume::next_name(site, &pve.volumes, &place.storage, *to, &found.format), found.bytes);
    found.vmid = Some(*to);
    let volid = format!("{}:{name}", place.storage);
    pve.volumes.insert(volume::Place { name, ..place }, found);
    fleet.rename(&old, &volid);
    drive.insert("file".into(), volid);
    if drive::is_unused(as_disk) {
        drive.retain(|key, _| key == "file");
    } else if !drive::is_unused(disk) {
        drive.insert("size".into(), size::print(bytes));
    }
    let text = drive::print(schema, as_disk, &drive);
    if !drive::is_unused(as_disk) {
        pve.tasks.log(upid, format!("update VM {to}: -{as_disk} {text}"));
    }
    if !drive::is_unused(as_disk) {
        drive.insert("size".into(), size::print(bytes));
    }
    let text = drive::print(schema, as_disk, &drive);
    if let Some(other) = pve.vms.get_mut(to) {
        other.config.insert(as_disk.clone(), text);
    }
    Ok(())
}
