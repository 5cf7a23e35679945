//! Method *static*: the machine was given its address before its first boot, by the cloud-init drive.

use std::net::IpAddr;

use super::DiscoveryError;
use super::finder::Wanted;

/// The one address to look at.
pub(super) fn address(wanted: &Wanted) -> Result<IpAddr, DiscoveryError> {
    wanted.hint.ok_or_else(|| DiscoveryError::NoAddress { machine: wanted.machine.clone() })
}
