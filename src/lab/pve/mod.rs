//! Proxmox VE's half of the lab: its state, and the HTTPS face of it.

use super::site::Site;

/// VMs, volumes, tasks, users: everything that the Proxmox API shows.
pub struct State {}

impl State {
    pub fn new(_site: &Site) -> Self {
        Self {}
    }
}
