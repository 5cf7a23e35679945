//! What a machine tells about itself: version, services, memory, disks, logs.

use tonic::Status;

use super::server::Peer;
use super::{Face, Replies, replies};
use crate::inventory::Role;
use crate::lab::fleet::{Machine, Stage, devices};
use crate::lab::world::World;
use crate::talos::wire::common::Data;
use crate::talos::wire::machine::{
    DmesgRequest, FeaturesInfo, Hostname, HostnameResponse, LogsRequest, MetaDeleteRequest, MetaDeleteResponse,
    MetaWriteRequest, MetaWriteResponse, PlatformInfo, ServiceEvent, ServiceEvents, ServiceHealth, ServiceInfo,
    ServiceList, ServiceListResponse, Version, VersionInfo, VersionResponse,
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
        ..VersionInfo::default()
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

/// A service as every answer needs it.
pub(super) struct Service {
    pub(super) id: String,
    pub(super) state: &'static str,
    /// `None`: the service has no health check, or it has not said anything yet.
    pub(super) healthy: Option<bool>,
    pub(super) message: &'static str,
}

/// The services of a machine at this moment.
pub(super) fn services_of(machine: &Machine) -> Vec<Service> {
    let Some(system) = &machine.system else { return Vec::new() };
    let service =
        |id: &str, state: &'static str, healthy, message| Service { id: id.to_owned(), state, healthy, message };
    let mut services: Vec<Service> = ["apid", "auditd", "containerd", "machined", "syslogd", "udevd"]
        .iter()
        .map(|id| service(id, "Running", Some(true), "Health check successful"))
        .collect();
    if machine.hardware.agent {
        let agent = system.image.extensions.iter().filter(|name| name.ends_with("qemu-guest-agent"));
        services.extend(agent.map(|_| service("ext-qemu-guest-agent", "Running", None, "Started task")));
    }
    if matches!(machine.stage, Stage::Booting | Stage::Running) && system.disk.is_some() {
        services.push(service("cri", "Running", Some(true), "Health check successful"));
        services.push(service("kubelet", "Running", Some(true), "Health check successful"));
        if machine.role() == Some(Role::ControlPlane) {
            services.push(service("trustd", "Running", Some(true), "Health check successful"));
            services.push(if system.etcd_healthy {
                service("etcd", "Running", Some(true), "Health check successful")
            } else if system.etcd_up {
                service("etcd", "Running", Some(false), "context deadline exceeded")
            } else {
                service("etcd", "Preparing", None, "Running pre state")
            });
        }
    }
    services.sort_by(|a, b| a.id.cmp(&b.id));
    services
}

pub(super) fn services(face: &Face, world: &mut World, (): &(), _: &Peer) -> Result<ServiceListResponse, Status> {
    let services = services_of(face.machine(world)?).into_iter().map(|service| ServiceInfo {
        id: service.id,
        state: service.state.to_owned(),
        events: Some(ServiceEvents {
            events: vec![ServiceEvent { msg: service.message.to_owned(), state: service.state.to_owned(), ts: None }],
        }),
        health: Some(ServiceHealth {
            unknown: service.healthy.is_none(),
            healthy: service.healthy == Some(true),
            last_message: service.message.to_owned(),
            last_change: None,
        }),
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
    let now = Some(prost_types::Timestamp::from(std::time::SystemTime::now()));
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
    Ok(text(&face.machine(world)?.console))
}

pub(super) fn logs(face: &Face, world: &mut World, request: &LogsRequest, _: &Peer) -> Result<Replies<Data>, Status> {
    let machine = face.machine(world)?;
    if !services_of(machine).iter().any(|service| service.id == request.id) {
        return Err(Status::unknown(format!("log {:?} was not registered", request.id)));
    }
    Ok(if request.id == "machined" { text(&machine.console) } else { text(&[]) })
}

pub(super) fn meta_write(_: &Face, _: &mut World, _: &MetaWriteRequest, _: &Peer) -> Result<MetaWriteResponse, Status> {
    Err(Status::unimplemented("the lab's machines have no META partition"))
}

pub(super) fn meta_delete(
    _: &Face,
    _: &mut World,
    _: &MetaDeleteRequest,
    _: &Peer,
) -> Result<MetaDeleteResponse, Status> {
    Err(Status::unimplemented("the lab's machines have no META partition"))
}
