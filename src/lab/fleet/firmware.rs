//! Firmware: tries the boot order and hands over to the first loader that it accepts.

use super::disks::Disks;
use crate::lab::hardware::{Firmware, Hardware, Medium};
use crate::lab::image::Image;

/// What the firmware came to.
#[derive(Debug)]
pub(super) enum Handover {
    Boots {
        image: Image,
        /// The volume; `None` is the CD.
        disk: Option<String>,
        secure_boot: bool,
        uki: bool,
        /// Talos's keys were enrolled on the way, which cost one reset.
        enrols: bool,
    },
    /// Nothing more happens; this stands on the screen.
    Stops(&'static str),
}

/// Models below x86-64-v2, on which Talos halts. `kvm64` is Proxmox's default.
const OLD_CPUS: [&str; 14] = [
    "486", "athlon", "Conroe", "core2duo", "coreduo", "kvm32", "kvm64", "pentium", "pentium2", "pentium3", "phenom",
    "qemu32", "qemu64", "Penryn",
];

pub(super) const OLD_CPU: &str = "x86_64 microarchitecture level 1 is not supported: Talos needs x86-64-v2, so the VM needs another CPU type; halting";

pub(super) fn is_old_cpu(cpu: &str) -> bool {
    OLD_CPUS.contains(&cpu)
}

/// One pass through the boot order. An empty drive falls through; a loader that is refused does too.
pub(super) fn hand_over(hardware: &Hardware, disks: &Disks, enrolled: bool) -> Handover {
    let mut stop = "No bootable device.";
    for device in &hardware.boot {
        let Some(drive) = hardware.drives.iter().find(|drive| drive.device == *device) else { continue };
        let (image, disk) = match &drive.medium {
            Medium::Disk { volid, .. } => (disks.installed(volid).cloned(), Some(volid.clone())),
            Medium::Cdrom { data, .. } => (Image::parse(data), None),
            Medium::Empty => (None, None),
        };
        let Some(image) = image else { continue };
        match accept(&hardware.firmware, &image, disk.is_none(), enrolled) {
            Ok((secure_boot, enrols)) => {
                let uki = matches!(hardware.firmware, Firmware::Ovmf { .. });
                return Handover::Boots { image, disk, secure_boot, uki, enrols };
            }
            Err(why) => stop = why,
        }
    }
    Handover::Stops(stop)
}

/// Whether the loader may run, and then: with SecureBoot on, and with keys newly enrolled.
fn accept(firmware: &Firmware, image: &Image, cd: bool, enrolled: bool) -> Result<(bool, bool), &'static str> {
    match firmware {
        // SecureBoot images have systemd-boot alone, and that needs UEFI.
        Firmware::SeaBios if image.secureboot => Err("No bootable device."),
        Firmware::SeaBios | Firmware::Ovmf { secure_boot_capable: false, .. } => Ok((false, false)),
        Firmware::Ovmf { .. } if enrolled && image.secureboot => Ok((true, false)),
        Firmware::Ovmf { .. } if enrolled => Err("Access Denied"),
        // Microsoft did not sign Talos.
        Firmware::Ovmf { pre_enrolled: true, .. } => Err("Access Denied"),
        // Setup mode: the ISO's loader enrols its keys and resets; one on disk does not.
        Firmware::Ovmf { .. } => Ok((image.secureboot && cd, image.secureboot && cd)),
    }
}
