//! Reboot, shutdown, reset, and wiping disks.

use tonic::Status;

use super::Face;
use super::server::Peer;
use crate::lab::fleet::Wipe;
use crate::lab::world::World;
use crate::talos::wire::machine::reboot_request::Mode;
use crate::talos::wire::machine::reset_request::WipeMode;
use crate::talos::wire::machine::{
    Reboot, RebootRequest, RebootResponse, Reset, ResetRequest, ResetResponse, RollbackRequest, RollbackResponse,
    Shutdown, ShutdownRequest, ShutdownResponse, UpgradeRequest, UpgradeResponse,
};
use crate::talos::wire::storage::{BlockDeviceWipe, BlockDeviceWipeRequest, BlockDeviceWipeResponse};

fn actor() -> String {
    uuid::Uuid::new_v4().to_string()
}

pub(super) fn reboot(
    face: &Face,
    world: &mut World,
    request: &RebootRequest,
    _: &Peer,
) -> Result<RebootResponse, Status> {
    face.machine(world)?;
    world.fleet.reboot(face.vmid, request.mode == i32::from(Mode::Powercycle));
    Ok(RebootResponse { messages: vec![Reboot { metadata: None, actor_id: actor() }] })
}

pub(super) fn shutdown(
    face: &Face,
    world: &mut World,
    _: &ShutdownRequest,
    _: &Peer,
) -> Result<ShutdownResponse, Status> {
    face.machine(world)?;
    world.fleet.press_power_button(face.vmid);
    Ok(ShutdownResponse { messages: vec![Shutdown { metadata: None, actor_id: actor() }] })
}

pub(super) fn reset(face: &Face, world: &mut World, request: &ResetRequest, _: &Peer) -> Result<ResetResponse, Status> {
    face.machine(world)?;
    let labels: Vec<&str> = request
        .system_partitions_to_wipe
        .iter()
        .filter(|partition| partition.wipe)
        .map(|partition| partition.label.as_str())
        .collect();
    if let Some(unknown) =
        labels.iter().find(|label| !matches!(**label, "STATE" | "EPHEMERAL" | "META" | "EFI" | "BOOT"))
    {
        return Err(Status::unknown(format!("failed to find the partition {unknown:?}")));
    }
    let system = request.mode != i32::from(WipeMode::UserDisks);
    let wipe = Wipe {
        system: system && labels.is_empty(),
        state: system && labels.contains(&"STATE"),
        ephemeral: system && labels.contains(&"EPHEMERAL"),
    };
    if request.graceful
        && let Some((id, member)) = world.fleet.etcd_of(face.vmid)
    {
        if world.fleet.etcd(id).is_some_and(crate::lab::fleet::Etcd::is_single) {
            // The sequence stalls in its etcd step; the call itself has long been answered.
            return Ok(ResetResponse { messages: vec![Reset { metadata: None, actor_id: actor() }] });
        }
        world.fleet.remove_member(id, member);
    }
    world.fleet.reset_system(face.vmid, wipe, request.reboot);
    Ok(ResetResponse { messages: vec![Reset { metadata: None, actor_id: actor() }] })
}

pub(super) fn rollback(_: &Face, _: &mut World, _: &RollbackRequest, _: &Peer) -> Result<RollbackResponse, Status> {
    Err(Status::failed_precondition("there is no previous installation to roll back to"))
}

pub(super) fn upgrade(_: &Face, _: &mut World, _: &UpgradeRequest, _: &Peer) -> Result<UpgradeResponse, Status> {
    Err(Status::unimplemented("the lab's machines are not upgraded in place"))
}

pub(super) fn wipe(
    face: &Face,
    world: &mut World,
    request: &BlockDeviceWipeRequest,
    _: &Peer,
) -> Result<BlockDeviceWipeResponse, Status> {
    face.machine(world)?;
    for device in &request.devices {
        if !world.fleet.wipe_device(face.vmid, &device.device) {
            return Err(Status::failed_precondition(format!("blockdevice {:?} is in use or absent", device.device)));
        }
    }
    Ok(BlockDeviceWipeResponse { messages: vec![BlockDeviceWipe { metadata: None }] })
}
