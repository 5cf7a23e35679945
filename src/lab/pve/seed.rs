//! The cloud-init drive: what Proxmox writes onto it from the VM's options.
//!
//! Texts and names as qemu-server makes them (src/PVE/QemuServer/Cloudinit.pm);
//! [`crate::lab::cidata`] says what the drive is in the lab.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::drive;
use super::formats::split_list;
use super::property::{self, Properties};
use super::schema::Schema;
use super::vm::Vm;
use crate::lab::cidata;

/// The image on the drive of `vm`.
pub(super) fn image(schema: &Schema, vm: &Vm) -> Vec<u8> {
    let name = vm.config.get("name").cloned().unwrap_or_default();
    let files = BTreeMap::from([
        ("meta-data", format!("instance-id: {}\n", vm.digest())),
        ("network-config", network(schema, vm)),
        ("user-data", format!("#cloud-config\nhostname: {name}\nmanage_etc_hosts: true\n")),
    ]);
    cidata::to_bytes(&files)
}

/// Version 1 of the network configuration: one link for every card that has an ipconfig.
fn network(schema: &Schema, vm: &Vm) -> String {
    let mut text = String::from("version: 1\nconfig:\n");
    for index in 0..32 {
        // A card without ipconfigN is not named, and so keeps the guest's own default (qemu-server 9.2:
        // src/PVE/QemuServer/Cloudinit.pm).
        let Some(ip) = properties(schema, vm, &format!("ipconfig{index}")) else { continue };
        let Some(net) = properties(schema, vm, &format!("net{index}")) else { continue };
        let mac = net.get("macaddr").map(|mac| mac.to_lowercase()).unwrap_or_default();
        let start =
            format!("    - type: physical\n      name: eth{index}\n      mac_address: '{mac}'\n      subnets:\n");
        text.push_str(&start);
        subnet(&mut text, &ip);
    }
    let list = |option: &str| split_list(vm.config.get(option).map_or("", String::as_str)).join("', '");
    let (servers, search) = (list("nameserver"), list("searchdomain"));
    if !servers.is_empty() || !search.is_empty() {
        text.push_str("    - type: nameserver\n");
        for (key, items) in [("address", servers), ("search", search)] {
            if !items.is_empty() {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "      {key}: ['{items}']");
            }
        }
    }
    text
}

fn subnet(text: &mut String, ip: &Properties) {
    let Some(address) = ip.get("ip").filter(|address| *address != "manual") else { return };
    let lines = match address.split_once('/').and_then(|(ip, bits)| Some((ip, bits.parse::<u8>().ok()?))) {
        Some((ip, bits)) => {
            let mask = u32::MAX.checked_shl(u32::from(32 - bits.min(32))).unwrap_or(0);
            let mask = std::net::Ipv4Addr::from(mask);
            format!("      - type: static\n        address: '{ip}'\n        netmask: '{mask}'\n")
        }
        None => "      - type: dhcp4\n".to_owned(),
    };
    text.push_str(&lines);
    if let Some(gateway) = ip.get("gw") {
        let _ = writeln!(text, "        gateway: '{gateway}'");
    }
}

fn properties(schema: &Schema, vm: &Vm, option: &str) -> Option<Properties> {
    property::split(drive::members(schema, option)?, vm.config.get(option)?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::schema::schema;
    use super::*;

    #[test]
    fn a_static_address_is_written_with_mask_and_gateway() {
        let mut vm = Vm::default();
        for (option, text) in [
            ("net0", "virtio=BC:24:11:00:00:07,bridge=vmbr0"),
            ("ipconfig0", "ip=10.0.0.5/24,gw=10.0.0.1"),
            ("nameserver", "10.0.0.1"),
        ] {
            vm.config.insert(option.into(), text.into());
        }
        let text = network(schema(9), &vm);
        for line in [
            "mac_address: 'bc:24:11:00:00:07'",
            "address: '10.0.0.5'",
            "netmask: '255.255.255.0'",
            "gateway: '10.0.0.1'",
        ] {
            assert!(text.contains(line), "{text}");
        }
        let files = cidata::parse(&image(schema(9), &vm)).expect("it is one");
        assert_eq!(files["network-config"], text);
    }
}
