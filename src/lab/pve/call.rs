//! One call, as a handler sees it.

use super::acl;
use super::answer::Failure;
use super::auth::Identity;
use super::release::Release;
use super::schema::Schema;
use super::verify::Params;
use super::vm::Vm;
use crate::lab::world::World;

/// A call that is permitted and whose parameters are verified. Lives under the world's lock.
pub(super) struct Call<'a> {
    pub world: &'a mut World,
    pub who: &'a Identity,
    pub params: Params,
    /// Epoch seconds.
    pub now: i64,
}

impl Call<'_> {
    pub(super) fn release(&self) -> Release {
        self.world.pve.release
    }

    pub(super) fn schema(&self) -> &'static Schema {
        self.release().schema()
    }

    /// The node of the path.
    pub(super) fn node(&self) -> &str {
        self.text("node")
    }

    /// The VMID of the path or body. Verified, so 0 only where the call has none.
    pub(super) fn vmid(&self) -> u32 {
        self.number("vmid").unwrap_or(0)
    }

    pub(super) fn opt(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }

    /// A parameter, or the empty string.
    pub(super) fn text(&self, name: &str) -> &str {
        self.opt(name).unwrap_or_default()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.opt(name) == Some("1")
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.opt(name)?.parse().ok()
    }

    pub(super) fn require(&self, path: &str, privileges: &[&str]) -> Result<(), Failure> {
        acl::require(self.world, self.who, path, privileges)
    }

    /// The VM of the path, if it lives on the node of the path.
    pub(super) fn vm(&self) -> Result<&Vm, Failure> {
        let (vmid, node) = (self.vmid(), self.node());
        self.world.pve.vm_on(node, vmid).ok_or_else(|| Failure::die(no_config(node, vmid)))
    }
}

/// What nearly every call says about a VM that is not on the node.
pub(super) fn no_config(node: &str, vmid: u32) -> String {
    format!("Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist")
}

/// What the calls that go through the high-availability check say.
pub(super) fn not_found(node: &str, vmid: u32) -> String {
    format!("unable to find configuration file for VM {vmid} on node '{node}'")
}
