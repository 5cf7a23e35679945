//! SMBIOS and block devices.

use serde_json::json;

use super::{Resource, View, resource};
use crate::lab::fleet::devices;
use crate::lab::hardware::Medium;
use crate::talos::wire::specs::{
    DiscoveredVolumeSpec, DiskSpec, MemoryModuleSpec, ProcessorSpec, SystemDiskSpec, SystemInformationSpec,
    VolumePhase, VolumeStatusSpec,
};

const GIB: u64 = 1 << 30;

pub(super) fn add(view: &View<'_>, list: &mut Vec<Resource>) {
    let hardware = &view.machine.hardware;
    let uuid = hardware.uuid.unwrap_or_default().to_string();
    let serial = hardware.serial.clone().unwrap_or_default();
    let spec = SystemInformationSpec {
        manufacturer: "QEMU".into(),
        product_name: "Standard PC (Q35 + ICH9, 2009)".into(),
        version: "pc-q35".into(),
        serial_number: serial.clone(),
        uuid: uuid.clone(),
        wake_up_type: "Power Switch".into(),
        ..SystemInformationSpec::default()
    };
    let yaml = json!({
        "manufacturer": "QEMU", "productName": "Standard PC (Q35 + ICH9, 2009)", "version": "pc-q35",
        "serialnumber": serial, "uuid": uuid, "wakeUpType": "Power Switch", "skuNumber": "",
    });
    list.push(resource("hardware", "SystemInformations.hardware.talos.dev", "systeminformation", &spec, &yaml));
    modules(view, list);
    disks(view, list);
    volumes(view, list);
    discovered(view, list);
}

fn modules(view: &View<'_>, list: &mut Vec<Resource>) {
    let hardware = &view.machine.hardware;
    let cpu = ProcessorSpec {
        socket: "CPU 0".into(),
        manufacturer: "QEMU".into(),
        product_name: hardware.cpu.clone(),
        core_count: hardware.cores,
        core_enabled: hardware.cores,
        thread_count: hardware.cores,
    };
    let yaml = json!({
        "socket": cpu.socket, "manufacturer": cpu.manufacturer, "productName": cpu.product_name,
        "coreCount": cpu.core_count, "coreEnabled": cpu.core_enabled, "threadCount": cpu.thread_count,
    });
    list.push(resource("hardware", "Processors.hardware.talos.dev", "CPU-0", &cpu, &yaml));
    let size = u32::try_from(hardware.memory_mib).unwrap_or(u32::MAX);
    let module = MemoryModuleSpec { size, device_locator: "DIMM 0".into(), manufacturer: "QEMU".into() };
    let yaml = json!({"sizeMiB": size, "deviceLocator": module.device_locator, "manufacturer": module.manufacturer});
    list.push(resource("hardware", "MemoryModules.hardware.talos.dev", "DIMM-0", &module, &yaml));
}

/// What Talos finds on the disks: the installed one has its partitions.
fn discovered(view: &View<'_>, list: &mut Vec<Resource>) {
    let mut find = |id: &str, size: u64, kind: &str, name: &str, label: &str, parent: &str, index: u64| {
        let path = format!("/dev/{id}");
        let pretty = format!("{} MB", size / 1_000_000);
        let spec = DiscoveredVolumeSpec {
            size,
            name: name.to_owned(),
            partition_label: label.to_owned(),
            partition_index: index,
            r#type: kind.to_owned(),
            parent: parent.to_owned(),
            dev_path: path.clone(),
            pretty_size: pretty.clone(),
        };
        let yaml = json!({
            "dev_path": path, "type": kind, "size": size, "pretty_size": pretty, "name": name,
            "partition_label": label, "partition_index": index, "parent": parent,
        });
        list.push(resource("runtime", "DiscoveredVolumes.block.talos.dev", id, &spec, &yaml));
    };
    for device in devices(&view.machine.hardware) {
        let installed = view.fleet.disk(device.volid).is_some_and(|disk| disk.image.is_some());
        find(&device.name, device.bytes, "disk", if installed { "gpt" } else { "" }, "", "", 0);
        if !installed {
            continue;
        }
        let rest = device.bytes.saturating_sub(3 * GIB);
        let partitions = [
            ("EFI", 2 * GIB, "vfat"),
            ("META", 1 << 20, "talosmeta"),
            ("STATE", 100 << 20, "xfs"),
            ("EPHEMERAL", rest, "xfs"),
        ];
        for ((label, size, name), index) in partitions.into_iter().zip([1, 3, 4, 5]) {
            find(&format!("{}{index}", device.name), size, "partition", name, label, &device.name, index);
        }
    }
}

fn disks(view: &View<'_>, list: &mut Vec<Resource>) {
    let kind = "Disks.block.talos.dev";
    for device in devices(&view.machine.hardware) {
        let path = format!("/dev/{}", device.name);
        let model = if device.virtio_blk { "" } else { "QEMU HARDDISK" };
        let serial = device.serial.unwrap_or_default();
        let pretty = format!("{} GB", device.bytes / 1_000_000_000);
        let spec = DiskSpec {
            size: device.bytes,
            io_size: 512,
            sector_size: 512,
            model: model.to_owned(),
            serial: serial.to_owned(),
            transport: "virtio".into(),
            rotational: true,
            dev_path: path.clone(),
            pretty_size: pretty.clone(),
            sub_system: "/sys/class/block".into(),
            ..DiskSpec::default()
        };
        let yaml = json!({
            "dev_path": path, "size": device.bytes, "pretty_size": pretty, "io_size": 512, "sector_size": 512,
            "readonly": false, "cdrom": false, "model": model, "serial": serial, "transport": "virtio",
            "rotational": true, "sub_system": "/sys/class/block",
        });
        list.push(resource("runtime", kind, device.name, &spec, &yaml));
    }
    let drives = view.machine.hardware.drives.iter();
    for (index, _) in drives.filter(|drive| matches!(drive.medium, Medium::Cdrom { .. } | Medium::Empty)).enumerate() {
        let name = format!("sr{index}");
        let path = format!("/dev/{name}");
        let spec = DiskSpec {
            size: GIB / 8,
            sector_size: 2048,
            readonly: true,
            cdrom: true,
            model: "QEMU DVD-ROM".into(),
            transport: "ata".into(),
            dev_path: path.clone(),
            ..DiskSpec::default()
        };
        let yaml = json!({"dev_path": path, "size": GIB / 8, "readonly": true, "cdrom": true, "model": "QEMU DVD-ROM", "transport": "ata"});
        list.push(resource("runtime", kind, name, &spec, &yaml));
    }
}

fn volumes(view: &View<'_>, list: &mut Vec<Resource>) {
    // Absent means: not installed.
    let Some(volid) = &view.system.disk else { return };
    let devices = devices(&view.machine.hardware);
    let Some(device) = devices.iter().find(|device| device.volid == volid) else { return };
    let path = format!("/dev/{}", device.name);
    let spec = SystemDiskSpec { disk_id: device.name.clone(), dev_path: path.clone() };
    let yaml = json!({"diskID": device.name, "devPath": path});
    list.push(resource("runtime", "SystemDisks.block.talos.dev", "system-disk", &spec, &yaml));
    let configured = view.system.config.is_some();
    let sizes = [("META", 1 << 20, 3), ("STATE", 100 << 20, 4), ("EPHEMERAL", device.bytes.saturating_sub(3 * GIB), 5)];
    for (label, size, partition) in sizes {
        let ready = configured || label == "META";
        let (phase, word) =
            if ready { (VolumePhase::VolumeReady, "ready") } else { (VolumePhase::VolumeWaiting, "waiting") };
        let location = format!("{path}{partition}");
        let spec = VolumeStatusSpec {
            phase: phase.into(),
            location: location.clone(),
            parent_location: path.clone(),
            partition_index: partition,
            size,
            ..VolumeStatusSpec::default()
        };
        let yaml = json!({
            "phase": word, "type": "partition", "location": location, "partitionIndex": partition,
            "parentLocation": path, "size": size, "prettySize": format!("{} MB", size / 1_000_000),
        });
        list.push(resource("runtime", "VolumeStatuses.block.talos.dev", label, &spec, &yaml));
    }
}
