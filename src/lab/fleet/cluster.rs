//! What machines are to each other: etcd, Kubernetes, and who holds a shared address.
//!
//! Two machines belong together when their configurations carry the same
//! machine authority and token. Nothing stops two of them from being
//! bootstrapped apart, as nothing does in reality: each bootstrap makes an
//! [`Etcd`] of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use aws_lc_rs::digest;
use serde_json::Value;

use super::Fleet;
use super::applied::{Applied, Identity};
use super::machine::{Stage, System};
use crate::inventory::Role;
use crate::lab::hardware::Hardware;

/// One bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtcdId(pub u64);

/// An etcd cluster, and the Kubernetes that it stores.
#[derive(Clone, Debug, Default)]
pub struct Etcd {
    pub members: Vec<Member>,
    /// Kubernetes nodes by name, as the API lists them.
    pub nodes: BTreeMap<String, Node>,
    /// Nodes that were deleted, with the boot of the machine that had registered: it does so once in a boot.
    deleted: BTreeMap<String, u64>,
}

/// What people changed of a node's object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    pub unschedulable: bool,
    /// By key; `None` is taken away.
    pub labels: BTreeMap<String, Option<String>>,
    pub annotations: BTreeMap<String, Option<String>>,
    /// All of them, without those that follow from the node's state.
    pub taints: Option<Vec<Value>>,
    /// Its pods were sent elsewhere.
    pub drained: bool,
}

/// A member of the quorum, running or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: u64,
    pub hostname: String,
    pub ip: Option<Ipv4Addr>,
    pub volid: String,
}

/// A Kubernetes node object. It stays when its machine goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub vmid: u32,
    pub role: Role,
    pub ip: Option<Ipv4Addr>,
    pub kubelet: String,
    pub talos: String,
    pub cores: u32,
    pub memory_mib: u64,
    pub tainted: bool,
    pub kube_proxy: bool,
    pub coredns: bool,
    pub flannel: bool,
    pub edit: Edit,
}

/// Daemons that a cluster has on every node.
struct Brought {
    kube_proxy: bool,
    flannel: bool,
}

impl Etcd {
    /// Alone, a member is a quorum.
    pub fn is_single(&self) -> bool {
        self.members.len() <= 1
    }

    pub(super) fn join(&mut self, hostname: &str, ip: Option<Ipv4Addr>, volid: &str) -> u64 {
        let hash = digest::digest(&digest::SHA256, format!("{hostname}/{volid}/{}", self.members.len()).as_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash.as_ref()[..8]);
        let id = u64::from_be_bytes(bytes);
        self.members.push(Member { id, hostname: hostname.to_owned(), ip, volid: volid.to_owned() });
        id
    }

    /// What the control planes' configuration brings. A worker's says nothing of it where every part is a document.
    fn brings(&self, config: &Applied) -> Brought {
        let lead = self.nodes.values().find(|node| node.role == Role::ControlPlane).filter(|_| config.worker);
        let own = Brought { kube_proxy: config.kube_proxy, flannel: !config.cni_none };
        lead.map_or(own, |node| Brought { kube_proxy: node.kube_proxy, flannel: node.flannel })
    }

    /// Whether pods get a network here.
    pub(super) fn has_cni(&self, config: &Applied) -> bool {
        self.brings(config).flannel
    }

    pub(super) fn register(&mut self, vmid: u32, hardware: &Hardware, system: &System, config: &Applied) {
        if self.deleted.get(&system.hostname) == Some(&system.boot) {
            return;
        }
        self.deleted.remove(&system.hostname);
        let edit = self.nodes.get(&system.hostname).map(|node| node.edit.clone()).unwrap_or_default();
        let brought = self.brings(config);
        let node = Node {
            vmid,
            role: config.role(),
            ip: system.addresses.first().map(|address| address.ip),
            kubelet: format!("v{}", config.kubernetes_version),
            talos: system.image.version.clone(),
            cores: hardware.cores,
            memory_mib: hardware.memory_mib,
            tainted: !config.worker && !config.schedulable_control_plane,
            kube_proxy: brought.kube_proxy,
            coredns: config.coredns,
            flannel: brought.flannel,
            edit,
        };
        self.nodes.insert(system.hostname.clone(), node);
    }
}

impl Edit {
    /// Puts what people wrote over what was there.
    pub fn overlay(map: &mut Value, edits: &BTreeMap<String, Option<String>>) {
        let Some(map) = map.as_object_mut() else { return };
        for (key, value) in edits {
            match value {
                Some(value) => drop(map.insert(key.clone(), Value::from(value.as_str()))),
                None => drop(map.remove(key)),
            }
        }
    }
}

/// What can be seen of all machines at one moment. Made once for a round of steps: what each machine looked up by
/// itself made a thousand machines a million times dearer than one.
#[derive(Debug)]
pub(super) struct View {
    /// Who answers at each address.
    owners: BTreeMap<Ipv4Addr, u32>,
    /// etcds with more than half of their members up.
    quorums: BTreeSet<EtcdId>,
    /// The control planes past their installation, by VMID.
    serving: Vec<Serving>,
}

#[derive(Debug)]
struct Serving {
    vmid: u32,
    identity: Identity,
    etcd: Option<EtcdId>,
    etcd_up: bool,
    etcd_healthy: bool,
    kube_up: bool,
}

/// What a machine can see of the others.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    view: &'a View,
    /// A healthy etcd of its own kind.
    pub(super) etcd_to_join: Option<EtcdId>,
    /// Some control plane of its own kind signs certificates, and the endpoint leads there.
    pub(super) trustd: bool,
    /// The Kubernetes that the endpoint leads to.
    pub(super) kube: Option<EtcdId>,
}

impl Surroundings<'_> {
    pub(super) fn has_quorum(&self, etcd: EtcdId) -> bool {
        self.view.quorums.contains(&etcd)
    }
}

impl Fleet {
    pub fn etcd(&self, id: EtcdId) -> Option<&Etcd> {
        self.etcds.get(&id)
    }

    pub fn etcds(&self) -> impl Iterator<Item = (&EtcdId, &Etcd)> {
        self.etcds.iter()
    }

    /// The etcd whose data a machine has, with its member id there.
    pub fn etcd_of(&self, vmid: u32) -> Option<(EtcdId, u64)> {
        self.disks.get(self.machines.get(&vmid)?.system.as_ref()?.disk.as_ref()?)?.etcd
    }

    /// Changes a Kubernetes node's object.
    pub fn edit_node(&mut self, id: EtcdId, name: &str, edit: Edit) {
        let Some(node) = self.etcds.get_mut(&id).and_then(|etcd| etcd.nodes.get_mut(name)) else { return };
        // What left a cordoned node comes back to one that takes pods again.
        let drained = node.edit.drained && edit.unschedulable;
        node.edit = Edit { drained, ..edit };
    }

    /// Sends the pods of a cordoned Kubernetes node elsewhere.
    pub fn drain_node(&mut self, id: EtcdId, name: &str) {
        if let Some(node) = self.etcds.get_mut(&id).and_then(|etcd| etcd.nodes.get_mut(name)) {
            node.edit.drained = node.edit.unschedulable;
        }
    }

    /// Deletes a Kubernetes node's object. Its kubelet registers no other before the next boot.
    pub fn delete_node(&mut self, id: EtcdId, name: &str) {
        let boot = self.machines.values().filter_map(|machine| machine.system.as_ref());
        let boot = boot.filter(|system| system.hostname == name).map(|system| system.boot).max();
        let Some(etcd) = self.etcds.get_mut(&id) else { return };
        if etcd.nodes.remove(name).is_some()
            && let Some(boot) = boot
        {
            etcd.deleted.insert(name.to_owned(), boot);
        }
    }

    /// Whether the Kubernetes node is Ready: its machine lives, and is the one that registered.
    pub fn is_node_ready(&self, name: &str, node: &Node) -> bool {
        self.machines
            .get(&node.vmid)
            .and_then(|machine| machine.system.as_ref())
            .is_some_and(|system| system.node_ready && system.hostname == name)
    }

    /// Whether the kubelet of a Kubernetes node reports, which it does without being Ready.
    pub fn is_node_alive(&self, name: &str, node: &Node) -> bool {
        self.machines.get(&node.vmid).is_some_and(|machine| {
            matches!(machine.stage, Stage::Booting | Stage::Running)
                && machine.system.as_ref().is_some_and(|system| system.joined.is_some() && system.hostname == name)
        })
    }

    /// Control planes of this etcd whose Kubernetes API answers.
    pub fn apis_of(&self, id: EtcdId) -> impl Iterator<Item = (&u32, &System)> {
        self.machines.iter().filter_map(move |(vmid, machine)| {
            let system = machine.system.as_ref()?;
            (system.kube_up && self.etcd_of(*vmid)?.0 == id).then_some((vmid, system))
        })
    }

    /// The view at this moment.
    pub(super) fn view(&self) -> View {
        let serving = self.machines.iter().filter(|(_, machine)| machine.serves_cluster());
        let serving = serving.filter_map(|(vmid, machine)| {
            let system = machine.system.as_ref()?;
            Some(Serving {
                vmid: *vmid,
                identity: system.config.as_ref()?.identity(),
                etcd: self.etcd_of(*vmid).map(|(etcd, _)| etcd),
                etcd_up: system.etcd_up,
                etcd_healthy: system.etcd_healthy,
                kube_up: system.kube_up,
            })
        });
        let serving: Vec<Serving> = serving.collect();
        View { owners: self.owners(), quorums: self.quorums(&serving), serving }
    }

    /// What `vmid` can see of the others.
    pub(super) fn surroundings<'a>(&self, vmid: u32, view: &'a View) -> Surroundings<'a> {
        let mut around = Surroundings { view, etcd_to_join: None, trustd: false, kube: None };
        let Some(config) = self.config_of(vmid) else { return around };
        let identity = config.identity();
        let kin = || view.serving.iter().filter(|serving| serving.identity == identity);
        let healthy = kin().filter(|other| other.vmid != vmid && other.etcd_healthy);
        around.etcd_to_join = healthy.filter_map(|other| other.etcd).min();
        // The endpoint leads to the machine at that address, or, for a name or an address elsewhere (a load
        // balancer), to any.
        let host = config.endpoint_host().and_then(|host| host.parse::<Ipv4Addr>().ok());
        let address = host.filter(|ip| self.network.cidr.contains(ip));
        let behind = |other: &&Serving| address.is_none_or(|ip| view.owners.get(&ip) == Some(&other.vmid));
        around.trustd = kin().any(|other| behind(&other));
        around.kube = kin().filter(behind).filter(|other| other.kube_up).find_map(|other| other.etcd);
        around
    }

    fn config_of(&self, vmid: u32) -> Option<&Applied> {
        self.machines.get(&vmid)?.system.as_ref()?.config.as_deref()
    }

    fn quorums(&self, serving: &[Serving]) -> BTreeSet<EtcdId> {
        let mut up: BTreeMap<EtcdId, usize> = BTreeMap::new();
        for etcd in serving.iter().filter(|serving| serving.etcd_up).filter_map(|serving| serving.etcd) {
            *up.entry(etcd).or_default() += 1;
        }
        up.retain(|etcd, count| self.etcds.get(etcd).is_some_and(|etcd| *count * 2 > etcd.members.len()));
        up.into_keys().collect()
    }

    /// Gives every shared address to one control plane with a healthy etcd: whoever has it keeps it.
    pub(super) fn elect(&mut self) -> bool {
        let mut holders: BTreeMap<(EtcdId, Ipv4Addr), u32> = BTreeMap::new();
        let mut candidates: Vec<(bool, u32, EtcdId, Ipv4Addr)> = Vec::new();
        for (vmid, machine) in &self.machines {
            let Some(system) = machine.system.as_ref() else { continue };
            let stands = machine.serves_cluster() && system.etcd_healthy;
            let (Some((etcd, _)), Some(config), true) = (self.etcd_of(*vmid), &system.config, stands) else { continue };
            candidates.extend(config.vips.iter().map(|ip| (!system.vips.contains(ip), *vmid, etcd, *ip)));
        }
        candidates.sort_unstable();
        for (_, vmid, etcd, ip) in candidates {
            holders.entry((etcd, ip)).or_insert(vmid);
        }
        let mut moved = false;
        for (vmid, machine) in &mut self.machines {
            let Some(system) = machine.system.as_mut() else { continue };
            let vips: Vec<Ipv4Addr> =
                holders.iter().filter(|(_, holder)| *holder == vmid).map(|((_, ip), _)| *ip).collect();
            if system.vips != vips {
                system.vips = vips;
                system.revision += 1;
                moved = true;
            }
        }
        moved
    }

    /// A control plane's key to the machine authority of `config`: a worker has none and asks trustd for a signature.
    pub fn signing_key(&self, config: &Applied) -> Option<String> {
        if !config.machine_ca.key.is_empty() {
            return Some(config.machine_ca.key.clone());
        }
        let configs = self.machines.values().filter_map(|machine| machine.system.as_ref()?.config.as_deref());
        configs
            .filter(|other| other.identity() == config.identity() && !other.machine_ca.key.is_empty())
            .map(|other| other.machine_ca.key.clone())
            .next()
    }
}
