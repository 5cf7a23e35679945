//! Clones: full ones, which copy every disk, and linked ones, which stand on a template's.
//!
//! A linked disk names its base in front of its own name, and a base that
//! something stands on cannot go (qemu-server 9.2: src/PVE/API2/Qemu.pm,
//! `clone_vm`).

use super::answer::{Failure, Reply};
use super::call::Call;
use super::disks::Workshop;
use super::drive;
use super::options;
use super::property::Properties;
use super::verify::Params;
use super::vm::{Config, Vm};
use super::work::{Job, Work, Worker};
use super::{acl, rights, sdn, size, snapshots, volume};
use crate::lab::world::World;

/// A clone that passed every check. The new id is already taken.
pub(super) struct Clone {
    newid: u32,
    storage: Option<String>,
    format: Option<String>,
    pool: Option<String>,
    /// Every disk is copied.
    full: bool,
    /// The moment that is cloned.
    source: Config,
    /// `name` and `description`, where they were given.
    given: Params,
}

/// Options that belong to a moment and not to the machine.
const OF_THE_MOMENT: &[&str] = &["parent", "snaptime", "vmstate", "snapstate", "runningcpu", "runningmachine", "lock"];

/// `POST .../clone`
pub(super) fn call(call: &mut Call) -> Result<Reply, Failure> {
    let (newid, vmid): (u32, u32) = (call.number("newid").unwrap_or(0), call.vmid());
    let given = |name: &str| call.opt(name).map(str::to_owned);
    let (pool, storage, format) = (given("pool"), given("storage"), given("format"));
    permitted(call, newid, pool.as_deref())?;
    let target = given("target").filter(|target| target != call.node());
    if let Some(target) = &target
        && !call.world.site.nodes.iter().any(|node| node.name == *target)
    {
        return Err(Failure::die(format!("no such cluster node '{target}'")));
    }
    if let Some(storage) = &storage {
        image_storage(call, storage)?;
        let shared = target.as_ref().map(|target| volume::usable(&call.world.site, target, storage));
        if let Some(definition) = shared
            && !definition.map_err(Failure::die)?.shared
        {
            return Err(Failure::die(format!("can't clone to non-shared storage '{storage}'")));
        }
    }
    let vm = call.world.pve.vm_on(call.node(), vmid);
    let vm = vm.ok_or_else(|| Failure::die(super::call::not_found(call.node(), vmid)))?;
    vm.check_lock().map_err(Failure::die)?;
    let snapname = call.opt("snapname");
    let source = match snapname {
        // Its description is the snapshot's own.
        Some(name) => snapshots::described(vm, name).map_err(Failure::die)?,
        None => vm.config.clone(),
    };
    let full = call.opt("full").map_or(!vm.is_template(), |full| full == "1");
    let refused = ["storage", "format"].into_iter().find(|flag| !full && call.opt(flag).is_some());
    if let Some(flag) = refused {
        return Err(Failure::die(format!("parameter '{flag}' not allowed for linked clones")));
    }
    let disks = disks_of(call, &source);
    let mut local = false;
    for (_, drive) in &disks {
        let own = volume::storage_of(drive.get("file").map_or("", String::as_str));
        let storage = storage.as_deref().unwrap_or(own);
        call.require(&format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
        local |= !volume::usable(&call.world.site, call.node(), own).map_err(Failure::die)?.shared;
    }
    rights::bridges(call.world, call.who, &source)?;
    if let Some(target) = target.as_ref().filter(|_| local) {
        return Err(Failure::die(format!("can't clone VM to node '{target}' (VM uses local storage)")));
    }
    if call.world.pve.vms.contains_key(&newid) {
        return Err(Failure::die(format!("unable to create VM {newid}: config file already exists")));
    }
    for (option, drive) in &disks {
        let volid = drive.get("file").map_or("", String::as_str);
        if !full && !drive::is_cloudinit(volid) && option != "tpmstate0" && !volume::is_base(volid) {
            let of = if snapname.is_some() { " a snapshot of" } else { "" };
            return Err(Failure::die(format!("Linked clone feature is not supported for{of} '{volid}' ({option})")));
        }
    }
    let mut reserved = Vm { node: target.unwrap_or_else(|| call.node().to_owned()), ..Vm::default() };
    reserved.config.insert("lock".into(), "clone".into());
    let mut given = call.params.clone();
    given.retain(|name, text| (name == "name" || name == "description") && !text.is_empty());
    let clone = Clone { newid, storage, format, pool, full, source, given };
    let job = Job::vm("qmclone", call.node(), vmid, Work::Clone(clone));
    call.world.pve.vms.insert(newid, reserved);
    Ok(Reply::Task(job))
}

/// The new id needs VM.Allocate, on itself or through the pool.
fn permitted(call: &Call, newid: u32, pool: Option<&str>) -> Result<(), Failure> {
    if let Some(pool) = pool.filter(|pool| !call.world.pve.pools.contains_key(*pool)) {
        return Err(Failure::forbidden(&format!("pool '{pool}' does not exist")));
    }
    let by_pool = pool.is_some_and(|pool| acl::may(call.world, call.who, &format!("/pool/{pool}"), "VM.Allocate"));
    if by_pool || acl::may(call.world, call.who, &format!("/vms/{newid}"), "VM.Allocate") {
        return Ok(());
    }
    Err(Failure::with(403, "Permission check failed"))
}

/// A storage that disks may be put on.
pub(super) fn image_storage(call: &Call, storage: &str) -> Result<(), Failure> {
    let definition = volume::usable(&call.world.site, call.node(), storage).map_err(Failure::die)?;
    if definition.content.iter().any(|content| content == "images") {
        return Ok(());
    }
    Err(Failure::param("storage", format!("storage '{storage}' does not support vm images")))
}

/// The drives that hold a disk of the VM's own.
fn disks_of(call: &Call, config: &Config) -> Vec<(String, Properties)> {
    let vm = Vm { config: config.clone(), ..Vm::default() };
    let volumes = vm.volumes(call.schema()).into_iter().filter(|(option, _)| !drive::is_unused(option));
    volumes
        .filter_map(|(option, _)| Some((option.clone(), drive::parse(call.schema(), &option, &config[&option])?)))
        .collect()
}

pub(super) fn work(world: &mut World, worker: &Worker, vmid: u32, clone: &Clone) -> Result<(), String> {
    if world.pve.release.nine() {
        let line = format!("creating a clone of VM {vmid} with ID {}", clone.newid);
        world.pve.tasks.log(&worker.order.upid, line);
    }
    match copied(world, worker, vmid, clone) {
        Ok(config) => {
            if let Some(vm) = world.pve.vms.get_mut(&clone.newid) {
                vm.config = config;
            }
            sdn::reserve_all(world, &worker.order.upid, clone.newid);
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
fn copied(world: &mut World, worker: &Worker, vmid: u32, clone: &Clone) -> Result<Config, String> {
    let World { site, pve, fleet, .. } = world;
    let (schema, release) = (pve.release.schema(), pve.release);
    let mut shop = Workshop::new(
        site,
        &mut pve.volumes,
        &pve.locked_storages,
        release,
        (&worker.job.node, clone.newid),
        worker.now,
    );
    let mut config = clone.source.clone();
    config.retain(|option, _| !OF_THE_MOMENT.contains(&option.as_str()) && !drive::is_unused(option));
    let mut outcome = Ok(());
    let options: Vec<String> = config.keys().filter(|option| drive::is_name(option)).cloned().collect();
    for option in options {
        let Some(mut drive) = drive::parse(schema, &option, &config[&option]) else { continue };
        let volid = drive.get("file").cloned().unwrap_or_default();
        if !volid.contains(':') || (drive::is_cdrom(&drive) && !drive::is_cloudinit(&volid)) {
            continue;
        }
        let full = clone.full || drive::is_cloudinit(&volid) || option == "tpmstate0";
        let made = if full {
            let storage = clone.storage.as_deref().unwrap_or(volume::storage_of(&volid));
            shop.copy(&format!(" {option}"), &volid, storage, clone.format.as_deref())
        } else {
            shop.link(&option, &volid)
        };
        match made {
            Ok((volid, bytes)) => {
                drive.insert("file".into(), volid);
                drive.insert("size".into(), size::print(bytes));
                config.insert(option.clone(), drive::print(schema, &option, &drive));
            }
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
    renewed(&mut config, schema, vmid);
    config.extend(clone.given.clone());
    Ok(config)
}

/// What no two VMs share: addresses of cards, the id of the machine, the name.
fn renewed(config: &mut Config, schema: &super::schema::Schema, vmid: u32) {
    config.remove("template");
    for (option, text) in config.iter_mut().filter(|(option, _)| drive::indexed(option, "net")) {
        // A card without an address gets a new one.
        if let Some((model, rest)) = text.split_once('=').map(|(model, rest)| (model.to_owned(), rest.to_owned())) {
            let rest = rest.split_once(',').map_or(String::new(), |(_, rest)| format!(",{rest}"));
            *text = options::canonical(schema, option, &format!("{model}{rest}"));
        }
    }
    let name = config.get("name").cloned().unwrap_or_else(|| vmid.to_string());
    config.insert("name".into(), format!("Copy-of-VM-{name}"));
    let smbios = config.get("smbios1").cloned().unwrap_or_default();
    let kept = smbios.split(',').filter(|part| !part.starts_with("uuid=") && !part.is_empty());
    let uuid = format!("uuid={}", uuid::Uuid::new_v4());
    let all: Vec<&str> = kept.chain([uuid.as_str()]).collect();
    config.insert("smbios1".into(), options::canonical(schema, "smbios1", &all.join(",")));
    if config.contains_key("vmgenid") {
        config.insert("vmgenid".into(), uuid::Uuid::new_v4().to_string());
    }
}
