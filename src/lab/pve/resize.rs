//! `PUT resize`: all checks are the worker's.

use super::acl;
use super::answer::{Failure, Reply};
use super::call::{Call, no_config};
use super::drive;
use super::size;
use super::volume;
use super::work::{Job, Work, Worker};
use crate::lab::world::World;

pub(super) fn call(call: &mut Call) -> Result<Reply, Failure> {
    if call.flag("skiplock") && !call.who.is_root() {
        return Err(Failure::param("skiplock", "Only root may use this option."));
    }
    let skip_lock = call.flag("skiplock");
    let work = Work::Resize {
        disk: call.text("disk").to_owned(),
        size: call.text("size").to_owned(),
        digest: call.opt("digest").map(str::to_owned),
    };
    let mut job = Job::vm("resize", call.node(), call.vmid(), work);
    job.skip_lock = skip_lock;
    Ok(Reply::Task(job))
}

pub(super) fn work(
    world: &mut World,
    worker: &Worker,
    vmid: u32,
    disk: &str,
    asked: &str,
    digest: Option<&str>,
) -> Result<(), String> {
    let node = worker.job.node.as_str();
    let schema = world.pve.release.schema();
    let vm = world.pve.vm_on(node, vmid).ok_or_else(|| no_config(node, vmid))?;
    if digest.is_some_and(|digest| digest != vm.digest()) {
        return Err("checksum mismatch (file change by other user?)".into());
    }
    if !worker.job.skip_lock {
        vm.check_lock()?;
    }
    let drive = vm.config.get(disk).and_then(|text| drive::parse(schema, disk, text));
    let mut drive = drive.ok_or_else(|| format!("disk '{disk}' does not exist"))?;
    if drive::is_cdrom(&drive) {
        return Err("you can't resize a cdrom".into());
    }
    let volid = drive.get("file").cloned().unwrap_or_default();
    let storage = volid.split(':').next().unwrap_or_default();
    let path = format!("/storage/{storage}");
    acl::require(world, &worker.order.who, &path, &["Datastore.AllocateSpace"]).map_err(|failure| failure.text())?;
    let place =
        volume::place(&world.site, node, &volid).ok_or_else(|| format!("storage '{storage}' does not exist"))?;
    let old = world.pve.volumes.get(&place).map(|volume| volume.bytes);
    let old = old.ok_or_else(|| format!("volume '{volid}' does not exist"))?;
    let (relative, text) = asked.strip_prefix('+').map_or((false, asked), |text| (true, text));
    let given = size::parse(text).ok_or_else(|| format!("unable to parse size '{asked}'"))?;
    let new = if relative { old.saturating_add(given) } else { given };
    if new < old {
        return Err("shrinking disks is not supported".into());
    }
    if new == old {
        return Ok(());
    }
    if let Some(command) = refused_by_tool(world, &place, new) {
        let (storage, path) = (world.site.storages.get(&place.storage), &place.name);
        let path = storage.map_or_else(String::new, |storage| volume::path(storage, path));
        let why = format!("qemu-img: Could not open '{path}': Could not open '{path}': Operation not permitted");
        world.pve.tasks.log(&worker.order.upid, why);
        return Err(format!("command '{command}' failed: exit code 1"));
    }
    if !super::hypervisor::is_running(world, vmid) {
        world.pve.tasks.log(&worker.order.upid, "Image resized.");
    }
    if let Some(volume) = world.pve.volumes.get_mut(&place) {
        // A thick volume takes what it grows by.
        if volume.used == volume.bytes && volume.used > 4096 {
            volume.used = new;
        }
        volume.bytes = new;
    }
    drive.insert("size".into(), size::print(new));
    let text = drive::print(schema, disk, &drive);
    if let Some(vm) = world.pve.vms.get_mut(&vmid) {
        vm.config.insert(disk.to_owned(), text);
    }
    Ok(())
}

/// The files of base volumes are immutable, so the image tool cannot open them: its command line.
fn refused_by_tool(world: &World, place: &volume::Place, bytes: u64) -> Option<String> {
    let storage = world.site.storages.get(&place.storage)?;
    let volid = format!("{}:{}", place.storage, place.name);
    if !volume::is_base(&volid) || !volume::is_file_based(storage) {
        return None;
    }
    let format = &world.pve.volumes.get(place)?.format;
    let preallocation = match (world.pve.release.nine(), format.as_str()) {
        (false, _) => "",
        (true, "qcow2") => " '--preallocation=metadata'",
        (true, _) => " '--preallocation=off'",
    };
    let path = volume::path(storage, &place.name);
    Some(format!("/usr/bin/qemu-img resize{preallocation} -f {format} {path} {bytes}"))
}
