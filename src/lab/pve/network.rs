//! Bridges and cards of a node. Bridges that the caller has nothing on are left out without an error.

use serde_json::{Value, json};

use super::answer::{Failure, Reply};
use super::call::Call;
use super::{acl, sdn};
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
        row["type"] != "bridge" || acl::sees_bridge(call.world, call.who, &path)
    };
    let rows = interfaces(call.world, call.node()).into_iter().filter(|row| wanted(row) && seen(row));
    let vnets = matches!(kind, Some("any_bridge" | "include_sdn" | "vnet")).then(|| sdn::interfaces(call));
    let rows = rows.chain(vnets.into_iter().flatten());
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
pub(super) fn zone_bridges(call: &mut Call) -> Result<Reply, Failure> {
    let (site, name) = (&call.world.site, call.text("zone"));
    let shown = |bridge: &str| {
        acl::may_any(call.world, call.who, &format!("/sdn/zones/{name}/{bridge}"), &["SDN.Audit", "SDN.Allocate"])
    };
    if name != "localnetwork" {
        let zone = site.zones.iter().find(|zone| zone.name == name);
        let zone = zone.ok_or_else(|| Failure::param("zone", "zone does not exist"))?;
        let vnets = zone.vnets.iter().filter(|vnet| shown(&vnet.name));
        let rows = vnets.map(|vnet| json!({ "name": vnet.name, "ports": [], "vlan_filtering": 0 }));
        return Ok(Reply::Data(rows.collect::<Vec<_>>().into()));
    }
    let rows: Vec<Value> = site
        .bridges
        .iter()
        .filter(|bridge| shown(&bridge.name))
        .map(|bridge| {
            let ports: Vec<Value> = bridge.ports.split_whitespace().map(|port| json!({ "name": port })).collect();
            // The flag is read from the kernel, which knows no bridge that is down.
            let filtering = bridge.active.then_some(0);
            json!({ "name": bridge.name, "ports": ports, "vlan_filtering": filtering })
        })
        .collect();
    Ok(Reply::Data(rows.into()))
}
