//! Is it really healthy? Named gates, one after the other, each with its own deadline and its last reason.
//!
//! First Talos's API, then the Kubernetes API through the endpoint that users will
//! use. The machines that *should* be there are named by the plan: a check over
//! "whoever has joined so far" calls a cluster with a missing worker healthy.
//! `ready: true` means nothing outside stage RUNNING (Talos says so in maintenance,
//! too), so both are asked for.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Work;
use super::collect_access::admin_kubeconfig;
use super::context::Context;
use super::error::{Late, StepError};
use crate::event::{Leftovers, StepId};
use crate::inventory::{Fact, Role};
use crate::kube::Api;
use crate::talos::{Credentials, Talos};
use crate::wait::{self, Pace, Probe};

/// What a healthy cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckHealth {
    pub cluster: String,
    /// Name and role of every machine, the bootstrapped control plane first.
    pub machines: Vec<(String, Role)>,
    pub secureboot: bool,
    pub cni_none: bool,
    /// URL of the Kubernetes API, through the VIP where there is one.
    pub endpoint: String,
}

/// A gate. The order is that of a cluster's growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    TalosApi,
    SecureBoot,
    EtcdMembers,
    KubernetesApi,
    Registered,
    MachinesReady,
    ControlPlanePods,
    NodesReady,
}

impl Gate {
    pub const ALL: [Self; 8] = [
        Self::TalosApi,
        Self::SecureBoot,
        Self::EtcdMembers,
        Self::KubernetesApi,
        Self::Registered,
        Self::MachinesReady,
        Self::ControlPlanePods,
        Self::NodesReady,
    ];

    /// What the gate waits for, for people and machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::TalosApi => "every machine's Talos API to answer",
            Self::SecureBoot => "SecureBoot to be active on every machine",
            Self::EtcdMembers => "the etcd members to be the control planes",
            Self::KubernetesApi => "the Kubernetes API to answer at its endpoint",
            Self::Registered => "every machine to be registered in Kubernetes",
            Self::MachinesReady => "every machine to have finished booting",
            Self::ControlPlanePods => "the control plane's pods to run",
            Self::NodesReady => "every machine to be Ready in Kubernetes",
        }
    }
}

/// One look at one gate, for `status` as well as for the wait.
pub struct Looker<'a> {
    pub check: &'a CheckHealth,
    pub addresses: Vec<(String, Role, IpAddr)>,
    pub reach: crate::reach::Reach,
    pub credentials: &'a Credentials,
    pub kube: Option<Api>,
}

impl Work for CheckHealth {
    fn id(&self) -> StepId {
        StepId::new("check_health")
    }

    fn describe(&self) -> String {
        let gates: Vec<&str> = self.gates().map(Gate::name).collect();
        format!("wait for {}", gates.join(", "))
    }

    fn calls(&self) -> Vec<String> {
        vec![
            String::from("talos Version, ServiceList, EtcdMemberList, COSI Get MachineStatus and SecurityState"),
            format!("GET {}/readyz, /api/v1/nodes, /api/v1/namespaces/kube-system/pods", self.endpoint),
        ]
    }

    fn observes(&self) -> bool {
        true
    }

    async fn run(&self, context: &Context<'_>) -> Result<Vec<Fact>, StepError> {
        let tools = context.tools;
        let mut addresses = Vec::new();
        for (name, role) in &self.machines {
            let ip = context.inventory.address(name).map_err(|e| StepError::clean("check the cluster's health", e))?;
            addresses.push((name.clone(), *role, ip));
        }
        let credentials = tools.vault.credentials(&self.cluster).await?;
        let kubeconfig = admin_kubeconfig(context, &self.cluster, addresses[0].2).await?;
        let kube = Api::from_kubeconfig(&kubeconfig, &tools.reach)
            .map_err(|e| StepError::marked("talk to the Kubernetes API", e))?;
        let looker = Looker { check: self, addresses, reach: tools.reach, credentials, kube: Some(kube) };
        let mut passed = Vec::new();
        for gate in self.gates() {
            let what = gate.name();
            let waiting = context.waiting(what);
            let waited = wait::until(what, Pace::STEADY, tools.deadlines.health, waiting, async || {
                match looker.look(gate).await {
                    Ok(()) => Probe::<(), StepError>::Ready(()),
                    Err(reason) => Probe::NotYet(reason),
                }
            });
            waited.await.or_late("check the cluster's health", Leftovers::Marked)?;
            passed.push(what.to_owned());
        }
        // Minutes may lie between the first gate and the last: healthy is what passes all of them at once.
        let what = "every gate to be passed in one round";
        let waited = wait::until(what, Pace::STEADY, tools.deadlines.health, context.waiting(what), async || {
            for gate in self.gates() {
                if let Err(reason) = looker.look(gate).await {
                    return Probe::NotYet(format!("{}: {reason}", gate.name()));
                }
            }
            Probe::<(), StepError>::Ready(())
        });
        waited.await.or_late("check the cluster's health", Leftovers::Marked)?;
        Ok(vec![Fact::Healthy { gates: passed }])
    }
}

impl CheckHealth {
    /// The gates that this cluster has to pass.
    pub fn gates(&self) -> impl Iterator<Item = Gate> {
        let (secureboot, ready) = (self.secureboot, !self.cni_none);
        Gate::ALL.into_iter().filter(move |gate| match gate {
            Gate::SecureBoot => secureboot,
            // Without a CNI no machine becomes Ready: that is for whoever installs it to see to.
            Gate::NodesReady => ready,
            _ => true,
        })
    }
}

impl Looker<'_> {
    /// Looks once: passed, or why not.
    pub async fn look(&self, gate: Gate) -> Result<(), String> {
        match gate {
            Gate::TalosApi => self.on_every_machine(async |talos| talos.version().await.map(drop).map_err(text)).await,
            Gate::SecureBoot => {
                self.on_every_machine(async |talos| match talos.security_state().await.map_err(text)? {
                    Some(state) if state.secure_boot => Ok(()),
                    _ => Err(String::from("it runs without SecureBoot")),
                })
                .await
            }
            Gate::MachinesReady => self.on_every_machine(async |talos| self.finished_booting(talos).await).await,
            Gate::EtcdMembers => self.etcd_members().await,
            Gate::KubernetesApi => self.kube()?.ready().await,
            Gate::Registered => self.registered().await,
            Gate::NodesReady => self.nodes_ready().await,
            Gate::ControlPlanePods => self.control_plane_pods().await,
        }
    }

    async fn on_every_machine(&self, look: impl AsyncFn(&Talos) -> Result<(), String>) -> Result<(), String> {
        // Side by side: a thousand machines are one look, not a thousand.
        let looks = self.addresses.iter().map(async |(name, _, ip)| {
            let talos = Talos::secured(&self.reach, *ip, self.credentials).await.map_err(text);
            match talos {
                Ok(talos) => look(&talos).await,
                Err(reason) => Err(reason),
            }
            .map_err(|reason| format!("{name}: {reason}"))
        });
        let results = futures_util::future::join_all(looks).await;
        first_of(results.into_iter().filter_map(Result::err).collect())
    }

    async fn finished_booting(&self, talos: &Talos) -> Result<(), String> {
        let status = talos.machine_status().await.map_err(text)?.ok_or("it does not say how it is")?;
        let excused = |unmet: &crate::talos::Unmet| self.check.cni_none && unmet.name == "nodeReady";
        let booted = status.stage == crate::talos::Stage::Running;
        if status.is_healthy() || (booted && !status.unmet.is_empty() && status.unmet.iter().all(excused)) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    }

    async fn etcd_members(&self) -> Result<(), String> {
        let (_, _, ip) = &self.addresses[0];
        let talos = Talos::secured(&self.reach, *ip, self.credentials).await.map_err(text)?;
        let members = talos.etcd_members().await.map_err(text)?;
        let learners: Vec<_> = members.iter().filter(|member| member.learner).map(|m| m.hostname.clone()).collect();
        let found: BTreeSet<String> = members.into_iter().map(|member| member.hostname).collect();
        let planned: BTreeSet<String> = self.names(|role| role == Role::ControlPlane).collect();
        if found != planned {
            let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
            return Err(format!("the members are {}, not {}", list(&found), list(&planned)));
        }
        if !learners.is_empty() {
            return Err(format!("still learning: {}", learners.join(", ")));
        }
        Ok(())
    }

    async fn registered(&self) -> Result<(), String> {
        let nodes = self.kube()?.nodes().await.map_err(|error| error.chain())?;
        let found: BTreeSet<String> = nodes.into_iter().map(|node| node.name).collect();
        let missing: Vec<String> = self.names(|_| true).filter(|name| !found.contains(name)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("missing: {}", missing.join(", "))) }
    }

    async fn nodes_ready(&self) -> Result<(), String> {
        let nodes = self.kube()?.nodes().await.map_err(|error| error.chain())?;
        let planned: BTreeSet<String> = self.names(|_| true).collect();
        let not_ready = nodes.into_iter().filter(|node| planned.contains(&node.name)).filter_map(|node| {
            let reason = node.ready.err()?;
            Some(format!("{}: {reason}", node.name))
        });
        first_of(not_ready.collect())
    }

    async fn control_plane_pods(&self) -> Result<(), String> {
        let pods = self.kube()?.control_plane_pods().await.map_err(|error| error.chain())?;
        let mut missing = Vec::new();
        for name in self.names(|role| role == Role::ControlPlane) {
            for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
                if !pods.iter().any(|pod| pod.node == name && pod.component == component && pod.ready) {
                    missing.push(format!("{component} on {name} is not ready"));
                }
            }
        }
        first_of(missing)
    }

    fn names(&self, wanted: impl Fn(Role) -> bool) -> impl Iterator<Item = String> {
        self.addresses.iter().filter(move |(_, role, _)| wanted(*role)).map(|(name, ..)| name.clone())
    }

    fn kube(&self) -> Result<&Api, String> {
        self.kube.as_ref().ok_or_else(|| String::from("no kubeconfig could be had from a control plane"))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: crate::talos::TalosError) -> String {
    error.chain()
}

/// Nothing is well; otherwise the first, and how many more.
fn first_of(reasons: Vec<String>) -> Result<(), String> {
    let more = reasons.len().saturating_sub(1);
    match reasons.into_iter().next() {
        None => Ok(()),
        Some(first) if more == 0 => Err(first),
        Some(first) => Err(format!("{first} (and {more} more)")),
    }
}
