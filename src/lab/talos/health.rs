//! `HealthCheck`: what a control plane finds when it looks at its cluster.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use super::server::Peer;
use super::{Face, Replies};
use crate::inventory::Role;
use crate::lab::fleet::{Machine, Stage};
use crate::lab::world::World;
use crate::talos::wire::cluster::{HealthCheckProgress, HealthCheckRequest};

/// One assertion: its description, and the reason why it does not hold yet.
type Check = (&'static str, fn(&World, &Nodes) -> Result<(), String>);

/// Talos: pkg/cluster/check: in this order.
const CHECKS: [Check; 16] = [
    ("etcd to be healthy", etcd_healthy),
    ("etcd members to be consistent across nodes", etcd_consistent),
    ("etcd members to be control plane nodes", etcd_consistent),
    ("apid to be ready", |world, nodes| {
        all(world, &nodes.all(), "apid is not reachable", |machine| machine.api().is_some())
    }),
    ("all nodes memory sizes", |world, nodes| {
        all(world, &nodes.all(), "memory is too small", |machine| machine.hardware.memory_mib >= 1024 - 150)
    }),
    ("all nodes disk sizes", |_, _| Ok(())),
    ("no diagnostics", |_, _| Ok(())),
    ("kubelet to be healthy", |world, nodes| {
        all(world, &nodes.control_planes, "kubelet is not running", |machine| {
            matches!(machine.stage, Stage::Booting | Stage::Running)
        })
    }),
    ("all nodes to finish boot sequence", |world, nodes| {
        all(world, &nodes.all(), "machine is not in stage running", |machine| machine.stage == Stage::Running)
    }),
    ("all k8s nodes to report", nodes_report),
    ("all control plane static pods to be running", kubernetes_up),
    ("all control plane components to be ready", kubernetes_up),
    ("all k8s nodes to report ready", nodes_ready),
    ("kube-proxy to report ready", nodes_report),
    ("coredns to report ready", nodes_ready),
    ("all k8s nodes to report schedulable", nodes_schedulable),
];

#[derive(Clone, Debug)]
struct Nodes {
    control_planes: Vec<Ipv4Addr>,
    workers: Vec<Ipv4Addr>,
}

impl Nodes {
    fn all(&self) -> Vec<Ipv4Addr> {
        self.control_planes.iter().chain(&self.workers).copied().collect()
    }
}

struct Progress {
    face: Face,
    nodes: Nodes,
    changes: watch::Receiver<u64>,
    deadline: Instant,
    /// Of [`CHECKS`]: the one at hand.
    at: usize,
    said: String,
    over: bool,
}

pub(super) fn check(
    face: &Face,
    world: &mut World,
    request: &HealthCheckRequest,
    _: &Peer,
) -> Result<Replies<HealthCheckProgress>, Status> {
    super::check_control_plane(face, world, "cluster health check")?;
    let info = request.cluster_info.clone().unwrap_or_default();
    let addresses = |texts: &[String]| {
        texts
            .iter()
            .map(|text| text.parse().map_err(|_| Status::unknown(format!("ParseAddr({text:?}): unable to parse IP"))))
            .collect::<Result<Vec<Ipv4Addr>, _>>()
    };
    let mut nodes =
        Nodes { control_planes: addresses(&info.control_plane_nodes)?, workers: addresses(&info.worker_nodes)? };
    if nodes.all().is_empty() {
        nodes = joined(face, world);
    }
    let timeout = request.wait_timeout.map_or(Duration::ZERO, |span| {
        Duration::new(u64::try_from(span.seconds).unwrap_or(0), u32::try_from(span.nanos).unwrap_or(0))
    });
    let deadline = Instant::now() + timeout;
    let changes = face.shared.subscribe();
    let progress = Progress { face: face.clone(), nodes, changes, deadline, at: 0, said: String::new(), over: false };
    Ok(Box::pin(futures_util::stream::unfold(progress, next)))
}

async fn next(mut progress: Progress) -> Option<(Result<HealthCheckProgress, Status>, Progress)> {
    if progress.over {
        return None;
    }
    if progress.said.is_empty() {
        let quoted: Vec<String> = progress.nodes.all().iter().map(|ip| format!("{:?}", ip.to_string())).collect();
        return say(progress, format!("discovered nodes: [{}]", quoted.join(" ")));
    }
    loop {
        let (what, check) = *CHECKS.get(progress.at)?;
        let (found, skips) = {
            let world = progress.face.shared.lock();
            (check(&world, &progress.nodes), skips_ready(&progress.face, &world))
        };
        let skips = skips && matches!(what, "all k8s nodes to report ready" | "coredns to report ready");
        let found = if skips { Ok(()) } else { found };
        let line = match &found {
            Ok(()) if skips => format!("waiting for {what}: SKIP"),
            Ok(()) => format!("waiting for {what}: OK"),
            Err(reason) => format!("waiting for {what}: {reason}"),
        };
        if found.is_ok() {
            progress.at += 1;
        }
        if Instant::now() >= progress.deadline {
            progress.over = true;
            let status = Status::deadline_exceeded(format!("{line}: context deadline exceeded"));
            return Some((Err(status), progress));
        }
        if line != progress.said {
            return say(progress, line);
        }
        let changed = progress.changes.changed();
        drop(tokio::time::timeout_at(progress.deadline, changed).await);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what `next` answers")]
fn say(mut progress: Progress, line: String) -> Option<(Result<HealthCheckProgress, Status>, Progress)> {
    progress.said.clone_from(&line);
    Some((Ok(HealthCheckProgress { metadata: None, message: line }), progress))
}

/// Whoever has joined so far: what an empty list means.
fn joined(face: &Face, world: &World) -> Nodes {
    let id = world.fleet.etcd_of(face.vmid).map(|(id, _)| id);
    let nodes = id.and_then(|id| world.fleet.etcd(id)).into_iter().flat_map(|etcd| etcd.nodes.values());
    let (control_planes, workers): (Vec<_>, Vec<_>) = nodes.partition(|node| node.role == Role::ControlPlane);
    let ips = |nodes: Vec<&crate::lab::fleet::Node>| nodes.iter().filter_map(|node| node.ip).collect();
    Nodes { control_planes: ips(control_planes), workers: ips(workers) }
}

fn at(world: &World, ip: Ipv4Addr) -> Option<&Machine> {
    world.fleet.machines().find(|machine| {
        machine.system.as_ref().is_some_and(|system| system.addresses.iter().any(|address| address.ip == ip))
    })
}

fn all(world: &World, ips: &[Ipv4Addr], reason: &str, holds: impl Fn(&Machine) -> bool) -> Result<(), String> {
    match ips.iter().find(|ip| !at(world, **ip).is_some_and(&holds)) {
        Some(ip) => Err(format!("{ip}: {reason}")),
        None => Ok(()),
    }
}

fn etcd_healthy(world: &World, nodes: &Nodes) -> Result<(), String> {
    all(world, &nodes.control_planes, "service \"etcd\" not in expected state \"Running\"", |machine| {
        machine.system.as_ref().is_some_and(|system| system.etcd_healthy)
    })
}

fn etcd_consistent(world: &World, nodes: &Nodes) -> Result<(), String> {
    let mut ids = nodes.control_planes.iter().filter_map(|ip| world.fleet.etcd_of(at(world, *ip)?.hardware.vmid));
    let Some((first, _)) = ids.next() else { return Err("no etcd members".into()) };
    if ids.any(|(id, _)| id != first) {
        return Err("etcd member lists differ between the nodes".into());
    }
    let members = world.fleet.etcd(first).map_or(0, |etcd| etcd.members.len());
    if members == nodes.control_planes.len() {
        Ok(())
    } else {
        Err(format!("etcd has {members} members, expected {}", nodes.control_planes.len()))
    }
}

fn nodes_report(world: &World, nodes: &Nodes) -> Result<(), String> {
    let reported: Vec<Ipv4Addr> =
        world.fleet.etcds().flat_map(|(_, etcd)| etcd.nodes.values()).filter_map(|node| node.ip).collect();
    match nodes.all().iter().find(|ip| !reported.contains(ip)) {
        Some(ip) => Err(format!("can't find expected node with IPs [{ip:?}]")),
        None => Ok(()),
    }
}

fn nodes_schedulable(world: &World, _: &Nodes) -> Result<(), String> {
    let all = world.fleet.etcds().flat_map(|(_, etcd)| &etcd.nodes);
    let cordoned: Vec<&String> = all.filter(|(_, node)| node.edit.unschedulable).map(|(name, _)| name).collect();
    if cordoned.is_empty() { Ok(()) } else { Err(format!("some nodes are not schedulable: {cordoned:?}")) }
}

fn nodes_ready(world: &World, nodes: &Nodes) -> Result<(), String> {
    all(world, &nodes.all(), "node is not ready", |machine| {
        machine.system.as_ref().is_some_and(|system| system.node_ready)
    })
}

/// Nodes without a CNI never become Ready, and newer minors know it.
fn skips_ready(face: &Face, world: &World) -> bool {
    face.system(world).is_ok_and(|system| {
        system.minor.skips_ready_without_cni && system.config.as_ref().is_some_and(|config| config.cni_none)
    })
}

fn kubernetes_up(world: &World, nodes: &Nodes) -> Result<(), String> {
    all(world, &nodes.control_planes, "static pods are not ready", |machine| {
        machine.system.as_ref().is_some_and(|system| system.kube_up)
    })
}
