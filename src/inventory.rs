//! What is known about the cluster being made: facts, and their fold.
//!
//! A step ends by returning [`Fact`]s. They are journalled, and the
//! [`Inventory`] is nothing but the fold of the facts in the journal, so a
//! crashed run is resumed from the same knowledge that a live run has.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A MAC address. Compares by value; prints upper case with colons, as Proxmox stores generated ones.
///
/// qemu-server keeps the case that the user typed, Talos reports raw bytes: both parse to the same value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// `text` is not six colon-separated hexadecimal bytes.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no MAC address: expected six bytes such as BC:24:11:62:36:01")]
pub struct BadMac(String);

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, BadMac> {
        let bad = || BadMac(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|byte| format!("{byte:02X}")).join(":"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a machine is in Kubernetes. The words are those of Talos's `machine.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    ControlPlane,
    Worker,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ControlPlane => "controlplane",
            Self::Worker => "worker",
        })
    }
}

/// Something that a step learned or made. Never holds a secret, only where one is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The secrets bundle is kept at `reference`; `created` when this run made it (and destroy may remove it, if the
    /// Talos CA in it still has this SHA-256 `identity`).
    Secrets { reference: String, created: bool, identity: String },
    /// The boot image lies on `node` as `volid`; `created` when this run fetched it.
    Image { node: String, volid: String, created: bool },
    /// The factory has built this installer image.
    Installer { reference: String },
    /// Noted before the create request leaves: whatever becomes of the reply, this is where to look.
    VmidTried { machine: String, node: String, vmid: u32 },
    /// The VM exists and carries our mark; MACs are as Proxmox assigned them, `net0` first.
    Vm { machine: String, role: Role, node: String, vmid: u32, uuid: Uuid, macs: Vec<Mac> },
    /// The machine that proved to be `machine` answers at `ip`.
    Address { machine: String, ip: IpAddr },
    /// Noted before the configuration leaves: from here on the machine may be in maintenance mode, on its way, or ours.
    Configuring { machine: String },
    /// The machine accepted its configuration.
    Applied { machine: String },
    /// The machine runs from its own disk and answers with our certificates at `ip`.
    Installed { machine: String, ip: IpAddr },
    /// Noted before the bootstrap request leaves: no other machine may ever be bootstrapped.
    BootstrapChosen { machine: String },
    /// etcd was bootstrapped on `machine`.
    Bootstrapped { machine: String },
    /// The user's files carry contexts named `context`; `None` where the user keeps no such file.
    Access { context: String, kubeconfig: Option<PathBuf>, talosconfig: Option<PathBuf> },
    /// Every health gate passed.
    Healthy { gates: Vec<String> },
}

/// One machine as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    pub role: Option<Role>,
    /// Every VMID that a create request was sent for, with its node, oldest first.
    pub tried: Vec<(String, u32)>,
    pub node: Option<String>,
    pub vmid: Option<u32>,
    pub uuid: Option<Uuid>,
    pub macs: Vec<Mac>,
    pub ip: Option<IpAddr>,
    /// Its configuration was sent, or was about to be.
    pub configuring: bool,
    pub applied: bool,
    pub installed: bool,
}

/// Where the secrets bundle is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundleRef {
    pub reference: String,
    /// This cluster's run made it.
    pub created: bool,
    /// SHA-256 of the Talos CA certificate in it, hexadecimal.
    pub identity: String,
}

/// The fold of all facts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Inventory {
    pub machines: BTreeMap<String, Machine>,
    pub secrets: Option<BundleRef>,
    /// Boot image by node: volume id, and whether this cluster's run fetched it.
    pub images: BTreeMap<String, (String, bool)>,
    pub installer: Option<String>,
    pub bootstrap_chosen: Option<String>,
    pub bootstrapped: Option<String>,
    pub access: Option<(String, Option<PathBuf>, Option<PathBuf>)>,
    pub healthy: Vec<String>,
}

impl Inventory {
    /// Adds one fact. Later facts win; facts about different things commute, so lanes may be folded in any order.
    pub fn fold(&mut self, fact: &Fact) {
        match fact.clone() {
            Fact::Secrets { reference, created, identity } => {
                self.secrets = Some(BundleRef { reference, created, identity });
            }
            Fact::Image { node, volid, created } => {
                self.images.insert(node, (volid, created));
            }
            Fact::Installer { reference } => self.installer = Some(reference),
            Fact::VmidTried { machine, node, vmid } => {
                let tried = &mut self.machine_mut(machine).tried;
                if !tried.contains(&(node.clone(), vmid)) {
                    tried.push((node, vmid));
                }
            }
            Fact::Vm { machine, role, node, vmid, uuid, macs } => {
                let machine = self.machine_mut(machine);
                machine.role = Some(role);
                machine.node = Some(node);
                machine.vmid = Some(vmid);
                machine.uuid = Some(uuid);
                machine.macs = macs;
            }
            Fact::Address { machine, ip } => self.machine_mut(machine).ip = Some(ip),
            Fact::Configuring { machine } => self.machine_mut(machine).configuring = true,
            Fact::Applied { machine } => self.machine_mut(machine).applied = true,
            Fact::Installed { machine, ip } => {
                let machine = self.machine_mut(machine);
                machine.installed = true;
                machine.ip = Some(ip);
            }
            Fact::BootstrapChosen { machine } => self.bootstrap_chosen = Some(machine),
            Fact::Bootstrapped { machine } => self.bootstrapped = Some(machine),
            Fact::Access { context, kubeconfig, talosconfig } => {
                self.access = Some((context, kubeconfig, talosconfig));
            }
            Fact::Healthy { gates } => self.healthy = gates,
        }
    }

    fn machine_mut(&mut self, name: String) -> &mut Machine {
        self.machines.entry(name).or_default()
    }

    /// The machine called `name`, or an error that says which step should have told us about it.
    pub fn machine(&self, name: &str) -> Result<&Machine, Unknown> {
        self.machines.get(name).ok_or_else(|| Unknown { machine: name.to_owned(), what: "VM" })
    }

    /// Node and VMID of the VM that was created for `name`.
    pub fn vm(&self, name: &str) -> Result<(&str, u32), Unknown> {
        let machine = self.machine(name)?;
        match (&machine.node, machine.vmid) {
            (Some(node), Some(vmid)) => Ok((node, vmid)),
            _ => Err(Unknown { machine: name.to_owned(), what: "VM" }),
        }
    }

    /// `volid`, if this run fetched it for VMs on `node`: to that node's storage, or to one that all nodes share.
    pub fn fetched<'a>(&self, node: &str, volid: &'a str) -> Option<&'a str> {
        let own = self.images.get(node);
        let made = |(known, created): &(String, bool)| *created && known == volid;
        own.map_or_else(|| self.images.values().any(made), made).then_some(volid)
    }

    /// The address at which `name` was last proven to answer.
    pub fn address(&self, name: &str) -> Result<IpAddr, Unknown> {
        self.machine(name)?.ip.ok_or_else(|| Unknown { machine: name.to_owned(), what: "address" })
    }
}

/// The inventory does not hold what was asked for: a step ran before the one that it depends on.
#[derive(Debug, thiserror::Error)]
#[error("no {what} is known for machine {machine}")]
pub struct Unknown {
    machine: String,
    what: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_compares_by_value_and_prints_in_upper_case() {
        let typed: Mac = "bc:24:11:62:36:01".parse().expect("lower case parses");
        assert_eq!(typed, "BC:24:11:62:36:01".parse().expect("upper case parses"));
        assert_eq!(typed.to_string(), "BC:24:11:62:36:01");
        for bad in
            ["", "bc:24:11:62:36", "bc:24:11:62:36:01:02", "bc-24-11-62-36-01", "bc:24:11:62:36:1", "zz:24:11:62:36:01"]
        {
            assert!(bad.parse::<Mac>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn an_image_was_fetched_where_this_run_fetched_it() {
        let mut inventory = Inventory::default();
        let mut fold = |node: &str, volid: &str, created| {
            inventory.fold(&Fact::Image { node: node.into(), volid: volid.into(), created });
            [inventory.fetched("vs01", "a:iso/x").is_some(), inventory.fetched("vs02", "a:iso/x").is_some()]
        };
        assert_eq!(fold("vs01", "a:iso/x", true), [true, true], "vs02 has none of its own: the storage is shared");
        assert_eq!(fold("vs02", "a:iso/x", false), [true, false]);
        assert_eq!(fold("vs01", "a:iso/y", true), [false, false]);
    }

    #[test]
    fn every_vmid_that_was_ever_tried_is_remembered_once() {
        let mut inventory = Inventory::default();
        for vmid in [104, 105, 104] {
            inventory.fold(&Fact::VmidTried { machine: "cp-1".into(), node: "vs01".into(), vmid });
        }
        assert_eq!(inventory.machines["cp-1"].tried, [("vs01".into(), 104), ("vs01".into(), 105)]);
    }
}
