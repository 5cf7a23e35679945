//! The seam between the two halves of the lab: what Proxmox hands to a machine at power-on.
//!
//! The Proxmox half builds a [`Hardware`] from the VM's configuration when a
//! start task reaches the hypervisor; the fleet boots it. Between the two
//! nothing else is shared, as between QEMU and its guest.

use std::net::Ipv4Addr;

use bytes::Bytes;
use uuid::Uuid;

use crate::inventory::Mac;

/// A VM as its guest sees it, fixed at power-on except for [`Medium`]s, which may be ejected.
#[derive(Clone, Debug)]
pub struct Hardware {
    pub vmid: u32,
    /// Proxmox's name for the VM; guests do not see it.
    pub name: String,
    pub node: String,
    /// SMBIOS type 1 UUID.
    pub uuid: Option<Uuid>,
    /// SMBIOS type 1 serial, decoded.
    pub serial: Option<String>,
    pub firmware: Firmware,
    /// The CPU model asked for; `kvm64` when the configuration names none.
    pub cpu: String,
    pub cores: u32,
    pub memory_mib: u64,
    pub nics: Vec<Nic>,
    pub drives: Vec<Drive>,
    /// Device names in the order in which the firmware tries them.
    pub boot: Vec<String>,
    /// The guest agent's channel is there.
    pub agent: bool,
    pub tpm: bool,
    pub serial_console: bool,
}

/// What runs before the guest.
#[derive(Clone, Debug)]
pub enum Firmware {
    SeaBios,
    Ovmf {
        /// q35 and a 4m variable store: qemu-server then takes the build that can do SecureBoot.
        secure_boot_capable: bool,
        /// Volume id of the variable store. Without one, enrolled keys are forgotten at power-off.
        vars: Option<String>,
        /// Microsoft's keys are in the store: a loader signed by anybody else is refused.
        pre_enrolled: bool,
    },
}

/// A network card, `net0` first.
#[derive(Clone, Debug)]
pub struct Nic {
    pub model: String,
    pub mac: Mac,
    pub bridge: String,
    pub vlan: Option<u16>,
    pub link_up: bool,
    /// What the network's own DHCP server keeps for the card; on other networks nobody may count on a lease.
    pub lease: Option<Ipv4Addr>,
}

/// A drive by its Proxmox name: `scsi0`, `ide2`, `virtio0`.
#[derive(Clone, Debug)]
pub struct Drive {
    pub device: String,
    pub medium: Medium,
}

/// What is in a drive.
#[derive(Clone, Debug)]
pub enum Medium {
    Disk {
        volid: String,
        bytes: u64,
        serial: Option<String>,
    },
    /// `data` is the whole file, for [`super::image::Image::parse`] and [`super::cidata::parse`].
    Cdrom {
        volid: String,
        data: Bytes,
    },
    Empty,
}
