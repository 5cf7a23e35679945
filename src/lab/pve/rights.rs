//! Which privilege each option of a VM's configuration needs.
//!
//! The list allows: an option that is not on it is for root himself, and an API
//! token is never root himself. What an option's value decides is checked apart:
//! a mapped device is somebody's to give away, a real one is root's
//! (qemu-server 9.2: src/PVE/API2/Qemu.pm, `check_vm_modify_config_perm`,
//! `check_usb_perm` and its neighbours).

use super::acl;
use super::answer::Failure;
use super::auth::Identity;
use super::drive;
use super::property::{self, Properties};
use super::sdn;
use super::verify::Params;
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
    "tdf",
    "template",
];
const DISK: &[&str] = &["boot", "bootdisk", "vmstatestorage"];
const CLOUDINIT: &[&str] =
    &["cicustom", "cipassword", "citype", "ciuser", "nameserver", "searchdomain", "sshkeys", "ciupgrade"];

/// Whose VM it is about.
#[derive(Clone, Copy)]
pub(super) struct Guarded<'a> {
    pub world: &'a World,
    pub who: &'a Identity,
    pub vmid: u32,
    /// The pool that the VM will be in.
    pub pool: Option<&'a str>,
}

impl Guarded<'_> {
    /// All of `wanted`, on the pool or on the VM.
    pub(super) fn all(&self, wanted: &[&str]) -> Result<(), Failure> {
        let by_pool = |pool: &str| acl::require(self.world, self.who, &format!("/pool/{pool}"), wanted).is_ok();
        if self.pool.is_some_and(by_pool) {
            return Ok(());
        }
        acl::require(self.world, self.who, &format!("/vms/{}", self.vmid), wanted)
    }

    fn any(&self, wanted: &[&str]) -> Result<(), Failure> {
        let by_pool = |pool: &str| acl::may_any(self.world, self.who, &format!("/pool/{pool}"), wanted);
        if self.pool.is_some_and(by_pool) {
            return Ok(());
        }
        acl::require_any(self.world, self.who, &format!("/vms/{}", self.vmid), wanted)
    }

    /// Checks the privileges for the options named, whatever their values.
    pub(super) fn options<'o>(&self, options: impl Iterator<Item = &'o str>) -> Result<(), Failure> {
        if self.who.is_root() {
            return Ok(());
        }
        for option in options {
            match option {
                "tags" | "cdrom" => {}
                _ if drive::is_name(option) => {}
                _ if ["unused", "serial", "usb", "hostpci", "virtiofs"]
                    .iter()
                    .any(|stem| drive::indexed(option, stem)) => {}
                _ if CPU.contains(&option) || drive::indexed(option, "numa") => self.all(&["VM.Config.CPU"])?,
                _ if MEMORY.contains(&option) => self.all(&["VM.Config.Memory"])?,
                _ if HARDWARE.contains(&option) => self.all(&["VM.Config.HWType"])?,
                _ if GENERAL.contains(&option) => {
                    self.all(&["VM.Config.Options"])?;
                    if option == "startup" {
                        acl::require(self.world, self.who, "/", &["Sys.Modify"])?;
                    }
                }
                "freeze" => self.all(&["VM.PowerMgmt"])?,
                _ if DISK.contains(&option) => self.all(&["VM.Config.Disk"])?,
                _ if drive::indexed(option, "net") => self.all(&["VM.Config.Network"])?,
                "running-nets-host-mtu" if self.world.pve.release.nine() => self.all(&["VM.Config.Network"])?,
                _ if CLOUDINIT.contains(&option) || drive::indexed(option, "ipconfig") => {
                    self.any(&["VM.Config.Cloudinit", "VM.Config.Network"])?;
                }
                "vmstate" => self.all(&["VM.Config.Disk", "VM.PowerMgmt"])?,
                _ => return Err(Failure::die(format!("only root can set '{option}' config"))),
            }
        }
        Ok(())
    }

    /// Checks one device by its value. Other options pass.
    pub(super) fn device(&self, option: &str, text: &str) -> Result<(), Failure> {
        if self.who.is_root() {
            return Ok(());
        }
        let members = || drive::members(self.world.pve.release.schema(), option);
        let parsed = || members().and_then(|members| property::split(members, text).ok()).unwrap_or_default();
        let mapped = |kind: &str, name: &str| {
            acl::require(self.world, self.who, &format!("/mapping/{kind}/{name}"), &["Mapping.Use"])
        };
        let unset = || Err(Failure::die("either 'host' or 'mapping' must be set."));
        let of = |device: &Properties, key: &str| device.get(key).cloned();
        if drive::indexed(option, "usb") {
            self.all(&["VM.Config.HWType"])?;
            let device = parsed();
            match (of(&device, "host"), of(&device, "mapping")) {
                (Some(host), _) if host.eq_ignore_ascii_case("spice") => Ok(()),
                (Some(_), _) => Err(Failure::die(format!("only root can set '{option}' config for real devices"))),
                (None, Some(name)) => mapped("usb", &name),
                (None, None) => unset(),
            }
        } else if drive::indexed(option, "hostpci") {
            let device = parsed();
            match (of(&device, "host"), of(&device, "mapping")) {
                (Some(_), _) => {
                    return Err(Failure::die(format!("only root can set '{option}' config for non-mapped devices")));
                }
                (None, Some(name)) => {
                    mapped("pci", &name)?;
                    self.all(&["VM.Config.HWType"])?;
                }
                (None, None) => return unset(),
            }
            match device.get("romfile") {
                Some(_) => Err(Failure::param(option, "only root@pam can set 'romfile' option")),
                None => Ok(()),
            }
        } else if drive::indexed(option, "rng") {
            self.all(&["VM.Config.HWType"])?;
            if parsed().get("source").is_some_and(|source| source == "/dev/hwrng") {
                acl::require(self.world, self.who, "/mapping/hwrng", &["Mapping.Use"])?;
            }
            Ok(())
        } else if drive::indexed(option, "virtiofs") {
            self.all(&["VM.Config.Disk"])?;
            mapped("dir", &of(&parsed(), "dirid").unwrap_or_default())
        } else {
            Ok(())
        }
    }

    /// A serial port that is a socket is hardware; a real one is root's. `verb` is what is done to it.
    pub(super) fn serial(&self, option: &str, is_socket: bool, verb: &str) -> Result<(), Failure> {
        if is_socket {
            return self.all(&["VM.Config.HWType"]);
        }
        if self.who.is_root() {
            return Ok(());
        }
        Err(Failure::die(format!("only root can {verb} '{option}' config for real devices")))
    }

    /// What a drive holds decides who may change it.
    pub(super) fn drive(&self, option: &str, text: &str) -> Result<(), Failure> {
        let drive = drive::parse(self.world.pve.release.schema(), option, text).unwrap_or_default();
        if drive::holds_cloudinit(&drive) {
            self.all(&["VM.Config.Cloudinit", "VM.Config.CDROM"])
        } else if drive::is_cdrom(&drive) {
            self.all(&["VM.Config.CDROM"])
        } else {
            self.all(&["VM.Config.Disk"])
        }
    }
}

/// SDN.Use on the bridge of every card, or on the tag of the bridge where one is set.
pub(super) fn bridges(world: &World, who: &Identity, params: &Params) -> Result<(), Failure> {
    if who.is_root() {
        return Ok(());
    }
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
