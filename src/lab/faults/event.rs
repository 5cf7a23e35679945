//! What happens on a site by itself, or by somebody else's hand.
//!
//! Everything here is done to the world in one moment, just before a call is
//! served. What others bring is remembered as they left it: [`World::harm`] says
//! what was done to it since, and nobody can talk it out of that.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Call;
use crate::lab::pve::{self, Config, Vm};
use crate::lab::talos::pki;
use crate::lab::world::World;

/// Something that happens. `vm` is a VM by its name or number; where it is absent, the one that the call is about is
/// meant, else the youngest that is not somebody else's. What finds no such VM does not happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The DHCP server gives every machine another address. (At a reboot it always does.)
    NewLeases,
    /// Another machine on the network answers at the first address of the VM's machine, and it does not.
    Impostor {
        lacks: Lacks,
        #[serde(default)]
        vm: Option<String>,
    },
    /// All impostors are gone.
    ImpostorsLeave,
    /// Somebody else works on the site.
    Operator {
        deed: Deed,
        #[serde(default)]
        vm: Option<String>,
    },
    /// There is no room left on a storage.
    FillStorage { name: String },
    /// There is as much room as there was.
    FreeStorage { name: String },
    /// The machines' clocks are ahead by so many seconds, or behind: what they sign is valid from their now on, and
    /// what others signed is judged by it.
    Skew { seconds: i64 },
}

/// What tells an impostor from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lacks {
    /// In maintenance mode, with the machine's card and another UUID.
    Uuid,
    /// In maintenance mode, with the machine's UUID and another card.
    Mac,
    /// With both, but configured by somebody else, with authorities of their own.
    Key,
    /// Nothing but the address is the same: two machines were given one.
    All,
}

/// What another operator does to a VM of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Stops it and deletes it, disks and all.
    Delete,
    /// Deletes it, and puts a clone of it under its number: only the UUID tells.
    Reuse,
    /// Clones it: tags, description and all, but with another UUID, as Proxmox does.
    Clone,
    /// Restores a backup of it under another number, which keeps even its UUID.
    Copy,
    /// Restores a backup of it in its place: it is off, and its disks are as they were when they were new.
    Restore,
    /// Gives it another name.
    Rename,
    /// Takes its tags and its description away.
    Strip,
    /// Moves it to the next node, if there is one.
    Migrate,
    /// Pulls its plug.
    Stop,
}

impl Deed {
    pub const ALL: [Self; 9] = [
        Self::Delete,
        Self::Reuse,
        Self::Clone,
        Self::Copy,
        Self::Restore,
        Self::Rename,
        Self::Strip,
        Self::Migrate,
        Self::Stop,
    ];
}

impl Lacks {
    pub const ALL: [Self; 4] = [Self::Uuid, Self::Mac, Self::Key, Self::All];
}

/// A VM that somebody else made, as they left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    config: Config,
    running: bool,
}

/// Where others put VMs of their own.
const ELSEWHERE: u32 = 9_000;

impl World {
    /// Lets `event` happen before `call`.
    pub(in crate::lab) fn happen(&mut self, event: &Event, call: &Call) {
        match event {
            Event::NewLeases => self.fleet.renew_leases(),
            Event::Impostor { lacks, vm } => {
                if let Some(vmid) = self.meant(vm.as_deref(), call) {
                    let key = (*lacks == Lacks::Key).then(pki::authority);
                    self.fleet.impersonate(vmid, *lacks, key);
                }
            }
            Event::ImpostorsLeave => self.fleet.unmask(),
            Event::Operator { deed, vm } => {
                if let Some(vmid) = self.meant(vm.as_deref(), call) {
                    self.operate(*deed, vmid);
                }
            }
            Event::FillStorage { name } => {
                if let Some(storage) = self.site.storages.get_mut(name) {
                    self.faults.filled.entry(name.clone()).or_insert(storage.used);
                    storage.used = storage.total;
                }
            }
            Event::FreeStorage { name } => {
                if let (Some(used), Some(storage)) = (self.faults.filled.remove(name), self.site.storages.get_mut(name))
                {
                    storage.used = used;
                }
            }
            Event::Skew { seconds } => self.fleet.set_clocks(*seconds),
        }
    }

    /// The VM that an event is about.
    fn meant(&self, vm: Option<&str>, call: &Call) -> Option<u32> {
        let vms = &self.pve.vms;
        let known = |word: &str| {
            let number = word.parse().ok().filter(|vmid| vms.contains_key(vmid));
            number.or_else(|| {
                vms.iter().find(|(_, vm)| vm.config.get("name").is_some_and(|name| name == word)).map(|(vmid, _)| *vmid)
            })
        };
        if let Some(word) = vm {
            return known(word);
        }
        let others = |vmid: &u32| {
            self.faults.foreign.contains_key(vmid) || self.site.guests.iter().any(|guest| guest.vmid == *vmid)
        };
        known(&call.subject).or_else(|| vms.keys().rfind(|vmid| !others(vmid)).copied()).filter(|vmid| !others(vmid))
    }

    fn operate(&mut self, deed: Deed, vmid: u32) {
        let free =
            (ELSEWHERE..ELSEWHERE * 2).find(|vmid| !self.pve.vms.contains_key(vmid)).expect("there are enough numbers");
        match deed {
            Deed::Delete => self.evict(vmid),
            Deed::Reuse | Deed::Clone | Deed::Copy => {
                let Some(vm) = self.pve.vms.get(&vmid) else { return };
                let (node, mut config) = (vm.node.clone(), vm.config.clone());
                // Disks of its own would be copies: they are of no interest here, and so is what its drives hold.
                let without = ["scsi0", "efidisk0", "tpmstate0", "ide2", "lock"];
                config.retain(|option, _| !without.contains(&option.as_str()));
                if deed != Deed::Copy {
                    config.insert("smbios1".into(), format!("uuid={}", Uuid::new_v4()));
                }
                if deed == Deed::Reuse {
                    self.evict(vmid);
                    self.settle(vmid, node, config, true);
                } else {
                    self.settle(free, node, config, false);
                }
            }
            Deed::Restore => {
                self.fleet.power_off(vmid);
                for volid in self.disks_of(vmid) {
                    self.fleet.erase(&volid);
                }
            }
            Deed::Rename => self.edit(vmid, |config| drop(config.insert("name".into(), "renamed".into()))),
            Deed::Strip => self.edit(vmid, |config| {
                config.remove("tags");
                config.remove("description");
            }),
            Deed::Migrate => {
                let nodes: Vec<String> = self.site.nodes.iter().map(|node| node.name.clone()).collect();
                let Some(vm) = self.pve.vms.get_mut(&vmid) else { return };
                let at = nodes.iter().position(|node| *node == vm.node).unwrap_or(0);
                let to = nodes[(at + 1) % nodes.len()].clone();
                let from = std::mem::replace(&mut vm.node, to.clone());
                // Its disks move with it.
                let mine = |volume: &pve::Volume| volume.vmid == Some(vmid);
                let moved: Vec<_> = self
                    .pve
                    .volumes
                    .iter()
                    .filter(|(_, volume)| mine(volume))
                    .map(|(place, _)| place.clone())
                    .collect();
                for place in moved.into_iter().filter(|place| place.node.as_ref() == Some(&from)) {
                    if let Some(volume) = self.pve.volumes.remove(&place) {
                        self.pve.volumes.insert(pve::Place { node: Some(to.clone()), ..place }, volume);
                    }
                }
            }
            Deed::Stop => self.fleet.power_off(vmid),
        }
    }

    fn edit(&mut self, vmid: u32, change: impl FnOnce(&mut Config)) {
        if let Some(vm) = self.pve.vms.get_mut(&vmid) {
            change(&mut vm.config);
        }
    }

    fn disks_of(&self, vmid: u32) -> Vec<String> {
        let mine = self.pve.volumes.iter().filter(|(_, volume)| volume.vmid == Some(vmid));
        mine.map(|(place, _)| format!("{}:{}", place.storage, place.name)).collect()
    }

    /// Takes a VM away with its disks.
    pub fn evict(&mut self, vmid: u32) {
        self.fleet.power_off(vmid);
        self.pve.vms.remove(&vmid);
        for volid in self.disks_of(vmid) {
            self.fleet.erase(&volid);
        }
        self.pve.volumes.retain(|_, volume| volume.vmid != Some(vmid));
    }

    /// Puts a VM of somebody else's at `vmid`.
    pub fn settle(&mut self, vmid: u32, node: String, config: Config, running: bool) {
        let mut vm = Vm::default();
        vm.node = node;
        vm.config.clone_from(&config);
        self.pve.vms.insert(vmid, vm);
        if running {
            pve::power_on(self, vmid);
        }
        self.faults.foreign.insert(vmid, Foreign { config, running: self.fleet.is_powered(vmid) });
    }

    /// What became of the VMs that others brought: nothing at all is what every end must show.
    pub fn harm(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (vmid, left) in &self.faults.foreign {
            let running = self.fleet.is_powered(*vmid);
            match self.pve.vms.get(vmid) {
                None => found.push(format!("VM {vmid} of somebody else was destroyed")),
                Some(vm) if vm.config != left.config => found.push(format!("VM {vmid} of somebody else was changed")),
                Some(_) if running != left.running => {
                    let what = if running { "started" } else { "stopped" };
                    found.push(format!("VM {vmid} of somebody else was {what}"));
                }
                Some(_) => {}
            }
        }
        found.extend(self.fleet.deceived().map(|vmid| format!("impostor {vmid} was given a configuration")));
        found
    }
}
