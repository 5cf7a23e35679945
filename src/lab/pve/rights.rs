//! Which privilege each option of a VM's configuration needs.
//!
//! The list allows: an option that is not on it is for root itself, and an API
//! token is never root itself (qemu-server: src/PVE/API2/Qemu.pm,
//! `check_vm_modify_config_perm`, `check_storage_access`).

use super::acl;
use super::answer::Failure;
use super::auth::Identity;
use super::drive::{self, Source};
use super::property;
use super::sdn;
use super::verify::Params;
use super::volume;
use crate::lab::world::World;

const CPU: &[&str] = &["cores", "cpu", "cpulimit", "cpuunits", "numa", "smp", "sockets", "vcpus"];
const MEMORY: &[&str] = &["memory", "balloon", "shares", "allow-ksm"];
const HARDWARE: &[&str] =
    &["acpi", "hotplug", "kvm", "machine", "scsihw", "smbios1", "tablet", "vga", "watchdog", "audio0", "rng0"];
const GENERAL: &[&str] = &[
    "agent",
    "autostart",
    "bios",
    "description",
    "keyboard",
    "localtime",
    "migrate_downtime",
    "migrate_speed",
    "name",
    "onboot",
    "ostype",
    "protection",
    "reboot",
    "startdate",
    "startup",
    "tags",
    "tdf",
    "template",
];
const DISK: &[&str] = &["boot", "bootdisk", "vmstatestorage"];
const CLOUDINIT: &[&str] =
    &["cicustom", "cipassword", "citype", "ciuser", "nameserver", "searchdomain", "sshkeys", "ciupgrade"];

/// Checks the privileges for the options named. `pool` is the pool that the VM will be in.
pub(super) fn options<'a>(
    world: &World,
    who: &Identity,
    vmid: u32,
    pool: Option<&str>,
    options: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    changing: bool,
) -> Result<(), Failure> {
    let vm = format!("/vms/{vmid}");
    let any = |wanted: &[&str]| {
        if pool.is_some_and(|pool| acl::may_any(world, who, &format!("/pool/{pool}"), wanted)) {
            return Ok(());
        }
        acl::require_any(world, who, &vm, wanted)
    };
    for (option, value) in options {
        if drive::is_name(option) || drive::is_unused(option) {
            continue;
        }
        match option {
            _ if CPU.contains(&option) || drive::indexed(option, "numa") => any(&["VM.Config.CPU"])?,
            _ if MEMORY.contains(&option) => any(&["VM.Config.Memory"])?,
            _ if HARDWARE.contains(&option) => any(&["VM.Config.HWType"])?,
            _ if GENERAL.contains(&option) => {
                any(&["VM.Config.Options"])?;
                if option == "startup" {
                    acl::require(world, who, "/", &["Sys.Modify"])?;
                }
            }
            _ if DISK.contains(&option) => any(&["VM.Config.Disk"])?,
            _ if CLOUDINIT.contains(&option) || drive::indexed(option, "ipconfig") => {
                any(&["VM.Config.Cloudinit", "VM.Config.Network"])?;
            }
            _ if drive::indexed(option, "net") => any(&["VM.Config.Network"])?,
            "freeze" => any(&["VM.PowerMgmt"])?,
            _ if drive::indexed(option, "serial") => {
                if value.is_some_and(|value| value != "socket") {
                    let verb = if changing { "modify" } else { "set" };
                    return Err(Failure::die(format!("only root can {verb} '{option}' config for real devices")));
                }
                any(&["VM.Config.HWType"])?;
            }
            _ => return Err(Failure::die(format!("only root can set '{option}' config"))),
        }
    }
    Ok(())
}

/// Checks access to the storages and volumes that drives of a request name.
pub(super) fn drives(world: &World, who: &Identity, vmid: u32, params: &Params) -> Result<(), Failure> {
    let schema = world.pve.release.schema();
    for name in drive::names() {
        let Some(drive) = params.get(&name).and_then(|text| drive::parse(schema, &name, text)) else { continue };
        let file = drive.get("file").map_or("", String::as_str);
        match drive::source(file) {
            Source::Nothing => {}
            Source::Physical => acl::require(world, who, "/", &["Sys.Console"])?,
            Source::New { storage, .. } | Source::CloudInit { storage } => new_disk(world, who, storage)?,
            Source::Path | Source::Volume(_) => {
                let content = volume_access(world, who, Some(vmid), file)?;
                if content != "images" && content != "iso" {
                    return Err(Failure::param(&name, "content type needs to be 'images' or 'iso'"));
                }
            }
        }
        if let Some(from) = drive.get("import-from") {
            import_source(world, who, vmid, &name, file, from)?;
            for (device, needed) in [("efidisk0", "efitype"), ("tpmstate0", "version")] {
                if name == device && !drive.contains_key(needed) {
                    return Err(Failure::param(&name, format!("need to specify '{needed}' when using 'import-from'")));
                }
            }
        } else if let Source::Volume(volid) = drive::source(file)
            && !drive::is_cdrom(&drive)
            && volume_content(world, volid)? == "iso"
        {
            return Err(Failure::param(&name, "explicit 'media=cdrom' is required for iso images"));
        }
    }
    Ok(())
}

fn new_disk(world: &World, who: &Identity, storage: &str) -> Result<(), Failure> {
    acl::require(world, who, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    let definition = volume::definition(&world.site, storage).map_err(Failure::die)?;
    if !definition.content.iter().any(|content| content == "images") {
        return Err(Failure::param("storage", format!("storage '{storage}' does not support vm images")));
    }
    Ok(())
}

fn import_source(world: &World, who: &Identity, vmid: u32, name: &str, file: &str, from: &str) -> Result<(), Failure> {
    if !matches!(drive::source(file), Source::New { gib: "0", .. }) {
        let text = "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>";
        return Err(Failure::param(name, text));
    }
    if !from.starts_with('/') {
        let (content, owner) = volume_kind(world, from)?;
        if let Some(owner) = owner.filter(|owner| *owner != vmid) {
            acl::require(world, who, &format!("/vms/{owner}"), &["VM.Clone"])?;
        }
        if content != "images" && content != "import" {
            let text = format!("{from} has wrong type '{content}' - needs to be 'images' or 'import'");
            return Err(Failure::param(name, text));
        }
        if content == "images" {
            return Ok(());
        }
    }
    volume_access(world, who, Some(vmid), from).map(|_| ())
}

fn volume_kind(world: &World, volid: &str) -> Result<(&'static str, Option<u32>), Failure> {
    let (storage, name) =
        volid.split_once(':').ok_or_else(|| Failure::die(format!("unable to parse volume ID '{volid}'")))?;
    let definition = volume::definition(&world.site, storage).map_err(Failure::die)?;
    volume::parse_name(definition, name).map_err(Failure::die)
}

fn volume_content(world: &World, volid: &str) -> Result<&'static str, Failure> {
    volume_kind(world, volid).map(|(content, _)| content)
}

/// Whether the caller may use an existing volume; its content type if so.
pub(super) fn volume_access(
    world: &World,
    who: &Identity,
    vmid: Option<u32>,
    volid: &str,
) -> Result<&'static str, Failure> {
    if volid.starts_with('/') {
        let at = "at /usr/share/perl5/PVE/Storage.pm line 651.";
        return Err(Failure::die(format!("Only root can pass arbitrary filesystem paths. {at}")));
    }
    let (content, owner) = volume_kind(world, volid)?;
    let path = format!("/storage/{}", volid.split(':').next().unwrap_or_default());
    if acl::may(world, who, &path, "Datastore.Allocate") {
        return Ok(content);
    }
    match (content, owner) {
        ("images", Some(owner)) if vmid == Some(owner) => {}
        ("images", Some(owner)) => {
            acl::require(world, who, &path, &["Datastore.Audit"])?;
            acl::require(world, who, &format!("/vms/{owner}"), &["VM.Config.Disk"])?;
        }
        _ => acl::require_any(world, who, &path, &["Datastore.AllocateSpace", "Datastore.Audit"])?,
    }
    Ok(content)
}

/// SDN.Use on the bridge of every card, or on the tag of the bridge where one is set.
pub(super) fn bridges(world: &World, who: &Identity, params: &Params) -> Result<(), Failure> {
    let schema = world.pve.release.schema();
    for (option, text) in params.iter().filter(|(option, _)| drive::indexed(option, "net")) {
        let Some(members) = drive::members(schema, option) else { continue };
        let net = property::split(members, text).unwrap_or_default();
        let Some(bridge) = net.get("bridge") else {
            // pve-network 0.11: the lookup of the zone dies without a bridge; later releases skip it.
            if world.pve.release.nine() {
                continue;
            }
            return Err(Failure::die("no sdn vnet ID specified"));
        };
        let bridge = sdn::path(&world.site, bridge);
        let tags = net.get("tag").into_iter().map(String::as_str);
        let trunks = net.get("trunks").into_iter().flat_map(|trunks| trunks.split(';'));
        let tagged: Vec<&str> = tags.chain(trunks).collect();
        for tag in &tagged {
            acl::require(world, who, &format!("{bridge}/{tag}"), &["SDN.Use"])?;
        }
        if tagged.is_empty() {
            acl::require(world, who, &bridge, &["SDN.Use"])?;
        }
    }
    Ok(())
}
