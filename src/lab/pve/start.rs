//! Starting a VM: what can go wrong on the node, and the hardware that its guest sees.

use base64::Engine;

use super::call::no_config;
use super::drive;
use super::hypervisor;
use super::property::{self, Properties};
use super::schema::Schema;
use super::sdn;
use super::vm::{Config, Vm};
use super::volume;
use crate::lab::hardware::{Drive, Firmware, Hardware, Medium, Nic};
use crate::lab::world::World;

/// The worker of `qmstart`.
pub(super) fn work(world: &mut World, upid: &str, node: &str, vmid: u32, skip_lock: bool) -> Result<(), String> {
    let vm = world.pve.vms.get_mut(&vmid).filter(|vm| vm.node == node).ok_or_else(|| no_config(node, vmid))?;
    if vm.is_template() {
        return Err("you can't start a vm if it's a template".into());
    }
    let resumes = vm.is_suspended();
    if !resumes && !skip_lock {
        vm.check_lock()?;
    }
    if hypervisor::is_running(world, vmid) {
        return Err(format!("VM {vmid} already running"));
    }
    if resumes {
        if let Some(vm) = world.pve.vms.get_mut(&vmid) {
            vm.config.remove("lock");
        }
        world.pve.tasks.log(upid, "Resuming suspended VM");
    }
    for line in super::plug::cold(world, node, vmid, None).into_values() {
        world.pve.tasks.log(upid, line.trim_end());
    }
    let (warnings, log) = checked(world, upid, node, vmid)?;
    for line in log {
        world.pve.tasks.log(upid, line);
    }
    for line in warnings {
        world.pve.tasks.warn(upid, &line);
    }
    let Some(hardware) = hardware(world, vmid) else { return Err(no_config(node, vmid)) };
    hypervisor::power_on(world, hardware)?;
    if resumes {
        world.pve.tasks.log(upid, "Resumed VM, removing state");
    }
    let pid = world.pve.next_pid();
    if let Some(vm) = world.pve.vms.get_mut(&vmid) {
        vm.paused = false;
        vm.started = Some(std::time::Instant::now());
        vm.pid = pid;
    }
    Ok(())
}

/// What the node refuses, what it warns about, and what it says.
fn checked(world: &mut World, upid: &str, node: &str, vmid: u32) -> Result<(Vec<String>, Vec<String>), String> {
    let schema = world.pve.release.schema();
    let Some(vm) = world.pve.vms.get(&vmid) else { return Err(no_config(node, vmid)) };
    let (mut warnings, mut log) = (Vec::new(), Vec::new());
    let cpus = world.site.nodes.iter().find(|known| known.name == node).map_or(1, |node| u64::from(node.cpus));
    if vm.number("sockets", 1) * vm.number("cores", 1) > cpus {
        return Err(format!("MAX {cpus} vcpus allowed per VM on this node"));
    }
    for (option, text) in vm.config.iter().filter(|(option, _)| drive::is_name(option)) {
        let drive = drive::parse(schema, option, text).unwrap_or_default();
        let file = drive.get("file").map_or("", String::as_str);
        if let drive::Source::Volume(volid) = drive::source(file) {
            let place = volume::place(&world.site, node, volid);
            if place.is_none_or(|place| !world.pve.volumes.contains_key(&place)) {
                return Err(format!("volume '{volid}' does not exist"));
            }
        }
        if drive::is_cloudinit(file) {
            log.push("generating cloud-init ISO".to_owned());
        }
        let single = vm.config.get("scsihw").is_some_and(|text| text == "virtio-scsi-single");
        if drive.get("iothread").is_some_and(|flag| flag == "1") && drive::indexed(option, "scsi") && !single {
            let text = "iothread is only valid with virtio disk or virtio-scsi-single controller, ignoring";
            warnings.push(text.to_owned());
        }
    }
    if vm.config.get("bios").is_some_and(|bios| bios == "ovmf") && !vm.config.contains_key("efidisk0") {
        warnings.push("no efidisk configured! Using temporary efivars disk.".to_owned());
    }
    let cards: Vec<(u32, Properties)> = nets(schema, &vm.config).collect();
    let loose = cards.iter().filter(|(_, card)| card.contains_key("macaddr") && !card.contains_key("bridge"));
    warnings.extend(loose.map(|(index, _)| format!("Interface 'tap{vmid}i{index}' not attached to any bridge.")));
    let name = vm.config.get("name").cloned();
    for (index, card) in cards {
        let World { site, pve, .. } = &mut *world;
        // Whoever made the card may have found no address for it.
        let lease = match pve.ipam.address(site, &card) {
            Some(_) => Ok(()),
            None => pve.ipam.reserve((site, pve.release), &card, (vmid, name.as_ref())),
        };
        let failed = lease.err().map(|why| (String::new(), why)).or_else(|| unplugged(world, &card));
        let Some((name, why)) = failed else { continue };
        // A bridge that is missing is seen before the hypervisor runs, from qemu-server 9 on; everything else is seen
        // by the network script that the hypervisor runs.
        let missing = why == format!("bridge '{name}' does not exist");
        if missing && world.pve.release.nine() {
            return Err(why);
        }
        let script = "/usr/libexec/qemu-server/pve-bridge";
        world.pve.tasks.log(upid, why);
        let tap = format!("type=tap,id=net{index},ifname=tap{vmid}i{index},script={script},downscript={script}down");
        world.pve.tasks.log(upid, format!("kvm: -netdev {tap}: network script {script} failed with status 512"));
        return Err("start failed: QEMU exited with code 1".into());
    }
    Ok((warnings, log))
}

/// Why a card cannot be plugged into its bridge, and the bridge's name.
fn unplugged(world: &World, card: &Properties) -> Option<(String, String)> {
    let name = card.get("bridge")?;
    if sdn::vnet(&world.site, name).is_some() {
        let tagged = card.contains_key("tag") || card.contains_key("trunks");
        return tagged.then(|| (name.clone(), format!("vm vlans are not allowed on vnet {name}")));
    }
    let bridge = world.site.bridges.iter().find(|known| known.name == *name && known.active);
    let why = match bridge {
        None => format!("bridge '{name}' does not exist"),
        // Without VLANs of its own, a bridge needs a port on which Proxmox can make one.
        Some(bridge) if card.contains_key("tag") && !bridge.vlan_aware && bridge.ports.is_empty() => {
            format!("no physical interface on bridge '{name}'")
        }
        Some(_) => return None,
    };
    Some((name.clone(), why))
}

/// Network cards by index.
pub(super) fn nets<'a>(schema: &'a Schema, config: &'a Config) -> impl Iterator<Item = (u32, Properties)> + 'a {
    (0..32).filter_map(move |index| {
        let option = format!("net{index}");
        let net = property::split(drive::members(schema, &option)?, config.get(&option)?).ok()?;
        Some((index, net))
    })
}

/// The machine as the configuration describes it.
pub(super) fn hardware(world: &World, vmid: u32) -> Option<Hardware> {
    let schema = world.pve.release.schema();
    let vm = world.pve.vms.get(&vmid)?;
    let smbios = option(schema, vm, "smbios1");
    let decode = |text: &String| {
        if smbios.get("base64").is_some_and(|flag| flag == "1") {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
            return String::from_utf8(bytes).ok();
        }
        Some(text.clone())
    };
    let cpu = option(schema, vm, "cpu").get("cputype").cloned();
    let boot = option(schema, vm, "boot").get("order").cloned().unwrap_or_default();
    let drives = drive::names().filter(|name| name != "efidisk0" && name != "tpmstate0");
    Some(Hardware {
        vmid,
        name: vm.name(vmid),
        node: vm.node.clone(),
        uuid: smbios.get("uuid").and_then(|uuid| uuid.parse().ok()),
        serial: smbios.get("serial").and_then(decode),
        firmware: firmware(schema, vm),
        cpu: cpu.unwrap_or_else(|| "kvm64".to_owned()),
        cores: u32::try_from(vm.number("sockets", 1) * vm.number("cores", 1)).unwrap_or(u32::MAX),
        memory_mib: vm.memory(),
        nics: nets(schema, &vm.config).filter_map(|(_, net)| nic(world, &net)).collect(),
        drives: drives
            .filter_map(|device| {
                let text = vm.config.get(&device)?;
                let medium = medium(world, &vm.node, vmid, &device, text);
                Some(Drive { device, medium })
            })
            .collect(),
        boot: boot.split(';').filter(|device| !device.is_empty()).map(str::to_owned).collect(),
        agent: vm.agent(),
        tpm: vm.config.contains_key("tpmstate0"),
        serial_console: vm.config.get("serial0").is_some_and(|text| text == "socket"),
    })
}

fn option(schema: &Schema, vm: &Vm, name: &str) -> Properties {
    let text = vm.config.get(name).map_or("", String::as_str);
    drive::members(schema, name).and_then(|members| property::split(members, text).ok()).unwrap_or_default()
}

fn firmware(schema: &Schema, vm: &Vm) -> Firmware {
    if vm.config.get("bios").is_none_or(|bios| bios != "ovmf") {
        return Firmware::SeaBios;
    }
    let efi = option(schema, vm, "efidisk0");
    let q35 = vm.config.get("machine").is_some_and(|machine| machine.contains("q35"));
    Firmware::Ovmf {
        secure_boot_capable: q35 && efi.get("efitype").is_some_and(|kind| kind == "4m"),
        vars: efi.get("file").cloned(),
        pre_enrolled: efi.get("pre-enrolled-keys").is_some_and(|flag| flag == "1"),
    }
}

fn nic(world: &World, net: &Properties) -> Option<Nic> {
    Some(Nic {
        model: net.get("model").cloned().unwrap_or_default(),
        mac: net.get("macaddr")?.parse().ok()?,
        bridge: net.get("bridge").cloned().unwrap_or_default(),
        vlan: net.get("tag").and_then(|tag| tag.parse().ok()),
        link_up: net.get("link_down").is_none_or(|flag| flag != "1"),
        lease: world.pve.ipam.address(&world.site, net),
    })
}

/// What is in a drive.
pub(super) fn medium(world: &World, node: &str, vmid: u32, device: &str, text: &str) -> Medium {
    let schema = world.pve.release.schema();
    let Some(drive) = drive::parse(schema, device, text) else { return Medium::Empty };
    let volid = drive.get("file").cloned().unwrap_or_default();
    let found = volume::place(&world.site, node, &volid).and_then(|place| world.pve.volumes.get(&place));
    let Some(found) = found else { return Medium::Empty };
    if drive::is_cloudinit(&volid) {
        let data = world.pve.vms.get(&vmid).map_or_else(Vec::new, |vm| super::seed::image(schema, vm)).into();
        return Medium::Cdrom { volid, data };
    }
    if drive::is_cdrom(&drive) {
        return Medium::Cdrom { volid, data: found.data.clone() };
    }
    let serial =
        drive.get("serial").map(|text| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned());
    Medium::Disk { volid, bytes: found.bytes, serial }
}
