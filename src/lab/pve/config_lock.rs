//! Waiting for a VM's lock file before its configuration is changed.

use std::time::Duration;

use super::answer::Failure;
use super::schema::Endpoint;
use super::verify::Params;
use super::work;
use crate::lab::clock::Clock;
use crate::lab::world::Shared;

/// The calls that take the lock while the caller waits.
pub(super) fn needed(endpoint: &Endpoint) -> bool {
    endpoint.method != "GET" && (endpoint.path.ends_with("/config") || endpoint.path.ends_with("/unlink"))
}

/// Waits up to 10 s. qemu-server 9.2 looks at the `lock` option first, 8.4 waits for the worker that set it.
pub(super) async fn wait(shared: &Shared, params: &Params, clock: Clock) -> Result<(), Failure> {
    let vmid: u32 = params.get("vmid").and_then(|vmid| vmid.parse().ok()).unwrap_or(0);
    let free = || {
        let world = shared.lock();
        let Some(vm) = world.pve.vms.get(&vmid) else { return true };
        vm.holder.is_none() || (world.pve.release.nine() && vm.config.contains_key("lock"))
    };
    if work::until(shared, clock.span(Duration::from_secs(10)), free).await {
        return Ok(());
    }
    Err(Failure::die(format!("can't lock file '/var/lock/qemu-server/lock-{vmid}.conf' - got timeout")))
}
