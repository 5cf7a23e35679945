//! What a machine tells about itself: version, services, memory, disks, logs.

use std::time::{Duration, SystemTime};

use tonic::Status;

use super::server::Peer;
use super::{Face, Replies, replies};
use crate::lab::fleet::{Service, devices, services_of};
use crate::lab::world::World;
use crate::talos::wire::common::Data;
use crate::talos::wire::machine::{
    DmesgRequest, FeaturesInfo, Hostname, HostnameResponse, LogsRequest, MetaDelete, MetaDeleteRequest,
    MetaDeleteResponse, MetaWrite, MetaWriteRequest, MetaWriteResponse, PlatformInfo, ServiceEvent, ServiceEvents,
    ServiceHealth, ServiceInfo, ServiceList, ServiceListResponse, Version, VersionInfo, VersionResponse,
};
use crate::talos::wire::storage::disk::DiskType;
use crate::talos::wire::storage::{Disk, Disks, DisksResponse};
use crate::talos::wire::time::{Time, TimeRequest, TimeResponse};

pub(super) fn version(face: &Face, world: &mut World, (): &(), _: &Peer) -> Result<VersionResponse, Status> {
    let system = face.system(world)?;
    let image = &system.image;
    let configured = system.config.as_ref().is_some_and(|config| config.complete);
    let mode = if image.platform == "metal" { "metal" } else { "cloud" };
    let version = VersionInfo {
        tag: image.version.clone(),
        sha: "00000000".into(),
        built: String::new(),
        go_version: "go1.25.5".into(),
        os: "linux".into(),
        arch: image.arch.clone(),
    };
    let message = Version {
        metadata: None,
        version: Some(version),
        platform: Some(PlatformInfo { name: image.platform.clone(), mode: mode.into() }),
        // Without a configuration nothing is said about it.
        features: configured.then_some(FeaturesInfo { rbac: true }),
    };
    Ok(VersionResponse { messages: vec![message] })
}

pub(super) fn services(face: &Face, world: &mut World, (): &(), _: &Peer) -> Result<ServiceListResponse, Status> {
    let system = face.system(world)?;
    let now = world.now();
    let wall = |at: Duration| Some(prost_types::Timestamp::from(SystemTime::now() - now.saturating_sub(at)));
    let services = services_of(face.machine(world)?).into_iter().map(|service| {
        let history = system.services.get(&service.id).map_or(&[][..], Vec::as_slice);
        let event = |(at, known): &(Duration, Service)| ServiceEvent {
            msg: known.message.to_owned(),
            state: known.state.to_owned(),
            ts: wall(*at),
        };
        ServiceInfo {
            id: service.id,
            state: service.state.to_owned(),
            events: Some(ServiceEvents { events: history.iter().map(event).collect() }),
            health: Some(ServiceHealth {
                unknown: service.healthy.is_none(),
                healthy: service.healthy == Some(true),
                last_message: service.message.to_owned(),
                last_change: history.last().and_then(|(at, _)| wall(*at)),
            }),
        }
    });
    Ok(ServiceListResponse { messages: vec![ServiceList { metadata: None, services: services.collect() }] })
}

pub(super) fn hostname(face: &Face, world: &mut World, (): &(), _: &Peer) -> Result<HostnameResponse, Status> {
    let hostname = face.system(world)?.hostname.clone();
    Ok(HostnameResponse { messages: vec![Hostname { metadata: None, hostname }] })
}

pub(super) fn disks(face: &Face, world: &mut World, (): &(), _: &Peer) -> Result<DisksResponse, Status> {
    let machine = face.machine(world)?;
    let system = face.system(world)?;
    let disks = devices(&machine.hardware).into_iter().map(|device| Disk {
        size: device.bytes,
        model: if device.virtio_blk { String::new() } else { "QEMU HARDDISK".into() },
        device_name: format!("/dev/{}", device.name),
        serial: device.serial.unwrap_or_default().to_owned(),
        r#type: DiskType::Hdd.into(),
        bus_path: "/pci0000:00".into(),
        system_disk: system.disk.as_deref() == Some(device.volid),
        subsystem: "/sys/class/block".into(),
        ..Disk::default()
    });
    Ok(DisksResponse { messages: vec![Disks { metadata: None, disks: disks.collect() }] })
}

/// The site's time server is never wrong, and so is no machine.
fn clock(face: &Face, world: &World, server: &str) -> Result<TimeResponse, Status> {
    face.machine(world)?;
    let now = Some(prost_types::Timestamp::from(SystemTime::now()));
    let message = Time { metadata: None, server: server.to_owned(), localtime: now, remotetime: now };
    Ok(TimeResponse { messages: vec![message] })
}

pub(super) fn time(face: &Face, world: &mut World, (): &(), _: &Peer) -> Result<TimeResponse, Status> {
    clock(face, world, "time.cloudflare.com")
}

pub(super) fn time_check(
    face: &Face,
    world: &mut World,
    request: &TimeRequest,
    _: &Peer,
) -> Result<TimeResponse, Status> {
    clock(face, world, &request.server)
}

fn text(lines: &[String]) -> Replies<Data> {
    replies(lines.iter().map(|line| Data { metadata: None, bytes: format!("{line}\n").into_bytes() }).collect())
}

pub(super) fn dmesg(face: &Face, world: &mut World, _: &DmesgRequest, _: &Peer) -> Result<Replies<Data>, Status> {
    Ok(text(&face.system(world)?.dmesg))
}

pub(super) fn logs(face: &Face, world: &mut World, request: &LogsRequest, _: &Peer) -> Result<Replies<Data>, Status> {
    let machine = face.machine(world)?;
    if !services_of(machine).iter().any(|service| service.id == request.id) {
        return Err(Status::unknown(format!("log {:?} was not registered", request.id)));
    }
    Ok(if request.id == "machined" { text(&face.system(world)?.dmesg) } else { text(&[]) })
}

/// META keys are bytes.
fn key(key: u32) -> Result<u8, Status> {
    u8::try_from(key).map_err(|_| Status::invalid_argument("key must be a uint8"))
}

pub(super) fn meta_write(
    face: &Face,
    world: &mut World,
    request: &MetaWriteRequest,
    _: &Peer,
) -> Result<MetaWriteResponse, Status> {
    let key = key(request.key)?;
    face.machine(world)?;
    world.fleet.set_meta(face.vmid, key, Some(request.value.clone()));
    Ok(MetaWriteResponse { messages: vec![MetaWrite { metadata: None }] })
}

pub(super) fn meta_delete(
    face: &Face,
    world: &mut World,
    request: &MetaDeleteRequest,
    _: &Peer,
) -> Result<MetaDeleteResponse, Status> {
    let key = key(request.key)?;
    face.machine(world)?;
    if !world.fleet.set_meta(face.vmid, key, None) {
        return Err(Status::not_found("meta key not found"));
    }
    Ok(MetaDeleteResponse { messages: vec![MetaDelete { metadata: None }] })
}
