//! Bridges and cards of a node. Bridges that the caller has nothing on are left out without an error.

use serde_json::{Value, json};

use super::acl;
use super::answer::{Failure, Reply};
use super::call::Call;
use crate::lab::world::World;

/// Every interface, in the order of the node's file.
fn interfaces(world: &World, node: &str) -> Vec<Value> {
    let mut ports: Vec<&str> = world.site.bridges.iter().flat_map(|bridge| bridge.ports.split_whitespace()).collect();
    ports.dedup();
    let mut rows: Vec<Value> = ports
        .iter()
        .map(|port| {
            json!({
                "iface": port, "type": "eth", "active": 1, "method": "manual", "method6": "manual",
                "families": ["inet"],
            })
        })
        .collect();
    for (index, bridge) in world.site.bridges.iter().enumerate() {
        let mut row = json!({
            "iface": bridge.name, "type": "bridge", "autostart": 1, "method": "manual", "method6": "manual",
            "families": ["inet"], "bridge_ports": bridge.ports, "bridge_stp": "off", "bridge_fd": "0",
        });
        if bridge.active {
            row["active"] = 1.into();
        }
        if bridge.vlan_aware {
            row["bridge_vlan_aware"] = 1.into();
            row["bridge_vids"] = "2-4094".into();
        }
        if index == 0 {
            let (cidr, gateway) = world.pve.address_of(node);
            let (address, bits) = cidr.split_once('/').unwrap_or((cidr, "24"));
            row["method"] = "static".into();
            row["address"] = address.into();
            row["netmask"] = bits.into();
            row["cidr"] = cidr.into();
            row["gateway"] = gateway.into();
        }
        rows.push(row);
    }
    for (index, row) in rows.iter_mut().enumerate() {
        row["priority"] = (index + 3).into();
    }
    rows
}

/// `GET /nodes/{node}/network`
pub(super) fn list(call: &mut Call) -> Reply {
    let kind = call.opt("type");
    let wanted = |row: &Value| match kind {
        None | Some("include_sdn") => true,
        Some("any_bridge" | "any_local_bridge") => row["type"] == "bridge",
        Some(kind) => row["type"] == kind,
    };
    let seen = |row: &Value| {
        let path = format!("/sdn/zones/localnetwork/{}", row["iface"].as_str().unwrap_or_default());
        row["type"] != "bridge" || acl::may_any(call.world, call.who, &path, &["SDN.Audit", "SDN.Use"])
    };
    let rows = interfaces(call.world, call.node()).into_iter().filter(|row| wanted(row) && seen(row));
    Reply::Data(rows.collect::<Vec<_>>().into())
}

/// `GET /nodes/{node}/network/{iface}`
pub(super) fn one(call: &mut Call) -> Result<Reply, Failure> {
    let name = call.text("iface");
    let row = interfaces(call.world, call.node()).into_iter().find(|row| row["iface"] == name);
    let mut row = row.ok_or_else(|| Failure::param("iface", "interface does not exist"))?;
    if let Some(row) = row.as_object_mut() {
        row.remove("iface");
    }
    Ok(Reply::Data(row))
}

/// `GET /nodes/{node}/sdn/zones/{zone}/bridges`, 9 only.
pub(super) fn zone_bridges(call: &mut Call) -> Reply {
    let bridges = call.world.site.bridges.iter();
    let rows: Vec<Value> = bridges
        .map(|bridge| {
            let ports: Vec<Value> = bridge.ports.split_whitespace().map(|port| json!({ "name": port })).collect();
            // The flag is read from the kernel, which knows no bridge that is down.
            let filtering = bridge.active.then_some(0);
            json!({ "name": bridge.name, "ports": ports, "vlan_filtering": filtering })
        })
        .collect();
    Reply::Data(rows.into())
}
