//! The QEMU guest agent, as far as Proxmox asks it for addresses.

use std::net::Ipv6Addr;

use serde_json::{Value, json};

use super::lan::link_name;
use super::machine::{Machine, Stage};
use crate::inventory::Mac;

const EXTENSION: &str = "siderolabs/qemu-guest-agent";

/// The agent answers when the VM has its channel and the running image has the extension, from maintenance mode on.
pub(super) fn interfaces(machine: &Machine) -> Option<Value> {
    let system = machine.system.as_ref()?;
    let up = !matches!(machine.stage, Stage::Starting | Stage::Rebooting(_) | Stage::Dead(_));
    let there = machine.hardware.agent && system.image.extensions.iter().any(|name| name == EXTENSION);
    if !up || !there {
        return None;
    }
    let address =
        |ip: &str, kind: &str, prefix: u8| json!({"ip-address": ip, "ip-address-type": kind, "prefix": prefix});
    let mut found = vec![json!({
        "name": "lo",
        "hardware-address": "00:00:00:00:00:00",
        "ip-addresses": [address("127.0.0.1", "ipv4", 8), address("::1", "ipv6", 128)],
    })];
    for (index, nic) in machine.hardware.nics.iter().enumerate() {
        let own = system.addresses.iter().filter(|address| address.nic == index);
        let mut addresses: Vec<Value> = own.map(|own| address(&own.ip.to_string(), "ipv4", own.prefix)).collect();
        if index == 0 {
            addresses.extend(system.vips.iter().map(|ip| address(&ip.to_string(), "ipv4", 32)));
        }
        addresses.push(address(&link_local(nic.mac).to_string(), "ipv6", 64));
        found.push(json!({
            "name": link_name(system, index),
            "hardware-address": nic.mac.to_string().to_lowercase(),
            "ip-addresses": addresses,
        }));
    }
    Some(Value::Array(found))
}

/// The address that every card gives itself: the MAC as EUI-64.
fn link_local(mac: Mac) -> Ipv6Addr {
    let [vendor0, vendor1, vendor2, rest @ ..] = mac.0;
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&[0xfe, 0x80]);
    bytes[8..13].copy_from_slice(&[vendor0 ^ 2, vendor1, vendor2, 0xff, 0xfe]);
    bytes[13..].copy_from_slice(&rest);
    bytes.into()
}
