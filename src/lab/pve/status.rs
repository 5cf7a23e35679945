//! What a VM is doing: `status/current`, the list of a node, and the cluster's view of both.

use serde_json::{Map, Value, json};

use super::acl;
use super::answer::{Failure, Reply};
use super::call::Call;
use super::drive;
use super::ha;
use super::hypervisor;
use super::size;
use super::vm::Vm;
use crate::lab::world::World;

/// How much a status says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    List,
    Full,
}

pub(super) fn current(call: &mut Call) -> Result<Reply, Failure> {
    let vmid = call.vmid();
    let vm = call.vm()?;
    let mut status = status(call.world, vmid, vm, Detail::Full);
    status.insert("ha".into(), ha::shown(call.world, vmid));
    if vm.agent() {
        status.insert("agent".into(), 1.into());
    }
    if vm.config.contains_key("vga") {
        status.insert("clipboard".into(), Value::Null);
    }
    Ok(Reply::Data(status.into()))
}

/// `GET /nodes/{node}/qemu`: the VMs that the caller may see.
pub(super) fn list(call: &mut Call) -> Reply {
    let detail = if call.flag("full") { Detail::Full } else { Detail::List };
    let here = call.world.pve.vms.iter().filter(|(_, vm)| vm.node == call.node());
    let seen = here.filter(|(vmid, _)| acl::may(call.world, call.who, &format!("/vms/{vmid}"), "VM.Audit"));
    let rows: Vec<Value> = seen.map(|(vmid, vm)| status(call.world, *vmid, vm, detail).into()).collect();
    Reply::Data(rows.into())
}

fn status(world: &World, vmid: u32, vm: &Vm, detail: Detail) -> Map<String, Value> {
    let running = hypervisor::is_running(world, vmid);
    let nine = world.pve.release.nine();
    let mut map = Map::new();
    let mut put = |name: &str, value: Value| {
        map.insert(name.to_owned(), value);
    };
    put("vmid", vmid.into());
    put("name", vm.name(vmid).into());
    put("status", if running { "running" } else { "stopped" }.into());
    put("cpus", cpus(vm).into());
    put("maxmem", (vm.memory() << 20).into());
    put("maxdisk", boot_disk(world, vm).into());
    let uptime = vm.started.filter(|_| running).map_or(0, |started| started.elapsed().as_secs());
    put("uptime", uptime.into());
    for zero in ["cpu", "mem", "disk", "netin", "netout"] {
        put(zero, 0.into());
    }
    for option in ["tags", "lock"] {
        if let Some(text) = vm.config.get(option) {
            put(option, text.as_str().into());
        }
    }
    if vm.is_template() {
        put("template", 1.into());
    }
    if vm.config.contains_key("serial0") {
        put("serial", 1.into());
    }
    if nine {
        put("memhost", 0.into());
    }
    if running {
        put("pid", vm.pid.into());
        let kinds = ["cpusome", "cpufull", "iosome", "iofull", "memorysome", "memoryfull"];
        for kind in kinds.iter().filter(|_| nine) {
            put(&format!("pressure{kind}"), 0.into());
        }
    }
    if detail == Detail::Full {
        put(
            "qmpstatus",
            if vm.paused {
                "paused"
            } else if running {
                "running"
            } else {
                "stopped"
            }
            .into(),
        );
        if running {
            full(world, vmid, vm, &mut map);
        }
    }
    map
}

/// What only the hypervisor's monitor knows.
fn full(world: &World, vmid: u32, vm: &Vm, map: &mut Map<String, Value>) {
    let release = world.pve.release;
    let memory = vm.memory() << 20;
    let machine = vm.config.get("machine").map_or("pc", String::as_str);
    let cards = (0..32).filter(|index| vm.config.contains_key(&format!("net{index}")));
    let nics: Map<String, Value> =
        cards.map(|index| (format!("tap{vmid}i{index}"), json!({ "netin": 0, "netout": 0 }))).collect();
    let support = [
        "pbs-dirty-bitmap-migration",
        "backup-fleecing",
        "query-bitmap-info",
        "pbs-dirty-bitmap-savevm",
        "backup-max-workers",
        "pbs-dirty-bitmap",
        "pbs-masterkey",
    ];
    let mut support: Map<String, Value> = support.into_iter().map(|name| (name.to_owned(), true.into())).collect();
    support.insert("pbs-library-version".into(), "1.5.2".into());
    let more = json!({
        "running-qemu": release.qemu(),
        "running-machine": format!("{machine}{}", release.machine_suffix()),
        "balloon": memory,
        "ballooninfo": { "actual": memory, "max_mem": memory },
        "nics": nics,
        "diskread": 0,
        "diskwrite": 0,
        "proxmox-support": support,
    });
    if let Value::Object(more) = more {
        map.extend(more);
    }
}

pub(super) fn cpus(vm: &Vm) -> u64 {
    let all = vm.number("sockets", 1) * vm.number("cores", 1);
    vm.number("vcpus", all).min(all)
}

/// The size of the first disk of the boot order.
pub(super) fn boot_disk(world: &World, vm: &Vm) -> u64 {
    let schema = world.pve.release.schema();
    let order = vm.config.get("boot").and_then(|boot| boot.strip_prefix("order=")).unwrap_or_default();
    let disks = order.split(';').filter_map(|device| drive::parse(schema, device, vm.config.get(device)?));
    let size = disks.filter(|drive| !drive::is_cdrom(drive)).find_map(|drive| drive.get("size").cloned());
    size.and_then(|text| size::parse(&text)).unwrap_or(0)
}
