//! Upgrading in place: another system beside the first on the disk, and the way back to it.
//!
//! Talos 1.13: internal/app/machined/pkg/runtime/v1alpha1 (sequence `upgrade`), internal/app/lifecycle.

use std::time::Duration;

use super::Fleet;
use super::machine::{Machine, Path, Stage};
use crate::lab::clock::physics;
use crate::lab::factory;
use crate::lab::hardware::Firmware;
use crate::lab::image::Image;

/// Hosts whose images a machine needs from the first boot on, and gets from everywhere.
const REGISTRIES: [&str; 3] = ["registry.k8s.io", "ghcr.io", "gcr.io"];

/// META's key of an upgrade that waits for the next boot (Talos: pkg/machinery/meta).
const STAGED: u8 = 0x07;

/// What is to replace the system that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    pub reference: String,
    pub image: Image,
    /// The reboot goes through the firmware.
    pub power_cycle: bool,
    /// The factory still builds it for so long.
    pub wait: Duration,
}

impl Fleet {
    /// Pulls an image to a machine; an installer's tells what it would install, and from when on.
    pub fn pull(
        &mut self,
        vmid: u32,
        reference: &str,
        factory: &mut factory::State,
    ) -> Result<Option<(Image, Duration)>, String> {
        let host = reference.split('/').next().unwrap_or_default();
        let found = if REGISTRIES.contains(&host) {
            None
        } else {
            let (image, ready) = factory.installer(reference, self.now, self.clock)?;
            Some((image, ready.saturating_sub(self.now)))
        };
        if let Some(system) = self.machines.get_mut(&vmid).and_then(|machine| machine.system.as_mut()) {
            system.pulled.insert(reference.to_owned(), found.as_ref().map(|(image, _): &(Image, _)| image.clone()));
        }
        Ok(found)
    }

    /// Forgets an image that was pulled by hand. Answers whether it was.
    pub fn remove_image(&mut self, vmid: u32, reference: &str) -> bool {
        let system = self.machines.get_mut(&vmid).and_then(|machine| machine.system.as_mut());
        system.is_some_and(|system| system.pulled.remove(reference).is_some())
    }

    /// Starts an upgrade: now, or with `staged` at the next boot, which follows at once.
    pub fn upgrade(&mut self, vmid: u32, renewal: Renewal, staged: bool) {
        let Some(machine) = self.machines.get_mut(&vmid) else { return };
        if !staged {
            return machine.proceed(self.now, Stage::Upgrading(renewal));
        }
        let path = way(machine, renewal.power_cycle);
        let Some(system) = &mut machine.system else { return };
        let Some(volid) = &system.disk else { return };
        system.meta.insert(STAGED, renewal.reference.clone().into_bytes());
        let disk = self.disks.write(volid);
        disk.meta.clone_from(&system.meta);
        disk.staged = Some(renewal);
        machine.proceed(self.now, Stage::Rebooting(path));
    }

    /// Goes on with an upgrade that waited for this boot. Answers whether one did.
    pub(super) fn resume_upgrade(&mut self, vmid: u32) -> bool {
        let Some(machine) = self.machines.get_mut(&vmid) else { return false };
        let Some(system) = &mut machine.system else { return false };
        let Some(disk) = system.disk.as_ref().map(|volid| self.disks.write(volid)) else { return false };
        let Some(renewal) = disk.staged.take() else { return false };
        disk.meta.remove(&STAGED);
        system.meta.remove(&STAGED);
        machine.proceed(self.now, Stage::Upgrading(renewal));
        true
    }

    /// One step of an upgrade. Answers whether the machine moved on.
    pub(super) fn renew(&mut self, vmid: u32) -> bool {
        let (now, clock) = (self.now, self.clock);
        let Some(machine) = self.machines.get_mut(&vmid) else { return false };
        let Machine { stage: Stage::Upgrading(renewal), timer, .. } = &mut *machine else { return false };
        if !timer.held(true, now, renewal.wait + clock.span(physics::INSTALL)) {
            return false;
        }
        let renewal = renewal.clone();
        let path = match self.replace(vmid, &renewal.image) {
            Ok(()) => self.machines.get(&vmid).map(|machine| way(machine, renewal.power_cycle)),
            Err(why) => {
                // A sequence that fails for good ends in a reboot, into what was there before.
                let machine = self.machines.get_mut(&vmid);
                machine.map(|machine| {
                    machine.log(&format!("[talos] upgrade failed: {why}"));
                    Path::Firmware
                })
            }
        };
        let (Some(path), Some(machine)) = (path, self.machines.get_mut(&vmid)) else { return false };
        machine.proceed(now, Stage::Rebooting(path));
        true
    }

    /// Writes another system beside the one that is installed. What runs goes on until the next boot.
    pub fn replace(&mut self, vmid: u32, image: &Image) -> Result<(), String> {
        let machine = self.machines.get_mut(&vmid).ok_or("the machine has no power")?;
        let system = machine.system.as_ref().ok_or("nothing runs on the machine")?;
        let volid = system.disk.clone().ok_or("system disk not found")?;
        if system.secure_boot && !image.secureboot {
            // The signed kernel image is what a plain installer lacks.
            let signed = "/usr/install/amd64/vmlinuz.efi.signed";
            return Err(format!("failed to install bootloader: open {signed}: no such file or directory"));
        }
        machine.log(&format!("[talos] upgrade successful: {}", image.version));
        let disk = self.disks.write(&volid);
        if disk.image.as_ref() != Some(image) {
            disk.previous = disk.image.replace(image.clone());
        }
        Ok(())
    }

    /// Puts the system before this one back in its place, and reboots. The error is the boot loader's.
    pub fn roll_back(&mut self, vmid: u32) -> Result<(), &'static str> {
        let machine = self.machines.get_mut(&vmid).ok_or("system disk not found")?;
        let volid = machine.system.as_ref().and_then(|system| system.disk.clone()).ok_or("system disk not found")?;
        let disk = self.disks.write(&volid);
        let Some(previous) = disk.previous.take() else {
            return Err(match machine.hardware.firmware {
                Firmware::Ovmf { .. } => "previous UKI not found",
                Firmware::SeaBios => "cannot rollback to \"\", label does not exist",
            });
        };
        disk.previous = disk.image.replace(previous);
        self.reboot(vmid, false);
        Ok(())
    }

    /// Installs on a machine that runs without a system disk, which needs no reboot for it.
    pub fn install_beside(&mut self, vmid: u32, path: &str, image: &Image) -> Result<(), String> {
        let machine = self.machines.get_mut(&vmid).ok_or("the machine has no power")?;
        let devices = super::devices(&machine.hardware);
        let device = devices.iter().find(|device| format!("/dev/{}", device.name) == path);
        let volid = device.ok_or(format!("lstat {path}: no such file or directory"))?.volid.to_owned();
        let Some(system) = &mut machine.system else { return Err("nothing runs on the machine".into()) };
        let disk = self.disks.write(&volid);
        disk.image = Some(image.clone());
        disk.config.clone_from(&system.config);
        disk.etcd = None;
        system.disk = Some(volid);
        machine.log(&format!("[talos] install successful: {}", image.version));
        Ok(())
    }
}

/// The way to the next boot: with kexec where Talos would.
pub(super) fn way(machine: &Machine, power_cycle: bool) -> Path {
    let system = machine.system.as_ref();
    match system.and_then(|system| system.disk.clone()) {
        Some(volid) if !power_cycle && system.is_some_and(|system| !system.secure_boot) => Path::Kexec(volid),
        _ => Path::Firmware,
    }
}
