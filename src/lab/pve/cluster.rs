//! The cluster as any of its nodes shows it.
//!
//! Numbers and names in `/cluster/resources` are broadcast by every node's status
//! daemon about every 10 s; tags, locks and pools come live. A VM that was never
//! broadcast is `unknown` and has no name.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::acl;
use super::answer::Reply;
use super::call::Call;
use super::{ha, hypervisor, nodes, status, volume};
use crate::lab::clock::Clock;
use crate::lab::site::{Node, Storage};
use crate::lab::world::World;

/// What a site of several nodes calls itself.
pub(super) const NAME: &str = "lab";

/// What the status daemons said last.
#[derive(Debug, Default)]
pub struct Broadcast {
    /// Broadcasts happen only when [`super::State::broadcast`] is asked for, as in the recordings.
    pub by_hand: bool,
    at: Option<Instant>,
    vms: BTreeMap<u32, Map<String, Value>>,
    /// The daemons have spoken at all: nodes and storages are known.
    spoken: bool,
    /// They say nothing about their nodes, as it was on one host that was recorded.
    pub no_nodes: bool,
}

const EVERY: Duration = Duration::from_secs(10);

/// Lets the daemons speak if it is time.
pub(super) fn settle(world: &mut World) {
    let due = match (world.site.clock, world.pve.broadcast.at) {
        _ if world.pve.broadcast.by_hand => false,
        (Clock::Instant, _) | (_, None) => true,
        (clock, Some(at)) => at.elapsed() >= clock.span(EVERY),
    };
    if due {
        speak(world);
    }
}

/// Every status daemon broadcasts now.
pub(super) fn speak(world: &mut World) {
    let silent = |node: &str| world.site.nodes.iter().any(|known| known.name == node && !known.online);
    let rows = world.pve.vms.iter().filter(|(_, vm)| !silent(&vm.node)).map(|(vmid, vm)| {
        let running = hypervisor::is_running(world, *vmid);
        let uptime = vm.started.filter(|_| running).map_or(0, |started| started.elapsed().as_secs());
        let row = json!({
            "name": vm.name(*vmid), "status": if running { "running" } else { "stopped" }, "uptime": uptime,
            "cpu": 0, "maxcpu": status::cpus(vm), "mem": 0, "maxmem": vm.memory() << 20, "disk": 0,
            "maxdisk": status::boot_disk(world, vm), "diskread": 0, "diskwrite": 0, "netin": 0, "netout": 0,
            "template": i32::from(vm.is_template()),
        });
        let row = row.as_object().cloned().unwrap_or_default();
        (*vmid, row)
    });
    let rows: BTreeMap<_, _> = rows.collect();
    world.pve.broadcast.vms = rows;
    world.pve.broadcast.spoken = true;
    world.pve.broadcast.at = Some(Instant::now());
}

/// Whether nodes and storages have said anything yet.
pub(super) fn spoken(world: &World) -> bool {
    world.pve.broadcast.spoken
}

/// `GET /cluster/resources`
pub(super) fn resources(call: &mut Call) -> Reply {
    settle(call.world);
    let kind = call.opt("type");
    let mut rows = Vec::new();
    if kind.is_none_or(|kind| kind == "vm") {
        rows.extend(vms(call));
    }
    if kind.is_none_or(|kind| kind == "node") {
        rows.extend(nodes::resources(call));
    }
    if kind.is_none_or(|kind| kind == "storage") {
        rows.extend(storages(call));
    }
    let zones = if call.release().nine() { "network" } else { "sdn" };
    if kind.is_none_or(|kind| kind == zones) && acl::may(call.world, call.who, "/sdn/zones/localnetwork", "SDN.Audit") {
        rows.extend(call.world.site.nodes.iter().map(|node| local_zone(&node.name, zones)));
    }
    if kind.is_none() {
        let seen = call.world.pve.pools.keys();
        let seen = seen.filter(|pool| acl::may(call.world, call.who, &format!("/pool/{pool}"), "Pool.Audit"));
        rows.extend(seen.map(|pool| json!({ "type": "pool", "id": format!("/pool/{pool}"), "pool": pool })));
    }
    Reply::Data(rows.into())
}

/// The zone of a node's own bridges, which is always there.
fn local_zone(node: &str, kind: &str) -> Value {
    const ZONE: &str = "localnetwork";
    if kind == "sdn" {
        return json!({ "id": format!("sdn/{node}/{ZONE}"), "sdn": ZONE, "node": node, "type": kind, "status": "ok" });
    }
    json!({
        "id": format!("network/{node}/zone/{ZONE}"), "network": ZONE, "network-type": "zone",
        "node": node, "type": kind, "status": "ok",
    })
}

fn vms(call: &Call) -> Vec<Value> {
    let world = &*call.world;
    let seen = world.pve.vms.keys().filter(|vmid| acl::may(world, call.who, &format!("/vms/{vmid}"), "VM.Audit"));
    let shown = |vmid: &u32| {
        let mut row = vm(world, *vmid);
        let pool = world.pve.pools.iter().find(|(_, pool)| pool.vms.contains(vmid)).map(|(name, _)| name);
        if let Some(pool) = pool.filter(|pool| acl::may(world, call.who, &format!("/pool/{pool}"), "Pool.Audit")) {
            row["pool"] = pool.as_str().into();
        }
        row
    };
    seen.map(shown).collect()
}

fn vm(world: &World, vmid: u32) -> Value {
    let mut row = world.pve.broadcast.vms.get(&vmid).cloned().unwrap_or_default();
    let Some(vm) = world.pve.vms.get(&vmid) else { return row.into() };
    row.insert("id".into(), format!("qemu/{vmid}").into());
    row.insert("vmid".into(), vmid.into());
    row.insert("type".into(), "qemu".into());
    row.insert("node".into(), vm.node.as_str().into());
    row.entry("status").or_insert_with(|| "unknown".into());
    if let Some(state) = ha::state(world, vmid) {
        row.insert("hastate".into(), state.into());
    }
    for option in ["tags", "lock"] {
        if let Some(text) = vm.config.get(option) {
            row.insert(option.into(), text.as_str().into());
        }
    }
    row.into()
}

/// A member of a pool, as `GET /pools` shows it.
pub(super) fn member(world: &World, vmid: u32) -> Value {
    vm(world, vmid)
}

fn storages(call: &Call) -> Vec<Value> {
    let world = &*call.world;
    let audit = |name: &str| {
        acl::may_any(world, call.who, &format!("/storage/{name}"), &["Datastore.Audit", "Datastore.AllocateSpace"])
    };
    let mut rows = Vec::new();
    for (name, storage) in world.site.storages.iter().filter(|(name, storage)| !storage.disabled && audit(name)) {
        for node in world.site.nodes.iter().filter(|node| volume::is_on(storage, &node.name)) {
            rows.push(storage_row(world, name, storage, node));
        }
    }
    rows
}

fn storage_row(world: &World, name: &str, storage: &Storage, node: &Node) -> Value {
    let mut row = json!({
        "id": format!("storage/{}/{name}", node.name), "type": "storage", "storage": name,
        "node": node.name, "plugintype": storage.kind, "content": storage.content.join(","),
        "shared": i32::from(storage.shared), "status": "unknown",
    });
    if spoken(world) && node.online {
        let (total, used, _) = volume::space(&world.site, &world.pve.volumes, &node.name, name);
        row["status"] = "available".into();
        row["maxdisk"] = total.into();
        row["disk"] = used.into();
    }
    row
}

/// A storage as a pool lists it: as the first node that has it sees it.
pub(super) fn storage_member(world: &World, name: &str) -> Option<Value> {
    let storage = world.site.storages.get(name)?;
    let node = world.site.nodes.iter().find(|node| volume::is_on(storage, &node.name))?;
    Some(storage_row(world, name, storage, node))
}

/// `GET /cluster/status`
pub(super) fn cluster_status(call: &mut Call) -> Reply {
    let nodes = &call.world.site.nodes;
    let clustered = nodes.len() > 1;
    let mut rows = Vec::new();
    if clustered {
        rows.push(json!({
            "type": "cluster", "id": "cluster", "name": NAME, "nodes": nodes.len(), "version": nodes.len(),
            "quorate": i32::from(call.world.pve.quorate),
        }));
    }
    for (index, node) in nodes.iter().enumerate() {
        let address = call.world.pve.address_of(&node.name).0;
        rows.push(json!({
            "type": "node", "id": format!("node/{}", node.name), "name": node.name, "online": i32::from(node.online),
            "level": "",
            "local": i32::from(index == 0), "nodeid": if clustered { index + 1 } else { 0 },
            "ip": address.split('/').next(),
        }));
    }
    Reply::Data(rows.into())
}

/// `GET /cluster/options`: all of it with Sys.Audit on `/`, else little more than the tags in use.
pub(super) fn options(call: &mut Call) -> Reply {
    let world = &*call.world;
    let tags = world.pve.vms.iter().filter(|(vmid, _)| acl::may(world, call.who, &format!("/vms/{vmid}"), "VM.Audit"));
    let tags = tags.filter_map(|(_, vm)| vm.config.get("tags")).flat_map(|tags| tags.split(';'));
    let mut tags: Vec<&str> = tags.filter(|tag| !tag.trim().is_empty()).collect();
    tags.sort_unstable();
    tags.dedup();
    let mut options = json!({ "allowed-tags": tags });
    if acl::may(world, call.who, "/", "Sys.Audit") {
        options["keyboard"] = "en-us".into();
        options["mac_prefix"] = "BC:24:11".into();
        options["description"] = "".into();
    }
    Reply::Data(options)
}
