//! Disks and cards at work, file systems, connections.

use tonic::Status;

use super::uptime;
use crate::lab::fleet::{Port, devices, link_name};
use crate::lab::talos::Face;
use crate::lab::talos::server::Peer;
use crate::lab::world::World;
use crate::talos::wire::machine::connect_record::State;
use crate::talos::wire::machine::netstat_request::Filter;
use crate::talos::wire::machine::{
    ConnectRecord, DiskStat, DiskStats, DiskStatsResponse, MountStat, Mounts, MountsResponse, NetDev, Netstat,
    NetstatRequest, NetstatResponse, NetworkDeviceStats, NetworkDeviceStatsResponse,
};

pub(in crate::lab::talos) fn disks(
    face: &Face,
    world: &mut World,
    (): &(),
    _: &Peer,
) -> Result<DiskStatsResponse, Status> {
    let seconds = uptime(face, world)?.as_secs();
    let at_work = |name: String| DiskStat {
        name,
        read_completed: 5_000 + seconds,
        read_sectors: 400_000 + seconds * 8,
        write_completed: seconds * 4,
        write_sectors: seconds * 64,
    };
    let devices: Vec<DiskStat> =
        devices(&face.machine(world)?.hardware).into_iter().map(|device| at_work(device.name)).collect();
    let sum = |field: fn(&DiskStat) -> u64| devices.iter().map(field).sum();
    let total = DiskStat {
        name: String::new(),
        read_completed: sum(|disk| disk.read_completed),
        read_sectors: sum(|disk| disk.read_sectors),
        write_completed: sum(|disk| disk.write_completed),
        write_sectors: sum(|disk| disk.write_sectors),
    };
    Ok(DiskStatsResponse { messages: vec![DiskStats { metadata: None, total: Some(total), devices }] })
}

pub(in crate::lab::talos) fn network(
    face: &Face,
    world: &mut World,
    (): &(),
    _: &Peer,
) -> Result<NetworkDeviceStatsResponse, Status> {
    let seconds = uptime(face, world)?.as_secs();
    let (machine, system) = (face.machine(world)?, face.system(world)?);
    let cards = (0..machine.hardware.nics.len()).map(|nic| link_name(system, nic));
    let devices: Vec<NetDev> = std::iter::once("lo".to_owned())
        .chain(cards)
        .map(|name| NetDev {
            name,
            rx_bytes: seconds * 4_000,
            rx_packets: seconds * 20,
            tx_bytes: seconds * 3_000,
            tx_packets: seconds * 15,
        })
        .collect();
    let sum = |field: fn(&NetDev) -> u64| devices.iter().map(field).sum();
    let total = NetDev {
        name: "Total".into(),
        rx_bytes: sum(|card| card.rx_bytes),
        rx_packets: sum(|card| card.rx_packets),
        tx_bytes: sum(|card| card.tx_bytes),
        tx_packets: sum(|card| card.tx_packets),
    };
    Ok(NetworkDeviceStatsResponse {
        messages: vec![NetworkDeviceStats { metadata: None, total: Some(total), devices }],
    })
}

pub(in crate::lab::talos) fn mounts(
    face: &Face,
    world: &mut World,
    (): &(),
    _: &Peer,
) -> Result<MountsResponse, Status> {
    let (machine, system) = (face.machine(world)?, face.system(world)?);
    let memory = machine.hardware.memory_mib << 20;
    let mount = |filesystem: &str, size: u64, mounted_on: &str| MountStat {
        filesystem: filesystem.to_owned(),
        size,
        available: if filesystem == "/dev/loop0" { 0 } else { size / 10 * 9 },
        mounted_on: mounted_on.to_owned(),
    };
    let mut stats = vec![
        mount("devtmpfs", memory / 2, "/dev"),
        mount("proc", 0, "/proc"),
        mount("sysfs", 0, "/sys"),
        mount("/dev/loop0", 80 << 20, "/"),
        mount("tmpfs", memory / 2, "/run"),
        mount("tmpfs", memory / 2, "/system"),
        mount("tmpfs", 64 << 20, "/tmp"),
    ];
    let own = devices(&machine.hardware).into_iter().find(|device| Some(device.volid) == system.disk.as_deref());
    if let (Some(device), Some(_)) = (own, &system.config) {
        stats.push(mount(&format!("/dev/{}4", device.name), 100 << 20, "/system/state"));
        stats.push(mount(&format!("/dev/{}5", device.name), device.bytes.saturating_sub(3 << 30), "/var"));
    }
    Ok(MountsResponse { messages: vec![Mounts { metadata: None, stats }] })
}

pub(in crate::lab::talos) fn connections(
    face: &Face,
    world: &mut World,
    request: &NetstatRequest,
    _: &Peer,
) -> Result<NetstatResponse, Status> {
    face.machine(world)?;
    let tcp = request.l4proto.as_ref().is_none_or(|wanted| wanted.tcp || wanted.tcp6);
    let listening = request.filter != i32::from(Filter::Connected);
    let open = world.fleet.listeners().into_iter().filter(|open| open.vmid == face.vmid && tcp && listening);
    let mut ports: Vec<u16> = open.map(|open| open.port.number()).collect();
    if tcp && listening && face.port == Port::Talos {
        ports.push(10_250);
    }
    ports.sort_unstable();
    ports.dedup();
    let record = |port: u16| ConnectRecord {
        l4proto: "tcp6".into(),
        localip: "::".into(),
        localport: port.into(),
        remoteip: "::".into(),
        remoteport: 0,
        state: State::Listen.into(),
    };
    let connectrecord = ports.into_iter().map(record).collect();
    Ok(NetstatResponse { messages: vec![Netstat { metadata: None, connectrecord }] })
}
