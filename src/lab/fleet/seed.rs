//! The `cidata` drive that nocloud reads: Proxmox's own cloud-init drive, as the lab writes it.
//!
//! A real one is an ISO image with three files. The lab's is one line of JSON
//! behind a magic word, file name to text, as [`crate::lab::image`] does it for
//! boot images.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;

use crate::inventory::Mac;

/// What Talos takes from the drive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    pub hostname: Option<String>,
    pub links: Vec<SeedLink>,
}

/// A link that `network-config` names. It loses the default DHCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedLink {
    pub name: String,
    pub mac: Option<Mac>,
    pub addresses: Vec<(Ipv4Addr, u8)>,
    pub dhcp: bool,
}

const MAGIC: &str = "talos-lab-cidata ";

impl Seed {
    /// Reads a drive; `None` if it is no `cidata`, or has no `network-config`: nothing is applied then, not even the
    /// hostname (Talos: platform/nocloud).
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let line = head.split(|byte| *byte == b'\n').next()?.strip_prefix(MAGIC.as_bytes())?;
        let files: BTreeMap<String, String> = serde_json::from_slice(line).ok()?;
        let network: Value = serde_saphyr::from_str(files.get("network-config")?).ok()?;
        let network = network.get("network").unwrap_or(&network);
        // Proxmox writes version 1 alone for nocloud.
        if network.get("version")?.as_u64()? != 1 {
            return None;
        }
        let items = network.get("config").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let hostname = ["user-data", "meta-data"].iter().find_map(|name| {
            let data: Value = serde_saphyr::from_str(files.get(*name)?).ok()?;
            ["hostname", "local-hostname"].iter().find_map(|key| Some(data.get(*key)?.as_str()?.to_owned()))
        });
        Some(Self { hostname, links: items.iter().filter_map(SeedLink::read).collect() })
    }
}

impl SeedLink {
    fn read(item: &Value) -> Option<Self> {
        if item.get("type")?.as_str()? != "physical" {
            return None;
        }
        let mut link = Self {
            name: item.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            mac: item.get("mac_address").and_then(Value::as_str).and_then(|mac| mac.parse().ok()),
            addresses: Vec::new(),
            dhcp: false,
        };
        for subnet in item.get("subnets").and_then(Value::as_array).map_or(&[][..], Vec::as_slice) {
            match subnet.get("type").and_then(Value::as_str) {
                Some("dhcp" | "dhcp4") => link.dhcp = true,
                Some("static") => link.addresses.extend(Self::address(subnet)),
                // dhcp6 and ipv6_slaac among them: Talos ignores what it does not know.
                _ => {}
            }
        }
        Some(link)
    }

    fn address(subnet: &Value) -> Option<(Ipv4Addr, u8)> {
        let text = subnet.get("address")?.as_str()?;
        if let Ok(net) = text.parse::<Ipv4Net>() {
            return Some((net.addr(), net.prefix_len()));
        }
        let mask: Ipv4Addr = subnet.get("netmask")?.as_str()?.parse().ok()?;
        Some((text.parse().ok()?, ipnet::ipv4_mask_to_prefix(mask).ok()?))
    }

    pub(super) fn is(&self, name: &str, mac: Mac) -> bool {
        self.mac.map_or(self.name == name, |own| own == mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxmox_names_links_by_mac() {
        let network = "version: 1
config:
    - type: physical
      name: eth0
      mac_address: 'bc:24:11:62:36:01'
      subnets:
      - type: static
        address: '10.83.0.5'
        netmask: '255.255.255.0'
        gateway: '10.83.0.1'
    - type: nameserver
      address: ['10.83.0.1']
";
        let files = [("network-config", network), ("user-data", "#cloud-config\nhostname: lab-cp-1\n")];
        let files: BTreeMap<&str, &str> = files.into();
        let seed = Seed::parse(format!("{MAGIC}{}\n", serde_json::json!(files)).as_bytes()).expect("a seed");
        assert_eq!(seed.hostname.as_deref(), Some("lab-cp-1"));
        assert_eq!(seed.links[0].addresses, [(Ipv4Addr::new(10, 83, 0, 5), 24)]);
        assert!(seed.links[0].is("ens18", "BC:24:11:62:36:01".parse().expect("a MAC")));
        assert_eq!(Seed::parse(b"something else"), None);
    }
}
