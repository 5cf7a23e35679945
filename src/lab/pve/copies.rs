//! Templates, clones, and VMs that move: what gives a VM another shape, another id or another node.
//!
//! A clone is a full one, always: a linked one differs in the names of its
//! volumes and in what its storage saves, which nobody sees who only uses it
//! (qemu-server 9.2: src/PVE/API2/Qemu.pm, src/PVE/QemuMigrate.pm).

use super::answer::{Failure, Reply};
use super::call::Call;
use super::disks::{self, Workshop};
use super::drive;
use super::hypervisor;
use super::verify::Params;
use super::vm::Vm;
use super::volume::{self, Place};
use super::work::{Job, Work, Worker};
use crate::lab::world::World;

/// A clone that passed every check. The new id is already taken.
pub(super) struct Clone {
    newid: u32,
    storage: Option<String>,
    format: Option<String>,
    pool: Option<String>,
    /// `name` and `description`, where they were given.
    given: Params,
}

/// `POST .../template`
pub(super) fn template_call(call: &mut Call) -> Result<Reply, Failure> {
    let vm = call.vm()?;
    vm.check_lock().map_err(Failure::die)?;
    if vm.is_template() {
        return Err(Failure::die("you can't convert a template to a template"));
    }
    if !vm.snapshots.is_empty() {
        return Err(Failure::die("unable to create template, because VM contains snapshots"));
    }
    if hypervisor::is_running(call.world, call.vmid()) {
        return Err(Failure::die("you can't convert a VM to template if VM is running"));
    }
    Ok(Reply::Task(Job::vm("qmtemplate", call.node(), call.vmid(), Work::Template)))
}

pub(super) fn template(world: &mut World, node: &str, vmid: u32) {
    let schema = world.pve.release.schema();
    let World { site, pve, .. } = world;
    let Some(vm) = pve.vms.get_mut(&vmid) else { return };
    for (option, volid) in vm.volumes(schema) {
        let base = volid.replace(&format!("vm-{vmid}-disk"), &format!("base-{vmid}-disk"));
        let (from, to) = (volume::place(site, node, &volid), volume::place(site, node, &base));
        if let (Some(from), Some(to)) = (from, to)
            && let Some(found) = pve.volumes.remove(&from)
        {
            pve.volumes.insert(to, found);
        }
        if let Some(text) = vm.config.get_mut(&option) {
            *text = text.replace(&volid, &base);
        }
    }
    vm.config.insert("template".into(), "1".into());
}

/// `POST .../clone`
pub(super) fn clone_call(call: &mut Call) -> Result<Reply, Failure> {
    let newid: u32 = call.number("newid").unwrap_or(0);
    let (pool, storage) = (call.opt("pool").map(str::to_owned), call.opt("storage").map(str::to_owned));
    if let Some(pool) = pool.as_ref().filter(|pool| !call.world.pve.pools.contains_key(*pool)) {
        return Err(Failure::forbidden(&format!("pool '{pool}' does not exist")));
    }
    let vm = call.vm()?;
    vm.check_lock().map_err(Failure::die)?;
    let linked = vm.is_template() && call.opt("full") != Some("1");
    let refused = ["storage", "format"].into_iter().find(|flag| linked && call.opt(flag).is_some());
    if let Some(flag) = refused {
        return Err(Failure::param(flag, format!("parameter '{flag}' not allowed for linked clones")));
    }
    let (schema, target) = (call.schema(), call.opt("target").unwrap_or(call.node()).to_owned());
    let mut places: Vec<String> = vm.volumes(schema).into_iter().map(|(_, volid)| volid).collect();
    for volid in &mut places {
        *volid = volid.split(':').next().unwrap_or_default().to_owned();
    }
    let places = storage.as_ref().map_or(places, |storage| vec![storage.clone()]);
    for name in &places {
        call.require(&format!("/storage/{name}"), &["Datastore.AllocateSpace"])?;
        let shared = volume::usable(&call.world.site, &target, name).map_err(Failure::die)?.shared;
        if target != call.node() && !shared {
            let text = format!("can't clone to non-shared storage '{name}'");
            return Err(Failure::param("target", text));
        }
    }
    if let Some(other) = call.world.pve.vms.get(&newid) {
        return Err(Failure::die(format!(
            "unable to create VM {newid} - VM {newid} already exists on node '{}'",
            other.node
        )));
    }
    let mut reserved = Vm::default();
    reserved.node.clone_from(&target);
    reserved.config.insert("lock".into(), "clone".into());
    call.world.pve.vms.insert(newid, reserved);
    let mut given = call.params.clone();
    given.retain(|name, _| name == "name" || name == "description");
    let clone = Clone { newid, storage, format: call.opt("format").map(str::to_owned), pool, given };
    Ok(Reply::Task(Job::vm("qmclone", call.node(), call.vmid(), Work::Clone(clone))))
}

pub(super) fn clone(world: &mut World, worker: &Worker, vmid: u32, clone: &Clone) -> Result<(), String> {
    let done = copied(world, worker, vmid, clone);
    match done {
        Ok(config) => {
            if let Some(vm) = world.pve.vms.get_mut(&clone.newid) {
                vm.config = config;
            }
            if let Some(pool) = clone.pool.as_ref().and_then(|pool| world.pve.pools.get_mut(pool)) {
                pool.vms.insert(clone.newid);
            }
            Ok(())
        }
        Err(text) => {
            world.pve.vms.remove(&clone.newid);
            Err(format!("clone failed: {text}"))
        }
    }
}

/// The new VM's configuration, once its disks are there.
fn copied(world: &mut World, worker: &Worker, vmid: u32, clone: &Clone) -> Result<Params, String> {
    let World { site, pve, fleet, .. } = world;
    let (schema, release) = (pve.release.schema(), pve.release);
    let source = pve.vms.get(&vmid).ok_or("the VM is gone")?.clone();
    let mut shop = Workshop {
        site,
        volumes: &mut pve.volumes,
        locked: &pve.locked_storages,
        schema,
        nine: release.nine(),
        node: &source.node,
        vmid: clone.newid,
        now: worker.now,
        log: Vec::new(),
        made: Vec::new(),
        imprints: Vec::new(),
    };
    let mut config = source.config.clone();
    let mut outcome = Ok(());
    for (option, volid) in source.volumes(schema) {
        let Some(mut drive) = drive::parse(schema, &option, &source.config[&option]) else { continue };
        let own = volid.split(':').next().unwrap_or_default();
        let storage = clone.storage.as_deref().unwrap_or(own);
        drive.insert("file".into(), format!("{storage}:0"));
        drive.insert("import-from".into(), volid.clone());
        drive.extend(clone.format.clone().map(|format| ("format".to_owned(), format)));
        match shop.drives(&Params::from([(option.clone(), drive::print(schema, &option, &drive))])) {
            Ok(made) => config.extend(made),
            Err(text) => outcome = outcome.and(Err(text)),
        }
    }
    if outcome.is_err() {
        shop.undo();
    }
    let (lines, imprints) = (std::mem::take(&mut shop.log), std::mem::take(&mut shop.imprints));
    for line in lines {
        pve.tasks.log(&worker.order.upid, line);
    }
    outcome?;
    for (volid, head) in imprints {
        fleet.imprint(&volid, &head);
    }
    for option in ["template", "lock", "snaptime", "parent", "onboot"] {
        config.remove(option);
    }
    for (option, text) in config.iter_mut().filter(|(option, _)| drive::indexed(option, "net")) {
        // A card without an address gets a new one.
        if let Some((model, rest)) = text.split_once('=').map(|(model, rest)| (model.to_owned(), rest.to_owned())) {
            let rest = rest.split_once(',').map_or(String::new(), |(_, rest)| format!(",{rest}"));
            *text = disks::canonical(schema, option, &format!("{model}{rest}"));
        }
    }
    let name = config.get("name").cloned().unwrap_or_else(|| vmid.to_string());
    config.insert("name".into(), format!("Copy-of-VM-{name}"));
    config.insert("smbios1".into(), format!("uuid={}", uuid::Uuid::new_v4()));
    config.insert("vmgenid".into(), uuid::Uuid::new_v4().to_string());
    config.insert("meta".into(), format!("creation-qemu={},ctime={}", release.qemu(), worker.now));
    config.extend(clone.given.clone());
    Ok(config)
}

/// `POST .../migrate`
pub(super) fn migrate_call(call: &mut Call) -> Result<Reply, Failure> {
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

pub(super) fn migrate(world: &mut World, worker: &Worker, vmid: u32, target: &str, refuse: bool) -> Result<(), String> {
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

/// `POST .../move_disk`
pub(super) fn move_call(call: &mut Call) -> Result<Reply, Failure> {
    let (disk, storage) = (call.text("disk").to_owned(), call.text("storage").to_owned());
    if storage.is_empty() {
        return Err(Failure::param("storage", "either set storage or target-vmid, but not both"));
    }
    call.require(&format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    let vm = call.vm()?;
    if call.opt("digest").is_some_and(|digest| digest != vm.digest()) {
        return Err(Failure::die("checksum mismatch (file change by other user?)"));
    }
    vm.check_lock().map_err(Failure::die)?;
    let found = vm.config.get(&disk).and_then(|text| drive::parse(call.schema(), &disk, text));
    let found = found.ok_or_else(|| Failure::die(format!("disk '{disk}' does not exist")))?;
    if drive::is_cdrom(&found) {
        return Err(Failure::die("you can't move a cdrom"));
    }
    let own = found.get("file").and_then(|volid| volid.split(':').next()).unwrap_or_default();
    if own == storage && call.opt("format").is_none() {
        return Err(Failure::die("you can't move to the same storage with same format"));
    }
    volume::usable(&call.world.site, call.node(), &storage).map_err(Failure::die)?;
    let format = call.opt("format").map(str::to_owned);
    let work = Work::Move { disk, storage, format, delete: call.flag("delete") };
    Ok(Reply::Task(Job::vm("qmmove", call.node(), call.vmid(), work)))
}

pub(super) fn relocate(
    world: &mut World,
    worker: &Worker,
    vmid: u32,
    (disk, storage, format, delete): (&str, &str, Option<&str>, bool),
) -> Result<(), String> {
    let node = worker.job.node.as_str();
    let World { site, pve, fleet, .. } = &mut *world;
    let schema = pve.release.schema();
    let vm = pve.vms.get_mut(&vmid).ok_or("the VM is gone")?;
    let mut drive = vm.config.get(disk).and_then(|text| drive::parse(schema, disk, text)).unwrap_or_default();
    let old = drive.get("file").cloned().unwrap_or_default();
    drive.insert("file".into(), format!("{storage}:0"));
    drive.insert("import-from".into(), old.clone());
    drive.extend(format.map(|format| ("format".to_owned(), format.to_owned())));
    let mut shop = Workshop {
        site,
        volumes: &mut pve.volumes,
        locked: &pve.locked_storages,
        schema,
        nine: pve.release.nine(),
        node,
        vmid,
        now: worker.now,
        log: Vec::new(),
        made: Vec::new(),
        imprints: Vec::new(),
    };
    let made = shop.drives(&Params::from([(disk.to_owned(), drive::print(schema, disk, &drive))]));
    let (lines, imprints) = (std::mem::take(&mut shop.log), std::mem::take(&mut shop.imprints));
    for line in lines {
        pve.tasks.log(&worker.order.upid, line);
    }
    vm.config.extend(made.map_err(|text| format!("storage migration failed: {text}"))?);
    if !delete {
        super::config::keep_as_unused(vm, vmid, Some(&old));
    }
    for (volid, head) in imprints {
        fleet.imprint(&volid, &head);
    }
    if delete {
        super::free(world, node, &old);
    }
    Ok(())
}
