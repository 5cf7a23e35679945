//! Pending changes become the configuration: of a VM that is off, all of them; of one that runs, those that a running
//! hypervisor can take (qemu-server 9.2: src/PVE/QemuServer.pm, `vmconfig_apply_pending`, `vmconfig_hotplug_pending`).

use std::collections::{BTreeMap, BTreeSet};

use super::answer::Failure;
use super::apply::free_check;
use super::auth::Identity;
use super::change::Errors;
use super::drive;
use super::hypervisor;
use super::machine;
use super::property::{self, Properties};
use super::rights::Guarded;
use super::schema::Schema;
use super::sdn;
use super::start;
use super::vm::Vm;
use crate::lab::world::World;

/// What a running hypervisor takes over whatever else is refused.
const FAST: &[&str] = &[
    "description",
    "hookscript",
    "lock",
    "migrate_downtime",
    "migrate_speed",
    "name",
    "onboot",
    "protection",
    "shares",
    "startup",
    "tags",
    "vmstatestorage",
    "cicustom",
    "cipassword",
    "citype",
    "ciuser",
    "ciupgrade",
    "nameserver",
    "searchdomain",
    "sshkeys",
];
/// Members of a disk that only a new start changes.
const FIXED: &[&str] = &["aio", "discard", "iothread", "queues", "product", "cache", "ssd", "vendor", "ro"];

fn is_fast(option: &str) -> bool {
    FAST.contains(&option) || drive::indexed(option, "ipconfig")
}

/// Why a change is not made at once.
enum Refusal {
    /// It waits for the next start.
    Later,
    /// It cannot be made; without newline.
    Never(String),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Never(failure.text())
    }
}

/// Whether a volume is the VM's own, by its name.
pub(super) fn owns(vmid: u32, volid: &str) -> bool {
    ["vm", "base"].iter().any(|stem| volid.contains(&format!("{stem}-{vmid}-")))
}

/// Whether a disk's volume may be freed. What is not the VM's own is only forgotten.
pub(super) fn may_free(
    world: &World,
    who: &Identity,
    vm: &Vm,
    option: &str,
    volid: &str,
    vmid: u32,
) -> Result<(), Failure> {
    if owns(vmid, volid) { free_check(world, who, vm, option, volid) } else { Ok(()) }
}

/// A disk that leaves its place stays with the VM. A cloud-init image does not: its name is the answer, to be freed.
pub(super) fn register_unused(vm: &mut Vm, vmid: u32, drive: &Properties) -> Option<String> {
    let volid = drive.get("file")?;
    if drive::is_cloudinit(volid) {
        return Some(volid.clone());
    }
    if !drive::is_cdrom(drive) {
        keep_as_unused(vm, vmid, Some(volid));
    }
    None
}

/// A disk that is taken out stays with the VM as `unusedN`, if it is the VM's own and not there already.
pub(super) fn keep_as_unused(vm: &mut Vm, vmid: u32, volid: Option<&String>) -> Option<String> {
    let volid = volid.filter(|volid| owns(vmid, volid))?;
    if vm.config.iter().any(|(option, text)| drive::is_unused(option) && text == volid) {
        return None;
    }
    let option = (0..256).map(|index| format!("unused{index}")).find(|option| !vm.config.contains_key(option))?;
    vm.config.insert(option.clone(), volid.clone());
    Some(option)
}

/// A plug at work on one VM.
struct Plug<'a> {
    world: &'a mut World,
    vm: Vm,
    node: &'a str,
    vmid: u32,
    who: Option<&'a Identity>,
    schema: &'static Schema,
    /// Volumes that nothing names any more.
    freed: Vec<String>,
    /// Discs that were changed while the VM runs.
    media: Vec<(String, String)>,
}

impl<'a> Plug<'a> {
    fn new(world: &'a mut World, node: &'a str, vmid: u32, who: Option<&'a Identity>) -> Self {
        let (schema, vm) = (world.pve.release.schema(), world.pve.vms.get(&vmid).cloned().unwrap_or_default());
        Self { world, vm, node, vmid, who, schema, freed: Vec::new(), media: Vec::new() }
    }

    fn parse(&self, option: &str, text: Option<&String>) -> Option<Properties> {
        drive::parse(self.schema, option, text?)
    }

    fn due(&self) -> Vec<(String, Option<String>)> {
        let (gone, set): (Vec<_>, Vec<_>) = self.vm.pending.clone().into_iter().partition(|(_, text)| text.is_none());
        gone.into_iter().chain(set).collect()
    }

    fn detach(&mut self, option: &str) -> Result<(), Failure> {
        let Some(drive) = self.parse(option, self.vm.config.get(option)) else { return Ok(()) };
        if !self.vm.forced.contains(option) {
            self.freed.extend(register_unused(&mut self.vm, self.vmid, &drive));
            return Ok(());
        }
        let volid = drive.get("file").cloned().unwrap_or_default();
        if let Some(who) = self.who {
            Guarded { world: self.world, who, vmid: self.vmid, pool: None }.all(&["VM.Config.Disk"])?;
            if !drive::is_cdrom(&drive) {
                may_free(self.world, who, &self.vm, option, &volid, self.vmid)?;
            }
        }
        if !drive::is_cdrom(&drive) && owns(self.vmid, &volid) {
            self.freed.push(volid);
        }
        Ok(())
    }

    fn release_card(&mut self, option: &str) {
        if let Some(card) = sdn::card(self.schema, option, self.vm.config.get(option)) {
            self.world.pve.ipam.free(&self.world.site, &card);
        }
    }

    /// The card's address goes to the card that takes its place.
    fn exchange_card(&mut self, option: &str, text: &String, running: bool) -> Result<(), String> {
        let Some(new) = sdn::card(self.schema, option, Some(text)) else { return Ok(()) };
        let old = sdn::card(self.schema, option, self.vm.config.get(option));
        let at = (&self.world.site, self.world.pve.release);
        self.world.pve.ipam.replace(at, (old.as_ref(), &new), (self.vmid, self.vm.config.get("name")), running)
    }

    fn settle(&mut self, option: &str, text: Option<String>) {
        self.vm.pending.remove(option);
        self.vm.forced.remove(option);
        match text {
            Some(text) => self.vm.config.insert(option.to_owned(), text),
            None => self.vm.config.remove(option),
        };
    }

    fn done(mut self) {
        self.vm.tidy(self.schema);
        let named: BTreeSet<String> = self.vm.volumes(self.schema).into_iter().map(|(_, volid)| volid).collect();
        self.world.pve.vms.insert(self.vmid, self.vm);
        for volid in self.freed.iter().filter(|volid| !named.contains(*volid)) {
            super::free(self.world, self.node, volid);
        }
        for (device, text) in self.media {
            let medium = start::medium(self.world, self.node, self.vmid, &device, &text);
            hypervisor::change_medium(self.world, self.vmid, &device, medium);
        }
    }

    fn cold(&mut self, option: &str, text: Option<&String>) -> Result<(), String> {
        match text {
            None if drive::is_name(option) => return self.detach(option).map_err(|failure| failure.text()),
            None => self.release_card(option),
            Some(text) => {
                if let Some(old) = self.parse(option, self.vm.config.get(option)) {
                    self.freed.extend(register_unused(&mut self.vm, self.vmid, &old));
                }
                return self.exchange_card(option, text, false);
            }
        }
        Ok(())
    }
}

/// Everything that is pending, of a VM that is off. Answers what went wrong, by option. Without a caller nobody's
/// rights are asked.
pub(super) fn cold(world: &mut World, node: &str, vmid: u32, who: Option<&Identity>) -> Errors {
    let mut plug = Plug::new(world, node, vmid, who);
    plug.vm.clean_pending();
    let mut errors = Errors::new();
    for (option, text) in plug.due() {
        match plug.cold(&option, text.as_ref()) {
            Ok(()) => plug.settle(&option, text),
            Err(why) => {
                errors.insert(option.clone(), format!("unable to apply pending change {option} : {why}\n"));
            }
        }
    }
    plug.done();
    errors
}

/// What of the `touched` options a running hypervisor can take. Answers what went wrong, by option.
pub(super) fn hot(world: &mut World, node: &str, vmid: u32, who: &Identity, touched: &BTreeSet<String>) -> Errors {
    let mut plug = Plug::new(world, node, vmid, Some(who));
    for (option, text) in plug.due() {
        if text.is_some() && is_fast(&option) {
            plug.settle(&option, text);
        }
    }
    let features = Features::of(plug.vm.config.get("hotplug"));
    let mut errors = Errors::new();
    for (option, text) in plug.due().into_iter().filter(|(option, _)| touched.contains(option)) {
        let made = match &text {
            None => plug.unplug(&option, &features),
            Some(text) => plug.plug(&option, text, &features),
        };
        match made {
            Ok(()) => plug.settle(&option, text),
            Err(Refusal::Later) => {}
            Err(Refusal::Never(why)) => drop(errors.insert(option, format!("hotplug problem - {why}\n"))),
        }
    }
    plug.done();
    errors
}

/// What `hotplug` allows.
struct Features(Vec<String>);

impl Features {
    fn of(text: Option<&String>) -> Self {
        let list = match text.map_or("1", String::as_str) {
            "1" => "network,disk,usb",
            "0" => "",
            list => list,
        };
        Self(list.split([',', ';', ' ']).map(str::to_owned).collect())
    }

    fn need(&self, feature: &str) -> Result<(), Refusal> {
        if self.0.iter().any(|known| known == feature) { Ok(()) } else { Err(Refusal::Later) }
    }
}

fn later_if(so: bool) -> Result<(), Refusal> {
    if so { Err(Refusal::Later) } else { Ok(()) }
}

fn resizes(text: &str) -> bool {
    text.contains("cpu") || text.contains("memory")
}

impl Plug<'_> {
    fn usb(&self, features: &Features) -> Result<(), Refusal> {
        features.need("usb")?;
        let ostype = self.vm.config.get("ostype").map_or("", String::as_str);
        let old = matches!(ostype, "wxp" | "w2k" | "w2k3" | "w2k8" | "wvista" | "win7");
        later_if(!(ostype == "l26" || machine::is_windows(ostype) && !old))
    }

    /// A disk that the machine boots from stays, and so does one on a bus that cannot be plugged.
    fn pull(&self, option: &str) -> Result<(), Refusal> {
        if self.vm.boot_order().iter().any(|device| device == option) {
            return Err(Refusal::Never(format!("can't unplug bootdisk '{option}'")));
        }
        if drive::indexed(option, "ide") || drive::indexed(option, "sata") {
            return Err(Refusal::Never(format!("can't unplug device '{option}'")));
        }
        Ok(())
    }

    fn unplug(&mut self, option: &str, features: &Features) -> Result<(), Refusal> {
        match option {
            "hotplug" => later_if(self.vm.config.get(option).is_some_and(|text| resizes(text))),
            "tablet" => features.need("usb"),
            "vcpus" => features.need("cpu"),
            "memory" => features.need("memory"),
            "balloon" => later_if(self.vm.config.get(option).is_some_and(|text| text == "0")),
            "cpuunits" | "cpulimit" => Ok(()),
            _ if is_fast(option) => Ok(()),
            _ if drive::indexed(option, "usb") => self.usb(features),
            _ if drive::indexed(option, "net") => {
                features.need("network")?;
                self.release_card(option);
                Ok(())
            }
            _ if drive::is_name(option) => {
                features.need("disk")?;
                later_if(["efidisk", "ide", "sata", "tpmstate"].iter().any(|bus| drive::indexed(option, bus)))?;
                self.pull(option)?;
                Ok(self.detach(option)?)
            }
            _ => Err(Refusal::Later),
        }
    }

    fn plug(&mut self, option: &str, text: &String, features: &Features) -> Result<(), Refusal> {
        let old = self.vm.config.get(option);
        match option {
            "hotplug" => later_if(resizes(text) || old.is_some_and(|old| resizes(old))),
            "tablet" => features.need("usb"),
            "vcpus" => features.need("cpu"),
            "memory" => features.need("memory"),
            "balloon" => later_if(old.is_none_or(|old| old != "0") != (text != "0")),
            "cpuunits" | "cpulimit" => Ok(()),
            "agent" => self.agent(text),
            _ if drive::indexed(option, "usb") => self.usb(features),
            _ if drive::indexed(option, "net") => {
                let same = self.is_same_card(option, text);
                if !same {
                    features.need("network")?;
                }
                self.exchange_card(option, text, true).map_err(Refusal::Never)
            }
            "efidisk0" | "tpmstate0" => Err(Refusal::Later),
            _ if drive::is_name(option) => self.plug_drive(option, text, features),
            _ => Err(Refusal::Later),
        }
    }

    /// Whether the guest keeps the card, whatever it is connected to.
    fn is_same_card(&self, option: &str, text: &String) -> bool {
        let old = sdn::card(self.schema, option, self.vm.config.get(option));
        let (Some(old), Some(new)) = (old, sdn::card(self.schema, option, Some(text))) else { return false };
        let same = ["model", "macaddr", "queues", "mtu"].iter().all(|key| old.get(*key) == new.get(*key));
        same && old.contains_key("bridge") && new.contains_key("bridge")
    }

    /// Only whether disks are trimmed after a clone can change.
    fn agent(&self, text: &str) -> Result<(), Refusal> {
        let Some(old) = self.vm.config.get("agent") else { return Err(Refusal::Later) };
        let members = drive::members(self.schema, "agent");
        let parse = |text: &str| -> BTreeMap<String, String> {
            let mut parsed = members.and_then(|members| property::split(members, text).ok()).unwrap_or_default();
            parsed.remove("fstrim_cloned_disks");
            parsed
        };
        later_if(parse(old) != parse(text))
    }

    fn plug_drive(&mut self, option: &str, text: &str, features: &Features) -> Result<(), Refusal> {
        let new = drive::parse(self.schema, option, text).unwrap_or_default();
        if let Some(old) = self.parse(option, self.vm.config.get(option)) {
            if drive::is_cdrom(&old) != drive::is_cdrom(&new) {
                return Err(Refusal::Never("unable to change media type".into()));
            }
            if drive::is_cdrom(&old) {
                let emptied = new.get("file").is_some_and(|file| file == "none");
                if emptied && drive::holds_cloudinit(&old) {
                    self.freed.extend(register_unused(&mut self.vm, self.vmid, &old));
                }
                self.media.push((option.to_owned(), text.to_owned()));
                return Ok(());
            }
            if old.get("file") == new.get("file") {
                return later_if(FIXED.iter().any(|key| old.get(*key) != new.get(*key)));
            }
            features.need("disk")?;
            self.pull(option)?;
            self.freed.extend(register_unused(&mut self.vm, self.vmid, &old));
        }
        features.need("disk")?;
        later_if(drive::indexed(option, "ide") || drive::indexed(option, "sata"))
    }
}
