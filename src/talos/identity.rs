//! Who a machine is, by its own account: what decides whether it is ours.

use uuid::Uuid;

use super::wire::specs::{
    DiskSpec, LinkStatusSpec, LinkType, SecurityStateSpec, SystemDiskSpec, SystemInformationSpec, VersionSpec,
};
use super::{Talos, TalosError};
use crate::inventory::Mac;

/// What a machine says about itself, in maintenance and running alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// SMBIOS system UUID, Proxmox's `smbios1: uuid=`. `None` while the machine has not read it yet.
    pub uuid: Option<Uuid>,
    /// Addresses of its physical Ethernet links, in no particular order.
    pub macs: Vec<Mac>,
    /// The Talos that runs, without `v`. `None` on 1.9, which does not tell.
    pub version: Option<String>,
    /// Whether the firmware enforced SecureBoot for this boot.
    pub secure_boot: Option<bool>,
    pub disks: Vec<Disk>,
    /// Whether Talos is installed on one of them.
    pub installed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// `/dev/sda`.
    pub dev_path: String,
    /// Bytes.
    pub size: u64,
    pub cdrom: bool,
    pub readonly: bool,
}

impl Talos {
    /// Reads who the machine is. All of it is readable in maintenance mode on every version.
    pub async fn identity(&self) -> Result<Identity, TalosError> {
        let (system, links, version, security, disks, system_disk) = tokio::try_join!(
            self.get::<SystemInformationSpec>("systeminformation"),
            self.list::<LinkStatusSpec>(),
            self.get::<VersionSpec>("version"),
            self.get::<SecurityStateSpec>("securitystate"),
            self.list::<DiskSpec>(),
            self.get::<SystemDiskSpec>("system-disk"),
        )?;
        Ok(Identity {
            uuid: system.and_then(|system| system.uuid.parse().ok()),
            macs: links.iter().flat_map(|(_, link)| macs(link)).collect(),
            version: version.map(|version| version.version.trim_start_matches('v').to_owned()),
            secure_boot: security.map(|security| security.secure_boot),
            disks: disks.into_iter().map(|(_, disk)| disk.into()).collect(),
            installed: system_disk.is_some(),
        })
    }
}

/// The MACs of a physical link, as Talos itself defines physical: Ethernet without a kind
/// (Talos 1.13: pkg/machinery/resources/network/link_status.go). A bond slave has its own one as `permanent_addr`.
fn macs(link: &LinkStatusSpec) -> impl Iterator<Item = Mac> + use<> {
    let physical = link.r#type == LinkType::LinkEther as i32 && link.kind.is_empty();
    let mac = |bytes: &[u8]| <[u8; 6]>::try_from(bytes).ok().filter(|bytes| physical && *bytes != [0; 6]).map(Mac);
    let current = mac(&link.hardware_addr);
    let permanent = mac(&link.permanent_addr).filter(|permanent| Some(*permanent) != current);
    current.into_iter().chain(permanent)
}

impl From<DiskSpec> for Disk {
    fn from(disk: DiskSpec) -> Self {
        Self { dev_path: disk.dev_path, size: disk.size, cdrom: disk.cdrom, readonly: disk.readonly }
    }
}
