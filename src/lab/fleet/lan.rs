//! Addresses: from DHCP, from the seed drive, from the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use aws_lc_rs::digest;

use super::Fleet;
use super::machine::System;
use crate::lab::hardware::{Hardware, Nic};
use crate::lab::site::{Bridge, Network, Site};

/// An address on a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Position of the card: 0 is `net0`.
    pub nic: usize,
    pub ip: Ipv4Addr,
    pub prefix: u8,
    pub leased: bool,
    /// The card is on the site's network, so that others can reach the address.
    pub connected: bool,
}

/// How Linux names the card: `eth0` with `net.ifnames=0`, which is nocloud's default, else by its slot.
pub fn link_name(system: &System, nic: usize) -> String {
    let plain = system.image.platform == "nocloud" || system.image.kernel_args.iter().any(|arg| arg == "net.ifnames=0");
    // Proxmox puts net0 into slot 18.
    if plain { format!("eth{nic}") } else { format!("ens{}", 18 + nic) }
}

/// The bridges that may lead to the site's network. Where a vnet carries it, no other bridge does.
pub(super) fn bridges(site: &Site) -> Vec<Bridge> {
    let vnets = site.zones.iter().flat_map(|zone| &zone.vnets).filter(|vnet| vnet.cidr == site.network.cidr);
    // The nodes are on a simple zone's vnets themselves, as they are on a port's network.
    let vnets =
        vnets.map(|vnet| Bridge { name: vnet.name.clone(), vlan_aware: false, ports: "node".into(), active: true });
    let vnets: Vec<Bridge> = vnets.collect();
    if vnets.is_empty() { site.bridges.clone() } else { vnets }
}

/// Whether the card is on the network that the site's machines share.
fn is_connected(network: &Network, bridges: &[Bridge], nic: &Nic) -> bool {
    let bridge = bridges.iter().find(|bridge| bridge.name == nic.bridge);
    // A bridge without ports leads nowhere.
    nic.link_up && nic.vlan == network.vlan && bridge.is_some_and(|bridge| bridge.active && !bridge.ports.is_empty())
}

/// All addresses of a machine, in the order of its cards. `taken` is what others have.
pub(super) fn addresses(
    network: &Network,
    bridges: &[Bridge],
    hardware: &Hardware,
    system: &System,
    taken: &BTreeSet<Ipv4Addr>,
) -> Vec<Address> {
    let config = system.config.as_deref();
    let mut taken = taken.clone();
    let mut found = Vec::new();
    for (index, nic) in hardware.nics.iter().enumerate() {
        let connected = is_connected(network, bridges, nic);
        let name = link_name(system, index);
        let mac = nic.mac.to_string().to_lowercase();
        let links: Vec<_> = config.map_or(&[][..], |config| &config.links).iter().collect();
        let links: Vec<_> = links.into_iter().filter(|link| link.selector.matches(&name, &mac)).collect();
        let seeded = system.seed.as_ref().and_then(|seed| seed.links.iter().find(|link| link.is(&name, nic.mac)));
        let mut fixed: Vec<(Ipv4Addr, u8)> = seeded.map(|link| link.addresses.clone()).unwrap_or_default();
        for address in links.iter().flat_map(|link| &link.addresses) {
            if !fixed.contains(address) {
                fixed.push(*address);
            }
        }
        let dhcp = if links.is_empty() {
            let documents = config.is_some_and(|config| config.network_documents);
            seeded.map_or(!documents, |link| link.dhcp)
        } else {
            links.iter().any(|link| link.dhcp)
        };
        if dhcp
            && connected
            && let Some(ip) =
                nic.lease.or_else(|| network.dhcp.then(|| lease(network, &mac, system.boot, &taken)).flatten())
        {
            found.push(Address { nic: index, ip, prefix: network.cidr.prefix_len(), leased: true, connected });
            taken.insert(ip);
        }
        let fixed = fixed.into_iter().map(|(ip, prefix)| Address { nic: index, ip, prefix, leased: false, connected });
        found.extend(fixed);
    }
    found
}

/// A free address. Which one depends on the card and on the boot: nobody may count on a lease.
fn lease(network: &Network, mac: &str, boot: u64, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let first = u32::from(network.cidr.network());
    let size = u32::from(network.cidr.broadcast()) - first;
    // Without the network's own address, the broadcast address, and the two ends, where routers live.
    let span = size.checked_sub(3).filter(|span| *span > 0)?;
    let text = format!("{}/{mac}/{boot}", network.seed);
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let mut seed = [0; 4];
    seed.copy_from_slice(&hash.as_ref()[..4]);
    let start = u32::from_be_bytes(seed) % span;
    (0..span)
        .map(|step| Ipv4Addr::from(first + 2 + (start + step) % span))
        .find(|ip| !taken.contains(ip) && !network.reserved.contains(ip))
}

impl Fleet {
    /// The router of the site's network: its first address.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network.cidr.network()) + 1)
    }

    /// Addresses that machines other than `vmid` have.
    pub(super) fn taken(&self, vmid: u32) -> BTreeSet<Ipv4Addr> {
        self.owners().into_iter().filter(|(_, owner)| *owner != vmid).map(|(ip, _)| ip).collect()
    }

    /// Who answers at each address. Of two machines with one address, the one that came first does, or the impostor.
    pub(super) fn owners(&self) -> BTreeMap<Ipv4Addr, u32> {
        let mut systems: Vec<(&u32, &System)> =
            self.machines.iter().filter_map(|(vmid, machine)| Some((vmid, machine.system.as_ref()?))).collect();
        systems.sort_by_key(|(vmid, system)| (!self.impostors.contains_key(vmid), system.boot));
        let mut owners = BTreeMap::new();
        for (vmid, system) in systems {
            for address in system.addresses.iter().filter(|address| address.connected) {
                owners.entry(address.ip).or_insert(*vmid);
            }
        }
        for (vmid, machine) in &self.machines {
            for ip in machine.system.iter().flat_map(|system| &system.vips) {
                owners.entry(*ip).or_insert(*vmid);
            }
        }
        owners
    }
}
