//! Making a change: option by option into what is pending, and from there into the configuration.
//!
//! Each option is written down before the next is looked at, so a refusal in
//! the middle leaves what came before it, pending; that is what upstream does,
//! too (qemu-server 9.2: src/PVE/API2/Qemu.pm, `update_vm_api`).

use std::collections::BTreeSet;

use super::acl;
use super::answer::Failure;
use super::auth::Identity;
use super::change::Change;
use super::config;
use super::disks::Workshop;
use super::drive;
use super::formats::split_list;
use super::hypervisor;
use super::plug;
use super::property;
use super::rights::{self, Guarded};
use super::verify::Params;
use super::vm::{Vm, print_order};
use super::{machine, volume};
use crate::lab::world::World;

/// A change that is being made, under the VM's lock.
pub(super) struct Maker<'a> {
    pub world: &'a mut World,
    pub who: &'a Identity,
    pub node: &'a str,
    pub vmid: u32,
    /// Epoch seconds.
    pub now: i64,
    /// Lines for the task's log.
    pub log: Vec<String>,
    /// Options that this change is about.
    touched: BTreeSet<String>,
    /// The devices of the boot order, as far as this change has come.
    order: Vec<String>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(world: &'a mut World, who: &'a Identity, node: &'a str, vmid: u32, now: i64) -> Self {
        Self { world, who, node, vmid, now, log: Vec::new(), touched: BTreeSet::new(), order: Vec::new() }
    }

    pub(super) fn make(&mut self, change: &Change) -> Result<(), Failure> {
        let (set, delete) = change.resolved(self.world, self.who, self.node, self.vmid)?;
        self.log.push(format!("update VM {}:{}", self.vmid, change.words));
        self.order = self.vm().boot_order();
        for option in &delete {
            self.delete(option, change.force)?;
        }
        for (option, text) in &set {
            self.set(option, text, &set, &delete)?;
        }
        let mut vm = self.vm();
        vm.clean_pending();
        let idle = vm.pending.is_empty();
        self.write(vm);
        if idle {
            return Ok(());
        }
        let errors = if hypervisor::is_running(self.world, self.vmid) {
            plug::hot(self.world, self.node, self.vmid, self.who, &self.touched)
        } else {
            plug::cold(self.world, self.node, self.vmid, Some(self.who))
        };
        if errors.is_empty() { Ok(()) } else { Err(Failure::params(errors)) }
    }

    fn vm(&self) -> Vm {
        self.world.pve.vms.get(&self.vmid).cloned().unwrap_or_default()
    }

    fn write(&mut self, mut vm: Vm) {
        vm.tidy(self.world.pve.release.schema());
        self.world.pve.vms.insert(self.vmid, vm);
    }

    fn guarded(&self) -> Guarded<'_> {
        Guarded { world: self.world, who: self.who, vmid: self.vmid, pool: None }
    }

    fn delete(&mut self, option: &str, force: bool) -> Result<(), Failure> {
        let mut vm = self.vm();
        let waiting = vm.pending.get(option).cloned().flatten();
        let Some(text) = vm.config.get(option).cloned().or_else(|| waiting.clone()) else {
            self.log.push(format!("cannot delete '{option}' - not set in current configuration!"));
            return Ok(());
        };
        self.touched.insert(option.to_owned());
        if waiting.is_some() {
            vm.pending.remove(option);
        }
        if self.order.iter().any(|device| device == option) {
            self.order.retain(|device| device != option);
            vm.set_later("boot", print_order(&self.order));
            self.touched.insert("boot".into());
        }
        let protected = |vm: &Vm, what: String| {
            if vm.protected() { Err(Failure::die(format!("{what} - protection mode enabled"))) } else { Ok(()) }
        };
        if drive::is_unused(option) {
            protected(&vm, format!("can't remove unused disk '{text}'"))?;
            self.guarded().all(&["VM.Config.Disk"])?;
            plug::may_free(self.world, self.who, &vm, option, &text, self.vmid)?;
            vm.config.remove(option);
            self.write(vm);
            if plug::owns(self.vmid, &text) {
                super::free(self.world, self.node, &text);
            }
            return Ok(());
        }
        if drive::is_name(option) {
            protected(&vm, format!("can't remove drive '{option}'"))?;
            self.guarded().drive(option, &text)?;
            if waiting.is_some() {
                self.register_unused(&mut vm, option, &text);
            }
        } else if drive::indexed(option, "serial") {
            self.guarded().serial(option, text == "socket", "delete")?;
        } else if drive::indexed(option, "net") {
            if let Some(card) = vm.config.get(option) {
                rights::bridges(self.world, self.who, &Params::from([(option.to_owned(), card.clone())]))?;
            }
        } else if option == "tags" {
            self.guarded().all(&["VM.Config.Options"])?;
            vm.config.remove(option);
            self.write(vm);
            return Ok(());
        } else {
            self.guarded().device(option, &text)?;
        }
        vm.delete_later(option, force);
        self.write(vm);
        Ok(())
    }

    fn register_unused(&mut self, vm: &mut Vm, option: &str, text: &str) {
        let schema = self.world.pve.release.schema();
        let drive = drive::parse(schema, option, text).unwrap_or_default();
        if let Some(volid) = plug::register_unused(vm, self.vmid, &drive) {
            super::free(self.world, self.node, &volid);
        }
    }

    fn set(&mut self, option: &str, text: &str, set: &Params, delete: &[String]) -> Result<(), Failure> {
        self.touched.insert(option.to_owned());
        let mut vm = self.vm();
        if vm.pending.get(option).is_some_and(|waiting| waiting.as_deref() == Some(text)) {
            return Ok(());
        }
        let old = vm.config.get(option).cloned();
        let schema = self.world.pve.release.schema();
        if drive::is_name(option) {
            self.set_drive(&mut vm, option, text, old.as_deref())?;
        } else if drive::indexed(option, "serial") {
            let socket = text == "socket" && old.as_deref().is_none_or(|old| old == "socket");
            self.guarded().serial(option, socket, "modify")?;
            vm.set_later(option, text.to_owned());
        } else if option == "boot" {
            let boot = drive::members(schema, option).and_then(|members| property::split(members, text).ok());
            let order = boot.unwrap_or_default().remove("order").unwrap_or_default();
            let devices: Vec<String> = split_list(&order).into_iter().map(str::to_owned).collect();
            let there = |device: &String| {
                let waiting = vm.pending.get(device).is_some_and(Option::is_some);
                (vm.config.contains_key(device) || waiting || set.contains_key(device)) && !delete.contains(device)
            };
            if let Some(missing) = devices.iter().find(|device| !there(device)) {
                return Err(Failure::die(format!("invalid bootorder: device '{missing}' does not exist'")));
            }
            let text = if devices.is_empty() { text.to_owned() } else { print_order(&devices) };
            vm.set_later(option, text);
            if !devices.is_empty() && vm.config.contains_key("bootdisk") {
                vm.delete_later("bootdisk", false);
            }
        } else if option == "description" && text.is_empty() {
            vm.config.remove(option);
            vm.pending.remove(option);
        } else if option == "cipassword" {
            // What is stored is a hash that nobody sees.
            vm.config.insert(option.to_owned(), text.to_owned());
        } else {
            match option {
                "vga" => machine::clipboard(schema, text).map_err(Failure::die)?,
                "machine" => machine::check(schema, text).map_err(Failure::die)?,
                "tags" => self.guarded().all(&["VM.Config.Options"])?,
                _ if drive::indexed(option, "net") => {
                    let cards = old.iter().map(|card| (option.to_owned(), card.clone())).collect();
                    rights::bridges(self.world, self.who, &cards)?;
                }
                _ => {
                    for text in old.iter().map(String::as_str).chain([text]) {
                        self.guarded().device(option, text)?;
                    }
                }
            }
            if option == "ostype"
                && !set.contains_key("machine")
                && !self.touched.contains("machine")
                && !vm.pending.contains_key("machine")
                && let Some((pinned, line)) = machine::pinned(self.world.pve.release, vm.config.get("machine"), text)
            {
                self.log.push(line);
                vm.set_later("machine", pinned);
            }
            vm.set_later(option, super::options::canonical(schema, option, text));
        }
        self.write(vm);
        Ok(())
    }

    fn set_drive(&mut self, vm: &mut Vm, option: &str, text: &str, old: Option<&str>) -> Result<(), Failure> {
        let schema = self.world.pve.release.schema();
        let parse = |text: &str| drive::parse(schema, option, text).unwrap_or_default();
        let new = parse(text);
        if let Some(old) = old {
            self.guarded().drive(option, old)?;
            let old = parse(old);
            let version = |drive: &property::Properties| drive.get("version").map_or("v1.2", String::as_str).to_owned();
            if option == "tpmstate0" && old.get("file") == new.get("file") && version(&old) != version(&new) {
                return Err(Failure::die("cannot change TPM state version after creation"));
            }
        }
        self.guarded().drive(option, text)?;
        if new.contains_key("media")
            && drive::members(schema, option).is_some_and(|members| !members.contains_key("media"))
        {
            // Firmware and TPM hold no discs: what names one is passed over.
            return Ok(());
        }
        if let Some(waiting) = vm.pending.get(option).cloned().flatten() {
            self.register_unused(vm, option, &waiting);
        }
        if let drive::Source::Volume(volid) = drive::source(new.get("file").map_or("", String::as_str)) {
            super::sources::volume_access(self.world, self.who, Some(self.vmid), volid, None)?;
        }
        let World { site, pve, fleet, .. } = &mut *self.world;
        let place = (self.node, self.vmid);
        let mut shop = Workshop::new(site, &mut pve.volumes, &pve.locked_storages, pve.release, place, self.now);
        shop.present = vm.effective();
        shop.template = vm.is_template();
        let made = shop.drives(&Params::from([(option.to_owned(), text.to_owned())]));
        if made.is_err() {
            shop.undo();
        }
        self.log.append(&mut shop.log);
        for (volid, head) in std::mem::take(&mut shop.imprints) {
            fleet.imprint(&volid, &head);
        }
        for (option, text) in made.map_err(Failure::die)? {
            vm.set_later(&option, text);
        }
        // The order names every disc that can be booted from.
        if !self.order.is_empty() && drive::is_cdrom(&new) && !self.order.iter().any(|device| device == option) {
            self.order.push(option.to_owned());
            vm.set_later("boot", print_order(&self.order));
            self.touched.insert("boot".into());
        }
        Ok(())
    }
}

/// Whether the caller may free what `option` holds, and nothing else needs it.
pub(super) fn free_check(world: &World, who: &Identity, vm: &Vm, option: &str, volid: &str) -> Result<(), Failure> {
    let path = format!("/storage/{}", volume::storage_of(volid));
    acl::require(world, who, &path, &["Datastore.AllocateSpace"])?;
    if config::is_in_use(world, vm, option, volid) {
        return Err(Failure::die(format!("unable to delete '{volid}' - volume is still in use (snapshot?)")));
    }
    Ok(())
}
