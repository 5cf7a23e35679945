//! Reading and changing a VM's configuration.
//!
//! A change is checked at once. On a stopped VM it is applied at once too; on a
//! running one, what cannot be plugged in waits until the VM stops (qemu-server:
//! src/PVE/API2/Qemu.pm, `update_vm_api`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::answer::{Failure, Reply};
use super::call::Call;
use super::disks::{self, Workshop};
use super::drive::{self, Source};
use super::formats::split_list;
use super::verify::Params;
use super::work::{Job, Work, Worker};
use super::{acl, hypervisor, rights, sdn, snapshots, start};
use crate::lab::world::World;

/// Parameters of the call that are not options of the VM.
const NOT_OPTIONS: &[&str] =
    &["node", "vmid", "digest", "delete", "revert", "skiplock", "force", "background_delay", "import-working-storage"];

/// What a running hypervisor takes over without a restart, beside drives and cards.
const FAST: &[&str] = &[
    "name",
    "onboot",
    "shares",
    "startup",
    "description",
    "protection",
    "vmstatestorage",
    "hookscript",
    "tags",
    "lock",
];

/// A change that passed every check.
pub(super) struct Change {
    set: Params,
    delete: Vec<String>,
    revert: Vec<String>,
    /// Disks that are taken out are freed.
    force: bool,
}

pub(super) fn get(call: &mut Call) -> Result<Reply, Failure> {
    let current = call.flag("current");
    Ok(Reply::Data(call.vm()?.shown(call.schema(), current)))
}

pub(super) fn pending(call: &mut Call) -> Result<Reply, Failure> {
    Ok(Reply::Data(call.vm()?.shown_pending(call.schema())))
}

/// `PUT`: the change is made before the answer.
pub(super) fn put(call: &mut Call) -> Result<Reply, Failure> {
    let change = checked(call)?;
    let mut log = Vec::new();
    let (node, vmid) = (call.node().to_owned(), call.vmid());
    apply(call.world, &node, vmid, &change, call.now, &mut log)?;
    Ok(Reply::Data(Value::Null))
}

/// `POST`: a worker makes the change.
pub(super) fn post(call: &mut Call) -> Result<Reply, Failure> {
    let change = checked(call)?;
    let mut job = Job::vm("qmconfig", call.node(), call.vmid(), Work::Configure(change));
    job.patience = call.number("background_delay");
    Ok(Reply::Task(job))
}

pub(super) fn work(world: &mut World, worker: &Worker, vmid: u32, change: &Change) -> Result<(), String> {
    let words = change.set.iter().map(|(option, text)| format!("-{option} {text}"));
    let mut words: Vec<String> = words.collect();
    for (flag, list) in [("delete", &change.delete), ("revert", &change.revert)] {
        if !list.is_empty() {
            words.push(format!("-{flag} {}", list.join(",")));
        }
    }
    let mut log = vec![format!("update VM {vmid}: {}", words.join(" "))];
    let result = apply(world, &worker.job.node, vmid, change, worker.now, &mut log);
    for line in log {
        world.pve.tasks.log(&worker.order.upid, line);
    }
    result.map_err(|failure| failure.text())
}

/// Every check that comes before the change, in upstream's order.
fn checked(call: &Call) -> Result<Change, Failure> {
    if call.opt("skiplock").is_some() {
        return Err(Failure::param("skiplock", "Only root may use this option."));
    }
    let mut set: Params = call.params.clone();
    set.retain(|option, _| !NOT_OPTIONS.contains(&option.as_str()));
    let list = |name: &str| split_list(call.text(name)).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let (delete, revert) = (list("delete"), list("revert"));
    if set.is_empty() && delete.is_empty() && revert.is_empty() {
        return Err(Failure::die("no options specified"));
    }
    let schema = call.schema();
    let params = schema.endpoint("POST", "/nodes/{node}/qemu").map(|endpoint| &endpoint.params);
    for (flag, options) in [("delete", &delete), ("revert", &revert)] {
        for option in options {
            if set.contains_key(option) {
                let text = format!("you can't use '-{option}' and -{flag} {option}' at the same time");
                return Err(Failure::param(flag, text));
            }
            let known = params.is_some_and(|params| schema.parameter(params, option).is_some());
            // It is an option, though no request can set it.
            let known = known || option == "meta";
            if !known || NOT_OPTIONS.contains(&option.as_str()) {
                return Err(Failure::param(flag, format!("unknown option '{option}'")));
            }
        }
    }
    permitted(call, &set, &delete, &revert)?;
    for (option, text) in &mut set {
        if !drive::is_name(option) {
            *text = disks::canonical(schema, option, text);
        }
    }
    let vm = call.vm()?;
    if call.opt("digest").is_some_and(|digest| !digest.is_empty() && digest != vm.digest()) {
        return Err(Failure::die("checksum mismatch (file change by other user?)"));
    }
    vm.check_lock().map_err(Failure::die)?;
    let memory = set.get("memory").and_then(|text| text.trim_start_matches("current=").parse().ok());
    let memory = memory.unwrap_or_else(|| vm.memory());
    let balloon = set.get("balloon").and_then(|text| text.parse::<u64>().ok());
    if balloon.is_some_and(|balloon| balloon > memory) {
        return Err(Failure::die("balloon value too large (must be smaller than assigned memory)"));
    }
    for option in set.keys().chain(&delete).filter(|option| drive::is_name(option) || drive::is_unused(option)) {
        let old = vm.config.get(option).and_then(|text| drive::parse(schema, option, text));
        if let Some(volid) = old.as_ref().filter(|_| drive::is_unused(option)).and_then(|old| old.get("file"))
            && delete.contains(option)
            && vm.in_snapshot(volid)
        {
            let text = format!("unable to delete '{volid}' - volume is still in use (snapshot?)");
            return Err(Failure::die(text));
        }
        if vm.protected() && old.as_ref().is_some_and(|old| !drive::is_cdrom(old)) {
            return Err(Failure::die(format!("can't remove drive '{option}' - protection mode enabled")));
        }
    }
    // Who changes a card or takes it out needs the bridge that it is on, too.
    let cards = delete.iter().chain(set.keys()).filter(|option| drive::indexed(option, "net"));
    for (option, text) in cards.filter_map(|option| vm.config.get_key_value(option)) {
        rights::bridges(call.world, call.who, &Params::from([(option.clone(), text.clone())]))?;
    }
    Ok(Change { set, delete, revert, force: call.flag("force") })
}

fn permitted(call: &Call, set: &Params, delete: &[String], revert: &[String]) -> Result<(), Failure> {
    let (world, who, vmid, schema) = (&*call.world, call.who, call.vmid(), call.schema());
    let removed = delete.iter().chain(revert).map(|option| (option.as_str(), None));
    rights::options(world, who, vmid, None, removed, true)?;
    let options = set.iter().map(|(option, text)| (option.as_str(), Some(text.as_str())));
    rights::options(world, who, vmid, None, options, true)?;
    rights::drives(world, who, vmid, set)?;
    rights::bridges(world, who, set)?;
    let path = format!("/vms/{vmid}");
    let vm = call.vm()?;
    let drives = set.keys().chain(delete).filter(|option| drive::is_name(option) || drive::is_unused(option));
    for option in drives {
        let texts = [set.get(option), vm.config.get(option)];
        for drive in texts.into_iter().flatten().filter_map(|text| drive::parse(schema, option, text)) {
            let file = drive.get("file").map_or("", String::as_str);
            if drive::is_cloudinit(file) || matches!(drive::source(file), Source::CloudInit { .. }) {
                acl::require(world, who, &path, &["VM.Config.Cloudinit"])?;
                acl::require(world, who, &path, &["VM.Config.CDROM"])?;
            } else if drive::is_cdrom(&drive) {
                acl::require(world, who, &path, &["VM.Config.CDROM"])?;
            } else {
                acl::require(world, who, &path, &["VM.Config.Disk"])?;
            }
        }
    }
    Ok(())
}

/// Makes the change. Runs under the VM's lock.
fn apply(
    world: &mut World,
    node: &str,
    vmid: u32,
    change: &Change,
    now: i64,
    log: &mut Vec<String>,
) -> Result<(), Failure> {
    let running = hypervisor::is_running(world, vmid);
    let World { site, pve, .. } = &mut *world;
    let (release, schema) = (pve.release, pve.release.schema());
    let mut shop = Workshop::new(site, &mut pve.volumes, &pve.locked_storages, release, (node, vmid), now);
    let made = shop.drives(&change.set);
    if made.is_err() {
        shop.undo();
    }
    log.append(&mut shop.log);
    let imprints = std::mem::take(&mut shop.imprints);
    let mut set = change.set.clone();
    set.extend(made.map_err(Failure::die)?);
    let Some(vm) = pve.vms.get_mut(&vmid) else { return Ok(()) };
    let mut freed = Vec::new();
    for option in &change.revert {
        vm.pending.remove(option);
    }
    for option in &change.delete {
        if !vm.config.contains_key(option) && !vm.pending.contains_key(option) {
            continue;
        }
        match vm.config.get(option).and_then(|text| drive::parse(schema, option, text)) {
            Some(drive) if drive::is_unused(option) => freed.extend(drive.get("file").cloned()),
            Some(drive) if !drive::is_cdrom(&drive) && change.force => freed.extend(drive.get("file").cloned()),
            Some(drive) if !drive::is_cdrom(&drive) => drop(keep_as_unused(vm, vmid, drive.get("file"))),
            _ => {}
        }
        if running && !pluggable(option, None) {
            vm.pending.insert(option.clone(), None);
        } else {
            if let Some(card) = sdn::card(schema, option, vm.config.get(option)) {
                pve.ipam.free(site, &card);
            }
            vm.config.remove(option);
            vm.pending.remove(option);
            out_of_boot_order(vm, option);
        }
    }
    let (mut media, mut errors) = (Vec::new(), BTreeMap::new());
    for (option, text) in set {
        if text.is_empty() {
            continue;
        }
        let new = drive::parse(schema, &option, &text);
        let old = vm.config.get(&option).and_then(|text| drive::parse(schema, &option, text));
        if let (Some(new), Some(old)) = (&new, &old)
            && new.get("file") != old.get("file")
            && !drive::is_cdrom(old)
        {
            drop(keep_as_unused(vm, vmid, old.get("file")));
        }
        let cdrom = new.as_ref().is_some_and(drive::is_cdrom) && old.as_ref().is_some_and(drive::is_cdrom);
        if running && !pluggable(&option, Some(cdrom)) {
            if vm.config.get(&option) == Some(&text) {
                vm.pending.remove(&option);
            } else {
                vm.pending.insert(option, Some(text));
            }
            continue;
        }
        if running && cdrom {
            media.push((option.clone(), text.clone()));
        }
        if let Some(new) = sdn::card(schema, &option, Some(&text)) {
            let old = sdn::card(schema, &option, vm.config.get(&option));
            let owner = (vmid, vm.config.get("name"));
            if let Err(why) = pve.ipam.replace((site, release), (old.as_ref(), &new), owner, running) {
                let kind = if running {
                    "hotplug problem -".into()
                } else {
                    format!("unable to apply pending change {option} :")
                };
                errors.insert(option.clone(), format!("{kind} {why}\n"));
                vm.pending.insert(option, Some(text));
                continue;
            }
        }
        // What is put in again is no longer unused.
        if let Some(file) = new.as_ref().and_then(|new| new.get("file")) {
            vm.config.retain(|other, text| *other == option || !drive::is_unused(other) || text != file);
        }
        vm.pending.remove(&option);
        vm.config.insert(option, text);
    }
    for (volid, head) in imprints {
        world.fleet.imprint(&volid, &head);
    }
    for volid in freed {
        super::free(world, node, &volid);
    }
    for (device, text) in media {
        let medium = start::medium(world, node, vmid, &device, &text);
        hypervisor::change_medium(world, vmid, &device, medium);
    }
    if errors.is_empty() { Ok(()) } else { Err(Failure::params(errors)) }
}

/// A disk that is taken out stays with the VM as `unusedN`, if it is the VM's own.
pub(super) fn keep_as_unused(vm: &mut super::vm::Vm, vmid: u32, volid: Option<&String>) -> Option<String> {
    let owned = |volid: &&String| ["vm", "base"].iter().any(|stem| volid.contains(&format!("{stem}-{vmid}-")));
    let volid = volid.filter(owned)?;
    let option = (0..256).map(|index| format!("unused{index}")).find(|option| !vm.config.contains_key(option))?;
    vm.config.insert(option.clone(), volid.clone());
    Some(option)
}

/// A device that is gone is not booted from. False if it was not in the order.
pub(super) fn out_of_boot_order(vm: &mut super::vm::Vm, device: &str) -> bool {
    let Some(order) = vm.config.get("boot").and_then(|text| text.strip_prefix("order=")) else { return false };
    let kept: Vec<&str> = order.split(';').filter(|other| *other != device).collect();
    let was = kept.len() < order.split(';').count();
    let text = if kept.is_empty() { " ".to_owned() } else { format!("order={}", kept.join(";")) };
    vm.config.insert("boot".into(), text);
    was
}

/// Default hotplug is `network,disk,usb`; of the disks, only those on SCSI and virtio.
fn pluggable(option: &str, cdrom: Option<bool>) -> bool {
    FAST.contains(&option)
        || cdrom == Some(true)
        || drive::is_unused(option)
        || ["net", "scsi", "virtio", "usb"].iter().any(|stem| drive::indexed(option, stem))
}

/// `PUT unlink`: as deleting the disks one by one.
pub(super) fn unlink(call: &mut Call) -> Result<Reply, Failure> {
    call.vm()?;
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
