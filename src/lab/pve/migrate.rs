//! VMs that move to another node: what the request refuses, and what stands in the way
//! (qemu-server 9.2: src/PVE/API2/Qemu.pm, `migrate_vm`). The worker is [`super::migration`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::answer::{Failure, Reply};
use super::call::Call;
use super::drive;
use super::hypervisor;
use super::property;
use super::schema::Schema;
use super::size;
use super::snapshots;
use super::vm::{Config, Vm};
use super::volume;
use super::work::{Job, Work};
use crate::lab::world::World;

/// A move to another node.
pub(super) struct Move {
    pub target: String,
    pub online: bool,
    pub with_local_disks: bool,
    /// Root does not mind devices of the node.
    pub force: bool,
    pub conntrack: bool,
    /// Storages that become others.
    pub storages: BTreeMap<String, String>,
    /// The storage for all the rest.
    pub storage: Option<String>,
}

impl Move {
    /// Where a volume of `storage` goes.
    pub(super) fn storage_for<'s>(&'s self, storage: &'s str) -> &'s str {
        self.storages.get(storage).or(self.storage.as_ref()).map_or(storage, String::as_str)
    }
}

/// What a VM holds, of which kind and where it is named.
#[derive(Default)]
pub(super) struct Held {
    pub drive: Option<String>,
    pub disk: bool,
    pub cloudinit: bool,
    pub tpm: bool,
    pub unused: bool,
    pub attached: bool,
    pub pending: bool,
    pub shared: bool,
    pub replicate: bool,
    pub snapshots: BTreeSet<String>,
    pub size: Option<u64>,
}

/// Every volume that the VM names, now, later or in a snapshot (qemu-server 9.2: src/PVE/QemuServer.pm, `foreach_volid`).
pub(super) fn held(schema: &Schema, vm: &Vm) -> BTreeMap<String, Held> {
    let mut all: BTreeMap<String, Held> = BTreeMap::new();
    let mut note = |config: &Config, pending: bool, snapshot: Option<&String>| {
        let named = |option: &&String| drive::is_name(option) || drive::is_unused(option);
        for option in config.keys().filter(named) {
            let Some(drive) = drive::parse(schema, option, &config[option]) else { continue };
            let Some(volid) = drive.get("file") else { continue };
            let held = all.entry(volid.clone()).or_default();
            held.disk |= !drive::is_cdrom(&drive);
            held.cloudinit |= drive::holds_cloudinit(&drive);
            held.replicate |= drive.get("replicate").is_none_or(|text| text != "0");
            held.shared |= drive.get("shared").is_some_and(|text| text == "1");
            held.unused |= drive::is_unused(option);
            held.attached |= !held.unused && snapshot.is_none() && !pending;
            held.pending |= pending;
            held.tpm |= option == "tpmstate0";
            held.snapshots.extend(snapshot.cloned());
            held.size = held.size.or_else(|| drive.get("size").and_then(|text| size::parse(text)));
            if drive::is_name(option) {
                held.drive = Some(option.clone());
            }
        }
    };
    note(&vm.config, false, None);
    let waiting = vm.pending.iter().filter_map(|(option, text)| Some((option.clone(), text.clone()?)));
    note(&waiting.collect(), true, None);
    for name in vm.snapshots.keys() {
        if let Ok(config) = snapshots::config_of(vm, name) {
            note(config, false, Some(name));
        }
    }
    all
}

/// Devices of the node itself.
pub(super) fn local_resources(schema: &Schema, vm: &Vm) -> Vec<String> {
    let is_local = |(option, text): (&String, &String)| {
        let host = || {
            let members = drive::members(schema, option)?;
            property::split(members, text).ok()?.remove("host")
        };
        let of = |stem: &str| drive::indexed(option, stem);
        match () {
            () if option == "ivshmem" => true,
            () if of("usb") => host().is_none_or(|host| !host.eq_ignore_ascii_case("spice")),
            () if of("serial") => text != "socket",
            () => of("hostpci") || of("parallel") || of("virtiofs"),
        }
    };
    vm.config.iter().filter(|entry| is_local(*entry)).map(|(option, _)| option.clone()).collect()
}

/// `GET .../migrate`: what stands in the way, and where the VM could go.
pub(super) fn preconditions(call: &mut Call) -> Result<Reply, Failure> {
    if !call.world.pve.quorate {
        return Err(Failure::die("cluster not ready - no quorum?"));
    }
    let (node, vm) = (call.node(), call.vm()?);
    vm.check_lock().map_err(Failure::die)?;
    let (site, schema) = (&call.world.site, call.schema());
    let nine = call.release().nine();
    let mut disks = Vec::new();
    for (volid, held) in held(schema, vm) {
        let shared =
            volid.contains(':') && site.storages.get(volume::storage_of(&volid)).is_some_and(|found| found.shared);
        if shared || held.shared || volid == "none" {
            continue;
        }
        let mut row = json!({
            "volid": volid, "cdrom": i32::from(!held.disk), "is_attached": i32::from(held.attached),
            "is_unused": i32::from(held.unused), "is_tpmstate": i32::from(held.tpm), "is_vmstate": 0,
            "replicate": i32::from(held.replicate), "shared": 0,
        });
        if nine {
            row["is_cloudinit"] = i32::from(held.cloudinit).into();
        }
        let optional = [
            ("drivename", held.drive.map(Value::from)),
            ("size", held.size.map(Value::from)),
            ("referenced_in_pending", held.pending.then(|| 1.into())),
        ];
        for (name, value) in optional {
            row.as_object_mut().zip(value).map(|(row, value)| row.insert(name.into(), value));
        }
        if !held.snapshots.is_empty() {
            let named: Map<String, Value> = held.snapshots.into_iter().map(|name| (name, 1.into())).collect();
            row["referenced_in_snapshot"] = named.into();
        }
        disks.push(row);
    }
    let (mut allowed, mut refused) = (Vec::new(), Map::new());
    let named: BTreeSet<String> = vm
        .config
        .keys()
        .filter(|option| drive::is_name(option))
        .filter_map(|option| {
            let file = drive::parse(schema, option, &vm.config[option])?.remove("file")?;
            file.contains(':').then(|| volume::storage_of(&file).to_owned())
        })
        .collect();
    for other in site.nodes.iter().filter(|other| other.name != node) {
        let bars = |storage: &&String| {
            site.storages.get(*storage).is_some_and(|found| found.disabled || !volume::is_on(found, &other.name))
        };
        let missing: Vec<&String> = named.iter().filter(bars).collect();
        if missing.is_empty() {
            allowed.push(other.name.as_str());
            refused.insert(other.name.clone(), json!({}));
        } else {
            refused.insert(other.name.clone(), json!({ "unavailable_storages": missing }));
        }
    }
    let mut answer = json!({
        "running": i32::from(hypervisor::is_running(call.world, call.vmid())),
        "local_disks": disks, "local_resources": local_resources(schema, vm),
        "mapped-resources": [], "mapped-resource-info": {},
        "allowed_nodes": allowed, "not_allowed_nodes": refused,
    });
    if nine {
        answer["has-dbus-vmstate"] = 1.into();
    }
    Ok(Reply::Data(answer))
}

/// `POST .../migrate`
pub(super) fn call(call: &mut Call) -> Result<Reply, Failure> {
    let target = call.text("target").to_owned();
    if target == call.node() {
        return Err(Failure::param("target", "target is local node."));
    }
    if !call.world.pve.quorate {
        return Err(Failure::die("cluster not ready - no quorum?"));
    }
    if !call.world.site.nodes.iter().any(|node| node.name == target) {
        return Err(Failure::die(format!("no such cluster node '{target}'")));
    }
    let given = |flag: &&str| call.opt(flag).is_some_and(|text| !text.is_empty() && text != "0");
    let for_root = ["force", "migration_type", "migration_network"].into_iter().find(given);
    if let Some(flag) = for_root.filter(|_| !call.who.is_root()) {
        return Err(Failure::param(flag, "Only root may use this option."));
    }
    let vm = call.vm()?;
    vm.check_lock().map_err(Failure::die)?;
    let running = hypervisor::is_running(call.world, call.vmid());
    if running && !call.flag("online") {
        return Err(Failure::die("can't migrate running VM without --online"));
    }
    let mut order = Move {
        target,
        online: call.flag("online") && running,
        with_local_disks: call.flag("with-local-disks"),
        force: call.flag("force"),
        conntrack: call.flag("with-conntrack-state") && running,
        storages: BTreeMap::new(),
        storage: None,
    };
    let map = call.text("targetstorage");
    if map.is_empty() || map == "1" {
        available(call.world, vm, call.node(), &order.target)?;
    }
    if !map.is_empty() && map != "1" {
        call.require(&format!("/vms/{}", call.vmid()), &["VM.Config.Disk"])?;
    }
    for entry in super::formats::split_list(map).into_iter().filter(|entry| *entry != "1") {
        let storage = entry.split_once(':').map_or(entry, |(_, to)| to);
        let found = volume::usable(&call.world.site, &order.target, storage).map_err(Failure::die)?;
        call.require(&format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
        if !found.content.iter().any(|content| content == "images") {
            return Err(Failure::die(format!("storage '{storage}' does not support vm images")));
        }
        match entry.split_once(':') {
            Some((from, to)) => drop(order.storages.insert(from.to_owned(), to.to_owned())),
            None => order.storage = Some(entry.to_owned()),
        }
    }
    Ok(Reply::Task(Job::vm("qmigrate", call.node(), call.vmid(), Work::Migrate(order))))
}

/// Whether every drive's storage is there on both nodes, and is for what it holds.
fn available(world: &World, vm: &Vm, node: &str, target: &str) -> Result<(), Failure> {
    let schema = world.pve.release.schema();
    for option in vm.config.keys().filter(|option| drive::is_name(option)) {
        let file = drive::parse(schema, option, &vm.config[option]).and_then(|mut drive| drive.remove("file"));
        let Some(volid) = file.filter(|file| file.contains(':')) else { continue };
        let storage = volume::storage_of(&volid);
        let found = volume::usable(&world.site, node, storage).map_err(Failure::die)?;
        volume::usable(&world.site, target, storage).map_err(Failure::die)?;
        let name = volid.split_once(':').map_or("", |(_, name)| name);
        let (content, _) = volume::parse_name(found, name).map_err(Failure::die)?;
        if !found.content.iter().any(|known| known == content) {
            let text = format!("{volid}: content type '{content}' is not available on storage '{storage}'");
            return Err(Failure::die(text));
        }
    }
    Ok(())
}
