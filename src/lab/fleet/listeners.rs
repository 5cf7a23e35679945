//! Which sockets the machines would have open.

use std::net::Ipv4Addr;

use super::Fleet;
use super::machine::{Machine, Stage};
use crate::inventory::Role;

/// One socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    pub ip: Ipv4Addr,
    pub port: Port,
    pub vmid: u32,
    pub boot: u64,
    /// See [`super::System::revision`]: when it changes, what was shown before is shown no more.
    pub revision: u64,
}

/// What answers there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// 50000 without client certificates.
    Maintenance,
    /// 50000 with.
    Talos,
    /// 6443.
    Kubernetes,
}

impl Port {
    pub fn number(self) -> u16 {
        match self {
            Self::Maintenance | Self::Talos => 50_000,
            Self::Kubernetes => 6_443,
        }
    }
}

impl Machine {
    /// How port 50000 answers, if it does.
    pub fn api(&self) -> Option<Port> {
        let system = self.system.as_ref()?;
        match &self.stage {
            Stage::Maintenance => Some(Port::Maintenance),
            Stage::Installing(_) | Stage::Booting if system.lingers => Some(Port::Maintenance),
            // Until 1.12 the maintenance server was alone on the port and ended with the apply.
            Stage::Installing(_) | Stage::InstallFailed(_) => {
                (system.minor.unified_maintenance && self.role() == Some(Role::ControlPlane)).then_some(Port::Talos)
            }
            // During an upgrade the API goes with the other services, when the new system is written.
            Stage::Booting | Stage::Running | Stage::Upgrading(_) if self.role() == Some(Role::ControlPlane) => {
                Some(Port::Talos)
            }
            Stage::Booting | Stage::Running | Stage::Upgrading(_) => system.certified.then_some(Port::Talos),
            Stage::Dead(_) | Stage::Starting | Stage::Rebooting(_) | Stage::Stopping => None,
        }
    }
}

impl Fleet {
    /// Every socket that is open now.
    pub fn listeners(&self) -> Vec<Listener> {
        let mut open = Vec::new();
        for (ip, vmid) in self.owners() {
            let machine = &self.machines[&vmid];
            let Some(system) = &machine.system else { continue };
            let listener = |port| Listener { ip, port, vmid, boot: system.boot, revision: system.revision };
            open.extend(machine.api().map(listener));
            if system.kube_up && machine.serves_cluster() {
                open.push(listener(Port::Kubernetes));
            }
        }
        open
    }
}
