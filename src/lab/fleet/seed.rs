//! What nocloud makes of the `cidata` drive and of the SMBIOS serial number.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;

use super::minor::Minor;
use crate::inventory::Mac;
use crate::lab::cidata;

/// What Talos takes from the drive and from SMBIOS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seed {
    pub hostname: Option<String>,
    pub links: Vec<SeedLink>,
    /// A machine configuration, whole or in part.
    pub config: Option<String>,
}

/// A link that `network-config` names. It loses the default DHCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedLink {
    pub name: String,
    pub mac: Option<Mac>,
    pub addresses: Vec<(Ipv4Addr, u8)>,
    pub dhcp: bool,
}

impl Seed {
    /// What the drives and the SMBIOS serial number come to. An error is one that Talos tries again for ever: its
    /// API never opens, and only the console tells why (Talos: platform/nocloud, controllers/config/acquire.go).
    pub(super) fn read<'a>(
        drives: impl IntoIterator<Item = &'a [u8]>,
        serial: Option<&str>,
        minor: &Minor,
    ) -> Result<Option<Self>, String> {
        let smbios: BTreeMap<&str, &str> =
            serial.unwrap_or_default().split(';').filter_map(|part| part.split_once('=')).collect();
        // Exactly this value: `ds=nocloud` is none.
        let smbios = if smbios.get("ds") == Some(&"nocloud-net") { smbios } else { BTreeMap::new() };
        if let Some(url) = smbios.get("s") {
            return Err(format!("failed to download {url}meta-data: no web server is on the lab's network"));
        }
        let files = drives.into_iter().find_map(cidata::parse);
        if files.is_none() && smbios.is_empty() {
            return Ok(None);
        }
        let files = files.unwrap_or_default();
        let mut seed = Self { config: config(files.get("user-data").map(String::as_str), minor)?, ..Self::default() };
        // Without a network configuration nothing else is applied, not even the name.
        if let Some(network) = files.get("network-config") {
            seed.links = links(network)?;
            let named = ["user-data", "meta-data"].iter().find_map(|name| {
                let data: Value = serde_saphyr::from_str(files.get(*name)?).ok()?;
                ["hostname", "local-hostname"].iter().find_map(|key| Some(data.get(*key)?.as_str()?.to_owned()))
            });
            seed.hostname = smbios.get("h").map(|name| (*name).to_owned()).or(named);
        }
        Ok(Some(seed))
    }
}

/// The machine configuration in user-data, if it is one.
fn config(text: Option<&str>, minor: &Minor) -> Result<Option<String>, String> {
    let Some(text) = text else { return Ok(None) };
    let first = text.lines().next().unwrap_or_default();
    let ours = if minor.exact_cloud_config { first == "#cloud-config" } else { first.starts_with("#cloud-config") };
    if ours {
        return Ok(None);
    }
    if text.trim().is_empty() {
        return Err("config not found".into());
    }
    if minor.exact_cloud_config && first == "#include" {
        let url = text.lines().nth(1).unwrap_or_default();
        return Err(format!("failed to download {url}: no web server is on the lab's network"));
    }
    Ok(Some(text.to_owned()))
}

/// Links of either version. What Talos does not know it ignores, but not an unknown version.
fn links(text: &str) -> Result<Vec<SeedLink>, String> {
    let network: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let network = network.get("network").unwrap_or(&network);
    let version = network.get("version").and_then(Value::as_u64).unwrap_or(0);
    match version {
        1 => {
            let items = network.get("config").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            Ok(items.iter().filter_map(SeedLink::read).collect())
        }
        2 => {
            let ethernets = network.get("ethernets").and_then(Value::as_object);
            Ok(ethernets.into_iter().flatten().map(|(name, item)| SeedLink::read_second(name, item)).collect())
        }
        other => Err(format!("network-config metadata version={other} is not supported")),
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

    /// An entry of `ethernets` in version 2.
    fn read_second(name: &str, item: &Value) -> Self {
        let mac = item.pointer("/match/macaddress").and_then(Value::as_str);
        let addresses = item.get("addresses").and_then(Value::as_array).into_iter().flatten();
        let nets = addresses.filter_map(|text| text.as_str()?.parse::<Ipv4Net>().ok());
        Self {
            name: name.to_owned(),
            mac: mac.and_then(|mac| mac.parse().ok()),
            addresses: nets.map(|net| (net.addr(), net.prefix_len())).collect(),
            dhcp: item.get("dhcp4").and_then(Value::as_bool) == Some(true),
        }
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
    use super::super::minor;
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
        let seed = read(&files, None, "v1.12.4").expect("it is good").expect("a seed");
        assert_eq!((seed.hostname.as_deref(), &seed.config), (Some("lab-cp-1"), &None));
        assert_eq!(seed.links[0].addresses, [(Ipv4Addr::new(10, 83, 0, 5), 24)]);
        assert!(seed.links[0].is("ens18", "BC:24:11:62:36:01".parse().expect("a MAC")));
        let none = Seed::read([&b"something else"[..]], None, minor::of("v1.12.4"));
        assert_eq!(none, Ok(None));
        let named = read(&files, Some("ds=nocloud-net;h=by-smbios"), "v1.12.4").expect("it is good").expect("a seed");
        assert_eq!(named.hostname.as_deref(), Some("by-smbios"));
        assert!(
            read(&files, Some("ds=nocloud;s=http://10.0.0.1/"), "v1.12.4").is_ok(),
            "not the value that Talos knows"
        );
        assert!(read(&files, Some("ds=nocloud-net;s=http://10.0.0.1/"), "v1.12.4").is_err());
    }

    fn read(files: &BTreeMap<&str, &str>, serial: Option<&str>, version: &str) -> Result<Option<Seed>, String> {
        let files = files.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        Seed::read([&cidata::to_bytes(&files)[..]], serial, minor::of(version))
    }

    #[test]
    fn user_data_is_a_configuration_unless_it_says_otherwise() {
        let config = |text: Option<&str>, version| {
            let files = text.map(|text| ("user-data", text)).into_iter().collect();
            read(&files, None, version).map(|seed| seed.expect("a drive").config)
        };
        assert_eq!(config(None, "v1.12.4"), Ok(None));
        assert_eq!(config(Some("#cloud-config\n"), "v1.12.4"), Ok(None));
        assert_eq!(config(Some("#cloud-config # by us\n"), "v1.10.0"), Ok(None));
        assert_eq!(config(Some("version: v1alpha1\n"), "v1.12.4"), Ok(Some("version: v1alpha1\n".into())));
        assert_eq!(config(Some(""), "v1.12.4"), Err("config not found".into()));
        assert!(config(Some("#include\nhttp://10.0.0.1/\n"), "v1.12.4").is_err());
    }

    #[test]
    fn a_network_configuration_has_a_version() {
        let second =
            "version: 2\nethernets: {any: {match: {macaddress: 'BC:24:11:62:36:01'}, addresses: [10.83.0.5/24]}}\n";
        let found = links(second).expect("it is good");
        assert_eq!(found[0].addresses, [(Ipv4Addr::new(10, 83, 0, 5), 24)]);
        assert_eq!(links("version: 1\n"), Ok(Vec::new()));
        assert_eq!(links("{}\n").unwrap_err(), "network-config metadata version=0 is not supported");
    }
}
