//! Software-defined networks: simple zones whose DHCP server leases what the cluster's IPAM reserved.
//!
//! The address of a card is known before its machine first boots: whoever makes
//! the card reserves the next free one for its MAC. When none is free, a creation
//! only says so; it is the start that fails, which tries once more (qemu-server
//! 9.2: src/PVE/QemuServer/Network.pm, `create_ifaces_ipams_ips`, and
//! src/usr/pve-bridge; pve-network 1.2: src/PVE/Network/SDN/Vnets.pm).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::answer::{Failure, Reply};
use super::call::Call;
use super::drive;
use super::property::{self, Properties};
use super::release::Release;
use super::schema::Schema;
use super::{acl, start};
use crate::lab::site::{Site, Vnet, Zone};
use crate::lab::world::World;

/// Reservations of the IPAM `pve`, by zone and address. Gateways are not among them: the site's description has them.
#[derive(Debug, Default)]
pub struct Ipam(BTreeMap<(String, Ipv4Addr), Lease>);

#[derive(Debug)]
struct Lease {
    mac: String,
    vmid: u32,
    /// The VM's name when the address was reserved.
    hostname: Option<String>,
}

/// A vnet and its zone.
pub(super) fn vnet<'s>(site: &'s Site, name: &str) -> Option<(&'s Zone, &'s Vnet)> {
    vnets(site).find(|(_, vnet)| vnet.name == name)
}

fn vnets(site: &Site) -> impl Iterator<Item = (&Zone, &Vnet)> {
    site.zones.iter().flat_map(|zone| zone.vnets.iter().map(move |vnet| (zone, vnet)))
}

/// The path on which rights to a bridge or vnet are given.
pub(super) fn path(site: &Site, bridge: &str) -> String {
    let zone = vnet(site, bridge).map_or("localnetwork", |(zone, _)| &zone.name);
    format!("/sdn/zones/{zone}/{bridge}")
}

impl Ipam {
    /// What is reserved for a card.
    pub(super) fn address(&self, site: &Site, card: &Properties) -> Option<Ipv4Addr> {
        let ((zone, _), mac) = (vnet(site, card.get("bridge")?)?, card.get("macaddr")?);
        let mut own = self.0.iter().filter(|((of, _), lease)| *of == zone.name && lease.mac == *mac);
        own.next().map(|((_, ip), _)| *ip)
    }

    /// Reserves the next free address of the vnet's range; a card that is on no vnet needs none. The error is
    /// upstream's, with the place in its source, for it has no newline of its own.
    pub(super) fn reserve(
        &mut self,
        (site, release): (&Site, Release),
        card: &Properties,
        (vmid, hostname): (u32, Option<&String>),
    ) -> Result<(), String> {
        let bridge = card.get("bridge").and_then(|bridge| vnet(site, bridge));
        let (Some((zone, vnet)), Some(mac)) = (bridge, card.get("macaddr")) else { return Ok(()) };
        let range = (u32::from(vnet.dhcp_range.0)..=u32::from(vnet.dhcp_range.1)).map(Ipv4Addr::from);
        let mut keys = range.filter(|ip| vnet.gateway != Some(*ip)).map(|ip| (zone.name.clone(), ip));
        let Some(free) = keys.find(|key| !self.0.contains_key(key)) else {
            let line = if release.nine() { 154 } else { 142 };
            let place = format!("at /usr/share/perl5/PVE/Network/SDN/Vnets.pm line {line}.");
            return Err(format!("can't find any free ip in zone {} for IPv4 {place}", zone.name));
        };
        self.0.insert(free, Lease { mac: mac.clone(), vmid, hostname: hostname.cloned() });
        Ok(())
    }

    /// Frees what is reserved for a card.
    pub(super) fn free(&mut self, site: &Site, card: &Properties) {
        if let Some(ip) = self.address(site, card)
            && let Some((zone, _)) = card.get("bridge").and_then(|bridge| vnet(site, bridge))
        {
            self.0.remove(&(zone.name.clone(), ip));
        }
    }

    /// A card takes the place of another, in the configuration of a VM that runs or does not.
    pub(super) fn replace(
        &mut self,
        at: (&Site, Release),
        (old, new): (Option<&Properties>, &Properties),
        owner: (u32, Option<&String>),
        running: bool,
    ) -> Result<(), String> {
        if let Some(old) = old {
            let differs = |members: &[&str]| members.iter().any(|member| old.get(*member) != new.get(*member));
            let complete = old.contains_key("bridge") && old.contains_key("macaddr");
            // A card that is plugged again while the VM runs may come to another address.
            let plugged = running && (!complete || differs(&["model", "queues", "mtu"]));
            let moved = complete && differs(&["bridge", "macaddr"]);
            if !plugged && !moved {
                return Ok(());
            }
            self.free(at.0, old);
        }
        self.reserve(at, new, owner)
    }
}

/// An option's card, if it is one.
pub(super) fn card(schema: &Schema, option: &str, text: Option<&String>) -> Option<Properties> {
    let members = drive::indexed(option, "net").then(|| drive::members(schema, option))??;
    property::split(members, text?).ok()
}

/// For every card of a VM that was just made.
pub(super) fn reserve_all(world: &mut World, upid: &str, vmid: u32) {
    let World { site, pve, .. } = world;
    let Some(vm) = pve.vms.get(&vmid) else { return };
    for (_, card) in start::nets(pve.release.schema(), &vm.config) {
        if let Err(why) = pve.ipam.reserve((site, pve.release), &card, (vmid, vm.config.get("name"))) {
            pve.tasks.log(upid, why);
        }
    }
}

/// For every card of a VM that goes.
pub(super) fn free_all(world: &mut World, vmid: u32) {
    let World { site, pve, .. } = world;
    let Some(vm) = pve.vms.get(&vmid) else { return };
    for (_, card) in start::nets(pve.release.schema(), &vm.config) {
        pve.ipam.free(site, &card);
    }
}

fn shown(call: &Call, path: &str) -> bool {
    acl::may_any(call.world, call.who, path, &["SDN.Audit", "SDN.Allocate"])
}

/// The file's checksum, which only the plain reading of a configuration shows.
fn digest(call: &Call) -> Option<String> {
    let text = serde_json::to_vec(&call.world.site.zones).ok()?;
    let sha1 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &text);
    (!call.flag("pending") && !call.flag("running")).then(|| hex::encode(sha1))
}

/// `GET /cluster/sdn/zones`
pub(super) fn zones(call: &mut Call) -> Reply {
    let wanted = call.opt("type").is_none_or(|kind| kind == "simple");
    let zones = call.world.site.zones.iter().filter(|zone| wanted && shown(call, &format!("/sdn/zones/{}", zone.name)));
    let rows = zones.map(
        |zone| json!({ "zone": zone.name, "type": "simple", "dhcp": "dnsmasq", "ipam": "pve", "digest": digest(call) }),
    );
    Reply::Data(rows.collect::<Vec<_>>().into())
}

/// `GET /cluster/sdn/vnets`
pub(super) fn all_vnets(call: &mut Call) -> Reply {
    let site = &call.world.site;
    let rows = vnets(site).filter(|(_, vnet)| shown(call, &path(site, &vnet.name))).map(|(zone, vnet)| {
        let mut row = json!({ "vnet": vnet.name, "type": "vnet", "zone": zone.name, "digest": digest(call) });
        if let Some(alias) = &vnet.alias {
            row["alias"] = alias.as_str().into();
        }
        row
    });
    Reply::Data(rows.collect::<Vec<_>>().into())
}

/// `GET /nodes/{node}/sdn/zones`. Upstream's description speaks of a filter that its code does not have.
pub(super) fn zones_of_node(call: &mut Call) -> Reply {
    let zones = call.world.site.zones.iter();
    Reply::Data(zones.map(|zone| json!({ "zone": zone.name, "status": "available" })).collect::<Vec<_>>().into())
}

/// `GET /nodes/{node}/sdn/zones/{zone}/content`
pub(super) fn content(call: &mut Call) -> Reply {
    let here = vnets(&call.world.site).filter(|(zone, _)| zone.name == call.text("zone"));
    let rows = here.map(|(_, vnet)| json!({ "vnet": vnet.name, "status": "available", "statusmsg": null }));
    Reply::Data(rows.collect::<Vec<_>>().into())
}

/// The vnets among a node's bridges, for those who may use them.
pub(super) fn interfaces(call: &Call) -> Vec<Value> {
    let site = &call.world.site;
    let seen = vnets(site).filter(|(_, vnet)| acl::sees_bridge(call.world, call.who, &path(site, &vnet.name)));
    let row = |vnet: &Vnet| {
        let about = vnet.alias.as_deref();
        json!({ "iface": vnet.name, "type": "vnet", "active": "1", "ipam": 1, "vlanaware": 0, "comments": about })
    };
    seen.map(|(_, vnet)| row(vnet)).collect()
}

/// `GET /cluster/sdn/ipams/{ipam}/status`: gateways and reservations of the vnets that the caller may see.
pub(super) fn status(call: &mut Call) -> Result<Reply, Failure> {
    if call.text("ipam") != "pve" {
        return Err(Failure::die("Currently only PVE IPAM is supported!"));
    }
    let (site, ipam) = (&call.world.site, &call.world.pve.ipam);
    let mut rows = Vec::new();
    for (zone, vnet) in vnets(site).filter(|(_, vnet)| shown(call, &path(site, &vnet.name))) {
        let row = |ip: &Ipv4Addr| json!({ "zone": zone.name, "subnet": vnet.cidr, "vnet": vnet.name, "ip": ip });
        rows.extend(vnet.gateway.iter().map(|ip| {
            let mut row = row(ip);
            row["gateway"] = 1.into();
            row
        }));
        let leases = ipam.0.iter().filter(|((of, ip), _)| *of == zone.name && vnet.cidr.contains(ip));
        rows.extend(leases.map(|((_, ip), lease)| {
            let mut row = row(ip);
            row["mac"] = lease.mac.as_str().into();
            row["vmid"] = lease.vmid.into();
            row["hostname"] = lease.hostname.clone().into();
            row
        }));
    }
    Ok(Reply::Data(rows.into()))
}
