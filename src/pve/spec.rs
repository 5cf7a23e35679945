//! A VM as a create request makes it: the parameters, exactly and in a stable order.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::inventory::Mac;

/// Everything about a machine's VM. A step holds it, the plan prints [`params`](Self::params).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSpec {
    pub vmid: u32,
    pub node: String,
    /// A DNS name; Proxmox does not keep it unique.
    pub name: String,
    /// Lower case, `[a-z0-9_][a-z0-9_.+-]*`. With rights on a pool alone see [`crate::pve::Quirks::tags_need_rights_on_vms`].
    pub tags: Vec<String>,
    /// At most 8192 characters.
    pub description: String,
    pub pool: Option<String>,
    /// `x86-64-v2-AES`, `host`, … Proxmox's default is too old for Talos.
    pub cpu: String,
    pub cores: u32,
    pub memory_mib: u64,
    pub disk_gib: u64,
    pub disk_storage: String,
    /// Volume id of the boot image: `local:iso/talos.iso`.
    pub iso: String,
    pub bridge: String,
    pub vlan: Option<u16>,
    /// Without one Proxmox makes one, and makes sure of nothing.
    pub mac: Option<Mac>,
    /// The guest sees it as its DMI system UUID. Always sent: Proxmox invents one only when smbios1 is absent altogether.
    pub uuid: Uuid,
    /// `virtio-scsi-pci` or `virtio-scsi-single`.
    pub scsihw: String,
    /// UEFI with an empty variable store: in setup mode, so that a SecureBoot image can enrol its own keys.
    pub uefi: bool,
    /// A TPM 2.0.
    pub tpm: bool,
    /// Tell Proxmox that a guest agent will answer.
    pub agent: bool,
    /// A serial console beside the display.
    pub serial: bool,
    pub cloud_init: Option<CloudInit>,
}

/// First address by cloud-init, for images of the `nocloud` platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudInit {
    /// Where the small drive is kept.
    pub storage: String,
    /// `ip=192.168.22.101/22,gw=192.168.23.254` or `ip=dhcp`.
    pub ipconfig0: String,
    /// Servers separated by blanks.
    pub nameserver: Option<String>,
}

impl VmSpec {
    /// The form of `POST /nodes/N/qemu`.
    ///
    /// The disk comes before the image in the boot order: the empty disk is passed over until Talos is installed, so
    /// nothing has to be changed between the two boots. Nothing optional is sent: whatever Proxmox does
    /// not list in a privilege is for the real root only (qemu-server 9.2: src/PVE/API2/Qemu.pm).
    pub fn params(&self) -> Vec<(String, String)> {
        let mut form = Form(Vec::new());
        form.put("vmid", self.vmid.to_string());
        form.put("name", self.name.clone());
        if let Some(pool) = &self.pool {
            form.put("pool", pool.clone());
        }
        if !self.tags.is_empty() {
            form.put("tags", self.tags.join(";"));
        }
        if !self.description.is_empty() {
            form.put("description", self.description.clone());
        }
        form.put("ostype", "l26");
        form.put("machine", "q35");
        if self.uefi {
            form.put("bios", "ovmf");
            // The size is demanded and ignored.
            form.put("efidisk0", format!("{}:1,efitype=4m,pre-enrolled-keys=0", self.disk_storage));
        }
        if self.tpm {
            form.put("tpmstate0", format!("{}:1,version=v2.0", self.disk_storage));
        }
        form.put("cpu", self.cpu.clone());
        form.put("sockets", "1");
        form.put("cores", self.cores.to_string());
        form.put("numa", "0");
        form.put("memory", self.memory_mib.to_string());
        // The kubelet counts on the memory that it saw at boot.
        form.put("balloon", "0");
        form.put("scsihw", self.scsihw.clone());
        // GiB without a unit: with one it would be read as the name of a volume.
        form.put("scsi0", format!("{}:{},discard=on,ssd=1", self.disk_storage, self.disk_gib));
        form.put("ide2", format!("{},media=cdrom", self.iso));
        if let Some(cloud_init) = &self.cloud_init {
            form.put("ide0", format!("{}:cloudinit", cloud_init.storage));
            form.put("ipconfig0", cloud_init.ipconfig0.clone());
            if let Some(nameserver) = &cloud_init.nameserver {
                form.put("nameserver", nameserver.clone());
            }
        }
        form.put("boot", "order=scsi0;ide2");
        let model = self.mac.map_or_else(|| "virtio".to_owned(), |mac| format!("virtio={mac}"));
        let tag = self.vlan.map_or_else(String::new, |vlan| format!(",tag={vlan}"));
        form.put("net0", format!("{model},bridge={}{tag}", self.bridge));
        if self.serial {
            form.put("serial0", "socket");
        }
        if self.agent {
            form.put("agent", "enabled=1");
        }
        form.put("smbios1", format!("uuid={}", self.uuid));
        form.put("onboot", "1");
        form.0
    }
}

struct Form(Vec<(String, String)>);

impl Form {
    fn put(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }
}
