//! The run's signature on what it created, and how it is recognised again.
//!
//! A VM is ours when three things agree: its tag names the cluster, its
//! description names machine and nonce, and its SMBIOS UUID is the one that only
//! this nonce and this machine name give. A clone carries our tags and
//! description with it but gets another UUID (qemu-server: src/PVE/API2/Qemu.pm,
//! clone), so it is never mistaken for ours; neither is a VM that was restored
//! under a freed VMID.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::pve::VmConfig;

/// Tag of everything that this program makes.
pub const TAG: &str = "pvetalos";

/// Whose run it is: the cluster, and a nonce that no other run has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub cluster: String,
    pub nonce: Uuid,
}

/// What a VM's description says of its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub mark: Mark,
    pub machine: String,
    /// The volume id of the boot image, if the run that made the VM also fetched that.
    pub image: Option<String>,
}

/// Begins the line that names a boot image.
const IMAGE: &str = "pvetalos-image: ";

/// The line of a description that says that the VM's run fetched `volid`.
pub(super) fn fetched(volid: &str) -> String {
    format!("\n{IMAGE}{volid}")
}

impl Mark {
    pub fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), nonce: Uuid::new_v4() }
    }

    /// The cluster's tag. Tags allow `[a-z0-9_][a-z0-9_\-+.]*` (pve-common: src/PVE/JSONSchema.pm), a cluster's name
    /// is a DNS label, so it needs no escaping.
    pub fn tag(cluster: &str) -> String {
        format!("{TAG}.{cluster}")
    }

    /// The SMBIOS UUID of `machine`: derived, so that it is known before the VM is and after the journal is lost.
    pub fn uuid(&self, machine: &str) -> Uuid {
        Uuid::new_v5(&self.nonce, machine.as_bytes())
    }

    /// The VM's description: a line for people, a line for us.
    pub fn description(&self, machine: &str) -> String {
        format!(
            "Talos machine {machine} of cluster {}, made by pvetalos.\n\npvetalos: cluster={} machine={machine} nonce={}",
            self.cluster, self.cluster, self.nonce
        )
    }

    /// Whether `config` is the VM that this run made for `machine`.
    pub fn owns(&self, machine: &str, config: &VmConfig) -> bool {
        config.uuid() == Some(self.uuid(machine))
    }
}

impl Claim {
    /// Reads the claim of a VM's configuration and proves it: the UUID must follow from the nonce and the name.
    /// `None` for a VM that is not ours, whatever its tags say.
    pub fn proven(config: &VmConfig) -> Option<Self> {
        let line = config.description().lines().find_map(|line| line.strip_prefix("pvetalos: "))?;
        let field = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let mark = Mark { cluster: field("cluster")?.to_owned(), nonce: field("nonce")?.parse().ok()? };
        let machine = field("machine")?.to_owned();
        let image = config.description().lines().find_map(|line| line.strip_prefix(IMAGE)).map(str::to_owned);
        mark.owns(&machine, config).then_some(Self { mark, machine, image })
    }
}
