//! Everything that can be refused before the first VM, one rule each, all at once.

use std::collections::BTreeSet;
use std::fmt;

use super::survey::{Survey, bridge_path, guest_path};
use crate::factory::Schematic;
use crate::profile::{Profile, SchematicRef};
use crate::pve::{Quirks, Storage};
use crate::steps::mark::Mark;
use crate::talos::Minor;

/// One thing that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The profile's field, or the site's part, that it is about.
    pub field: String,
    pub message: String,
    /// What to do, as an order.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}

pub(super) fn problem(field: &str, message: impl Into<String>, fix: impl Into<String>) -> Problem {
    Problem { field: field.to_owned(), message: message.into(), fix: fix.into() }
}

const GIB: u64 = 1 << 30;

/// Everything that `site` has against `profile`.
pub(super) fn check(profile: &Profile, site: &Survey, quirks: &Quirks, agent: bool) -> Vec<Problem> {
    let mut found = Vec::new();
    privileges(profile, site, quirks, agent, &mut found);
    nodes(profile, site, &mut found);
    storages(profile, site, &mut found);
    bridges(profile, site, &mut found);
    vmids(profile, site, &mut found);
    marks(profile, site, &mut found);
    factory(profile, site, &mut found);
    kubernetes(profile, &mut found);
    addresses(profile, site, &mut found);
    found
}

/// What a create needs on each path; `A|B` is either.
fn needs(profile: &Profile, agent: bool, quirks: &Quirks) -> Vec<(String, Vec<String>)> {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
    let mut guest = list(&[
        "VM.Allocate",
        "VM.Audit",
        "VM.PowerMgmt",
        "VM.Config.CDROM",
        "VM.Config.CPU",
        "VM.Config.Disk",
        "VM.Config.HWType",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.Options",
    ]);
    if agent {
        guest.push(quirks.guest_agent_privilege.to_owned());
    }
    let storage = |name: &str| format!("/storage/{name}");
    vec![
        (guest_path(profile), guest),
        (storage(&profile.proxmox.disk_storage), list(&["Datastore.AllocateSpace"])),
        (
            storage(&profile.proxmox.image_storage),
            list(&["Datastore.AllocateTemplate", "Datastore.Audit|Datastore.AllocateSpace"]),
        ),
        (bridge_path(profile), list(&["SDN.Use"])),
    ]
}

fn privileges(profile: &Profile, site: &Survey, quirks: &Quirks, agent: bool, found: &mut Vec<Problem>) {
    let none = BTreeSet::new();
    for (path, privileges) in needs(profile, agent, quirks) {
        let have = site.privileges.get(&path).unwrap_or(&none);
        // The agent's addresses are one way of finding machines among several: useful, never required.
        let missing: Vec<String> = privileges
            .into_iter()
            .filter(|needed| *needed != quirks.guest_agent_privilege)
            .filter(|needed| !needed.split('|').any(|one| have.contains(one)))
            .collect();
        if !missing.is_empty() {
            let names = missing.join(" ").replace('|', " or ");
            let first: Vec<&str> = missing.iter().filter_map(|needed| needed.split('|').next()).collect();
            // A right on one VM would be asked for again for the next.
            let at = if path.starts_with("/vms/") { "/vms" } else { &path };
            // A role of its own for each path: `role add` fails on a name that is there.
            let role = format!("TalosMissing{}", at.replace('/', "-"));
            let (token, user) = (&site.token, site.token.split('!').next().unwrap_or_default());
            found.push(problem(
                "proxmox.token",
                format!("the token lacks {names} on {path}"),
                format!(
                    "run: pveum role add {role} --privs \"{}\" && pveum acl modify {at} --roles {role} --users {user} \
                     --tokens '{token}' (a token with separated privileges needs both)",
                    first.join(" ")
                ),
            ));
        }
    }
}

fn nodes(profile: &Profile, site: &Survey, found: &mut Vec<Problem>) {
    let known: Vec<&str> = site.nodes.iter().map(|node| node.name.as_str()).collect();
    let mut named: Vec<&String> = profile.machines.iter().filter_map(|machine| machine.node.as_ref()).collect();
    named.sort();
    named.dedup();
    for name in named {
        match site.nodes.iter().find(|node| node.name == *name) {
            None => found.push(problem(
                "nodes.*.assignments[].node",
                format!("the site has no node {name}"),
                format!("its nodes are {}", known.join(", ")),
            )),
            Some(node) if !node.online => found.push(problem(
                "nodes.*.assignments[].node",
                format!("node {name} is offline"),
                "start it, or give its machines to another",
            )),
            Some(_) => {}
        }
    }
    if !site.nodes.iter().any(|node| node.online) {
        found.push(problem("proxmox.endpoints", "no node of the site is online", "look at the cluster's state"));
    }
}

fn storages(profile: &Profile, site: &Survey, found: &mut Vec<Problem>) {
    let wanted = [
        ("proxmox.storage.image", &profile.proxmox.image_storage, "iso"),
        ("proxmox.storage.disk", &profile.proxmox.disk_storage, "images"),
    ];
    for (field, name, content) in wanted {
        for (node, storages) in &site.storages {
            match storages.iter().find(|storage| storage.name == *name) {
                None => {
                    let names: Vec<&str> = storages.iter().map(|storage| storage.name.as_str()).collect();
                    found.push(problem(
                        field,
                        format!("node {node} shows no storage {name}"),
                        format!(
                            "choose one of {}, or give the token Datastore.Audit on /storage/{name}",
                            names.join(", ")
                        ),
                    ));
                }
                Some(storage) if !storage.enabled || !storage.active => found.push(problem(
                    field,
                    format!("storage {name} is not active on node {node}"),
                    "enable it or bring it online",
                )),
                Some(storage) if !storage.content.contains(content) => {
                    let has: Vec<&str> = storage.content.iter().map(String::as_str).collect();
                    found.push(problem(
                        field,
                        format!("storage {name} on node {node} takes {}, not {content}", has.join(", ")),
                        format!("choose another, or run: pvesm set {name} --content {},{content}", has.join(",")),
                    ));
                }
                Some(storage) => space(profile, node, storage, field, content, found),
            }
        }
    }
}

/// Disks are usually thin, so a profile may well promise more than there is; but not even one of them would fit here.
fn space(profile: &Profile, node: &str, storage: &Storage, field: &str, content: &str, found: &mut Vec<Problem>) {
    let Some(avail) = storage.avail else { return };
    let thin = ["lvmthin", "zfspool", "rbd", "btrfs", "dir", "nfs", "cifs", "cephfs"].contains(&storage.kind.as_str());
    let disks = profile.machines.iter().filter(|machine| machine.node.as_deref().is_none_or(|named| named == node));
    let sizes: Vec<u64> = disks.map(|machine| machine.disk_gib * GIB).collect();
    let needed = match content {
        "iso" => GIB / 2,
        _ if thin => sizes.into_iter().max().unwrap_or(0),
        _ => sizes.into_iter().sum(),
    };
    if avail < needed {
        #[expect(clippy::cast_precision_loss, reason = "for people, to one decimal")]
        let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / GIB as f64);
        found.push(problem(
            field,
            format!("storage {} on node {node} has {} free, {} are needed", storage.name, gib(avail), gib(needed)),
            "free some space, or choose another storage",
        ));
    }
}

fn bridges(profile: &Profile, site: &Survey, found: &mut Vec<Problem>) {
    let name = &profile.proxmox.bridge;
    for (node, bridges) in &site.bridges {
        let names: Vec<&str> = bridges.iter().map(|bridge| bridge.name.as_str()).collect();
        match bridges.iter().find(|bridge| bridge.name == *name) {
            None => found.push(problem(
                "proxmox.bridge",
                format!("node {node} shows no bridge {name}"),
                if names.is_empty() {
                    format!("Proxmox hides bridges without SDN.Audit or SDN.Use on {}", bridge_path(profile))
                } else {
                    format!("choose one of {}", names.join(", "))
                },
            )),
            Some(bridge) if !bridge.active => found.push(problem(
                "proxmox.bridge",
                format!("bridge {name} on node {node} is defined but not up"),
                "bring it up, or choose another",
            )),
            Some(_) => {}
        }
    }
}

fn vmids(profile: &Profile, site: &Survey, found: &mut Vec<Problem>) {
    for machine in &profile.machines {
        let Some(vmid) = machine.vmid.filter(|vmid| site.taken.contains(vmid)) else { continue };
        let owner = site.guests.iter().find(|guest| guest.vmid == vmid).map_or_else(
            || String::from("by a guest that the token may not see"),
            |guest| format!("by {} on node {}", guest.name.as_deref().unwrap_or("a guest without a name"), guest.node),
        );
        found.push(problem(
            "nodes.*.assignments[].vmid",
            format!("VMID {vmid} of {} is taken {owner}", machine.name),
            format!("choose another (the lowest free one is {}), or leave it out", site.next_id),
        ));
    }
}

/// A cluster of this name whose journal is lost: making a second one over it would end in two halves.
fn marks(profile: &Profile, site: &Survey, found: &mut Vec<Problem>) {
    let tag = Mark::tag(&profile.name);
    let theirs = site.guests.iter().filter(|guest| guest.tags.contains(&tag));
    let vmids: Vec<String> = theirs.map(|guest| guest.vmid.to_string()).collect();
    if !vmids.is_empty() {
        found.push(problem(
            "name",
            format!("VMs with the mark of cluster {} are on the site: {}", profile.name, vmids.join(", ")),
            format!("run: pvetalos destroy --profile {}", profile.name),
        ));
    }
}

fn factory(profile: &Profile, site: &Survey, found: &mut Vec<Problem>) {
    let facts = match &site.factory {
        Ok(facts) => facts,
        Err(error) => {
            let url = &profile.talos.factory.url;
            found.push(problem(
                "talos.factory.url",
                format!("the image factory cannot be asked: {}", chain(error)),
                format!("check {url} from here; for the public factory see status.siderolabs.com"),
            ));
            return;
        }
    };
    let version = format!("v{}", profile.talos.version);
    if !facts.versions.contains(&version) {
        let near = nearest(&version, &facts.versions);
        found.push(problem(
            "talos.version",
            format!("the factory does not know Talos {version}"),
            format!("it has {near}"),
        ));
        return;
    }
    let text = match &profile.talos.factory.schematic {
        SchematicRef::File { text, .. } => text.clone(),
        SchematicRef::Inline { kernel_args, extensions } => {
            Schematic::new(kernel_args.clone(), extensions.clone()).body()
        }
        SchematicRef::Id(_) => return,
    };
    let Ok(schematic) = Schematic::parse(&text) else { return };
    for extension in schematic.extensions().filter(|extension| !facts.extensions.contains(*extension)) {
        let known: Vec<String> = facts.extensions.iter().cloned().collect();
        found.push(problem(
            "talos.factory",
            format!("{extension} is no official extension for Talos {version}"),
            format!("the nearest are {}", nearest(extension, &known)),
        ));
    }
}

/// The error and its causes: an HTTP library says what went wrong only in the last one.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The three candidates that look most like `wanted`.
fn nearest(wanted: &str, known: &[String]) -> String {
    let mut ranked: Vec<&String> = known.iter().collect();
    ranked.sort_by(|a, b| strsim::jaro_winkler(wanted, b).total_cmp(&strsim::jaro_winkler(wanted, a)));
    let names: Vec<&str> = ranked.into_iter().take(3).map(String::as_str).collect();
    if names.is_empty() { String::from("nothing") } else { names.join(", ") }
}

pub(super) fn kubernetes(profile: &Profile, found: &mut Vec<Problem>) {
    match Minor::of(&profile.talos.version) {
        Ok(minor) => {
            if let Err(reason) = minor.kubernetes_supported(&profile.talos.kubernetes_version) {
                found.push(problem("talos.kubernetes_version", reason, "choose a version inside its window"));
            }
        }
        Err(error) => found.push(problem("talos.version", error.to_string(), "")),
    }
}

fn addresses(profile: &Profile, site: &Survey, found: &mut Vec<Problem>) {
    for (ip, how) in &site.answering {
        let owner = profile.machines.iter().find(|machine| std::net::IpAddr::from(machine.ip) == *ip);
        let (field, whose) = match owner {
            Some(machine) => ("nodes.*.assignments[].ip", machine.name.as_str()),
            None => ("talos.vip.ip", "the VIP"),
        };
        found.push(problem(
            field,
            format!("{ip}, which is to be {whose}, is somebody's already: {how}"),
            "find out what it is and remove it, or choose another address",
        ));
    }
}
