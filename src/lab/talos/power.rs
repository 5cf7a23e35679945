//! Reboot, shutdown, reset, and wiping disks.

use tonic::Status;

use super::Face;
use super::server::Peer;
use crate::lab::fleet::{Wipe, devices};
use crate::lab::world::World;
use crate::talos::wire::machine::reboot_request::Mode;
use crate::talos::wire::machine::reset_request::WipeMode;
use crate::talos::wire::machine::{
    Reboot, RebootRequest, RebootResponse, Reset, ResetRequest, ResetResponse, Shutdown, ShutdownRequest,
    ShutdownResponse,
};
use crate::talos::wire::storage::{BlockDeviceWipe, BlockDeviceWipeRequest, BlockDeviceWipeResponse};

pub(super) fn actor() -> String {
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
    check_reset(face, world, request)?;
    let system = request.mode != i32::from(WipeMode::UserDisks);
    let wipe = Wipe {
        system: system && labels.is_empty(),
        state: system && labels.contains(&"STATE"),
        ephemeral: system && labels.contains(&"EPHEMERAL"),
        meta: system && labels.contains(&"META"),
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
    let machine = face.machine(world)?;
    let paths = &request.user_disks_to_wipe;
    let wiped =
        devices(&machine.hardware).into_iter().filter(|device| paths.contains(&format!("/dev/{}", device.name)));
    for volid in wiped.map(|device| device.volid.to_owned()).collect::<Vec<_>>() {
        world.fleet.wipe_volume(&volid);
    }
    world.fleet.reset_system(face.vmid, wipe, request.reboot);
    Ok(ResetResponse { messages: vec![Reset { metadata: None, actor_id: actor() }] })
}

/// What is wrong with a reset's input, in Talos's words.
fn check_reset(face: &Face, world: &World, request: &ResetRequest) -> Result<(), Status> {
    let (machine, system) = (face.machine(world)?, face.system(world)?);
    let mode = WipeMode::try_from(request.mode).unwrap_or(WipeMode::All);
    let wrong = |text: String| Err(Status::unknown(text));
    if !request.user_disks_to_wipe.is_empty() && mode == WipeMode::SystemDisk {
        let text = "reset failed: invalid input, wipe mode SYSTEM_DISK doesn't support UserDisksToWipe parameter";
        return wrong(text.to_owned());
    }
    for path in &request.user_disks_to_wipe {
        let device = devices(&machine.hardware).into_iter().find(|device| format!("/dev/{}", device.name) == *path);
        let Some(device) = device else {
            return wrong(format!("reset user disk failed: device {path} wasn't found"));
        };
        if system.disk.as_deref() == Some(device.volid) {
            return wrong(format!("reset user disk failed: device {path} is the system disk"));
        }
    }
    if request.system_partitions_to_wipe.is_empty() {
        return Ok(());
    }
    if mode == WipeMode::UserDisks {
        let text = "reset failed: invalid input, wipe mode USER_DISKS doesn't support SystemPartitionsToWipe parameter";
        return wrong(text.to_owned());
    }
    for partition in &request.system_partitions_to_wipe {
        let label = &partition.label;
        if !matches!(label.as_str(), "STATE" | "EPHEMERAL" | "META") {
            return wrong(format!(
                "failed to get volume status with label {label:?}: resource VolumeStatuses.block.talos.dev(runtime/{label}@undefined) doesn't exist"
            ));
        }
        if system.disk.is_none() {
            return wrong(format!("failed to reset: volume {label:?} is not located"));
        }
    }
    Ok(())
}

pub(super) fn wipe(
    face: &Face,
    world: &mut World,
    request: &BlockDeviceWipeRequest,
    _: &Peer,
) -> Result<BlockDeviceWipeResponse, Status> {
    face.machine(world)?;
    let mut volumes = Vec::new();
    for asked in &request.devices {
        volumes.push(volume(face, world, &asked.device)?);
    }
    for volid in volumes {
        world.fleet.wipe_volume(&volid);
    }
    Ok(BlockDeviceWipeResponse { messages: vec![BlockDeviceWipe { metadata: None }] })
}

/// The volume behind a device that may be wiped (Talos: internal/app/storaged/server.go).
fn volume(face: &Face, world: &World, name: &str) -> Result<String, Status> {
    let (machine, system) = (face.machine(world)?, face.system(world)?);
    let refuse = |why: &str| Err(Status::failed_precondition(format!("blockdevice {name:?} {why}")));
    if name.starts_with("sr") {
        return refuse("is a CD-ROM");
    }
    let devices = devices(&machine.hardware);
    let Some(device) = devices.into_iter().find(|device| device.name == name) else {
        return Err(Status::not_found(format!("blockdevice {name:?} not found")));
    };
    if system.disk.as_deref() == Some(device.volid) {
        return refuse("is in use by volume \"META\"");
    }
    Ok(device.volid.to_owned())
}
