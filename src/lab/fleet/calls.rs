//! What the Talos API may do to a machine. Who may call is decided by the face.

use std::sync::Arc;
use std::time::Duration;

use super::Fleet;
use super::applied::Applied;
use super::cluster::EtcdId;
use super::machine::{Machine, Path, Stage, Trial};
use super::upgrade::way;
use crate::inventory::Role;

/// Why a bootstrap does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootstrapRefusal {
    /// The boot sequence is not far enough.
    NotYet,
    Worker,
    NoEtcd,
    /// There is etcd data already: bootstrapped before, or joined.
    HasData,
}

/// What a reset takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wipe {
    /// The whole installation.
    pub system: bool,
    /// STATE: the configuration.
    pub state: bool,
    /// EPHEMERAL: etcd's data.
    pub ephemeral: bool,
    /// META: what was kept for the next boot.
    pub meta: bool,
}

impl Fleet {
    /// Takes a configuration that was found valid. `host` is the factory that installer references are derived from.
    pub fn apply(&mut self, vmid: u32, config: &Arc<Applied>, host: &str) {
        let Some(machine) = self.machines.get_mut(&vmid) else { return };
        let Machine { stage, system: Some(system), .. } = &mut *machine else { return };
        system.config = Some(Arc::clone(config));
        system.trial = None;
        // From 1.14 on a machine may run on from the CD, and be told later where to install itself.
        let waits = *stage == Stage::Booting && system.disk.is_none() && config.install.is_some();
        if *stage == Stage::Maintenance || waits {
            if config.complete {
                self.leave_maintenance(vmid, config, host);
            }
        } else if let Some(volid) = &system.disk {
            self.disks.write(volid).config = Some(Arc::clone(config));
        }
        // The network follows the configuration at once, long before an installation ends.
        self.configure(vmid);
    }

    /// Keeps a configuration for the next boot. Without a disk it lies in memory, and is gone by then.
    pub fn stage_config(&mut self, vmid: u32, config: &Arc<Applied>) {
        let disk = self.machines.get(&vmid).and_then(|machine| machine.system.as_ref()?.disk.clone());
        if let Some(volid) = disk {
            self.disks.write(&volid).config = Some(Arc::clone(config));
        }
    }

    /// Lets a machine run with a configuration for a while. Nothing is kept, and nothing is installed.
    pub fn try_config(&mut self, vmid: u32, config: &Arc<Applied>, span: Duration) {
        let until = self.now + span;
        let Some(system) = self.machines.get_mut(&vmid).and_then(|machine| machine.system.as_mut()) else { return };
        // A second trial goes back to where the first began.
        let before = system.trial.take().map_or_else(|| system.config.clone(), |trial| trial.before);
        system.trial = Some(Trial { until, before });
        system.config = Some(Arc::clone(config));
        self.configure(vmid);
    }

    /// Ends a trial whose time has come. Answers whether it did.
    pub(super) fn end_trial(&mut self, vmid: u32) -> bool {
        let now = self.now;
        let Some(system) = self.machines.get_mut(&vmid).and_then(|machine| machine.system.as_mut()) else {
            return false;
        };
        let Some(trial) = system.trial.take_if(|trial| now >= trial.until) else { return false };
        system.config = trial.before;
        self.configure(vmid);
        true
    }

    /// Starts etcd on a new cluster of one.
    pub fn bootstrap(&mut self, vmid: u32) -> Result<EtcdId, BootstrapRefusal> {
        let machine = self.machines.get(&vmid).ok_or(BootstrapRefusal::NotYet)?;
        let system = machine.system.as_ref().ok_or(BootstrapRefusal::NotYet)?;
        if !matches!(machine.stage, Stage::Booting | Stage::Running) {
            return Err(BootstrapRefusal::NotYet);
        }
        if machine.role() != Some(Role::ControlPlane) {
            return Err(BootstrapRefusal::Worker);
        }
        let volid = system.disk.clone().ok_or(BootstrapRefusal::NotYet)?;
        if system.config.as_ref().is_none_or(|config| !config.etcd) {
            return Err(BootstrapRefusal::NoEtcd);
        }
        if self.disks.get(&volid).is_some_and(|disk| disk.etcd.is_some()) {
            return Err(BootstrapRefusal::HasData);
        }
        let id = EtcdId(self.etcds.len() as u64 + 1);
        let (hostname, ip) = (system.hostname.clone(), system.addresses.first().map(|address| address.ip));
        let member = self.etcds.entry(id).or_default().join(&hostname, ip, &volid);
        self.disks.write(&volid).etcd = Some((id, member));
        Ok(id)
    }

    /// Reboots: with kexec where Talos would, so that a wrong boot order stays unseen as it does in reality.
    pub fn reboot(&mut self, vmid: u32, power_cycle: bool) {
        let Some(machine) = self.machines.get_mut(&vmid) else { return };
        if machine.system.is_none() {
            return;
        }
        let path = way(machine, power_cycle);
        machine.proceed(self.now, Stage::Rebooting(path));
    }

    /// Wipes, then reboots through the firmware or powers off.
    pub fn reset_system(&mut self, vmid: u32, wipe: Wipe, reboot: bool) {
        let Some(machine) = self.machines.get_mut(&vmid) else { return };
        if let Some(volid) = machine.system.as_ref().and_then(|system| system.disk.clone()) {
            let disk = self.disks.write(&volid);
            if wipe.system {
                *disk = super::Disk::default();
            }
            if wipe.state {
                disk.config = None;
            }
            if wipe.ephemeral {
                disk.etcd = None;
            }
            if wipe.meta {
                disk.meta.clear();
            }
        }
        machine.proceed(self.now, if reboot { Stage::Rebooting(Path::Firmware) } else { Stage::Stopping });
    }

    /// Takes a member out of its cluster, by its id. `false` if there is none.
    pub fn remove_member(&mut self, etcd: EtcdId, member: u64) -> bool {
        let Some(cluster) = self.etcds.get_mut(&etcd) else { return false };
        let Some(at) = cluster.members.iter().position(|known| known.id == member) else { return false };
        let gone = cluster.members.remove(at);
        let disk = self.disks.write(&gone.volid);
        if disk.etcd != Some((etcd, member)) {
            return true;
        }
        disk.etcd = None;
        let systems = self.machines.values_mut().filter_map(|machine| machine.system.as_mut());
        for system in systems.filter(|system| system.disk.as_ref() == Some(&gone.volid)) {
            system.left_etcd = true;
        }
        true
    }

    /// Overwrites a disk. Who may be wiped is decided by the face.
    pub fn wipe_volume(&mut self, volid: &str) {
        self.disks.erase(volid);
    }

    /// Sets or removes a key of META: on the disk, or in memory where there is none yet. Answers whether it was there.
    pub fn set_meta(&mut self, vmid: u32, key: u8, value: Option<Vec<u8>>) -> bool {
        let Some(system) = self.machines.get_mut(&vmid).and_then(|machine| machine.system.as_mut()) else {
            return false;
        };
        let there = match value {
            Some(value) => system.meta.insert(key, value),
            None => system.meta.remove(&key),
        };
        if let Some(volid) = &system.disk {
            self.disks.write(volid).meta.clone_from(&system.meta);
        }
        there.is_some()
    }
}
