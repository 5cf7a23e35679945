//! The worker that moves a VM to another node (qemu-server 9.2: src/PVE/QemuMigrate.pm).
//!
//! It looks at every volume before it moves any, tells all that bars the way,
//! and leaves the VM where it was. Its lines carry the time, as nobody else's do.

use std::collections::BTreeMap;

use super::call::no_config;
use super::drive;
use super::hypervisor;
use super::migrate::{Held, Move, held, local_resources};
use super::size;
use super::vm::Vm;
use super::volume::{self, Place};
use super::work::Worker;
use crate::lab::world::World;

/// A volume that is on this node only, and what it is.
struct Local {
    volid: String,
    held: Held,
    bytes: u64,
    to: String,
}

pub(super) fn work(world: &mut World, worker: &Worker, vmid: u32, order: &Move) -> Result<(), String> {
    let upid = worker.order.upid.as_str();
    let stamp = |text: &str| {
        let at = jiff::Timestamp::from_second(worker.now).unwrap_or_default();
        format!("{} {text}", at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%F %H:%M:%S"))
    };
    let mut log = Vec::new();
    let moved = prepared(world, worker, vmid, order, &mut log).and_then(|()| {
        let address = world.pve.address_of(&order.target).0.split('/').next().unwrap_or_default().to_owned();
        log.push(format!("starting migration of VM {vmid} to node '{}' ({address})", order.target));
        let scanned = scanned(world, worker, vmid, order, &mut log);
        scanned.inspect_err(|why| {
            log.push(format!("ERROR: {why}"));
            log.push("aborting phase 1 - cleanup resources".into());
        })
    });
    let outcome = match moved {
        Ok(disks) => {
            carry(world, worker, vmid, order, disks, &mut log);
            log.push("migration finished successfully (duration 00:00:00)".into());
            Ok(())
        }
        Err(why) => {
            log.push(format!("ERROR: migration aborted (duration 00:00:00): {why}"));
            Err("migration aborted".to_owned())
        }
    };
    for line in log {
        world.pve.tasks.log(upid, stamp(&line));
    }
    outcome
}

/// Everything that bars the way whatever the disks are.
fn prepared(world: &World, worker: &Worker, vmid: u32, order: &Move, log: &mut Vec<String>) -> Result<(), String> {
    let node = worker.job.node.as_str();
    let vm = world.pve.vm_on(node, vmid).ok_or_else(|| no_config(node, vmid))?;
    vm.check_lock()?;
    let running = hypervisor::is_running(world, vmid);
    if running && !order.online {
        return Err("can't migrate running VM without --online".into());
    }
    if running && !order.conntrack && world.pve.release.nine() {
        log.push("conntrack state migration not supported or disabled, active connections might get dropped".into());
    }
    let schema = world.pve.release.schema();
    let devices = local_resources(schema, vm);
    if !devices.is_empty() {
        if !order.force {
            return Err(format!("can't migrate VM which uses local devices: {}", devices.join(", ")));
        }
        log.push("migrating VM which uses local devices".into());
    }
    for (_, volid) in vm.volumes(schema) {
        let storage = volume::storage_of(&volid);
        let shared = volume::usable(&world.site, node, storage)?.shared;
        let to = if shared { storage } else { order.storage_for(storage) };
        volume::usable(&world.site, &order.target, to)?;
    }
    let reached = world.site.nodes.iter().any(|node| node.name == order.target && node.online && node.trusted);
    if reached { Ok(()) } else { Err("Can't connect to destination address using public key".into()) }
}

/// The volumes that have to be carried, if none of them stays behind.
fn scanned(
    world: &mut World,
    worker: &Worker,
    vmid: u32,
    order: &Move,
    log: &mut Vec<String>,
) -> Result<Vec<Local>, String> {
    let (node, schema) = (worker.job.node.as_str(), world.pve.release.schema());
    let failed = |why: &str| format!("Problem found while scanning volumes - {why}");
    let vm = world.pve.vm_on(node, vmid).ok_or_else(|| no_config(node, vmid))?;
    let running = hypervisor::is_running(world, vmid);
    let (mut disks, mut bars, mut others) = (Vec::new(), BTreeMap::new(), Vec::new());
    for (volid, held) in held(schema, vm) {
        if volid == "cdrom" {
            others.push("can't migrate local cdrom drive");
            continue;
        }
        let local = match local(world, node, order, &volid, held) {
            Ok(found) => found,
            Err(why) => {
                bars.insert(volid, why);
                continue;
            }
        };
        let Some(local) = local else { continue };
        let barred = bar(world, node, vmid, &local, running);
        if let Some(why) = barred {
            bars.insert(volid, why);
        } else if running && !order.with_local_disks && local.held.attached && !local.held.cloudinit && !local.held.tpm
        {
            bars.insert(volid, "can't live migrate attached local disks without with-local-disks option".into());
        }
        disks.push(local);
    }
    log.extend(disks.iter().map(told));
    log.extend(bars.iter().map(|(volid, why)| format!("can't migrate local disk '{volid}': {why}")));
    log.extend(others.iter().map(|why| (*why).to_owned()));
    if !bars.is_empty() || !others.is_empty() {
        return Err(failed("can't migrate VM - check log"));
    }
    let line = if world.pve.release.nine() { 586 } else { 540 };
    for local in &disks {
        let place = volume::place(&world.site, node, &local.volid);
        let parent = place.and_then(|place| world.pve.volumes.get(&place)?.parent.clone());
        if let Some(base) = parent {
            let base = base.rsplit('/').next().unwrap_or_default().to_owned();
            let at = format!("at /usr/share/perl5/PVE/QemuMigrate.pm line {line}.");
            return Err(failed(&format!("can't migrate '{}' as it's a clone of '{base}' {at}", local.volid)));
        }
    }
    resized(world, vmid, &disks, log);
    Ok(disks)
}

/// A volume that is on this node only; `None` for what is everywhere or nothing.
fn local(world: &World, node: &str, order: &Move, volid: &str, held: Held) -> Result<Option<Local>, String> {
    if volid == "none" || (volid.starts_with('/') && held.shared) {
        return Ok(None);
    }
    if volid.starts_with('/') {
        return Err("local file/device".into());
    }
    let (storage, name) = volid.split_once(':').ok_or_else(|| format!("unable to parse volume ID '{volid}'"))?;
    let from = volume::usable(&world.site, node, storage)?;
    let to = if from.shared { storage } else { order.storage_for(storage) };
    let there = volume::usable(&world.site, &order.target, to)?;
    let (content, _) = volume::parse_name(from, name)?;
    if !there.content.iter().any(|known| known == content) {
        return Err(format!("{volid}: content type '{content}' is not available on storage '{to}'"));
    }
    if from.shared {
        return Ok(None);
    }
    let place = volume::place(&world.site, node, volid).and_then(|place| world.pve.volumes.get(&place));
    let bytes =
        place.map(|found| found.bytes).ok_or_else(|| format!("unable to determine size for volume '{volid}'"))?;
    Ok(Some(Local { volid: volid.to_owned(), held, bytes, to: to.to_owned() }))
}

/// Why a local volume stays, if it does.
fn bar(world: &World, node: &str, vmid: u32, local: &Local, running: bool) -> Option<String> {
    let (held, volid) = (&local.held, local.volid.as_str());
    if !held.disk {
        return (!held.cloudinit).then(|| "local cdrom image".to_owned());
    }
    let place = volume::place(&world.site, node, volid)?;
    let found = world.pve.volumes.get(&place)?;
    if let Some(owner) = found.vmid.filter(|owner| *owner != vmid) {
        return Some(format!("owned by other VM (owner = VM {owner})"));
    }
    if !held.snapshots.is_empty() {
        if running {
            return Some("online storage migration not possible if non-replicated snapshot exists".into());
        }
        let zfs = world.site.storages.get(&place.storage).is_some_and(|storage| storage.kind == "zfspool");
        if !zfs && found.format != "qcow2" {
            return Some("non-migratable snapshot exists".into());
        }
    }
    volume::is_used_base(&world.pve.volumes, &place).then(|| "referenced by linked clone(s)".to_owned())
}

fn told(local: &Local) -> String {
    let (volid, held) = (&local.volid, &local.held);
    match () {
        () if held.tpm || (held.cloudinit && !held.disk) => {
            format!("found generated disk '{volid}' (in current VM config)")
        }
        () if held.attached => format!("found local disk '{volid}' (attached)"),
        () if held.unused => format!("found local disk '{volid}' (unused)"),
        () if !held.snapshots.is_empty() => format!("found local disk '{volid}' (referenced by snapshot(s))"),
        () => format!("found local disk '{volid}' (pending change)"),
    }
}

/// The configuration tells the sizes that the volumes have.
fn resized(world: &mut World, vmid: u32, disks: &[Local], log: &mut Vec<String>) {
    let schema = world.pve.release.schema();
    let Some(vm) = world.pve.vms.get_mut(&vmid) else { return };
    for option in drive::names().filter(|option| option != "efidisk0" && option != "tpmstate0") {
        let Some(mut drive) = vm.config.get(&option).and_then(|text| drive::parse(schema, &option, text)) else {
            continue;
        };
        let Some(local) = disks.iter().find(|local| drive.get("file") == Some(&local.volid)) else { continue };
        let old = drive.get("size").and_then(|text| size::parse(text)).unwrap_or(0);
        if old != local.bytes {
            let (old, new) = (size::print(old), size::print(local.bytes));
            log.push(format!("drive '{option}': size of disk '{}' updated from {old} to {new}", local.volid));
            drive.insert("size".into(), new);
            vm.config.insert(option.clone(), drive::print(schema, &option, &drive));
        }
    }
}

/// Carries the disks, and then the configuration.
fn carry(world: &mut World, worker: &Worker, vmid: u32, order: &Move, disks: Vec<Local>, log: &mut Vec<String>) {
    let node = worker.job.node.as_str();
    let running = hypervisor::is_running(world, vmid);
    let offline = |local: &Local| !running || !local.held.attached || local.held.tpm || local.held.cloudinit;
    if disks.iter().any(offline) {
        log.push("copying local disk images".into());
    }
    let mut renamed = Vec::new();
    for local in disks {
        let name = local.volid.split_once(':').map_or("", |(_, name)| name);
        let new = format!("{}:{name}", local.to);
        if offline(&local) {
            log.push(format!("volume '{}' is '{new}' on the target", local.volid));
        }
        let to = Place { node: Some(order.target.clone()), storage: local.to.clone(), name: name.to_owned() };
        let from = volume::place(&world.site, node, &local.volid);
        if let Some(found) = from.and_then(|from| world.pve.volumes.remove(&from)) {
            world.pve.volumes.insert(to, found);
        }
        renamed.push((local.volid, new));
    }
    if running {
        log.push(format!("starting VM {vmid} on remote node '{}'", order.target));
        log.push(format!("starting online/live migration on unix:/run/qemu-server/{vmid}.migrate"));
    }
    if let Some(vm) = world.pve.vms.get_mut(&vmid) {
        rename(vm, &renamed);
        order.target.clone_into(&mut vm.node);
    }
    for (old, new) in renamed.iter().filter(|(old, new)| old != new) {
        world.fleet.rename(old, new);
    }
}

fn rename(vm: &mut Vm, renamed: &[(String, String)]) {
    for (option, text) in &mut vm.config {
        if drive::is_name(option) || drive::is_unused(option) {
            let found = renamed.iter().find(|(old, _)| text.split(',').next() == Some(old.as_str()));
            if let Some((old, new)) = found {
                *text = text.replacen(old, new, 1);
            }
        }
    }
}
