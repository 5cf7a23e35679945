//! From power to the first API.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::applied::Applied;
use super::firmware::{self, Handover};
use super::machine::{Machine, Path, Stage, System, Timer};
use super::seed::Seed;
use super::{Fleet, disks, minor};
use crate::lab::hardware::{Firmware, Medium};
use uuid::Uuid;

/// Talos's own words, which its console repeats every 30 seconds.
const HALTED: &str = "Talos is already installed to disk but booted from another media and talos.halt_if_installed \
                      kernel parameter is set. Please reboot from the disk.";

impl Fleet {
    /// Starts whatever `path` leads to.
    pub(super) fn boot(&mut self, vmid: u32, path: &Path) {
        let Some(machine) = self.machines.get_mut(&vmid) else { return };
        machine.system = None;
        machine.enter(Stage::Starting);
        let store = match &machine.hardware.firmware {
            Firmware::Ovmf { vars, .. } => vars.clone(),
            Firmware::SeaBios => None,
        };
        let enrolled = match &store {
            Some(store) => self.disks.is_enrolled(store),
            None => machine.volatile_keys,
        };
        let handover = match path {
            Path::Firmware => firmware::hand_over(&machine.hardware, &self.disks, enrolled),
            Path::Kexec(volid) => match self.disks.installed(volid).cloned() {
                Some(image) => {
                    let uki = matches!(machine.hardware.firmware, Firmware::Ovmf { .. });
                    Handover::Boots { image, disk: Some(volid.clone()), secure_boot: false, uki, enrols: false }
                }
                None => Handover::Stops("kexec: no kernel was loaded"),
            },
        };
        let (image, disk, secure_boot, uki) = match handover {
            Handover::Stops(why) => return machine.die(why),
            Handover::Boots { image, disk, secure_boot, uki, enrols } => {
                if enrols {
                    match &store {
                        Some(store) => self.disks.enrol(store),
                        None => machine.volatile_keys = true,
                    }
                    machine.log("systemd-boot: enrolled secure boot keys, rebooting");
                }
                (image, disk, secure_boot, uki)
            }
        };
        if firmware::is_old_cpu(&machine.hardware.cpu) {
            return machine.die(firmware::OLD_CPU);
        }
        self.boots += 1;
        let meta =
            disk.as_ref().and_then(|volid| self.disks.get(volid)).map(|disk| disk.meta.clone()).unwrap_or_default();
        machine.log(&format!("[talos] booting {} ({})", image.version, image.platform));
        machine.system = Some(System {
            minor: minor::of(&image.version),
            image,
            disk,
            secure_boot,
            uki,
            boot: self.boots,
            boot_id: Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{vmid}/{}", self.boots).as_bytes()),
            began: self.now,
            revision: 0,
            seed: None,
            config: None,
            trial: None,
            meta,
            history: VecDeque::new(),
            told: 0,
            printed: 0,
            services: BTreeMap::new(),
            dmesg: Vec::new(),
            usage_printed: false,
            pulled: BTreeMap::new(),
            hostname: String::new(),
            addresses: Vec::new(),
            vips: Vec::new(),
            certified: false,
            left_etcd: false,
            etcd_up: false,
            etcd_healthy: false,
            kube_up: false,
            joined: None,
            node_ready: false,
            lingers: false,
            handover_timer: Timer::default(),
            etcd_timer: Timer::default(),
            kube_timer: Timer::default(),
            node_timer: Timer::default(),
        });
    }

    /// User space is up: looks for an installation, a configuration and addresses.
    pub(super) fn arrive(&mut self, vmid: u32) {
        let Some(machine) = self.machines.get_mut(&vmid) else { return };
        let Machine { hardware, system: Some(system), .. } = &mut *machine else { return };
        if system.disk.is_none()
            && disks::devices(hardware).iter().any(|device| self.disks.installed(device.volid).is_some())
        {
            return machine.die(HALTED);
        }
        if system.image.platform == "nocloud" {
            let drives = hardware.drives.iter().filter_map(|drive| match &drive.medium {
                Medium::Cdrom { data, .. } => Some(&data[..]),
                Medium::Disk { volid, .. } => self.disks.get(volid)?.cidata.as_deref(),
                Medium::Empty => None,
            });
            match Seed::read(drives, hardware.serial.as_deref(), system.minor) {
                Ok(seed) => system.seed = seed,
                Err(why) => return machine.die(&format!("[talos] error acquiring the configuration: {why}")),
            }
        }
        system.config = system.disk.as_ref().and_then(|volid| self.disks.get(volid)?.config.clone());
        let seeded = system.seed.as_ref().and_then(|seed| seed.config.as_ref()).filter(|_| system.config.is_none());
        if let Some(text) = seeded {
            match Applied::parse(text) {
                Ok(config) => system.config = Some(Arc::new(config)),
                Err(why) => return machine.die(&format!("[talos] error acquiring the configuration: {why}")),
            }
            if let Some(config) = system.config.clone().filter(|config| config.complete) {
                let host = self.host.clone();
                self.leave_maintenance(vmid, &config, &host);
                return self.configure(vmid);
            }
        }
        let configured = system.config.as_ref().is_some_and(|config| config.complete);
        if self.resume_upgrade(vmid) {
            return self.configure(vmid);
        }
        let Some(machine) = self.machines.get_mut(&vmid) else { return };
        machine.proceed(self.now, if configured { Stage::Booting } else { Stage::Maintenance });
        self.configure(vmid);
    }

    /// Gives the machine the addresses and the name that its configuration, its seed and DHCP come to.
    pub(super) fn configure(&mut self, vmid: u32) {
        let taken = self.taken(vmid);
        let pinned = self.impostors.get(&vmid).map(|impostor| impostor.ip);
        let Some(machine) = self.machines.get_mut(&vmid) else { return };
        let Machine { hardware, system: Some(system), .. } = &mut *machine else { return };
        system.addresses = super::lan::addresses(&self.network, &self.bridges, hardware, system, &taken);
        if let Some(ip) = pinned {
            let prefix = self.network.cidr.prefix_len();
            system.addresses = vec![super::Address { nic: 0, ip, prefix, leased: false, connected: true }];
        }
        let config = system.config.as_ref().and_then(|config| config.hostname.clone());
        let seed = system.seed.as_ref().and_then(|seed| seed.hostname.clone());
        let stable = hardware.uuid.unwrap_or_default().simple().to_string();
        system.hostname = config.or(seed).unwrap_or_else(|| format!("talos-{}-{}", &stable[..3], &stable[3..6]));
        system.revision += 1;
        let reachable: Vec<String> = system.addresses.iter().map(|address| address.ip.to_string()).collect();
        if machine.stage == Stage::Maintenance && machine.said != reachable {
            // Talos prints nothing of the kind later.
            machine.inform("this machine is reachable at:", &[]);
            for ip in &reachable {
                machine.inform(&format!("\t{ip}"), &[]);
            }
            machine.said = reachable;
        }
    }
}
