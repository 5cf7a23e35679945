//! The machines: what the VMs of the site boot, and what becomes of them.
//!
//! Pure state and time. [`Fleet::advance`] is told what time it is and moves
//! every machine as far as it has come; the driver in `lab` turns
//! [`Fleet::listeners`] into sockets and sleeps until [`Fleet::next_due`]. All
//! conditions are levels, looked at anew each time and never remembered as
//! edges, so that any order of power cuts, applies and bootstraps comes out right.
//!
//! - `boot`: firmware, kernel, from power to the first API
//! - `life`: one step of one machine; `history`: what it tells of that
//! - `cluster`: etcd, Kubernetes, and who holds a shared address
//! - `calls`: what the Talos API may ask for; `upgrade`: another system on the same disk
//! - `impostor`: what others on the network do to them
//! - `lan`: addresses; `disks`: what survives a power cut

mod agent;
pub mod applied;
mod boot;
mod calls;
mod cluster;
mod disks;
mod firmware;
mod history;
mod impostor;
mod installer;
mod lan;
mod life;
mod listeners;
pub mod machine;
pub mod minor;
mod seed;
mod services;
pub mod summary;
#[cfg(test)]
mod tests;
mod upgrade;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

pub use calls::{BootstrapRefusal, Wipe};
pub use cluster::{Edit, Etcd, EtcdId, Member, Node};
pub use disks::{Device, Disk, devices};
pub use history::{Entry, Happening};
pub use lan::{Address, link_name};
pub use life::Advance;
pub use listeners::{Listener, Port};
pub use machine::{Machine, Stage, System};
pub use services::{Service, services_of};

pub use upgrade::Renewal;

use super::clock::Clock;
use super::hardware::{Hardware, Medium};
use super::site::{Bridge, Network, Site};
use disks::Disks;
use impostor::Impostor;

/// The kernel that every Talos of the lab runs.
pub const KERNEL: &str = "6.18.0-talos";

/// Every machine that has power, and every disk that was ever written.
pub struct Fleet {
    clock: Clock,
    network: Network,
    bridges: Vec<Bridge>,
    /// By VMID.
    machines: BTreeMap<u32, Machine>,
    disks: Disks,
    etcds: BTreeMap<EtcdId, Etcd>,
    /// Starts of an operating system so far, over all machines.
    boots: u64,
    now: Duration,
    /// Machines at other machines' addresses.
    impostors: BTreeMap<u32, Impostor>,
    /// Seconds by which the machines' clocks are ahead.
    ahead: i64,
    /// The factory that installer references are derived from when nobody names one.
    host: String,
}

impl Fleet {
    pub fn new(site: &Site) -> Self {
        Self {
            clock: site.clock,
            network: site.network.clone(),
            bridges: lan::bridges(site),
            machines: BTreeMap::new(),
            disks: Disks::default(),
            etcds: BTreeMap::new(),
            boots: 0,
            now: Duration::ZERO,
            impostors: BTreeMap::new(),
            ahead: 0,
            host: site.factory.hosts.first().cloned().unwrap_or_default(),
        }
    }

    /// The hypervisor process runs: firmware comes next.
    pub fn power_on(&mut self, hardware: Hardware) {
        let vmid = hardware.vmid;
        self.machines.insert(vmid, Machine::new(hardware));
        self.boot(vmid, &machine::Path::Firmware);
    }

    /// Power is cut. Disks and variable stores keep what was written.
    pub fn power_off(&mut self, vmid: u32) {
        self.machines.remove(&vmid);
    }

    /// The reset button: power stays, the boot order is tried again.
    pub fn reset(&mut self, vmid: u32) {
        self.boot(vmid, &machine::Path::Firmware);
    }

    /// The ACPI button or the guest agent's shutdown: the guest powers itself off when it is done.
    /// A machine without a running system does not notice.
    pub fn press_power_button(&mut self, vmid: u32) {
        if let Some(machine) = self.machines.get_mut(&vmid)
            && machine.system.is_some()
        {
            machine.proceed(self.now, Stage::Stopping);
        }
    }

    /// Whether the hypervisor process of this VM runs. A guest that shuts down ends it.
    pub fn is_powered(&self, vmid: u32) -> bool {
        self.machines.contains_key(&vmid)
    }

    /// A drive of a running VM was ejected or changed.
    pub fn change_medium(&mut self, vmid: u32, device: &str, medium: Medium) {
        let Some(machine) = self.machines.get_mut(&vmid) else { return };
        if let Some(drive) = machine.hardware.drives.iter_mut().find(|drive| drive.device == device) {
            drive.medium = medium;
        }
    }

    /// The volume was freed: whatever was on it is gone.
    pub fn erase(&mut self, volid: &str) {
        self.disks.erase(volid);
    }

    /// A volume got another name.
    pub fn rename(&mut self, from: &str, to: &str) {
        self.disks.rename(from, to);
    }

    /// A volume was written from outside, by an import: `head` is what it now holds, or the beginning of it.
    pub fn imprint(&mut self, volid: &str, head: &[u8]) {
        self.disks.imprint(volid, head);
    }

    /// The guest agent's `network-get-interfaces` result (the list of interfaces), if the agent answers.
    pub fn agent_interfaces(&self, vmid: u32) -> Option<Value> {
        agent::interfaces(self.machines.get(&vmid)?)
    }

    pub fn machine(&self, vmid: u32) -> Option<&Machine> {
        self.machines.get(&vmid)
    }

    /// See [`Machine::announce`].
    pub fn announce(&mut self, vmid: u32, fingerprint: &str) {
        if let Some(machine) = self.machines.get_mut(&vmid) {
            machine.announce(fingerprint);
        }
    }

    pub fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.values()
    }

    /// The machine whose VM has this name.
    pub fn named(&self, name: &str) -> Option<&Machine> {
        self.machines.values().find(|machine| machine.hardware.name == name)
    }

    pub fn disk(&self, volid: &str) -> Option<&Disk> {
        self.disks.get(volid)
    }
}
