//! How a machine is doing: its stage, its services, its part in etcd and Kubernetes.

use std::fmt;
use std::net::IpAddr;

use prost_types::value::Kind as Json;
use prost_types::{Struct, Value};

use super::client::DEADLINE;
use super::wire::machine::EtcdMemberListRequest;
use super::wire::specs::{
    DiagnosticSpec, HostnameStatusSpec, MachineStage, MachineStatusSpec, NodeStatusSpec, SecurityStateSpec,
    StaticPodStatusSpec, SystemDiskSpec,
};
use super::{Talos, TalosError};

/// Talos 1.13: pkg/machinery/resources/runtime/machine_status.go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Also a stage that Talos invented after this was written.
    Unknown,
    /// A control plane stays here until etcd is healthy, that is, until somebody bootstraps.
    Booting,
    Installing,
    Maintenance,
    Running,
    Rebooting,
    ShuttingDown,
    Resetting,
    Upgrading,
}

impl From<i32> for Stage {
    fn from(number: i32) -> Self {
        match MachineStage::try_from(number).unwrap_or(MachineStage::StageUnknown) {
            MachineStage::StageUnknown => Self::Unknown,
            MachineStage::StageBooting => Self::Booting,
            MachineStage::StageInstalling => Self::Installing,
            MachineStage::StageMaintenance => Self::Maintenance,
            MachineStage::StageRunning => Self::Running,
            MachineStage::StageRebooting => Self::Rebooting,
            MachineStage::StageShuttingDown => Self::ShuttingDown,
            MachineStage::StageResetting => Self::Resetting,
            MachineStage::StageUpgrading => Self::Upgrading,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Booting => "booting",
            Self::Installing => "installing",
            Self::Maintenance => "maintenance",
            Self::Running => "running",
            Self::Rebooting => "rebooting",
            Self::ShuttingDown => "shutting down",
            Self::Resetting => "resetting",
            Self::Upgrading => "upgrading",
        })
    }
}

/// A condition that keeps a machine from being ready: `time`, `network`, `services`, `staticPods`, `nodeReady`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    pub name: String,
    pub reason: String,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub stage: Stage,
    /// Talos's own word; it says `true` in every stage but booting and running, so ask [`Status::is_healthy`].
    pub ready: bool,
    pub unmet: Vec<Unmet>,
}

impl Status {
    /// Running, and ready.
    pub fn is_healthy(&self) -> bool {
        self.stage == Stage::Running && self.ready
    }
}

impl From<MachineStatusSpec> for Status {
    fn from(spec: MachineStatusSpec) -> Self {
        let status = spec.status.unwrap_or_default();
        let unmet = status.unmet_conditions.into_iter();
        Self {
            stage: spec.stage.into(),
            ready: status.ready,
            unmet: unmet.map(|unmet| Unmet { name: unmet.name, reason: unmet.reason }).collect(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stage)?;
        for unmet in &self.unmet {
            write!(f, ", {unmet}")?;
        }
        Ok(())
    }
}

/// A service of Talos itself: `etcd`, `kubelet`, `apid`, …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub id: String,
    /// `Running`, `Waiting`, `Failed`, …
    pub state: String,
    /// `None`: the service has no health check, or it was not made yet.
    pub healthy: Option<bool>,
    /// Its last word: the last event's, or the health check's if that is bad.
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdMember {
    pub id: u64,
    pub hostname: String,
    /// Addresses of its peer URLs.
    pub peers: Vec<IpAddr>,
    pub learner: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticPod {
    /// `kube-system/kube-apiserver-<node>`.
    pub id: String,
    pub phase: String,
    pub ready: bool,
}

/// A Kubernetes node as the machine knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    pub name: String,
    pub ready: bool,
    pub schedulable: bool,
}

impl Talos {
    /// Stage and readiness; `None` before the machine has published one.
    pub async fn machine_status(&self) -> Result<Option<Status>, TalosError> {
        Ok(self.get::<MachineStatusSpec>("machine").await?.map(Status::from))
    }

    /// Device path of the disk that Talos is installed on; `None` while it is not installed.
    pub async fn system_disk(&self) -> Result<Option<String>, TalosError> {
        Ok(self.get::<SystemDiskSpec>("system-disk").await?.map(|disk| disk.dev_path))
    }

    pub async fn security_state(&self) -> Result<Option<SecurityStateSpec>, TalosError> {
        self.get("securitystate").await
    }

    pub async fn hostname(&self) -> Result<Option<String>, TalosError> {
        Ok(self.get::<HostnameStatusSpec>("hostname").await?.map(|status| status.hostname))
    }

    /// What Talos itself complains about; empty on a machine that is well.
    pub async fn diagnostics(&self) -> Result<Vec<String>, TalosError> {
        Ok(self.list::<DiagnosticSpec>().await?.into_iter().map(|(_, diagnostic)| diagnostic.message).collect())
    }

    pub async fn services(&self) -> Result<Vec<Service>, TalosError> {
        const METHOD: &str = "ServiceList";
        let reply = self.call(METHOD, DEADLINE, async { self.machine().service_list(()).await }).await?.into_inner();
        let list = self.only(METHOD, reply.messages)?;
        let services = list.services.into_iter().map(|service| {
            let health = service.health.unwrap_or_default();
            let event = service.events.and_then(|events| events.events.into_iter().next_back());
            let healthy = (!health.unknown).then_some(health.healthy);
            let message = match healthy {
                Some(false) if !health.last_message.is_empty() => health.last_message,
                _ => event.map(|event| event.msg).unwrap_or_default(),
            };
            Service { id: service.id, state: service.state, healthy, message }
        });
        Ok(services.collect())
    }

    /// The members as this control plane's etcd knows them.
    pub async fn etcd_members(&self) -> Result<Vec<EtcdMember>, TalosError> {
        const METHOD: &str = "EtcdMemberList";
        let request = EtcdMemberListRequest { query_local: false };
        let call = async { self.machine().etcd_member_list(request).await };
        let reply = self.call(METHOD, DEADLINE, call).await?.into_inner();
        let members = self.only(METHOD, reply.messages)?.members.into_iter().map(|member| EtcdMember {
            id: member.id,
            hostname: member.hostname,
            peers: member.peer_urls.iter().filter_map(|url| host(url)).collect(),
            learner: member.is_learner,
        });
        Ok(members.collect())
    }

    pub async fn static_pods(&self) -> Result<Vec<StaticPod>, TalosError> {
        let pods = self.list::<StaticPodStatusSpec>().await?.into_iter().map(|(id, pod)| {
            let status = pod.pod_status.unwrap_or_default();
            StaticPod { id, phase: text(&status, "phase").to_owned(), ready: is_ready(&status) }
        });
        Ok(pods.collect())
    }

    /// The Kubernetes nodes that this machine knows: itself, and on a control plane all of them.
    pub async fn node_statuses(&self) -> Result<Vec<NodeStatus>, TalosError> {
        let nodes = self.list::<NodeStatusSpec>().await?.into_iter().map(|(_, node)| NodeStatus {
            name: node.nodename,
            ready: node.node_ready,
            schedulable: !node.unschedulable,
        });
        Ok(nodes.collect())
    }
}

fn host(url: &str) -> Option<IpAddr> {
    match url::Url::parse(url).ok()?.host()? {
        url::Host::Ipv4(ip) => Some(ip.into()),
        url::Host::Ipv6(ip) => Some(ip.into()),
        url::Host::Domain(_) => None,
    }
}

/// Whether a Kubernetes PodStatus has the condition Ready with the status "True".
fn is_ready(status: &Struct) -> bool {
    let Some(Json::ListValue(conditions)) = status.fields.get("conditions").and_then(|value| value.kind.as_ref())
    else {
        return false;
    };
    conditions.values.iter().any(|condition| {
        matches!(&condition.kind, Some(Json::StructValue(condition))
            if text(condition, "type") == "Ready" && text(condition, "status") == "True")
    })
}

fn text<'a>(object: &'a Struct, key: &str) -> &'a str {
    match object.fields.get(key) {
        Some(Value { kind: Some(Json::StringValue(text)) }) => text,
        _ => "",
    }
}
