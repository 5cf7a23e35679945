//! The machines: what the VMs of the site boot, and what becomes of them.
//!
//! Pure state and time; the driver in `lab` turns its wishes into listeners.

use serde_json::Value;

use super::hardware::{Hardware, Medium};
use super::site::Site;

/// Every machine that has power, and every disk that was ever written.
pub struct Fleet {}

impl Fleet {
    pub fn new(_site: &Site) -> Self {
        Self {}
    }

    /// The hypervisor process runs: firmware comes next.
    pub fn power_on(&mut self, _hardware: Hardware) {}

    /// Power is cut. Disks and variable stores keep what was written.
    pub fn power_off(&mut self, _vmid: u32) {}

    /// The reset button: power stays, the boot order is tried again.
    pub fn reset(&mut self, _vmid: u32) {}

    /// The ACPI button or the guest agent's shutdown: the guest powers itself off when it is done.
    pub fn press_power_button(&mut self, _vmid: u32) {}

    /// Whether the hypervisor process of this VM runs. A guest that shuts down ends it.
    pub fn is_powered(&self, _vmid: u32) -> bool {
        false
    }

    /// A drive of a running VM was ejected or changed.
    pub fn change_medium(&mut self, _vmid: u32, _device: &str, _medium: Medium) {}

    /// The volume was freed: whatever was on it is gone.
    pub fn erase(&mut self, _volid: &str) {}

    /// The volume was made from an image that begins with `head`.
    pub fn imprint(&mut self, _volid: &str, _head: &[u8]) {}

    /// The guest agent's `network-get-interfaces` result, if the agent answers.
    pub fn agent_interfaces(&self, _vmid: u32) -> Option<Value> {
        None
    }
}
