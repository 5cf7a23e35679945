//! Installing: finding the disk, pulling the installer, writing what it brings.

use std::sync::Arc;

use super::Fleet;
use super::applied::{Applied, Install};
use super::disks::devices;
use super::machine::{Job, Machine, Path, Stage, System};
use crate::lab::clock::physics;
use crate::lab::factory;
use crate::lab::hardware::Hardware;

/// What a configuration asks for, on this hardware; the error is the installer's.
pub(super) fn plan(hardware: &Hardware, system: &System, install: &Install, host: &str) -> Result<Job, String> {
    let devices = devices(hardware);
    let device = match &install.disk {
        Some(path) => devices
            .iter()
            .find(|device| format!("/dev/{}", device.name) == *path)
            .ok_or_else(|| format!("failed to stat install disk: stat {path}: no such file or directory"))?,
        None => devices.first().ok_or("no disks matched the expression")?,
    };
    let image = match (&install.image, install.unattended) {
        (Some(image), _) => image.clone(),
        (None, true) => {
            let flavour = if system.image.secureboot { "installer-secureboot" } else { "installer" };
            let image = &system.image;
            format!("{host}/{}-{flavour}/{}:{}", image.platform, image.schematic, image.version)
        }
        (None, false) => return Err("installer image is not set".into()),
    };
    Ok(Job {
        volid: device.volid.to_owned(),
        reboot: !install.unattended || install.reboot.unwrap_or(install.image.is_some()),
        image,
        unattended: install.unattended,
        pulled: None,
    })
}

impl Fleet {
    /// One step of an installation. Answers whether the machine moved on.
    pub(super) fn install(&mut self, vmid: u32, factory: &mut factory::State) -> bool {
        let (now, clock) = (self.now, self.clock);
        let Some(machine) = self.machines.get_mut(&vmid) else { return false };
        let Machine { stage: Stage::Installing(job), timer, system: Some(system), .. } = &mut *machine else {
            return false;
        };
        let mut wait = std::time::Duration::ZERO;
        if job.pulled.is_none() {
            job.pulled = Some(match factory.installer(&job.image, now, clock) {
                Ok((image, ready)) => {
                    wait = ready.saturating_sub(now);
                    Ok(image)
                }
                Err(why) => Err(format!("failed to pull image {:?}: {why}", job.image)),
            });
        }
        if !timer.held(true, now, wait + clock.span(physics::INSTALL)) {
            return false;
        }
        let job = job.clone();
        let image = match job.pulled.expect("it was pulled above") {
            // The signed kernel image is what a plain installer lacks.
            Ok(image) if system.secure_boot && !image.secureboot => {
                return fail(
                    machine,
                    "failed to install bootloader: open /usr/install/amd64/vmlinuz.efi.signed: no such file or directory",
                );
            }
            Ok(image) => image,
            Err(why) => return fail(machine, &why),
        };
        let disk = self.disks.write(&job.volid);
        disk.image = Some(image);
        disk.config.clone_from(&system.config);
        disk.etcd = None;
        let next = if !job.reboot {
            system.disk = Some(job.volid);
            Stage::Booting
        } else if system.secure_boot {
            Stage::Rebooting(Path::Firmware)
        } else {
            Stage::Rebooting(Path::Kexec(job.volid))
        };
        machine.log(&format!("[talos] install successful: {}", job.image));
        machine.proceed(now, next);
        true
    }

    /// A complete configuration has been accepted in maintenance mode.
    pub(super) fn leave_maintenance(&mut self, vmid: u32, config: &Arc<Applied>, host: &str) {
        let Some(machine) = self.machines.get_mut(&vmid) else { return };
        let Machine { hardware, system: Some(system), .. } = &mut *machine else { return };
        system.lingers = system.minor.unified_maintenance;
        if let Some(volid) = &system.disk {
            // Already installed: the configuration goes to STATE, and nothing is written or rebooted.
            self.disks.write(volid).config = Some(Arc::clone(config));
            return machine.proceed(self.now, Stage::Booting);
        }
        match &config.install {
            Some(install) => match plan(hardware, system, install, host) {
                Ok(job) => machine.proceed(self.now, Stage::Installing(job)),
                Err(why) => drop(fail(machine, &why)),
            },
            // Talos 1.14 runs on without a system disk and waits for somebody to install; before, the sequence failed.
            None if system.minor.unattended_install => machine.proceed(self.now, Stage::Booting),
            None => drop(fail(machine, "either install disk or diskSelector should be defined")),
        }
    }
}

fn fail(machine: &mut Machine, why: &str) -> bool {
    machine.log(&format!("[talos] install sequence failed: {why}"));
    machine.enter(Stage::InstallFailed(why.to_owned()));
    true
}
