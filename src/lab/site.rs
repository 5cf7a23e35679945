//! What the simulated site is: a description, as a file or dressed from a profile.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::clock::Clock;

/// The whole site. YAML or JSON; everything but `nodes` has a default that suits a small home lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Site {
    /// `9.2` or `8.4`.
    pub pve: String,
    pub nodes: Vec<Node>,
    pub storages: BTreeMap<String, Storage>,
    pub bridges: Vec<Bridge>,
    /// Zones of software-defined networks.
    pub zones: Vec<Zone>,
    pub network: Network,
    pub users: BTreeMap<String, User>,
    /// By full id `user@realm!name`.
    pub tokens: BTreeMap<String, Token>,
    pub groups: BTreeMap<String, Group>,
    /// Custom roles: name to blank-separated privileges.
    pub roles: BTreeMap<String, String>,
    pub acl: Vec<Acl>,
    pub pools: Vec<String>,
    /// VMs that somebody else made.
    pub guests: Vec<Guest>,
    pub factory: Factory,
    pub clock: Clock,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub name: String,
    #[serde(default = "cpus")]
    pub cpus: u32,
    /// GiB.
    #[serde(default = "memory")]
    pub memory: u64,
    /// A member of the cluster that is switched off.
    #[serde(default = "yes")]
    pub online: bool,
    /// It shows the certificate that the cluster has on record. The first node, which answers the API, always does.
    #[serde(default = "yes")]
    pub trusted: bool,
}

fn cpus() -> u32 {
    32
}

fn memory() -> u64 {
    128
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// `dir`, `nfs`, `lvmthin`, `zfspool`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// `images`, `iso`, `import`, `vztmpl`, `backup`, `snippets`, `rootdir`.
    pub content: Vec<String>,
    #[serde(default)]
    pub path: Option<String>,
    #[serde(default)]
    pub shared: bool,
    #[serde(default)]
    pub disabled: bool,
    /// GiB.
    #[serde(default = "total")]
    pub total: u64,
    /// GiB that others take.
    #[serde(default)]
    pub used: u64,
    /// Only these nodes have it; all when empty.
    #[serde(default)]
    pub nodes: Vec<String>,
}

fn total() -> u64 {
    1000
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    pub name: String,
    #[serde(default)]
    pub vlan_aware: bool,
    /// Physical ports; empty for an internal bridge.
    #[serde(default)]
    pub ports: String,
    #[serde(default = "yes")]
    pub active: bool,
}

/// A zone of type `simple`, with `dhcp=dnsmasq` and the cluster's own IPAM `pve`, applied on every node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// At most 8 characters, of letters and digits.
    pub name: String,
    #[serde(default)]
    pub vnets: Vec<Vnet>,
}

/// A vnet and its one subnet. Cards name it as they name a bridge.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vnet {
    pub name: String,
    #[serde(default)]
    pub alias: Option<String>,
    /// The subnet. If it is [`Network::cidr`], the machines' network is on this vnet, and on no bridge.
    pub cidr: Ipv4Net,
    #[serde(default)]
    pub gateway: Option<Ipv4Addr>,
    /// First and last address for DHCP.
    pub dhcp_range: (Ipv4Addr, Ipv4Addr),
}

fn yes() -> bool {
    true
}

/// The network that the machines are on. Mapped onto loopback: see [`crate::reach::Reach`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    pub cidr: Ipv4Net,
    /// The VLAN that carries it; a card with another tag gets no lease.
    #[serde(default)]
    pub vlan: Option<u16>,
    /// Whether anybody answers DHCP.
    #[serde(default = "yes")]
    pub dhcp: bool,
    /// Addresses that the DHCP server never leases because profiles give them out.
    #[serde(default)]
    pub reserved: Vec<Ipv4Addr>,
    /// Seed of the order in which leases are given.
    #[serde(default)]
    pub seed: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    #[serde(default = "yes")]
    pub enable: bool,
    /// Epoch seconds; 0 is never.
    #[serde(default)]
    pub expire: i64,
    /// `comment`, `email`, `firstname`, `lastname` and `keys`, where they were given.
    #[serde(default)]
    pub details: BTreeMap<String, String>,
    /// What they log in with; without one, they cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl Default for User {
    fn default() -> Self {
        Self { enable: true, expire: 0, details: BTreeMap::new(), password: None }
    }
}

/// Users who share rights.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Group {
    pub comment: Option<String>,
    pub users: BTreeSet<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub secret: String,
    #[serde(default = "yes")]
    pub privsep: bool,
    #[serde(default)]
    pub expire: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acl {
    pub path: String,
    /// Users, tokens, and groups with a leading `@`.
    pub to: Vec<String>,
    pub role: String,
    #[serde(default = "yes")]
    pub propagate: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    pub vmid: u32,
    pub name: String,
    pub node: String,
    #[serde(default)]
    pub running: bool,
    #[serde(default)]
    pub tags: String,
    /// Further configuration lines, as the API takes them.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Factory {
    /// Host names under which the site's nodes and machines know it.
    pub hosts: Vec<String>,
    /// Talos versions it can build, with the leading `v`.
    pub versions: Vec<String>,
    pub extensions: Vec<String>,
    /// Whether what it built is kept in a store elsewhere, to which downloads are sent on.
    pub redirects: bool,
}

impl Default for Factory {
    fn default() -> Self {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Self {
            hosts: list(&["factory.talos.dev"]),
            versions: list(&[
                "v1.11.6",
                "v1.12.0",
                "v1.12.1",
                "v1.12.4",
                "v1.12.11",
                "v1.13.0",
                "v1.13.9",
                "v1.14.0-rc.1",
            ]),
            extensions: list(&[
                "siderolabs/amd-ucode",
                "siderolabs/btrfs",
                "siderolabs/drbd",
                "siderolabs/gvisor",
                "siderolabs/i915",
                "siderolabs/intel-ucode",
                "siderolabs/iscsi-tools",
                "siderolabs/nut-client",
                "siderolabs/qemu-guest-agent",
                "siderolabs/tailscale",
                "siderolabs/util-linux-tools",
                "siderolabs/zfs",
            ]),
            redirects: false,
        }
    }
}

/// The token that a lab hands out: full rights, privilege separation off, so that a profile without any setup works.
pub const TOKEN_ID: &str = "root@pam!lab";

impl Default for Site {
    fn default() -> Self {
        let text = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        let storage = |kind: &str, content: &[&str], path: Option<&str>| Storage {
            kind: kind.to_owned(),
            content: text(content),
            path: path.map(str::to_owned),
            shared: false,
            disabled: false,
            total: total(),
            used: 0,
            nodes: Vec::new(),
        };
        let user = User::default();
        Self {
            pve: "9.2".into(),
            nodes: vec![Node { name: "lab1".into(), cpus: cpus(), memory: memory(), online: true, trusted: true }],
            storages: BTreeMap::from([
                ("local".into(), storage("dir", &["iso", "vztmpl", "backup", "import"], Some("/var/lib/vz"))),
                ("local-lvm".into(), storage("lvmthin", &["images", "rootdir"], None)),
            ]),
            bridges: vec![Bridge { name: "vmbr0".into(), vlan_aware: true, ports: "eno1".into(), active: true }],
            zones: Vec::new(),
            network: Network {
                cidr: "10.83.0.0/24".parse().expect("a network"),
                vlan: None,
                dhcp: true,
                reserved: Vec::new(),
                seed: 0,
            },
            users: BTreeMap::from([("root@pam".into(), user)]),
            tokens: BTreeMap::new(),
            groups: BTreeMap::new(),
            roles: BTreeMap::new(),
            acl: Vec::new(),
            pools: Vec::new(),
            guests: Vec::new(),
            factory: Factory::default(),
            clock: Clock::Realistic { speed: 10.0 },
        }
    }
}
