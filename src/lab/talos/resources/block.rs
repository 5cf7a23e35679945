//! Disks, and what is found on them.
//!
//! Talos 1.13: internal/app/machined/pkg/controllers/block; sizes from
//! pkg/machinery/imager/quirks.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Rows, View, pretty, row};
use crate::lab::fleet::{Device, devices};
use crate::lab::hardware::{Drive, Firmware, Medium};

const MIB: u64 = 1 << 20;
/// The partition table and its copy, with what alignment leaves free.
const TABLES: u64 = 2 * MIB;
const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
const BIOS_BOOT: &str = "21686148-6449-6e6f-744e-656564454649";
const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

pub(super) fn of(view: &View<'_>, kind: &str) -> Option<Rows> {
    Some(match kind {
        "Disks.block.talos.dev" => disks(view),
        "BlockDevices.block.talos.dev" => block_devices(view),
        "BlockSymlinks.block.talos.dev" => symlinks(view),
        "DiscoveredVolumes.block.talos.dev" => discovered(view),
        "DiscoveryRefreshRequests.block.talos.dev" | "DiscoveryRefreshStatuses.block.talos.dev" => {
            vec![row("system-disk", json!({"request": 1}))]
        }
        "SystemDisks.block.talos.dev" => {
            let value = |device: Device<'_>| json!({"diskID": device.name, "devPath": format!("/dev/{}", device.name)});
            system_disk(view).map(|device| row("system-disk", value(device))).into_iter().collect()
        }
        "UserDiskConfigStatuses.block.talos.dev" => vec![row("user-disks", json!({"ready": true}))],
        _ => return None,
    })
}

/// A partition of an installed disk.
pub(super) struct Partition {
    pub(super) label: &'static str,
    pub(super) index: u64,
    offset: u64,
    pub(super) size: u64,
    kind: &'static str,
    /// What a probe finds: a filesystem, Talos's own META, or nothing.
    pub(super) name: &'static str,
}

/// What the installer, and then the first boot, make of a disk. GRUB has three partitions where a UKI has one.
pub(super) fn partitions(view: &View<'_>, device: &Device<'_>) -> Vec<Partition> {
    let Some(disk) = view.fleet.disk(device.volid).filter(|disk| disk.image.is_some()) else { return Vec::new() };
    let boot = if view.system.minor.minor >= 11 { 2000 } else { 1000 };
    let mut wanted: Vec<(&'static str, u64, &'static str, &'static str)> = match view.machine.hardware.firmware {
        Firmware::Ovmf { .. } => vec![("EFI", 101 + boot, ESP, "vfat")],
        Firmware::SeaBios => {
            vec![("EFI", 100, ESP, "vfat"), ("BIOS", 1, BIOS_BOOT, ""), ("BOOT", boot, LINUX, "xfs")]
        }
    };
    wanted.push(("META", 1, LINUX, "talosmeta"));
    if disk.config.is_some() {
        wanted.push(("STATE", 100, LINUX, "xfs"));
        let used: u64 = wanted.iter().map(|(_, mib, ..)| mib * MIB).sum();
        wanted.push(("EPHEMERAL", device.bytes.saturating_sub(used + TABLES) / MIB, LINUX, "xfs"));
    }
    let mut offset = MIB;
    let mut found = Vec::new();
    for ((label, mib, kind, name), index) in wanted.into_iter().zip(1..) {
        found.push(Partition { label, index, offset, size: mib * MIB, kind, name });
        offset += mib * MIB;
    }
    found
}

/// Of a partition: the same as long as the disk is.
pub(super) fn identity(device: &Device<'_>, what: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{}/{what}", device.volid).as_bytes()).to_string()
}

pub(super) fn system_disk<'a>(view: &'a View<'_>) -> Option<Device<'a>> {
    // Absent means: not installed.
    let volid = view.system.disk.as_deref()?;
    devices(&view.machine.hardware).into_iter().find(|device| device.volid == volid)
}

/// CD-ROM drives as Linux numbers them, with the size of what is in them.
fn cdroms<'a>(view: &'a View<'_>) -> impl Iterator<Item = (String, &'a Drive)> {
    let drives = view.machine.hardware.drives.iter();
    drives
        .filter(|drive| matches!(drive.medium, Medium::Cdrom { .. } | Medium::Empty))
        .enumerate()
        .map(|(index, drive)| (format!("sr{index}"), drive))
}

/// Where the device is in the machine, as sysfs has it.
fn bus(device: &Device<'_>, position: usize) -> String {
    if device.virtio_blk {
        format!("/pci0000:00/0000:00:{:02x}.0/virtio{position}/", 10 + position)
    } else {
        format!("/pci0000:00/0000:00:05.0/0000:01:01.0/virtio3/host2/target2:0:{position}/2:0:{position}:0/")
    }
}

fn links(device: &Device<'_>, position: usize) -> Vec<String> {
    let serial = device.serial.map_or_else(|| format!("drive-scsi{position}"), str::to_owned);
    if device.virtio_blk {
        return vec![format!("/dev/disk/by-path/pci-0000:00:{:02x}.0", 10 + position)];
    }
    vec![
        format!("/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{serial}"),
        format!("/dev/disk/by-path/pci-0000:01:01.0-scsi-0:0:{position}:0"),
    ]
}

fn disks(view: &View<'_>) -> Rows {
    let mut rows = Rows::new();
    for (position, device) in devices(&view.machine.hardware).into_iter().enumerate() {
        let serial = device.serial.unwrap_or_default();
        let (model, wwid) = if device.virtio_blk {
            ("", String::new())
        } else {
            ("QEMU HARDDISK", format!("t10.ATA     QEMU HARDDISK                           {serial}"))
        };
        let value = json!({
            "dev_path": format!("/dev/{}", device.name), "size": device.bytes, "pretty_size": pretty(device.bytes),
            "io_size": 512, "sector_size": 512, "model": model, "serial": serial,
            "modalias": if device.virtio_blk { "virtio:d00000002v00001AF4" } else { "scsi:t-0x00" }, "wwid": wwid,
            "bus_path": bus(&device, position), "sub_system": "/sys/class/block", "transport": "virtio",
            "rotational": true, "symlinks": links(&device, position),
        });
        rows.push(row(device.name.clone(), value));
    }
    for (name, drive) in cdroms(view) {
        // Without a medium Linux still says a size, and Talos does not believe it.
        let size = if matches!(drive.medium, Medium::Empty) { 0 } else { 128 * MIB };
        let value = json!({
            "dev_path": format!("/dev/{name}"), "size": size, "pretty_size": pretty(size), "io_size": 2048, "sector_size": 2048,
            "readonly": true, "cdrom": true, "model": "QEMU DVD-ROM", "modalias": "scsi:t-0x05",
            "bus_path": "/pci0000:00/0000:00:1f.2/ata3/host4/target4:0:0/4:0:0:0/", "sub_system": "/sys/class/block",
            "transport": "ata", "rotational": true,
        });
        rows.push(row(name, value));
    }
    rows
}

fn block_devices(view: &View<'_>) -> Rows {
    let mut rows = Rows::new();
    for (position, device) in devices(&view.machine.hardware).into_iter().enumerate() {
        let path = format!("/sys/devices{}block/{}", bus(&device, position), device.name);
        let major = if device.virtio_blk { 253 } else { 8 };
        let value = |kind: &str, minor: u64| json!({"type": kind, "major": major, "minor": minor, "devicePath": path, "generation": 1});
        let first = position as u64 * 16;
        rows.push(row(device.name.clone(), value("disk", first)));
        for partition in partitions(view, &device) {
            let mut own = value("partition", first + partition.index);
            own["devicePath"] = Value::from(format!("{path}/{}{}", device.name, partition.index));
            own["partitionName"] = Value::from(partition.label);
            own["partitionNumber"] = Value::from(partition.index);
            own["parent"] = Value::from(device.name.as_str());
            rows.push(row(format!("{}{}", device.name, partition.index), own));
        }
    }
    for (index, (name, _)) in cdroms(view).enumerate() {
        let path = format!("/sys/devices/pci0000:00/0000:00:1f.2/ata3/host4/target4:0:0/4:0:0:0/block/{name}");
        rows.push(row(name, json!({"type": "disk", "major": 11, "minor": index, "devicePath": path, "generation": 1})));
    }
    rows
}

fn symlinks(view: &View<'_>) -> Rows {
    let all = devices(&view.machine.hardware).into_iter().enumerate();
    all.map(|(position, device)| row(device.name.clone(), json!({"paths": links(&device, position)}))).collect()
}

fn discovered(view: &View<'_>) -> Rows {
    let mut rows = Rows::new();
    for (position, device) in devices(&view.machine.hardware).into_iter().enumerate() {
        let path = format!("/sys/devices{}block/{}", bus(&device, position), device.name);
        let parts = partitions(view, &device);
        let mut whole = json!({
            "dev_path": format!("/dev/{}", device.name), "type": "disk", "device_path": path, "size": device.bytes,
            "pretty_size": pretty(device.bytes), "sector_size": 512, "io_size": 512,
        });
        if !parts.is_empty() {
            whole["name"] = Value::from("gpt");
            whole["uuid"] = Value::from(identity(&device, "gpt"));
            whole["block_size"] = Value::from(512);
            whole["probed_size"] = Value::from(device.bytes);
        }
        rows.push(row(device.name.clone(), whole));
        for part in parts {
            let id = format!("{}{}", device.name, part.index);
            let mut value = json!({
                "dev_path": format!("/dev/{id}"), "type": "partition", "device_path": format!("{path}/{id}"),
                "parent": device.name, "parent_dev_path": format!("/dev/{}", device.name), "offset": part.offset,
                "size": part.size, "pretty_size": pretty(part.size), "sector_size": 512, "io_size": 512, "name": part.name,
                "partition_uuid": identity(&device, part.label), "partition_type": part.kind,
                "partition_label": part.label, "partition_index": part.index,
            });
            if matches!(part.name, "xfs" | "vfat") {
                value["label"] = Value::from(part.label);
                value["uuid"] = Value::from(identity(&device, part.name));
                value["block_size"] = Value::from(512);
                value["filesystem_block_size"] = Value::from(if part.name == "xfs" { 4096 } else { 1024 });
                value["probed_size"] = Value::from(part.size);
            }
            rows.push(row(id, value));
        }
    }
    for (name, drive) in cdroms(view).filter(|(_, drive)| matches!(drive.medium, Medium::Cdrom { .. })) {
        let seed = matches!(&drive.medium, Medium::Cdrom { data, .. } if crate::lab::cidata::parse(data).is_some());
        let value = json!({
            "dev_path": format!("/dev/{name}"), "type": "disk", "device_path": format!("/sys/devices/pci0000:00/0000:00:1f.2/ata3/host4/target4:0:0/4:0:0:0/block/{name}"),
            "size": 128 * MIB, "pretty_size": pretty(128 * MIB), "sector_size": 2048, "io_size": 2048, "name": "iso9660",
            "label": if seed { "cidata" } else { "TALOS" }, "block_size": 2048, "filesystem_block_size": 2048,
        });
        rows.push(row(name, value));
    }
    rows
}
