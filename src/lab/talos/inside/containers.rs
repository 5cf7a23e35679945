//! Processes, containers and images.

use std::time::Duration;

use tonic::Status;

use super::uptime;
use crate::inventory::Role;
use crate::lab::fleet::{Machine, Stage, services_of};
use crate::lab::talos::server::Peer;
use crate::lab::talos::{Face, Replies, replies};
use crate::lab::world::World;
use crate::talos::wire::common::{ContainerDriver, ContainerdNamespace};
use crate::talos::wire::machine::{
    Container, ContainerInfo, ContainersRequest, ContainersResponse, ImageListRequest, ImageListResponse,
    LogsContainer, LogsContainersResponse, Process, ProcessInfo, ProcessesResponse, Stat, Stats, StatsRequest,
    StatsResponse,
};

const PAUSE: &str = "registry.k8s.io/pause:3.10.1";

/// Services that run in a container of their own.
const CONTAINED: [&str; 4] = ["apid", "etcd", "kubelet", "trustd"];

fn container(namespace: &str, id: &str, name: &str, image: &str, pid: u32, status: &str) -> ContainerInfo {
    ContainerInfo {
        namespace: namespace.to_owned(),
        id: id.to_owned(),
        image: image.to_owned(),
        pid,
        status: status.to_owned(),
        pod_id: id.split(':').next().unwrap_or(id).to_owned(),
        name: name.to_owned(),
        internal_id: id.to_owned(),
        ..ContainerInfo::default()
    }
}

/// Talos's own, in the namespace `system`.
fn of_system(machine: &Machine) -> Vec<ContainerInfo> {
    let services = services_of(machine);
    let running = services.iter().filter(|service| service.state == "Running");
    let contained =
        running.filter(|service| CONTAINED.contains(&service.id.as_str()) || service.id.starts_with("ext-"));
    (1000..)
        .zip(contained)
        .map(|(pid, service)| container("system", &service.id, &service.id, "", pid, "RUNNING"))
        .collect()
}

/// Kubernetes's, in `k8s.io`: the static pods of a control plane.
fn of_kubernetes(machine: &Machine) -> Vec<ContainerInfo> {
    let Some(system) = machine.system.as_ref().filter(|system| system.kube_up) else { return Vec::new() };
    let version = system.config.as_ref().map(|config| config.kubernetes_version.clone()).unwrap_or_default();
    let apps = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
    (2000..)
        .step_by(2)
        .zip(apps)
        .flat_map(|(pid, app)| {
            let pod = format!("kube-system/{app}-{}", system.hostname);
            let image = format!("registry.k8s.io/{app}:v{version}");
            [
                container("k8s.io", &pod, &pod, PAUSE, pid, "SANDBOX_READY"),
                container("k8s.io", &format!("{pod}:{app}"), app, &image, pid + 1, "CONTAINER_RUNNING"),
            ]
        })
        .collect()
}

fn of(machine: &Machine, namespace: &str, driver: i32) -> Vec<ContainerInfo> {
    if namespace == "k8s.io" || driver == i32::from(ContainerDriver::Cri) {
        of_kubernetes(machine)
    } else {
        of_system(machine)
    }
}

pub(in crate::lab::talos) fn containers(
    face: &Face,
    world: &mut World,
    request: &ContainersRequest,
    _: &Peer,
) -> Result<ContainersResponse, Status> {
    let containers = of(face.machine(world)?, &request.namespace, request.driver);
    Ok(ContainersResponse { messages: vec![Container { metadata: None, containers }] })
}

pub(in crate::lab::talos) fn stats(
    face: &Face,
    world: &mut World,
    request: &StatsRequest,
    _: &Peer,
) -> Result<StatsResponse, Status> {
    let used = uptime(face, world)?.as_nanos() / 50;
    let stats = of(face.machine(world)?, &request.namespace, request.driver).into_iter().map(|container| Stat {
        namespace: container.namespace,
        id: container.id,
        memory_usage: 40 << 20,
        cpu_usage: u64::try_from(used).unwrap_or(u64::MAX),
        pod_id: container.pod_id,
        name: container.name,
    });
    Ok(StatsResponse { messages: vec![Stats { metadata: None, stats: stats.collect() }] })
}

pub(in crate::lab::talos) fn processes(
    face: &Face,
    world: &mut World,
    (): &(),
    _: &Peer,
) -> Result<ProcessesResponse, Status> {
    let uptime = uptime(face, world)?;
    let machine = face.machine(world)?;
    let running = of_system(machine).into_iter().chain(of_kubernetes(machine));
    let running = running.filter(|container| container.image != PAUSE).map(|container| {
        let name = container.name.rsplit('/').next().unwrap_or_default().to_owned();
        (i32::try_from(container.pid).unwrap_or(i32::MAX), 1, name)
    });
    let first = [(1, 0, "machined".to_owned()), (2, 1, "containerd".to_owned())];
    let processes = first.into_iter().chain(running).map(|(pid, parent, name)| process(pid, parent, name, uptime));
    Ok(ProcessesResponse { messages: vec![Process { metadata: None, processes: processes.collect() }] })
}

fn process(pid: i32, ppid: i32, name: String, uptime: Duration) -> ProcessInfo {
    ProcessInfo {
        pid,
        ppid,
        state: "S".into(),
        threads: 12,
        cpu_time: uptime.as_secs_f64() / 50.0,
        virtual_memory: 1_400 << 20,
        resident_memory: 60 << 20,
        executable: format!("/usr/bin/{name}"),
        args: format!("/usr/bin/{name}"),
        command: name,
        label: String::new(),
    }
}

pub(in crate::lab::talos) fn log_names(
    face: &Face,
    world: &mut World,
    (): &(),
    _: &Peer,
) -> Result<LogsContainersResponse, Status> {
    let mut ids: Vec<String> = services_of(face.machine(world)?).into_iter().map(|service| service.id).collect();
    ids.extend(["controller-runtime".to_owned(), "kernel".to_owned()]);
    ids.sort_unstable();
    Ok(LogsContainersResponse { messages: vec![LogsContainer { metadata: None, ids }] })
}

pub(in crate::lab::talos) fn images(
    face: &Face,
    world: &mut World,
    request: &ImageListRequest,
    _: &Peer,
) -> Result<Replies<ImageListResponse>, Status> {
    images_of(face, world, request).map(replies)
}

/// The images of a namespace: what the machine needs, and what was pulled by hand.
pub(in crate::lab::talos) fn images_of(
    face: &Face,
    world: &World,
    request: &ImageListRequest,
) -> Result<Vec<ImageListResponse>, Status> {
    let machine = face.machine(world)?;
    let booted = matches!(machine.stage, Stage::Booting | Stage::Running);
    let config = machine.system.as_ref().and_then(|system| system.config.as_ref()).filter(|_| booted);
    let Some(config) = config else { return Ok(Vec::new()) };
    let version = &config.kubernetes_version;
    let kubernetes = || {
        let apps: &[&str] = match machine.role() {
            Some(Role::ControlPlane) => &["kube-apiserver", "kube-controller-manager", "kube-scheduler"],
            Some(Role::Worker) | None => &[],
        };
        let mut names: Vec<String> = apps.iter().map(|app| format!("registry.k8s.io/{app}:v{version}")).collect();
        names.push(PAUSE.to_owned());
        names
    };
    let names = match ContainerdNamespace::try_from(request.namespace) {
        Ok(ContainerdNamespace::NsCri) => kubernetes(),
        Ok(ContainerdNamespace::NsSystem) => vec![format!("ghcr.io/siderolabs/kubelet:v{version}")],
        Ok(ContainerdNamespace::NsUnknown) | Err(_) => {
            return Err(Status::invalid_argument(format!("unsupported namespace: {}", request.namespace)));
        }
    };
    let image = |name: String| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
        ImageListResponse {
            metadata: None,
            name,
            digest: format!("sha256:{}", hex::encode(digest)),
            size: 30 << 20,
            created_at: None,
        }
    };
    let pulled = face.system(world)?.pulled.keys().cloned();
    Ok(names.into_iter().chain(pulled).map(image).collect())
}
