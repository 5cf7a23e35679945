//! Profile and survey in, plan out. Pure: the same two give the same plan, but for the nonce of the mark.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use aws_lc_rs::digest;
use url::Url;

use super::check::{self, Problem, problem};
use super::survey::{Survey, node_path};
use super::{Lane, Origin, Outline, Plan, Stage, configs};
use crate::factory::{Asset, Factory, Schematic};
use crate::inventory::Role;
use crate::machineconfig::Contract;
use crate::profile::{Cni, MachineSpec, Mode, Patches, Profile, SchematicRef, SecretRef, Tls};
use crate::pve::{CloudInit, Quirks, VmSpec};
use crate::steps::mark::Mark;
use crate::steps::render::ConfigSpec;
use crate::steps::{
    ApplyConfig, AwaitInstall, BootstrapEtcd, CheckHealth, CollectAccess, CreateVm, Deadlines, EjectIso, FetchImage,
    FindAddress, StartVm, Step, Via, WarmInstaller, WriteSecrets,
};

/// Drafts the plan, or says everything that stands in its way.
///
/// `secrets` names where the secrets bundle is kept, for people.
pub fn draft(
    profile: &Profile,
    site: &Survey,
    factory: &Factory,
    quirks: &Quirks,
    secrets: &str,
    origin: Origin,
) -> Result<Plan, Vec<Problem>> {
    let schematic = schematic(profile).map_err(|problem| vec![problem])?;
    let problems = check::check(profile, site, quirks, schematic.agent);
    if !problems.is_empty() {
        return Err(problems);
    }
    let contract = configs::contract(profile).map_err(|problem| vec![problem])?;
    let mark = Mark::new(&profile.name);
    let asset = configs::asset(profile, schematic.id.clone());
    let drafter = Drafter {
        profile,
        site,
        contract,
        file: asset.cache_name(factory.public()),
        installer: factory.installer(&asset),
        url: factory.image_url(&asset),
        schematic,
        asset,
        mark,
    };
    Ok(drafter.plan(secrets, origin))
}

/// The schematic as the plan needs it.
pub(super) struct KnownSchematic {
    pub(super) id: String,
    /// `None` when the profile names an id only.
    text: Option<String>,
    /// It has the guest agent, so the VM gets the agent's channel: one without the other makes shutdown or boot wait.
    agent: bool,
}

const AGENT: &str = "siderolabs/qemu-guest-agent";

pub(super) fn schematic(profile: &Profile) -> Result<KnownSchematic, Problem> {
    let text = match &profile.talos.factory.schematic {
        // Nothing tells what an id stands for; without the text the agent's channel stays off.
        SchematicRef::Id(id) => return Ok(KnownSchematic { id: id.clone(), text: None, agent: false }),
        SchematicRef::File { text, .. } => text.clone(),
        SchematicRef::Inline { kernel_args, extensions } => {
            Schematic::new(kernel_args.clone(), extensions.clone()).body()
        }
    };
    let refused = |reason: String| problem("talos.factory.schematic", reason, "see the factory's format");
    let schematic = Schematic::parse(&text).map_err(|error| refused(error.to_string()))?;
    let id = schematic.id().map_err(|error| refused(error.to_string()))?;
    let agent = schematic.extensions().any(|extension| extension == AGENT);
    let text = schematic.canonical().map_err(|error| refused(error.to_string()))?;
    Ok(KnownSchematic { id, text: Some(text), agent })
}

struct Drafter<'a> {
    profile: &'a Profile,
    site: &'a Survey,
    schematic: KnownSchematic,
    contract: Contract,
    asset: Asset,
    file: String,
    installer: String,
    url: Url,
    mark: Mark,
}

impl Drafter<'_> {
    fn plan(self, secrets: &str, origin: Origin) -> Plan {
        let nodes = self.placement();
        let vmids = self.vmids();
        let mut notes = self.profile.warnings.clone();
        let prepare = self.prepare(secrets, &nodes, &mut notes);
        let machines = self.profile.machines.iter().map(|machine| self.machine(machine, &nodes, &vmids)).collect();
        let stage = |name: &str, lanes| Stage { name: name.to_owned(), lanes };
        Plan {
            origin,
            profile: fingerprint(self.profile),
            deadlines: deadlines(self.profile),
            outline: Outline {
                endpoint: configs::endpoint(self.profile),
                talos: self.asset.version.clone(),
                kubernetes: format!("v{}", self.profile.talos.kubernetes_version),
                schematic: self.schematic.id.clone(),
                image: format!("{}:iso/{}", self.profile.proxmox.image_storage, self.file),
                installer: self.installer.clone(),
                notes,
            },
            stages: vec![stage("prepare", prepare), stage("machines", machines), stage("cluster", self.cluster())],
            mark: self.mark,
        }
    }

    /// Machine to node: as the profile says, else the node that got the fewest machines so far.
    fn placement(&self) -> BTreeMap<String, String> {
        let mut load: BTreeMap<&str, usize> =
            self.site.nodes.iter().filter(|node| node.online).map(|node| (node.name.as_str(), 0)).collect();
        for node in self.profile.machines.iter().filter_map(|machine| machine.node.as_deref()) {
            *load.entry(node).or_default() += 1;
        }
        let mut placed = BTreeMap::new();
        for machine in &self.profile.machines {
            let node = machine.node.clone().unwrap_or_else(|| {
                let least = load.iter_mut().min_by_key(|(_, count)| **count);
                let (node, count) = least.expect("the checks refuse a site without a node online");
                *count += 1;
                (*node).to_owned()
            });
            placed.insert(machine.name.clone(), node);
        }
        placed
    }

    /// Machine to VMID. Those that the profile leaves open are candidates only: the create request is the lock.
    fn vmids(&self) -> BTreeMap<String, u32> {
        let mut used: BTreeSet<u32> = self.site.guests.iter().map(|guest| guest.vmid).collect();
        used.extend(self.profile.machines.iter().filter_map(|machine| machine.vmid));
        let mut candidate = self.profile.proxmox.vmid_start.unwrap_or(self.site.next_id);
        let mut vmids = BTreeMap::new();
        for machine in &self.profile.machines {
            let vmid = machine.vmid.unwrap_or_else(|| {
                while used.contains(&candidate) {
                    candidate += 1;
                }
                used.insert(candidate);
                candidate
            });
            vmids.insert(machine.name.clone(), vmid);
        }
        vmids
    }

    fn prepare(&self, secrets: &str, nodes: &BTreeMap<String, String>, notes: &mut Vec<String>) -> Vec<Lane> {
        let lane = |name: &str, step| Lane { name: name.to_owned(), steps: vec![step] };
        let reference = secrets.to_owned();
        let mut lanes =
            vec![lane("secrets", Step::WriteSecrets(WriteSecrets { reference, contract: self.contract.to_string() }))];
        let storage = &self.profile.proxmox.image_storage;
        let used: BTreeSet<&String> = nodes.values().collect();
        let shared = used.iter().any(|node| {
            let storages = self.site.storages.get(*node);
            storages.is_some_and(|all| all.iter().any(|one| one.name == *storage && one.shared))
        });
        // A shared storage takes one copy, a local one a copy on every node.
        let fetching: Vec<&String> =
            if shared { used.into_iter().take(1).collect() } else { used.into_iter().collect() };
        let on_storage = self.site.privileges.get(&format!("/storage/{storage}"));
        let keep = !on_storage.is_some_and(|have| have.contains("Datastore.Allocate"));
        if keep {
            notes.push(format!(
                "the boot image stays on {storage} when the cluster goes: the token lacks Datastore.Allocate there"
            ));
        }
        for node in fetching {
            let have = self.site.privileges.get(&node_path(node));
            let can = |privilege: &str| have.is_some_and(|have| have.contains(privilege));
            let via = if can("Sys.AccessNetwork") { Via::Node } else { Via::Us };
            if via == Via::Us {
                notes.push(format!(
                    "the boot image is streamed through this computer: the token lacks Sys.AccessNetwork on {}",
                    node_path(node)
                ));
            }
            lanes.push(lane(
                &format!("image on {node}"),
                Step::FetchImage(FetchImage {
                    node: node.clone(),
                    storage: storage.clone(),
                    asset: self.asset.clone(),
                    schematic: self.schematic.text.clone(),
                    file: self.file.clone(),
                    url: self.url.clone(),
                    via,
                    keep,
                }),
            ));
        }
        let (asset, reference) = (self.asset.clone(), self.installer.clone());
        let schematic = self.schematic.text.clone();
        lanes.push(lane("installer", Step::WarmInstaller(WarmInstaller { asset, schematic, reference })));
        lanes
    }

    fn machine(&self, machine: &MachineSpec, nodes: &BTreeMap<String, String>, vmids: &BTreeMap<String, u32>) -> Lane {
        let name = machine.name.clone();
        let is_static = self.profile.network.mode == Mode::Static;
        let node = nodes[&machine.name].clone();
        let mut steps = vec![
            Step::CreateVm(CreateVm {
                machine: name.clone(),
                role: machine.role,
                spec: self.vm(machine, node, vmids[&machine.name]),
                fixed: machine.vmid.is_some(),
            }),
            Step::StartVm(StartVm { machine: name.clone() }),
            Step::FindAddress(FindAddress { machine: name.clone(), expected: machine.ip, is_static }),
            Step::ApplyConfig(ApplyConfig { config: self.config(machine), secureboot: self.profile.talos.secureboot }),
            Step::AwaitInstall(AwaitInstall { machine: name.clone(), expected: machine.ip }),
            Step::EjectIso(EjectIso { machine: name.clone() }),
        ];
        if self.first_control_plane() == Some(machine.name.as_str()) {
            // Before the ejection: everybody waits for etcd, nobody for the ISO.
            let eject = steps.pop();
            let others = self.profile.of_role(Role::ControlPlane).filter(|other| other.name != machine.name);
            let others = others.map(|other| (other.name.clone(), other.ip)).collect();
            steps.push(Step::BootstrapEtcd(BootstrapEtcd { machine: name.clone(), others }));
            steps.extend(eject);
        }
        Lane { name, steps }
    }

    fn first_control_plane(&self) -> Option<&str> {
        self.profile.of_role(Role::ControlPlane).next().map(|machine| machine.name.as_str())
    }

    fn vm(&self, machine: &MachineSpec, node: String, vmid: u32) -> VmSpec {
        let Profile { proxmox, network, .. } = self.profile;
        let address = configs::address(self.profile, machine);
        let dns: Vec<String> = network.dns.iter().map(ToString::to_string).collect();
        VmSpec {
            vmid,
            node,
            name: machine.name.clone(),
            tags: self.mark.tags(),
            description: self.mark.description(&machine.name),
            pool: proxmox.pool.clone(),
            cpu: proxmox.cpu.clone(),
            cores: machine.cores,
            memory_mib: machine.memory_mib,
            disk_gib: machine.disk_gib,
            disk_storage: proxmox.disk_storage.clone(),
            iso: format!("{}:iso/{}", proxmox.image_storage, self.file),
            bridge: proxmox.bridge.clone(),
            vlan: proxmox.vlan,
            mac: machine.mac,
            uuid: self.mark.uuid(&machine.name),
            scsihw: proxmox.scsihw.clone(),
            uefi: true,
            tpm: true,
            agent: self.schematic.agent,
            serial: true,
            cloud_init: (network.mode == Mode::Static).then(|| CloudInit {
                storage: proxmox.disk_storage.clone(),
                ipconfig0: format!("ip={address},gw={}", network.gateway),
                nameserver: (!dns.is_empty()).then(|| dns.join(" ")),
            }),
        }
    }

    fn config(&self, machine: &MachineSpec) -> ConfigSpec {
        configs::config(self.profile, machine, &self.contract, &self.asset.version, &self.installer)
    }

    fn cluster(&self) -> Vec<Lane> {
        let control_planes = self.profile.of_role(Role::ControlPlane).map(|machine| machine.name.clone()).collect();
        let machines = self.profile.machines.iter().map(|machine| (machine.name.clone(), machine.role)).collect();
        let access = CollectAccess { cluster: self.profile.name.clone(), control_planes };
        let health = CheckHealth {
            cluster: self.profile.name.clone(),
            machines,
            secureboot: self.profile.talos.secureboot,
            cni_none: self.profile.network.cni == Cni::None,
            endpoint: configs::endpoint(self.profile),
        };
        vec![Lane {
            name: String::from("cluster"),
            steps: vec![Step::CollectAccess(access), Step::CheckHealth(health)],
        }]
    }
}

/// SHA-256 over everything that the profile resolved to, and nothing of where its file is.
pub fn fingerprint(profile: &Profile) -> String {
    let mut profile = profile.clone();
    profile.file = PathBuf::new();
    profile.warnings.clear();
    if let SchematicRef::File { path, .. } = &mut profile.talos.factory.schematic {
        *path = PathBuf::new();
    }
    let Patches { all, controlplane, worker } = &mut profile.talos.patches;
    let own = profile.machines.iter_mut().flat_map(|machine| &mut machine.patches);
    for patch in all.iter_mut().chain(controlplane).chain(worker).chain(own) {
        patch.origin.clear();
        patch.within = None;
        patch.lines.clear();
    }
    for path in profile.talos.secrets.iter_mut().chain(&mut profile.proxmox.token) {
        // The same file, from whatever directory it is named.
        if let SecretRef::File(path) = path {
            *path = std::path::absolute(&*path).unwrap_or_else(|_| path.clone());
        }
    }
    if let Tls::Ca(path) = &mut profile.proxmox.tls {
        *path = std::path::absolute(&*path).unwrap_or_else(|_| path.clone());
    }
    hex::encode(digest::digest(&digest::SHA256, format!("{profile:?}").as_bytes()))
}

/// The profile's deadlines as steps take them.
pub fn deadlines(profile: &Profile) -> Deadlines {
    let given = &profile.deadlines;
    Deadlines {
        task: given.task,
        image: given.image,
        installer: given.installer,
        maintenance: given.maintenance,
        install: given.install,
        bootstrap: given.bootstrap,
        health: given.health,
    }
}
