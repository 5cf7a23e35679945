//! A change of a VM's configuration, checked and not made yet.
//!
//! The order of the checks is the contract: a client that is refused for two
//! reasons sees the first (qemu-server 9.2: src/PVE/API2/Qemu.pm,
//! `update_vm_api`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::answer::Failure;
use super::auth::Identity;
use super::call::{Call, no_config};
use super::drive;
use super::formats::split_list;
use super::options;
use super::rights::{self, Guarded};
use super::sources;
use super::verify::Params;
use super::volume;
use crate::lab::world::World;

/// Parameters of the call that are not options of the VM.
const NOT_OPTIONS: &[&str] =
    &["node", "vmid", "digest", "delete", "revert", "skiplock", "force", "background_delay", "import-working-storage"];
/// Those that a worker's log does not show.
const NOT_SHOWN: &[&str] = &["node", "vmid", "digest", "background_delay", "import-working-storage"];
/// Options that no request can set, but that can be deleted.
const UNSETTABLE: &[&str] = &["meta", "parent", "snaptime", "vmstate", "runningmachine", "runningcpu"];

/// A change that passed every check that does not need the VM.
pub(super) struct Change {
    set: Params,
    delete: Vec<String>,
    revert: BTreeSet<String>,
    /// Disks that are taken out are freed.
    pub force: bool,
    digest: Option<String>,
    skip_lock: bool,
    /// `-memory 1024 -name x`, as the log tells it.
    pub words: String,
}

impl Change {
    /// Every check, in upstream's order.
    pub(super) fn checked(call: &Call) -> Result<Self, Failure> {
        let change = Self::read(call)?;
        change.resolved(call.world, call.who, call.node(), call.vmid())?;
        Ok(change)
    }

    fn read(call: &Call) -> Result<Self, Failure> {
        let (world, schema) = (&*call.world, call.schema());
        if call.flag("skiplock") && !call.who.is_root() {
            return Err(Failure::param("skiplock", "Only root may use this option."));
        }
        let mut words = String::new();
        for (option, text) in call.params.iter().filter(|(option, _)| !NOT_SHOWN.contains(&option.as_str())) {
            let text = if option == "cipassword" { "<hidden>" } else { text };
            // Writing to a string cannot fail.
            let _ = write!(words, " -{option} {text}");
        }
        let mut set: Params = call.params.clone();
        set.retain(|option, _| !NOT_OPTIONS.contains(&option.as_str()));
        options::prepare(&mut set)?;
        if set.is_empty() && call.text("delete").is_empty() && call.text("revert").is_empty() {
            return Err(Failure::die("no options specified"));
        }
        options::resolve_cdrom(&mut set);
        let params = schema.endpoint("POST", "/nodes/{node}/qemu").map(|endpoint| &endpoint.params);
        let known = |option: &str| {
            let settable = params.is_some_and(|params| schema.parameter(params, option).is_some());
            let mtu = option == "running-nets-host-mtu" && call.release().nine();
            (settable && !NOT_OPTIONS.contains(&option) && !CREATION_ONLY.contains(&option))
                || UNSETTABLE.contains(&option)
                || mtu
        };
        let twice =
            |flag: &str, option: &str| format!("you can't use '-{option}' and -{flag} {option}' at the same time");
        let mut revert = BTreeSet::new();
        for option in split_list(call.text("revert")) {
            if !known(option) {
                return Err(Failure::param("revert", format!("unknown option '{option}'")));
            }
            if set.contains_key(option) {
                return Err(Failure::param("delete", twice("revert", option)));
            }
            revert.insert(option.to_owned());
        }
        let mut delete = Vec::new();
        for option in split_list(call.text("delete")) {
            let option = if option == "cdrom" { "ide2" } else { option };
            if set.contains_key(option) {
                return Err(Failure::param("delete", twice("delete", option)));
            }
            if revert.contains(option) {
                let text = format!("you can't use '-delete {option}' and -revert {option}' at the same time");
                return Err(Failure::param("revert", text));
            }
            if !known(option) {
                return Err(Failure::param("delete", format!("unknown option '{option}'")));
            }
            delete.push(option.to_owned());
        }
        sources::drive_params(world, &mut set)?;
        for (option, text) in &mut set {
            if option == "vmgenid" && text == "1" {
                *text = uuid::Uuid::new_v4().to_string();
            } else if option == "hookscript" {
                hookscript(world, call.node(), text).map_err(|why| Failure::param("hookscript", why))?;
            } else if drive::indexed(option, "net") {
                *text = options::canonical(schema, option, text);
            }
        }
        let guarded = Guarded { world, who: call.who, vmid: call.vmid(), pool: None };
        guarded.options(delete.iter().map(String::as_str))?;
        guarded.options(set.keys().map(String::as_str))?;
        sources::access(world, call.who, call.vmid(), &set, None)?;
        rights::bridges(world, call.who, &set)?;
        let digest = call.opt("digest").filter(|digest| !digest.is_empty()).map(str::to_owned);
        let (force, skip_lock) = (call.flag("force"), call.flag("skiplock"));
        Ok(Self { set, delete, revert, force, digest, skip_lock, words })
    }

    /// What is to be set and deleted, seen from the VM as it is now. A reverted option is set to what it is.
    pub(super) fn resolved(
        &self,
        world: &World,
        who: &Identity,
        node: &str,
        vmid: u32,
    ) -> Result<(Params, Vec<String>), Failure> {
        let vm = world.pve.vm_on(node, vmid).ok_or_else(|| Failure::die(no_config(node, vmid)))?;
        if self.digest.as_ref().is_some_and(|digest| *digest != vm.digest()) {
            return Err(Failure::die("checksum mismatch (file change by other user?)"));
        }
        custom_cpu(world, who, self.set.get("cpu"), vm.config.get("cpu"))?;
        if !self.skip_lock {
            vm.check_lock().map_err(Failure::die)?;
        }
        let (mut set, mut delete) = (self.set.clone(), self.delete.clone());
        for option in &self.revert {
            match (vm.config.get(option), vm.pending.get(option)) {
                (Some(text), _) => drop(set.insert(option.clone(), text.clone())),
                (None, Some(_)) => delete.push(option.clone()),
                (None, None) => {}
            }
        }
        if set.contains_key("memory") || set.contains_key("balloon") {
            let waiting = |option: &str| vm.pending.get(option).cloned().flatten();
            let of = |option: &str| {
                set.get(option).cloned().or_else(|| waiting(option)).or_else(|| vm.config.get(option).cloned())
            };
            let memory = of("memory").and_then(|text| text.trim_start_matches("current=").parse::<u64>().ok());
            let balloon = of("balloon").and_then(|text| text.parse::<u64>().ok());
            if balloon.is_some_and(|balloon| balloon > memory.unwrap_or(512)) {
                return Err(Failure::die("balloon value too large (must be smaller than assigned memory)"));
            }
        }
        Ok((set, delete))
    }
}

/// Parameters of a creation that are not options either.
const CREATION_ONLY: &[&str] =
    &["pool", "archive", "storage", "unique", "start", "bwlimit", "live-restore", "ha-managed"];

/// Custom models are given away; one that a VM has already may stay.
pub(super) fn custom_cpu(
    world: &World,
    who: &Identity,
    new: Option<&String>,
    old: Option<&String>,
) -> Result<(), Failure> {
    let schema = world.pve.release.schema();
    let kind = |text: &String| {
        let members = drive::members(schema, "cpu")?;
        super::property::split(members, text).ok()?.remove("cputype")
    };
    let Some(new) = new.and_then(kind) else { return Ok(()) };
    match new.strip_prefix("custom-") {
        Some(name) if old.and_then(kind).as_ref() != Some(&new) => {
            super::acl::require(world, who, &format!("/mapping/cpu/{name}"), &["Mapping.Use"])
        }
        _ => Ok(()),
    }
}

/// A hook script is a snippet that is there. The reason ends in a newline, as upstream's does.
pub(super) fn hookscript(world: &World, node: &str, volid: &str) -> Result<(), String> {
    let Some((storage, name)) = volid.split_once(':') else {
        return Err(format!("unable to parse volume ID '{volid}'\n"));
    };
    let definition = volume::definition(&world.site, storage).map_err(|text| format!("{text}\n"))?;
    let (content, _) = volume::parse_name(definition, name).map_err(|text| format!("{text}\n"))?;
    if content != "snippets" {
        return Err(format!("'{volid}' is not in the snippets directory\n"));
    }
    let there = volume::place(&world.site, node, volid).is_some_and(|place| world.pve.volumes.contains_key(&place));
    if there { Ok(()) } else { Err(format!("script '{volid}' does not exist\n")) }
}

/// What a plug refused, by option.
pub(super) type Errors = BTreeMap<String, String>;
