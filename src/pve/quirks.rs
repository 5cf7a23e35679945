//! What differs between the major versions of Proxmox VE. Code asks a field and never compares a version.

use super::error::PveError;

/// One row per major.
#[derive(Debug, PartialEq, Eq)]
pub struct Quirks {
    pub major: u32,
    /// What the guest agent's addresses need on `/vms/ID`.
    ///
    /// pve-access-control 9.1: VM.Monitor is gone, naming it in a role is an error; 8.x does not know VM.GuestAgent.*.
    pub guest_agent_privilege: &'static str,
    /// Whether tags at create are checked without regard to the pool, so that rights on `/pool/P` alone do not suffice.
    ///
    /// qemu-server 9.2: the check runs in the worker, before the VM joins its pool.
    pub tags_need_rights_on_vms: bool,
}

/// Newest first.
static ROWS: [Quirks; 2] = [
    Quirks { major: 9, guest_agent_privilege: "VM.GuestAgent.Audit", tags_need_rights_on_vms: true },
    Quirks { major: 8, guest_agent_privilege: "VM.Monitor", tags_need_rights_on_vms: false },
];

/// The row of `major`; one that is newer than we know behaves like the newest known.
pub(super) fn of(major: u32, release: &str) -> Result<&'static Quirks, PveError> {
    ROWS.iter().find(|row| row.major <= major).ok_or_else(|| PveError::TooOld(release.to_owned()))
}
