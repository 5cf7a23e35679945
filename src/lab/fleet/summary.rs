//! The machines, for people: `lab status`.

use std::net::Ipv4Addr;

use serde::Serialize;

use super::Fleet;
use super::machine::Stage;

/// One machine with power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MachineSummary {
    pub vmid: u32,
    pub name: String,
    pub node: String,
    /// `maintenance`, `running`, …
    pub stage: String,
    /// Why it is dead, or why its installation failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub addresses: Vec<Ipv4Addr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shared_addresses: Vec<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub secure_boot: bool,
    /// The number of the bootstrap whose etcd it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<u64>,
    pub kubernetes_ready: bool,
}

impl Fleet {
    pub fn summary(&self) -> Vec<MachineSummary> {
        self.machines
            .iter()
            .map(|(vmid, machine)| {
                let system = machine.system.as_ref();
                MachineSummary {
                    vmid: *vmid,
                    name: machine.hardware.name.clone(),
                    node: machine.hardware.node.clone(),
                    stage: machine.stage.word().to_owned(),
                    reason: match &machine.stage {
                        Stage::Dead(why) | Stage::InstallFailed(why) => Some(why.clone()),
                        _ => None,
                    },
                    addresses: system
                        .map(|system| system.addresses.iter().map(|address| address.ip).collect())
                        .unwrap_or_default(),
                    shared_addresses: system.map(|system| system.vips.clone()).unwrap_or_default(),
                    hostname: system.map(|system| system.hostname.clone()).filter(|name| !name.is_empty()),
                    version: system.map(|system| system.image.version.clone()),
                    secure_boot: system.is_some_and(|system| system.secure_boot),
                    etcd: self.etcd_of(*vmid).map(|(id, _)| id.0),
                    kubernetes_ready: system.is_some_and(|system| system.node_ready),
                }
            })
            .collect()
    }
}
