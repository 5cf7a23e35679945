//! Facts about nodes.

use serde_json::{Value, json};

use super::acl;
use super::answer::Reply;
use super::call::Call;
use super::cluster;
use super::hypervisor;
use crate::lab::site::Node;
use crate::lab::world::World;

const GIB: u64 = 1 << 30;
const ROOT: u64 = 100 * GIB;

/// CPU, memory, disk and uptime of a node that has spoken.
fn numbers(world: &World, node: &Node) -> Value {
    let guests =
        world.pve.vms.iter().filter(|(vmid, vm)| vm.node == node.name && hypervisor::is_running(world, **vmid));
    let used: u64 = guests.map(|(_, vm)| vm.memory() << 20).sum();
    json!({
        "cpu": 0.02, "maxcpu": node.cpus, "mem": 2 * GIB + used, "maxmem": node.memory * GIB, "disk": 4 * GIB,
        "maxdisk": ROOT, "uptime": world.pve.began.elapsed().as_secs() + 100_000,
    })
}

fn row(call: &Call, node: &Node) -> Value {
    let mut row =
        json!({ "id": format!("node/{}", node.name), "type": "node", "node": node.name, "status": "unknown" });
    if !node.online {
        row["status"] = "offline".into();
        return row;
    }
    if !cluster::spoken(call.world) || call.world.pve.broadcast.no_nodes {
        return row;
    }
    row["status"] = "online".into();
    row["level"] = "".into();
    if acl::may(call.world, call.who, &format!("/nodes/{}", node.name), "Sys.Audit")
        && let (Some(row), Value::Object(numbers)) = (row.as_object_mut(), numbers(call.world, node))
    {
        row.extend(numbers);
    }
    row
}

pub(super) fn resources(call: &Call) -> Vec<Value> {
    let mut rows: Vec<Value> = call.world.site.nodes.iter().map(|node| row(call, node)).collect();
    if cluster::spoken(call.world) {
        for row in rows.iter_mut().filter(|row| row["status"] == "online") {
            row["cgroup-mode"] = 2.into();
        }
    }
    rows
}

/// `GET /nodes`
pub(super) fn list(call: &mut Call) -> Reply {
    cluster::settle(call.world);
    let mut rows: Vec<Value> = call.world.site.nodes.iter().map(|node| row(call, node)).collect();
    for row in &mut rows {
        let shown = row["node"].as_str().and_then(|node| call.world.pve.certificates.get(node)?.first());
        row["ssl_fingerprint"] = shown.map(|shown| shown.fingerprint.clone()).into();
    }
    Reply::Data(rows.into())
}

/// `GET /nodes/{node}/status`
pub(super) fn status(call: &mut Call) -> Reply {
    let release = call.release();
    let Some(node) = call.world.site.nodes.iter().find(|node| node.name == call.node()) else {
        return Reply::Data(Value::Null);
    };
    let facts = numbers(call.world, node);
    let (total, used) = (node.memory * GIB, facts["mem"].as_u64().unwrap_or(0));
    let mut memory = json!({ "total": total, "used": used, "free": total.saturating_sub(used) });
    if release.nine() {
        memory["available"] = total.saturating_sub(used).into();
    }
    let kernel = if release.nine() { "6.14.11-3-pve" } else { "6.8.12-15-pve" };
    Reply::Data(json!({
        "cpu": 0.02, "wait": 0, "idle": 0, "uptime": facts["uptime"], "loadavg": ["0.10", "0.12", "0.09"],
        "memory": memory,
        "swap": { "total": 0, "used": 0, "free": 0 },
        "rootfs": { "total": ROOT, "used": 4 * GIB, "avail": ROOT - 4 * GIB, "free": ROOT - 4 * GIB },
        "ksm": { "shared": 0 },
        "boot-info": { "mode": "efi", "secureboot": 0 },
        "current-kernel": { "sysname": "Linux", "release": kernel, "version": "#1 SMP PREEMPT_DYNAMIC", "machine": "x86_64" },
        "kversion": format!("Linux {kernel} #1 SMP PREEMPT_DYNAMIC"),
        "pveversion": format!("pve-manager/{}/0000000000000000", release.manager()),
        "cpuinfo": {
            "cpus": node.cpus, "cores": node.cpus, "sockets": 1, "user_hz": 100, "mhz": "3600.000", "hvm": "1",
            "family": "25", "vendor": "AuthenticAMD", "model": "AMD EPYC 4564P 16-Core Processor",
            "flags": "fpu cx16 lahf_lm popcnt sse3 ssse3 sse4_1 sse4_2 aes avx avx2 bmi1 bmi2 fma svm",
        },
    }))
}

/// `GET /version` and `GET /nodes/{node}/version`
pub(super) fn version(call: &mut Call) -> Reply {
    let release = call.release();
    Reply::Data(json!({
        "version": release.manager(), "release": release.short(), "repoid": "0000000000000000",
    }))
}

/// `GET /nodes/{node}/certificates/info`
pub(super) fn certificates(call: &mut Call) -> Reply {
    let shown = call.world.pve.certificates.get(call.node());
    let rows: Vec<Value> = shown
        .into_iter()
        .flatten()
        .map(|certificate| {
            json!({
                "filename": certificate.file, "pem": certificate.pem, "fingerprint": certificate.fingerprint,
                "subject": certificate.subject, "issuer": certificate.issuer, "notbefore": certificate.not_before,
                "notafter": certificate.not_after, "san": certificate.names,
                "public-key-type": "id-ecPublicKey", "public-key-bits": 256,
            })
        })
        .collect();
    Reply::Data(rows.into())
}

/// `GET /nodes/{node}/capabilities/qemu/cpu`
pub(super) fn cpu_models(call: &mut Call) -> Reply {
    Reply::Data(call.schema().cpu_list.clone().into())
}

/// `GET /nodes/{node}/capabilities/qemu/machines`
pub(super) fn machines(call: &mut Call) -> Reply {
    let version = call.release().qemu().rsplit_once('.').map_or("10.1", |(version, _)| version);
    let rows = json!([
        { "id": format!("pc-i440fx-{version}"), "type": "i440fx", "version": version },
        { "id": format!("pc-q35-{version}"), "type": "q35", "version": version },
    ]);
    Reply::Data(rows)
}

/// `GET /nodes/{node}/dns`
pub(super) fn dns() -> Reply {
    Reply::Data(json!({ "search": "example.net", "dns1": "192.0.2.53" }))
}

/// `GET /nodes/{node}/time`
pub(super) fn time(call: &mut Call) -> Reply {
    Reply::Data(json!({ "timezone": "Etc/UTC", "time": call.now, "localtime": call.now }))
}

/// `GET /nodes/{node}/syslog`: nobody writes one in the lab.
pub(super) fn syslog() -> Reply {
    Reply::Data(json!([]))
}
