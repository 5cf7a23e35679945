//! The services of a machine at one moment.

use super::machine::{Machine, Stage};
use crate::inventory::Role;

/// A service, as far as anybody can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub id: String,
    pub state: &'static str,
    /// `None`: the service has no health check, or it has not said anything yet.
    pub healthy: Option<bool>,
    pub message: &'static str,
}

const WELL: &str = "Health check successful";

/// What every Talos runs, configured or not.
const ALWAYS: [&str; 5] = ["auditd", "containerd", "machined", "syslogd", "udevd"];

pub fn services_of(machine: &Machine) -> Vec<Service> {
    let Some(system) = &machine.system else { return Vec::new() };
    let service =
        |id: &str, state: &'static str, healthy, message| Service { id: id.to_owned(), state, healthy, message };
    let mut services: Vec<Service> = ALWAYS.iter().map(|id| service(id, "Running", Some(true), WELL)).collect();
    // Up to 1.12 maintenance mode was not apid's.
    if system.minor.unified_maintenance || machine.stage != Stage::Maintenance {
        services.push(service("apid", "Running", Some(true), WELL));
    }
    if machine.hardware.agent {
        let agent = system.image.extensions.iter().filter(|name| name.ends_with("qemu-guest-agent"));
        services.extend(
            agent.map(|_| service("ext-qemu-guest-agent", "Running", None, "Started task ext-qemu-guest-agent")),
        );
    }
    if matches!(machine.stage, Stage::Booting | Stage::Running) && system.disk.is_some() {
        services.push(service("cri", "Running", Some(true), WELL));
        services.push(service("kubelet", "Running", Some(true), WELL));
        if machine.role() == Some(Role::ControlPlane) {
            services.push(service("trustd", "Running", Some(true), WELL));
            services.push(if system.etcd_healthy {
                service("etcd", "Running", Some(true), WELL)
            } else if system.etcd_up {
                service("etcd", "Running", Some(false), "context deadline exceeded")
            } else {
                service("etcd", "Preparing", None, "Running pre state")
            });
        }
    }
    services.sort_by(|a, b| a.id.cmp(&b.id));
    services
}
